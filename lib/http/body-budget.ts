import { assert } from '../base/errors.ts';

/** Memory that bodies of all connections together may take. Whoever gets none is told so at once. */
export class BodyBudget {
  readonly bytesMax: number;
  #usedBytes = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** An empty reservation, to be grown. */
  open(): BodyReservation {
    return new BodyReservation(this);
  }

  /** For reservations. @returns false, and nothing changed, where there is no more. */
  take(bytes: number): boolean {
    if (bytes > 0 && this.#usedBytes + bytes > this.bytesMax) return false;
    this.#usedBytes += bytes;
    assert(this.#usedBytes >= 0, 'more of the body budget was given back than taken');
    return true;
  }
}

/** One body's share of the budget. */
export class BodyReservation {
  readonly #budget: BodyBudget;
  #bytes = 0;

  constructor(budget: BodyBudget) {
    this.#budget = budget;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Makes the share at least `bytes` large. False, and nothing changed, where the budget has no more. */
  growTo(bytes: number): boolean {
    if (bytes <= this.#bytes) return true;
    if (!this.#budget.take(bytes - this.#bytes)) return false;
    this.#bytes = bytes;
    return true;
  }

  /** Makes the share exactly `bytes` large. False, and nothing changed, where the budget has no more. */
  resizeTo(bytes: number): boolean {
    if (bytes > this.#bytes) return this.growTo(bytes);
    this.#budget.take(bytes - this.#bytes);
    this.#bytes = bytes;
    return true;
  }

  /** Gives everything back; doing it twice is harmless. */
  release(): void {
    this.#budget.take(-this.#bytes);
    this.#bytes = 0;
  }
}
