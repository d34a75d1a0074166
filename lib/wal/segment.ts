/** What is known of one segment file while the log is open. */
import type { LogPoint } from '../base/epoch-history.ts';
import { MIB } from '../base/limits.ts';
import { saltSeed } from './frame.ts';
import { type SegmentHeader, SEGMENT_HEADER_BYTES } from './segment-header.ts';

/** A frame boundary whose place in the file is remembered. */
export interface SegmentBoundary {
  readonly point: LogPoint;
  /** Offset of the first byte after the frame that ends at `point`. */
  readonly offset: number;
}

const BOUNDARY_DISTANCE_BYTES = 1 * MIB;

export class Segment {
  readonly path: string;
  readonly header: SegmentHeader;
  readonly frameSeed: number;
  readonly markSeed: number;
  /** Durable bytes, header and marks included. */
  sizeBytes: number;
  #boundaries: SegmentBoundary[];

  constructor(path: string, header: SegmentHeader, sizeBytes: number) {
    this.path = path;
    this.header = header;
    this.frameSeed = saltSeed(header.frameSalt);
    this.markSeed = saltSeed(header.markSalt);
    this.sizeBytes = sizeBytes;
    this.#boundaries = [{ point: header.before, offset: SEGMENT_HEADER_BYTES }];
  }

  get firstLsn(): number {
    return this.header.before.lsn + 1;
  }

  /** Remembers a boundary if the last one is far enough away: the index stays sparse. */
  noteBoundary(point: LogPoint, offset: number): void {
    if (offset - this.#boundaries.at(-1)!.offset >= BOUNDARY_DISTANCE_BYTES) this.#boundaries.push({ point, offset });
  }

  /** The last remembered boundary at or before `lsn`. */
  boundaryBefore(lsn: number): SegmentBoundary {
    let low = 0;
    let high = this.#boundaries.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.#boundaries[middle]!.point.lsn <= lsn) low = middle;
      else high = middle - 1;
    }
    return this.#boundaries[low]!;
  }
}
