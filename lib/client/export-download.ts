/** `GET /export`, for the command line: passes the lines on as they are, and knows at the end whether they are all. */
import { ShiplogError } from '../base/errors.ts';
import { EXPORT_FORMAT, type ExportFooter, type ExportHeader } from '../base/export-document.ts';
import type { Clock } from '../env/clock.ts';
import type { Transport } from '../env/transport.ts';
import { problemOf } from './shiplog-client.ts';
import { Silence } from './silence.ts';

export interface ExportDownloadOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly url: string;
  readonly prefix?: string;
  /** The node answers once it shows this position. */
  readonly min?: string;
}

/** A node copies its table before it says a word. */
const HEAD_MS_MAX = 30 * 60_000;
const SILENCE_MS_MAX = 60_000;
/** Header, footer and what a node says when it fails are shorter. */
const FRAME_BYTES_MAX = 16 * 1024;
const NEWLINE = 0x0a;

export class ExportDownload {
  readonly #options: ExportDownloadOptions;
  #beginning: Buffer = Buffer.alloc(0);
  #ending: Buffer = Buffer.alloc(0);
  #lines = 0;
  #sizeBytes = 0;
  #header: ExportHeader | undefined;

  constructor(options: ExportDownloadOptions) {
    this.#options = options;
  }

  get progress(): { readonly keys: number; readonly totalKeys: number | undefined; readonly sizeBytes: number } {
    // With a prefix nobody knows how many there are.
    return { keys: Math.max(0, this.#lines - 1), totalKeys: this.#header?.prefix === undefined ? this.#header?.keys : undefined, sizeBytes: this.#sizeBytes };
  }

  /**
   * All bytes, in their order. Ends without an error only where they are all.
   * @throws ShiplogError as the node refused; `export-incomplete`; `peer-protocol`; TransportError.
   */
  async *chunks(): AsyncGenerator<Uint8Array, ExportFooter> {
    const { transport, clock, url } = this.#options;
    const silence = new Silence(clock);
    try {
      silence.expect(HEAD_MS_MAX);
      const response = await transport.request(url, { method: 'GET', target: this.#target(), headers: { accept: 'application/x-ndjson' }, signal: silence.signal });
      if (response.status !== 200) throw await problemOf(response);
      silence.expect(SILENCE_MS_MAX);
      for await (const chunk of response.body) {
        this.#note(chunk);
        silence.end();
        yield chunk;
        silence.expect(SILENCE_MS_MAX);
      }
      return this.#footer();
    } finally {
      silence.end();
    }
  }

  #target(): string {
    const { prefix, min } = this.#options;
    const parameters = new URLSearchParams({ ...(prefix !== undefined && { prefix }), ...(min !== undefined && { min }) }).toString();
    return parameters === '' ? '/export' : `/export?${parameters}`;
  }

  #note(chunk: Uint8Array): void {
    this.#sizeBytes += chunk.length;
    for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, at + 1)) this.#lines += 1;
    this.#ending = chunk.length >= FRAME_BYTES_MAX ? Buffer.from(chunk.subarray(-FRAME_BYTES_MAX)) : Buffer.concat([this.#ending, chunk]).subarray(-FRAME_BYTES_MAX);
    if (this.#header === undefined) this.#readHeader(chunk);
  }

  #readHeader(chunk: Uint8Array): void {
    this.#beginning = Buffer.concat([this.#beginning, chunk.subarray(0, FRAME_BYTES_MAX)]);
    const end = this.#beginning.indexOf(NEWLINE);
    if (end === -1 && this.#beginning.length < FRAME_BYTES_MAX) return;
    const header = parse(this.#beginning.subarray(0, Math.max(0, end))) as Partial<ExportHeader> | undefined;
    if (header?.type !== 'header' || typeof header.keys !== 'number') throw new ShiplogError('peer-protocol', 'the answer does not begin with the header of an export');
    if (header.format !== EXPORT_FORMAT) throw new ShiplogError('peer-protocol', `the export has the format ${String(header.format)}, this version reads ${EXPORT_FORMAT}`);
    this.#header = header as ExportHeader;
    this.#beginning = Buffer.alloc(0);
  }

  #footer(): ExportFooter {
    const isWhole = this.#ending.at(-1) === NEWLINE;
    const last = this.#ending.subarray(this.#ending.lastIndexOf(NEWLINE, -2) + 1, -1);
    const frame = (isWhole ? parse(last) : undefined) as { readonly type?: unknown; readonly count?: unknown; readonly message?: unknown } | undefined;
    if (frame?.type === 'failed') throw new ShiplogError('export-incomplete', `the export broke off: ${String(frame.message)}`);
    if (frame?.type !== 'footer') throw new ShiplogError('export-incomplete', 'the export ended without its footer: it is not complete');
    if (frame.count !== this.#lines - 2) throw new ShiplogError('export-incomplete', `the export counts ${String(frame.count)} keys, ${this.#lines - 2} came`);
    return frame as ExportFooter;
  }
}

function parse(line: Buffer): unknown {
  try {
    return JSON.parse(line.toString('utf8'));
  } catch {
    return undefined;
  }
}
