/** `POST /import`, for the command line: sends lines, and knows at the end, whatever broke, how many of them are in the cluster. */
import { isErrorCode, isShiplogError, ShiplogError } from '../base/errors.ts';
import type { AckLevel } from '../base/ack-level.ts';
import { type Clock, sleep } from '../env/clock.ts';
import { type Transport, TransportError, readBody } from '../env/transport.ts';
import { jsonLines } from './json-lines.ts';
import { problemOf } from './shiplog-client.ts';
import { Silence } from './silence.ts';

export interface ImportUploadOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  /** Any node: a replica names the primary. */
  readonly url: string;
  /** Makes it possible to ask afterwards. */
  readonly id: string;
  readonly skip: number;
  readonly ack?: AckLevel;
  readonly lines: AsyncIterable<Uint8Array>;
}

export interface ImportAccount {
  /** The first so many lines are in the cluster, those that were skipped included. */
  readonly lines: number;
  /** Of the last of them; null where nothing was heard of any. */
  readonly position: string | null;
  /** False where the node could not be asked any more: then there may be more lines, but no fewer. */
  readonly isExact: boolean;
  /** Lines up to this one may be there, too: sent on, and not confirmed. */
  readonly uncertainThroughLine?: number;
  /** The line that is to blame. */
  readonly line?: number;
}

export interface ImportEnd {
  readonly account: ImportAccount;
  /** Undefined where all lines are there. */
  readonly error: Error | undefined;
}

const SILENCE_MS_MAX = 75_000;
const ASK_MS_MAX = 10_000;
const ASK_INTERVAL_MS = 200;
const REDIRECTS_MAX = 3;
const DOCUMENT_BYTES_MAX = 64 * 1024;

export class ImportUpload {
  readonly #options: ImportUploadOptions;
  #url: string;
  #account: ImportAccount;

  constructor(options: ImportUploadOptions) {
    this.#options = options;
    this.#url = options.url;
    this.#account = { lines: options.skip, position: null, isExact: true };
  }

  /** What the node has told so far. */
  get account(): ImportAccount {
    return this.#account;
  }

  /** @throws only before the first line is sent: ShiplogError as the node refused, TransportError. */
  async run(): Promise<ImportEnd> {
    await this.#findPrimary();
    const silence = new Silence(this.#options.clock);
    try {
      silence.expect(SILENCE_MS_MAX);
      return await this.#send(silence);
    } catch (error) {
      // Asked before anything else is judged: what the answer would have said is lost.
      return { account: await this.#askBack(), error: error as Error };
    } finally {
      silence.end();
    }
  }

  /** An import without lines says whether this node takes any, before a pipe is read that can't be read again. */
  async #findPrimary(): Promise<void> {
    const { transport } = this.#options;
    for (let redirects = 0; ; redirects += 1) {
      const silence = this.#silenceOf(ASK_MS_MAX);
      try {
        const response = await transport.request(this.#url, { method: 'POST', target: `/import${this.#query()}`, headers: {}, body: new Uint8Array(), signal: silence.signal });
        if (response.status === 200) {
          await readBody(response.body, DOCUMENT_BYTES_MAX);
          return;
        }
        const { location } = response.headers;
        if (response.status !== 307 || location === undefined) throw await problemOf(response);
        await readBody(response.body, DOCUMENT_BYTES_MAX);
        if (redirects === REDIRECTS_MAX) throw new ShiplogError('no-primary', `the nodes send each other's clients in a circle; the last one was ${this.#url}`);
        this.#url = new URL(location).origin;
      } finally {
        silence.end();
      }
    }
  }

  async #send(silence: Silence): Promise<ImportEnd> {
    const { transport, skip, id } = this.#options;
    const query = this.#query({ id, ...(skip > 0 && { skip: String(skip) }) });
    const response = await transport.request(this.#url, { method: 'POST', target: `/import${query}`, headers: { 'content-type': 'application/x-ndjson' }, body: this.#lines(silence), signal: silence.signal });
    if (response.status !== 200) {
      const error = await problemOf(response);
      this.#note(error.extra, true);
      return { account: this.#account, error };
    }
    for await (const document of jsonLines(response.body)) {
      silence.expect(SILENCE_MS_MAX);
      const { type, code, message, ...account } = document as Record<string, unknown>;
      this.#note(account, type !== 'progress');
      if (type === 'done') return { account: this.#account, error: undefined };
      if (type === 'failed') return { account: this.#account, error: errorOf(code, message) };
    }
    throw new ShiplogError('peer-protocol', 'the answer ended before it said how the import did');
  }

  async *#lines(silence: Silence): AsyncGenerator<Uint8Array> {
    for await (const chunk of this.#options.lines) {
      silence.expect(SILENCE_MS_MAX);
      yield chunk;
    }
  }

  #note({ lines, position, line, uncertainThroughLine }: Readonly<Record<string, unknown>>, isExact: boolean): void {
    if (typeof lines !== 'number') return;
    this.#account = {
      lines,
      position: typeof position === 'string' ? position : this.#account.position,
      isExact,
      ...(typeof line === 'number' && { line }),
      ...(typeof uncertainThroughLine === 'number' && { uncertainThroughLine }),
    };
  }

  /** Where the node still runs, it knows; it may take it a moment to notice that nobody sends any more. */
  async #askBack(): Promise<ImportAccount> {
    const { transport, clock, id } = this.#options;
    const heard: ImportAccount = { ...this.#account, isExact: false };
    const endMs = clock.monotonicMs() + ASK_MS_MAX;
    while (clock.monotonicMs() < endMs) {
      const silence = this.#silenceOf(ASK_MS_MAX);
      try {
        const response = await transport.request(this.#url, { method: 'GET', target: `/import?id=${id}`, headers: { accept: 'application/json' }, signal: silence.signal });
        if (response.status !== 200) throw await problemOf(response);
        const account = JSON.parse((await readBody(response.body, DOCUMENT_BYTES_MAX)).toString('utf8')) as Record<string, unknown>;
        if (account['state'] !== 'running') {
          this.#note(account, true);
          return this.#account;
        }
      } catch (error) {
        if (isShiplogError(error, 'not-found')) return heard;
        if (!(error instanceof TransportError)) return heard;
      } finally {
        silence.end();
      }
      await sleep(clock, ASK_INTERVAL_MS);
    }
    return heard;
  }

  #silenceOf(withinMs: number): Silence {
    const silence = new Silence(this.#options.clock);
    silence.expect(withinMs);
    return silence;
  }

  #query(more: Readonly<Record<string, string>> = {}): string {
    const { ack } = this.#options;
    const parameters = new URLSearchParams({ ...(ack !== undefined && { ack: String(ack) }), ...more }).toString();
    return parameters === '' ? '' : `?${parameters}`;
  }
}

function errorOf(code: unknown, message: unknown): ShiplogError {
  return new ShiplogError(isErrorCode(code) ? code : 'peer-protocol', String(message));
}
