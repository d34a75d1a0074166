import { randomBytes } from 'node:crypto';
import type { Random } from './random.ts';

export class RealRandom implements Random {
  /** From the system's cryptographic source: ids of clusters and epochs must never meet again. */
  bytes(count: number): Buffer {
    return randomBytes(count);
  }

  /** For jitter only, so the cheap generator is good enough. */
  uniform(): number {
    return Math.random();
  }
}
