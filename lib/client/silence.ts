import type { Clock, Timer } from '../env/clock.ts';

/** Aborts an exchange in which nothing happens for too long, however long it takes as a whole. */
export class Silence {
  readonly #clock: Clock;
  readonly #abort = new AbortController();
  #timer: Timer | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Something happened; the next thing has to within `withinMs`. */
  expect(withinMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#clock.setTimer(withinMs, () => this.#abort.abort(new Error(`nothing happened for ${withinMs} ms`)));
  }

  end(): void {
    this.#timer?.cancel();
  }
}
