/**
 * A client that tells apart what a write became. Its own HTTP on `node:http`, not lib/client: what it
 * says about an outcome is evidence against lib, and must not come from there.
 */
import { Agent, type IncomingMessage, type RequestOptions, request } from 'node:http';
import { text } from 'node:stream/consumers';

import type { Answer } from './history.ts';
import type { Reading } from './history-check.ts';

/** Longer than any time-out of a node: a request that takes this long has a node that hangs. */
const REQUEST_TIMEOUT_MS = 20_000;

interface HttpAnswer {
  readonly status: number;
  readonly etag: string | undefined;
  /** Undefined where the connection broke before the end of the body. */
  readonly body: string | undefined;
}

export interface ReadAnswer {
  /** 0 where none came. */
  readonly status: number;
  readonly value: string | undefined;
  /** Of the key's last write. */
  readonly position: string | undefined;
}

export class WriteClient {
  readonly #url: string;
  readonly #writeQuery: string;
  readonly #agent: Agent;

  /**
   * One connection per request under way, kept alive.
   * @param writeQuery what every write asks for, like `?ack=1`.
   */
  constructor(url: string, connectionsMax: number, writeQuery = '') {
    this.#url = url;
    this.#writeQuery = writeQuery;
    this.#agent = new Agent({ keepAlive: true, maxSockets: connectionsMax });
  }

  /** Never throws: whatever happens is an outcome. */
  async write(key: string, value: string | null): Promise<Answer> {
    try {
      const answer =
        value === null
          ? await this.#exchange(`/del/${key}${this.#writeQuery}`, { method: 'DELETE' })
          : await this.#exchange(`/set/${key}${this.#writeQuery}`, { method: 'POST', headers: { 'content-type': 'text/plain; charset=utf-8' } }, value);
      return { outcome: outcomeOfStatus(answer.status, value === null), position: answer.status === 200 ? positionOf(answer) : undefined };
    } catch (error) {
      return { outcome: outcomeOfError(error as NodeJS.ErrnoException), position: undefined };
    }
  }

  /** @throws Error when the node does not say what it has: neither 200 nor 404. */
  async read(key: string): Promise<Reading> {
    const answer = await this.#exchange(`/get/${key}`, { method: 'GET' });
    if (answer.status === 404) return { key, value: null, position: undefined };
    if (answer.status !== 200 || answer.body === undefined) {
      throw new Error(`GET /get/${key} of ${this.#url} answered ${answer.status} ${answer.body ?? '(cut)'}, expected 200 or 404`);
    }
    return { key, value: answer.body, position: positionOf(answer) };
  }

  /** A read that must not be older than `minPosition`. Never throws: status 0 where there was no answer. */
  async readAtLeast(key: string, minPosition: string): Promise<ReadAnswer> {
    try {
      const answer = await this.#exchange(`/get/${key}?min=${minPosition}`, { method: 'GET' });
      const isWhole = answer.status !== 200 || answer.body !== undefined;
      return { status: isWhole ? answer.status : 0, value: answer.status === 200 ? answer.body : undefined, position: positionOf(answer) };
    } catch {
      return { status: 0, value: undefined, position: undefined };
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  #exchange(path: string, options: RequestOptions, body?: string): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const outgoing = request(`${this.#url}${path}`, { ...options, agent: this.#agent, timeout: REQUEST_TIMEOUT_MS });
      outgoing.once('error', reject);
      outgoing.once('timeout', () => outgoing.destroy(new Error(`no answer within ${REQUEST_TIMEOUT_MS} ms`)));
      outgoing.once('response', (response) => {
        readAnswer(response).then(resolve, reject);
      });
      outgoing.end(body);
    });
  }
}

/** What an HTTP status says about a write. */
export function outcomeOfStatus(status: number, isDelete: boolean): Answer['outcome'] {
  if (status === 200) return 'acknowledged';
  if (status === 404 && isDelete) return 'absent';
  if (status === 410) return 'left-behind';
  if ((status >= 400 && status < 500) || status === 503 || status === 507) return 'refused';
  return 'unknown';
}

/** Only a connection that was never made proves that no byte of the request arrived. */
export function outcomeOfError({ code }: NodeJS.ErrnoException): Answer['outcome'] {
  return code === 'ECONNREFUSED' ? 'refused' : 'unknown';
}

async function readAnswer(response: IncomingMessage): Promise<HttpAnswer> {
  // The status line alone is the promise: a 200 whose body was cut off counts as one.
  const body = await text(response).catch(() => undefined);
  return { status: response.statusCode ?? 0, etag: response.headers.etag, body };
}

function positionOf({ etag }: HttpAnswer): string | undefined {
  return etag === undefined ? undefined : /^"(\d+\.[0-9a-f]{4}-\d+)"$/.exec(etag)?.[1];
}
