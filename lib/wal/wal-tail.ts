/**
 * The newest write groups in memory, as they stand in their segment: a cache of file bytes that
 * serves every follower at the tail without a read. Bounded in bytes, all followers together.
 *
 * The bytes are copied into one ring that is used over and over. A queue of the groups' own buffers
 * would be simpler, but each of them lives just long enough to be taken for long-lived: V8 then leaves
 * them lying about until a full collection, which comes after a gigabyte.
 */
import { KIB } from '../base/limits.ts';
import type { Segment } from './segment.ts';

interface TailGroup {
  readonly segment: Segment;
  readonly offset: number;
  readonly sizeBytes: number;
  /** Where it begins in the ring, counted in bytes since the first group ever. */
  readonly at: number;
}

const RING_BYTES_MIN = 64 * KIB;

export class WalTail {
  readonly #bytesMax: number;
  /** As large as the first round through it has needed so far. */
  #ring: Buffer = Buffer.alloc(0);
  /** Where the next group begins; only rises. */
  #head = 0;
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

  /** Copies the group's bytes. */
  add(segment: Segment, offset: number, bytes: Buffer): void {
    if (bytes.length > this.#bytesMax) {
      // What came before it would serve nobody who has to pass it.
      this.#dropBefore(Infinity);
      return;
    }
    const room = this.#bytesMax - (this.#head % this.#bytesMax);
    // A group is never split: where it doesn't fit before the end of the ring, it goes to the beginning.
    if (bytes.length > room) this.#head += room;
    const at = this.#head;
    this.#head += bytes.length;
    this.#dropBefore(this.#head - this.#bytesMax);
    const start = at % this.#bytesMax;
    this.#grow(start + bytes.length);
    bytes.copy(this.#ring, start);
    this.#groups.push({ segment, offset, sizeBytes: bytes.length, at });
    this.#totalBytes += bytes.length;
  }

  /**
   * The group's bytes from `offset` of `segment` on, or undefined where memory doesn't reach back.
   * They may be overwritten at the next `add`: whoever keeps them copies them before it waits for anything.
   */
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
      } else if (offset >= group.offset + group.sizeBytes) {
        low = middle + 1;
      } else {
        const start = group.at % this.#bytesMax;
        return this.#ring.subarray(start + offset - group.offset, start + group.sizeBytes);
      }
    }
    return undefined;
  }

  /** A node that writes little needs little. */
  #grow(sizeBytes: number): void {
    if (sizeBytes <= this.#ring.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.min(this.#bytesMax, Math.max(sizeBytes, 2 * this.#ring.length, RING_BYTES_MIN)));
    this.#ring.copy(larger);
    this.#ring = larger;
  }

  #dropBefore(at: number): void {
    while (this.#first < this.#groups.length && this.#groups[this.#first]!.at < at) {
      this.#totalBytes -= this.#groups[this.#first]!.sizeBytes;
      this.#first += 1;
    }
    if (this.#first > 1024 || this.#first === this.#groups.length) {
      this.#groups = this.#groups.slice(this.#first);
      this.#first = 0;
    }
  }
}
