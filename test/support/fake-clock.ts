/**
 * Time that passes only when it is told to, the same way every time: timers fire in the order of
 * their moments, those of one moment in the order in which they were set, and between two of them
 * everything that can happen without time passing has happened.
 */
import { type Clock, type Timer, sleep } from '../../lib/env/clock.ts';

interface PendingTimer {
  readonly atMs: number;
  /** Breaks ties. */
  readonly order: number;
  readonly callback: () => void;
}

export class FakeClock implements Clock {
  #nowMs = 0;
  #wallOffsetMs = 1_700_000_000_000;
  #order = 0;
  readonly #timers = new Set<PendingTimer>();
  #deferred: (() => void)[] = [];

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return Math.floor(this.#wallOffsetMs + this.#nowMs);
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    this.#order += 1;
    const timer = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order, callback };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  defer(callback: () => void): void {
    this.#deferred.push(callback);
  }

  /** Timers that are set: for tests that look for leaks. */
  get timerCount(): number {
    return this.#timers.size;
  }

  /** Sets the wall clock forward or back, as an operator or a time server would. Timers don't notice. */
  jumpWall(byMs: number): void {
    this.#wallOffsetMs += byMs;
  }

  /** Lets happen what needs no time: promises, and what was deferred. */
  async settle(): Promise<void> {
    await emptyPromiseQueue();
    while (this.#deferred.length > 0) {
      const turn = this.#deferred;
      this.#deferred = [];
      for (const callback of turn) callback();
      await emptyPromiseQueue();
    }
  }

  /** Lets `byMs` pass, timer by timer. */
  async advance(byMs: number): Promise<void> {
    const endMs = this.#nowMs + byMs;
    await this.settle();
    for (let next = this.#nextTimer(); next !== undefined && next.atMs <= endMs; next = this.#nextTimer()) {
      await this.#fire(next);
    }
    this.#nowMs = endMs;
  }

  /**
   * Lets time pass until the promise settles, and returns what it brings.
   * @throws Error where nothing is left that could make it settle, or after `limitMs`.
   */
  async until<Value>(promise: Promise<Value>, limitMs = 600_000): Promise<Value> {
    const endMs = this.#nowMs + limitMs;
    const seen = { isSettled: false };
    const settled = (): void => {
      seen.isSettled = true;
    };
    promise.then(settled, settled);
    await this.settle();
    while (!seen.isSettled) {
      const next = this.#nextTimer();
      if (next === undefined) throw new Error('waiting for something that can not happen: no timer is set');
      if (next.atMs > endMs) throw new Error(`did not happen within ${limitMs} ms`);
      await this.#fire(next);
    }
    return await promise;
  }

  /** Lets time pass, in steps, until the condition holds. */
  async untilTrue(condition: () => boolean, limitMs = 600_000): Promise<void> {
    const endMs = this.#nowMs + limitMs;
    await this.settle();
    while (!condition()) {
      if (this.#nowMs >= endMs) throw new Error(`did not become true within ${limitMs} ms: ${condition.toString()}`);
      await this.until(sleep(this, 10));
    }
  }

  /** The same time for one process: after `end`, none of its callbacks is called any more, as after a crash. */
  incarnation(): Clock & { readonly end: () => void } {
    let isOver = false;
    const whileAlive = (callback: () => void) => (): void => {
      if (!isOver) callback();
    };
    return {
      monotonicMs: () => this.monotonicMs(),
      wallMs: () => this.wallMs(),
      setTimer: (delayMs, callback) => this.setTimer(delayMs, whileAlive(callback)),
      defer: (callback) => this.defer(whileAlive(callback)),
      end: () => {
        isOver = true;
      },
    };
  }

  #nextTimer(): PendingTimer | undefined {
    let next: PendingTimer | undefined;
    for (const timer of this.#timers) {
      if (next === undefined || timer.atMs < next.atMs || (timer.atMs === next.atMs && timer.order < next.order)) next = timer;
    }
    return next;
  }

  async #fire(timer: PendingTimer): Promise<void> {
    this.#timers.delete(timer);
    this.#nowMs = Math.max(this.#nowMs, timer.atMs);
    timer.callback();
    await this.settle();
  }
}

/** Node looks at the event loop only when no promise is left to run. */
function emptyPromiseQueue(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
