/** Talks to one node over HTTP, for the command line. One instance for each node. */
import { ShiplogError, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { errorFromProblem } from '../base/problem.ts';
import type { Clock } from '../env/clock.ts';
import { type Transport, TransportError, type TransportRequest, type TransportResponse, readBody } from '../env/transport.ts';
import type { StatusDocument } from './status-document.ts';

export interface ShiplogClientOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  /** `http://host:port` */
  readonly url: string;
  /** For a whole request and its answer. */
  readonly timeoutMs?: number;
}

export interface ReadValue {
  readonly value: string;
  /** Position of the key's last write. */
  readonly position: string;
}

/** The content of a node's table at one position. */
export interface DigestDocument {
  readonly position: string;
  readonly lsn: number;
  readonly chain: number;
  readonly rowCount: number;
  /** SHA-256, hex, over all rows in the order of their keys. */
  readonly sha256: string;
}

/** Longer than a node forwards a write and waits for its confirmation, so that the node's own answer comes first. */
const TIMEOUT_MS = 15_000;
/** A digest reads the whole table. */
const DIGEST_TIMEOUT_MS = 30 * 60_000;
const DOCUMENT_BYTES_MAX = 16 * 1024 * 1024;

export class ShiplogClient {
  readonly url: string;
  readonly #transport: Transport;
  readonly #clock: Clock;
  readonly #timeoutMs: number;

  constructor(options: ShiplogClientOptions) {
    this.url = options.url;
    this.#transport = options.transport;
    this.#clock = options.clock;
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
  }

  /** Undefined where there is no such key. @throws ShiplogError as the node refused, TransportError where there is no answer. */
  async get(key: string): Promise<ReadValue | undefined> {
    return this.#exchange({ method: 'GET', target: `/get/${encodeURIComponent(key)}`, headers: { accept: 'text/plain' } }, async (response) => {
      if (response.status !== 200) return absentOrThrow(await problemOf(response));
      const value = (await readBody(response.body, LIMITS.valueBytesMax)).toString('utf8');
      return { value, position: positionIn(response) };
    });
  }

  /**
   * Resolves with the position of the write.
   * @throws ShiplogError as the node refused; `outcome-unknown` where the connection broke after the request was sent.
   */
  async set(key: string, value: string): Promise<string> {
    const request = {
      method: 'POST',
      target: `/set/${encodeURIComponent(key)}`,
      headers: { 'content-type': 'application/json' },
      body: Buffer.from(JSON.stringify(value)),
    };
    return this.#write(request, async (response) => {
      if (response.status !== 200) throw await problemOf(response);
      await readBody(response.body, DOCUMENT_BYTES_MAX);
      return positionIn(response);
    });
  }

  /** Resolves with the position of the deletion, or undefined where there was no such key. @throws as `set`. */
  async del(key: string): Promise<string | undefined> {
    return this.#write({ method: 'DELETE', target: `/del/${encodeURIComponent(key)}`, headers: {} }, async (response) => {
      if (response.status !== 200) return absentOrThrow(await problemOf(response));
      await readBody(response.body, DOCUMENT_BYTES_MAX);
      return positionIn(response);
    });
  }

  async status(): Promise<StatusDocument> {
    return this.#json<StatusDocument>('/status', this.#timeoutMs);
  }

  /** True where the node has recovered and answers reads. @throws TransportError where there is no answer. */
  async isHealthy(): Promise<boolean> {
    return this.#exchange({ method: 'GET', target: '/healthz', headers: {} }, async (response) => {
      await readBody(response.body, DOCUMENT_BYTES_MAX);
      return response.status === 200;
    });
  }

  /**
   * The digest of the node's table at the first end of a batch that it reaches at or after `atLsn`:
   * the answer says which. @throws ShiplogError `timeout` where it doesn't get there.
   */
  async digest(atLsn: number): Promise<DigestDocument> {
    return this.#json<DigestDocument>(`/peer/digest?at=${atLsn}`, DIGEST_TIMEOUT_MS);
  }

  async #json<Document>(target: string, timeoutMs: number): Promise<Document> {
    const request = { method: 'GET', target, headers: { accept: 'application/json' } };
    return this.#exchange(
      request,
      async (response) => {
        if (response.status !== 200) throw await problemOf(response);
        const body = (await readBody(response.body, DOCUMENT_BYTES_MAX)).toString('utf8');
        try {
          return JSON.parse(body) as Document;
        } catch (error) {
          throw new ShiplogError('peer-protocol', `got ${JSON.stringify(body.slice(0, 80))} from ${this.url}${target}, expected JSON`, { cause: error });
        }
      },
      timeoutMs,
    );
  }

  /** A write whose answer is missing may have happened, and must not be called a failure. */
  async #write<Answer>(request: TransportRequest, read: (response: TransportResponse) => Promise<Answer>): Promise<Answer> {
    try {
      return await this.#exchange(request, read);
    } catch (error) {
      if (!(error instanceof TransportError) || !error.mayHaveArrived) throw error;
      throw new ShiplogError(
        'outcome-unknown',
        `${this.url} did not answer (${messageOf(error)}): the write may have been carried out; read the key to find out`,
        { cause: error },
      );
    }
  }

  async #exchange<Answer>(
    request: TransportRequest,
    read: (response: TransportResponse) => Promise<Answer>,
    timeoutMs: number = this.#timeoutMs,
  ): Promise<Answer> {
    const abort = new AbortController();
    const timer = this.#clock.setTimer(timeoutMs, () => abort.abort(new Error(`no answer within ${timeoutMs} ms`)));
    try {
      return await read(await this.#transport.request(this.url, { ...request, signal: abort.signal }));
    } finally {
      timer.cancel();
    }
  }
}

function absentOrThrow(problem: ShiplogError): undefined {
  if (problem.code !== 'not-found') throw problem;
}

/** The ETag is the position of the key's last write, in quotes. */
function positionIn(response: TransportResponse): string {
  const etag = response.headers['etag'] ?? '';
  const position = /^(?:W\/)?"(.*)"$/.exec(etag)?.[1] ?? response.headers['shiplog-position'];
  if (position === undefined) throw new ShiplogError('peer-protocol', 'the answer names no position, expected the headers of a Shiplog node');
  return position;
}

const PROBLEM_BYTES_MAX = 64 * 1024;

/** Turns a node's refusal back into the error that the node raised. */
async function problemOf(response: TransportResponse): Promise<ShiplogError> {
  return errorFromProblem(response.status, await readBody(response.body, PROBLEM_BYTES_MAX), response.headers['retry-after']);
}
