import type { Clock, Timer } from './clock.ts';

/** Node's timers overflow beyond this and would fire at once. */
const NODE_TIMER_MS_MAX = 2 ** 31 - 1;

export class RealClock implements Clock {
  monotonicMs(): number {
    return performance.now();
  }

  wallMs(): number {
    return Date.now();
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    return new RealTimer(this.monotonicMs() + Math.max(0, delayMs), callback);
  }

  defer(callback: () => void): void {
    setImmediate(callback);
  }
}

class RealTimer implements Timer {
  readonly #deadlineMs: number;
  readonly #callback: () => void;
  #timeout: NodeJS.Timeout;

  constructor(deadlineMs: number, callback: () => void) {
    this.#deadlineMs = deadlineMs;
    this.#callback = callback;
    this.#timeout = this.#arm();
  }

  cancel(): void {
    clearTimeout(this.#timeout);
  }

  #arm(): NodeJS.Timeout {
    const remainingMs = Math.ceil(this.#deadlineMs - performance.now());
    return setTimeout(() => this.#fire(), Math.min(remainingMs, NODE_TIMER_MS_MAX)).unref();
  }

  #fire(): void {
    // Node counts in whole milliseconds and may be a fraction early; the contract says never.
    if (performance.now() < this.#deadlineMs) this.#timeout = this.#arm();
    else this.#callback();
  }
}
