/** Talks to one node over HTTP, for the command line. One instance for each node. */
import type { AckLevel, ReachedAck } from '../base/ack-level.ts';
import { ShiplogError, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { errorFromProblem } from '../base/problem.ts';
import type { Clock, Timer } from '../env/clock.ts';
import { type Transport, TransportError, type TransportRequest, type TransportResponse, readBody } from '../env/transport.ts';
import { jsonLines } from './json-lines.ts';
import { type PromoteEvent, type PromoteRequest, readPromoteEvent } from './promotion-document.ts';
import { type StatusDocument, readStatus } from './status-document.ts';

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

export interface ReadOptions {
  /** A position: the node answers once it shows it. */
  readonly min?: string;
}

export interface WriteOptions {
  /** Only if this is the position of the key's last write, or, where it is null, only if there is no such key. */
  readonly ifPosition?: string | null;
  /** What the write has to reach before it is answered; default: as the server's configuration says. */
  readonly ack?: AckLevel;
}

export interface Written {
  /** Of the write; null where it was answered before it had one. */
  readonly position: string | null;
  /** What the write has reached. */
  readonly ack: ReachedAck;
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
/** Longer than any step of a promotion may take that says nothing meanwhile. */
const PROMOTION_SILENCE_MS = 60_000;
/** Setting operations aside reads all of them and syncs a file. */
const REJOIN_TIMEOUT_MS = 5 * 60_000;
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

  /**
   * Undefined where there is no such key. @throws ShiplogError as the node refused, e.g. `position-lost`; TransportError where
   * there is no answer.
   */
  async get(key: string, { min }: ReadOptions = {}): Promise<ReadValue | undefined> {
    const target = `/get/${encodeURIComponent(key)}${min === undefined ? '' : `?min=${encodeURIComponent(min)}`}`;
    return this.#exchange({ method: 'GET', target, headers: { accept: 'text/plain' } }, async (response) => {
      if (response.status !== 200) return absentOrThrow(await problemOf(response));
      const value = (await readBody(response.body, LIMITS.valueBytesMax)).toString('utf8');
      return { value, position: positionIn(response) };
    });
  }

  /**
   * Resolves once the write has reached what was asked for.
   * @throws ShiplogError as the node refused, e.g. `precondition-failed`; `outcome-unknown` where the connection broke
   * after the request was sent.
   */
  async set(key: string, value: string, options: WriteOptions = {}): Promise<Written> {
    const request = {
      method: 'POST',
      target: `/set/${encodeURIComponent(key)}${queryOf(options)}`,
      headers: { 'content-type': 'application/json', ...conditionOf(options) },
      body: Buffer.from(JSON.stringify(value)),
    };
    return this.#write(request, async (response) => {
      if (response.status !== 200) throw await problemOf(response);
      await readBody(response.body, DOCUMENT_BYTES_MAX);
      return writtenIn(response);
    });
  }

  /** Undefined where there was no such key. @throws as `set`. */
  async del(key: string, options: WriteOptions = {}): Promise<Written | undefined> {
    return this.#write({ method: 'DELETE', target: `/del/${encodeURIComponent(key)}${queryOf(options)}`, headers: conditionOf(options) }, async (response) => {
      if (response.status !== 200) return absentOrThrow(await problemOf(response));
      await readBody(response.body, DOCUMENT_BYTES_MAX);
      return writtenIn(response);
    });
  }

  async status(): Promise<StatusDocument> {
    return readStatus(await this.#json<StatusDocument>('/status', this.#timeoutMs));
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

  /**
   * Makes the node the primary, and says what happens as it happens; the last event is `promoted` or
   * `refused`, of a dry run `plan`. Leaving early, or the signal, does not stop the node.
   * @throws ShiplogError as the node refused; `outcome-unknown` where the end was not heard. After a dry
   * run, which changes nothing, `peer-protocol` or TransportError instead.
   */
  async *promote({ force, acceptLoss, isDryRun, expectKind }: PromoteRequest, signal?: AbortSignal): AsyncGenerator<PromoteEvent, void> {
    let isTaken = false;
    try {
      const documents = await this.#documents('/promote', { force, acceptLoss, dryRun: isDryRun, expectKind }, signal);
      isTaken = true;
      for await (const document of documents) {
        const event = readPromoteEvent(document);
        if (event === undefined) continue;
        yield event;
        if (event.type === 'promoted' || event.type === 'refused' || (isDryRun && event.type === 'plan')) return;
      }
      throw new ShiplogError('peer-protocol', 'the answer ended too early');
    } catch (error) {
      const mayHaveBegun = isTaken || (error instanceof TransportError && error.mayHaveArrived);
      if (isDryRun || !mayHaveBegun) throw error;
      throw new ShiplogError(
        'outcome-unknown',
        `${this.url} did not say how the promotion ended (${messageOf(error)}): it may be done or still under way; run it again, that finishes the job, and look at \`shiplog status\``,
        { cause: error },
      );
    }
  }

  /** Takes a node, by id or name, from the members of the cluster. Only the primary does. @throws as `set`. */
  async forget(nodeIdOrName: string): Promise<void> {
    await this.#order(`/forget?node=${encodeURIComponent(nodeIdOrName)}`, this.#timeoutMs);
  }

  /** Has a node that diverged set its own operations aside and follow. @throws as `set`. */
  async rejoin(): Promise<void> {
    await this.#order('/rejoin', REJOIN_TIMEOUT_MS);
  }

  async #order(target: string, timeoutMs: number): Promise<void> {
    const read = async (response: TransportResponse): Promise<void> => {
      if (response.status !== 200) throw await problemOf(response);
      await readBody(response.body, DOCUMENT_BYTES_MAX);
    };
    await this.#write({ method: 'POST', target, headers: {} }, read, { timeoutMs, hint: 'it may have been carried out; `shiplog status` shows' });
  }

  /** Resolves once the request is taken, with an answer that grows; broken off where nothing comes for too long. */
  async #documents(target: string, body: object, signal: AbortSignal | undefined): Promise<AsyncIterable<unknown>> {
    const abort = new AbortController();
    const giveUp = (): void => abort.abort(new Error(`nothing was heard for ${PROMOTION_SILENCE_MS} ms`));
    const listen = (): Timer => this.#clock.setTimer(PROMOTION_SILENCE_MS, giveUp);
    const leave = (): void => abort.abort(signal!.reason);
    if (signal?.aborted === true) leave();
    signal?.addEventListener('abort', leave, { once: true });
    let timer = listen();
    const end = (): void => {
      timer.cancel();
      signal?.removeEventListener('abort', leave);
    };
    try {
      const headers = { 'content-type': 'application/json', 'accept': 'application/x-ndjson' };
      const response = await this.#transport.request(this.url, { method: 'POST', target, headers, body: Buffer.from(JSON.stringify(body)), signal: abort.signal });
      if (response.status !== 200) throw await problemOf(response);
      return (async function* () {
        try {
          for await (const document of jsonLines(response.body)) {
            timer.cancel();
            timer = listen();
            yield document;
          }
        } finally {
          end();
        }
      })();
    } catch (error) {
      end();
      throw error;
    }
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
  async #write<Answer>(
    request: TransportRequest,
    read: (response: TransportResponse) => Promise<Answer>,
    { timeoutMs = this.#timeoutMs, hint = 'the write may have been carried out; read the key to find out' }: { readonly timeoutMs?: number; readonly hint?: string } = {},
  ): Promise<Answer> {
    try {
      return await this.#exchange(request, read, timeoutMs);
    } catch (error) {
      if (!(error instanceof TransportError) || !error.mayHaveArrived) throw error;
      throw new ShiplogError(
        'outcome-unknown',
        `${this.url} did not answer (${messageOf(error)}): ${hint}`,
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

function queryOf({ ack }: WriteOptions): string {
  return ack === undefined ? '' : `?ack=${ack}`;
}

function conditionOf({ ifPosition }: WriteOptions): Readonly<Record<string, string>> {
  if (ifPosition === undefined) return {};
  return ifPosition === null ? { 'if-none-match': '*' } : { 'if-match': `"${ifPosition}"` };
}

function absentOrThrow(problem: ShiplogError): undefined {
  if (problem.code !== 'not-found') throw problem;
}

function writtenIn(response: TransportResponse): Written {
  // A node of 0.1 does not say it: it synced every write.
  const said = response.headers['shiplog-ack'] ?? 'local';
  // What the node shows by then is not where the write will be.
  if (said === 'memory') return { position: null, ack: said };
  if (said !== 'local' && !/^\d{1,4}$/.test(said)) throw new ShiplogError('peer-protocol', `Shiplog-Ack is ${JSON.stringify(said.slice(0, 80))}, expected memory, local or a number`);
  return { position: positionIn(response), ack: said === 'local' ? said : Number(said) };
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
export async function problemOf(response: TransportResponse): Promise<ShiplogError> {
  return errorFromProblem(response.status, await readBody(response.body, PROBLEM_BYTES_MAX), response.headers['retry-after']);
}
