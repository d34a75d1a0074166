/** Which request comes next. */
import type { Random } from '../env/random.ts';
import type { RequestKind } from './protocol.ts';

export interface Workload {
  kind(): RequestKind;
  /** The index of the key of the next request. */
  key(): number;
}

/** Reads and writes of keys at random. @param readPercent 0 to 100. */
export function mixedWorkload(random: Random, readPercent: number, keyCount: number): Workload {
  return {
    kind: () => (readPercent === 100 || (readPercent > 0 && random.uniform() * 100 < readPercent) ? 'get' : 'set'),
    key: () => Math.floor(random.uniform() * keyCount),
  };
}

/** Each key once, in their order: for a load of as many requests as there are keys. */
export function eachKeyOnce(kind: RequestKind): Workload {
  let next = 0;
  return { kind: () => kind, key: () => next++ };
}
