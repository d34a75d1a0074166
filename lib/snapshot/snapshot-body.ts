/**
 * A part of a file as the body of an answer: one piece is read when one is asked for, so a reader
 * costs one piece of memory, however slow it is.
 */
import { LIMITS } from '../base/limits.ts';
import type { Clock } from '../env/clock.ts';
import type { DiskFile } from '../env/disk.ts';
import { TransportError } from '../env/transport.ts';
import { type Progress, ProgressMeter } from './progress-meter.ts';

export interface SnapshotBodyOptions {
  readonly file: DiskFile;
  readonly fromByte: number;
  readonly endByte: number;
  readonly clock: Clock;
  readonly signal: AbortSignal | undefined;
  /** Called once, when the file is no longer needed. `complete` = every byte was read. */
  readonly onReleased: (complete: boolean) => void;
}

export class SnapshotBody implements AsyncIterableIterator<Uint8Array> {
  readonly #options: SnapshotBodyOptions;
  readonly #meter: ProgressMeter;
  #offset: number;
  #lastPulledMs: number;
  #cut = false;
  #released = false;
  /** Settles when no read is under way. */
  #reading: Promise<unknown> = Promise.resolve();
  readonly #onAbort = (): void => void this.#release();

  constructor(options: SnapshotBodyOptions) {
    this.#options = options;
    this.#offset = options.fromByte;
    this.#meter = new ProgressMeter(options.clock, options.endByte - options.fromByte);
    this.#lastPulledMs = options.clock.monotonicMs();
    options.signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (options.signal?.aborted === true) this.#onAbort();
  }

  get progress(): Progress {
    return this.#meter.progress;
  }

  get lastPulledMs(): number {
    return this.#lastPulledMs;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    this.#lastPulledMs = this.#options.clock.monotonicMs();
    // Not an early end: the reader must not take what it has for the whole file.
    if (this.#cut) throw new TransportError('the snapshot was removed', { mayHaveArrived: true });
    const count = Math.min(LIMITS.streamChunkBytes, this.#options.endByte - this.#offset);
    if (this.#released || count === 0) {
      await this.#release();
      return { done: true, value: undefined };
    }
    const piece = Buffer.allocUnsafe(count);
    const reading = this.#options.file.readAt(this.#offset, piece);
    this.#reading = reading.catch(() => {});
    const got = await reading;
    if (got < count) throw new TransportError(`the snapshot ends at byte ${this.#offset + got}`, { mayHaveArrived: true });
    this.#offset += got;
    this.#meter.add(got);
    return { done: false, value: piece };
  }

  async return(): Promise<IteratorResult<Uint8Array>> {
    await this.#release();
    return { done: true, value: undefined };
  }

  /** Ends the transfer with an error, for a reader that holds on to a file that has to go. */
  async cut(): Promise<void> {
    this.#cut = true;
    await this.#release();
  }

  async #release(): Promise<void> {
    if (this.#released) return;
    this.#released = true;
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    // A descriptor that is closed under a read may be another file's by then.
    await this.#reading;
    this.#options.onReleased(this.#offset === this.#options.endByte);
    await this.#options.file.close();
  }
}
