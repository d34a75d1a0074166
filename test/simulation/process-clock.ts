/** The time of one process: it ends with the process, and stands still while the process is frozen. */
import type { Clock, Timer } from '../../lib/env/clock.ts';

interface Due {
  readonly callback: () => void;
  isCancelled: boolean;
}

export class ProcessClock implements Clock {
  readonly #base: Clock;
  readonly #onTimer: () => void;
  readonly #wallOffsetMs: () => number;
  #isOver = false;
  #isFrozen = false;
  #due: Due[] = [];

  /** `onTimer` is told of each timer that fires. */
  constructor(base: Clock, onTimer: () => void, wallOffsetMs: () => number) {
    this.#base = base;
    this.#onTimer = onTimer;
    this.#wallOffsetMs = wallOffsetMs;
  }

  monotonicMs(): number {
    return this.#base.monotonicMs();
  }

  wallMs(): number {
    return this.#base.wallMs() + this.#wallOffsetMs();
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    if (this.#isOver) return { cancel: () => {} };
    const due: Due = { callback, isCancelled: false };
    const timer = this.#base.setTimer(delayMs, () => {
      if (!this.#isOver) this.#onTimer();
      this.#run(due);
    });
    return {
      cancel: () => {
        due.isCancelled = true;
        timer.cancel();
      },
    };
  }

  defer(callback: () => void): void {
    if (!this.#isOver) this.#base.defer(() => this.#run({ callback, isCancelled: false }));
  }

  /** From here on none of its callbacks is called any more. */
  end(): void {
    this.#isOver = true;
    this.#due = [];
  }

  /** SIGSTOP: time goes on, and nothing that was to happen happens. */
  freeze(): void {
    this.#isFrozen = true;
  }

  /** SIGCONT: everything that has become due meanwhile happens at once. */
  thaw(): void {
    this.#isFrozen = false;
    for (const due of this.#due.splice(0)) this.#base.defer(() => this.#run(due));
  }

  #run(due: Due): void {
    if (this.#isOver || due.isCancelled) return;
    if (this.#isFrozen) this.#due.push(due);
    else due.callback();
  }
}
