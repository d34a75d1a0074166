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
  isCancelled: boolean;
}

export class FakeClock implements Clock {
  #nowMs = 0;
  #wallOffsetMs = 1_700_000_000_000;
  #order = 0;
  readonly #timers = new TimerHeap();
  #deferred: (() => void)[] = [];

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return Math.floor(this.#wallOffsetMs + this.#nowMs);
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    this.#order += 1;
    const timer = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order, callback, isCancelled: false };
    this.#timers.add(timer);
    return { cancel: () => this.#timers.cancel(timer) };
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
    for (let next = this.#timers.first; next !== undefined && next.atMs <= endMs; next = this.#timers.first) {
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
      const next = this.#timers.first;
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

  async #fire(timer: PendingTimer): Promise<void> {
    this.#timers.removeFirst();
    this.#nowMs = Math.max(this.#nowMs, timer.atMs);
    timer.callback();
    await this.settle();
  }
}

/** A binary heap: a simulation sets and fires thousands of timers a second. */
class TimerHeap {
  readonly #heap: PendingTimer[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get first(): PendingTimer | undefined {
    while (this.#heap[0]?.isCancelled === true) this.#pop();
    return this.#heap[0];
  }

  add(timer: PendingTimer): void {
    const heap = this.#heap;
    let index = heap.length;
    for (; index > 0; ) {
      const parent = (index - 1) >> 1;
      if (!isBefore(timer, heap[parent]!)) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = timer;
    this.#size += 1;
  }

  /** It stays in the heap until it comes to the top: most are cancelled long before their time. */
  cancel(timer: PendingTimer): void {
    if (timer.isCancelled) return;
    timer.isCancelled = true;
    this.#size -= 1;
  }

  removeFirst(): void {
    const first = this.#pop();
    if (first !== undefined) this.cancel(first);
  }

  #pop(): PendingTimer | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child += 1;
      if (!isBefore(heap[child]!, last)) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = last;
    return first;
  }
}

function isBefore(one: PendingTimer, other: PendingTimer): boolean {
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order);
}

/** Node looks at the event loop only when no promise is left to run. */
function emptyPromiseQueue(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
