/** How far a transfer is, how fast, and how long it will take: for humans. */
import type { Clock } from '../env/clock.ts';

export interface Progress {
  readonly doneBytes: number;
  readonly totalBytes: number | null;
  readonly bytesPerS: number;
  /** Null while nothing moves, or where the total is not known. */
  readonly etaS: number | null;
}

/** The rate is that of the last few seconds: what counts is how it goes now. */
const WINDOW_MS = 10_000;
const SAMPLE_INTERVAL_MS = 500;

interface Sample {
  readonly atMs: number;
  readonly doneBytes: number;
}

export class ProgressMeter {
  readonly #clock: Clock;
  readonly #totalBytes: number | null;
  #samples: Sample[];
  #doneBytes = 0;

  constructor(clock: Clock, totalBytes: number | null) {
    this.#clock = clock;
    this.#totalBytes = totalBytes;
    this.#samples = [{ atMs: clock.monotonicMs(), doneBytes: 0 }];
  }

  add(bytes: number): void {
    this.#doneBytes += bytes;
    const atMs = this.#clock.monotonicMs();
    if (atMs - this.#samples.at(-1)!.atMs < SAMPLE_INTERVAL_MS) return;
    this.#samples.push({ atMs, doneBytes: this.#doneBytes });
    // The newest of those that are too old stays: the window begins there.
    while (this.#samples.length > 2 && this.#samples[1]!.atMs < atMs - WINDOW_MS) this.#samples.shift();
  }

  get progress(): Progress {
    const oldest = this.#samples[0]!;
    const elapsedMs = this.#clock.monotonicMs() - oldest.atMs;
    const bytesPerS = elapsedMs <= 0 ? 0 : Math.round(((this.#doneBytes - oldest.doneBytes) * 1000) / elapsedMs);
    const etaS =
      this.#totalBytes === null || bytesPerS === 0 ? null : Math.ceil((this.#totalBytes - this.#doneBytes) / bytesPerS);
    return { doneBytes: this.#doneBytes, totalBytes: this.#totalBytes, bytesPerS, etaS };
  }
}
