import type { Random } from '../../lib/env/random.ts';

/** Chance that repeats itself: the same seed gives the same draws, on every machine. Not for secrets. */
export class SeededRandom implements Random {
  #state: number;

  constructor(seed: number) {
    // Neighbouring seeds must not give neighbouring streams.
    this.#state = Math.imul(seed ^ (seed >>> 16) ^ 0x5bd1e995, 0x9e3779b1) >>> 0;
    this.#state ^= this.#state >>> 15;
  }

  /** mulberry32: 32 bits of state, good enough to spread faults. */
  uniform(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  }

  bytes(count: number): Buffer {
    const bytes = Buffer.alloc(count);
    for (let index = 0; index < count; index += 1) bytes[index] = this.below(256);
    return bytes;
  }

  /** A stream of its own: what is drawn from one does not move the other. */
  fork(): SeededRandom {
    return new SeededRandom(this.below(0x1_0000_0000));
  }

  /** A whole number, 0 … `end` − 1. */
  below(end: number): number {
    return Math.floor(this.uniform() * end);
  }

  chance(probability: number): boolean {
    return this.uniform() < probability;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }
}
