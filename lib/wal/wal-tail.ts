/**
 * The newest write groups in memory, as they stand in their segment: a cache of file bytes that
 * serves every follower at the tail without a read. Bounded in bytes, all followers together.
 */
import type { Segment } from './segment.ts';

interface TailGroup {
  readonly segment: Segment;
  readonly offset: number;
  readonly bytes: Buffer;
}

export class WalTail {
  readonly #bytesMax: number;
  /** In log order; `#first` counts those that were let go, so that this stays a queue. */
  #groups: TailGroup[] = [];
  #first = 0;
  #totalBytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get totalBytes(): number {
    return this.#totalBytes;
  }

  add(segment: Segment, offset: number, bytes: Buffer): void {
    this.#groups.push({ segment, offset, bytes });
    this.#totalBytes += bytes.length;
    while (this.#totalBytes > this.#bytesMax && this.#first < this.#groups.length) {
      this.#totalBytes -= this.#groups[this.#first]!.bytes.length;
      this.#first += 1;
    }
    if (this.#first > 1024 || this.#first === this.#groups.length) {
      this.#groups = this.#groups.slice(this.#first);
      this.#first = 0;
    }
  }

  /** The group's bytes from `offset` of `segment` on, or undefined where memory doesn't reach back. */
  at(segment: Segment, offset: number): Buffer | undefined {
    let low = this.#first;
    let high = this.#groups.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const group = this.#groups[middle]!;
      if (group.segment !== segment) {
        if (group.segment.firstLsn < segment.firstLsn) low = middle + 1;
        else high = middle - 1;
      } else if (offset < group.offset) {
        high = middle - 1;
      } else if (offset >= group.offset + group.bytes.length) {
        low = middle + 1;
      } else {
        return group.bytes.subarray(offset - group.offset);
      }
    }
    return undefined;
  }
}
