/**
 * When each request of a load at a fixed rate is due. Latency counts from that moment, not from the
 * one in which it was sent: a node that stands still for a second makes all requests of that second
 * wait, and not only those that happened to be on their way (coordinated omission).
 */
export class RateSchedule {
  readonly #startMs: number;
  readonly #intervalMs: number;

  constructor(startMs: number, requestsPerS: number) {
    this.#startMs = startMs;
    this.#intervalMs = 1_000 / requestsPerS;
  }

  /** Of the request with this index, the first being 0. */
  dueMs(index: number): number {
    return this.#startMs + index * this.#intervalMs;
  }

  /** How many requests are due by now. */
  dueCount(nowMs: number): number {
    if (nowMs < this.#startMs) return 0;
    const count = Math.floor((nowMs - this.#startMs) / this.#intervalMs) + 1;
    // Rounding must not call one due before its own moment, whose wait would then be negative.
    return this.dueMs(count - 1) > nowMs ? count - 1 : count;
  }
}
