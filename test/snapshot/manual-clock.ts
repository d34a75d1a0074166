import type { Clock, Timer } from '../../lib/env/clock.ts';

/** Time stands still until it is told to pass. What is deferred happens in the real event loop. */
export class ManualClock implements Clock {
  #nowMs = 0;
  readonly #timers = new Set<{ readonly atMs: number; readonly callback: () => void }>();

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.#nowMs;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const timer = { atMs: this.#nowMs + delayMs, callback };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  defer(callback: () => void): void {
    setImmediate(callback);
  }

  advance(byMs: number): void {
    const endMs = this.#nowMs + byMs;
    for (;;) {
      const next = [...this.#timers].sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined || next.atMs > endMs) break;
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      this.#timers.delete(next);
      next.callback();
    }
    this.#nowMs = endMs;
  }

  /** Lets time pass, with turns of the event loop in between, until `promise` settles. */
  async advanceUntil<Value>(promise: Promise<Value>, stepMs = 50): Promise<Value> {
    const progress = { settled: false };
    promise.then(
      () => (progress.settled = true),
      () => (progress.settled = true),
    );
    while (!progress.settled) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      this.advance(stepMs);
    }
    return await promise;
  }
}
