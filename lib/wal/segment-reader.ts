/**
 * Reads the records of one segment in order and verifies each: header checksum, LSN, chain. Stops
 * at the first bytes that are not the next valid record and says where and why; what that means is
 * for recovery to decide.
 */
import { crc32 } from 'node:zlib';
import type { LogPoint } from '../base/epoch-history.ts';
import { MIB } from '../base/limits.ts';
import type { DiskFile } from '../env/disk.ts';
import { FRAME_HEADER_BYTES, FRAME_MAGIC, type FrameHeader, chainOverHeader, decodeFrameHeader, lastLsnOf } from './frame.ts';
import { isZero } from './integers.ts';
import { MARK_BYTES, MARK_MAGIC, type Mark, decodeMark } from './mark.ts';
import type { Segment } from './segment.ts';

const READ_BYTES = 1 * MIB;

export type SegmentRecord = FrameRecord | MarkRecord;

export interface FrameRecord {
  readonly type: 'frame';
  readonly offset: number;
  readonly endOffset: number;
  readonly header: FrameHeader;
  readonly end: LogPoint;
  /** Valid until the next call of `next`. */
  readonly payload: Buffer;
}

export interface MarkRecord {
  readonly type: 'mark';
  readonly offset: number;
  readonly endOffset: number;
  readonly mark: Mark;
}

export class SegmentReader {
  readonly #file: DiskFile;
  readonly #segment: Segment;
  readonly #endOffset: number;
  #offset: number;
  #before: LogPoint;
  #window = Buffer.alloc(0);
  #windowOffset: number;
  #badReason: string | undefined;

  /** Reads from a frame boundary up to `endOffset` (exclusive). */
  constructor(file: DiskFile, segment: Segment, from: { readonly point: LogPoint; readonly offset: number }, endOffset: number) {
    this.#file = file;
    this.#segment = segment;
    this.#offset = from.offset;
    this.#windowOffset = from.offset;
    this.#before = from.point;
    this.#endOffset = endOffset;
  }

  /** Offset of the next record; after the last one, of the first byte that is none. */
  get offset(): number {
    return this.#offset;
  }

  /** End of the last frame read. */
  get point(): LogPoint {
    return this.#before;
  }

  /** Why reading stopped before the end; undefined where it did not. */
  get badReason(): string | undefined {
    return this.#badReason;
  }

  /**
   * Where reading has stopped: whether nothing but zeros follows. At the end of a log they are space that
   * was prepared for it; anywhere else they are as bad as other bytes.
   */
  async hasOnlyZerosLeft(): Promise<boolean> {
    const window = Buffer.allocUnsafe(Math.min(READ_BYTES, this.#endOffset - this.#offset));
    for (let offset = this.#offset; offset < this.#endOffset; ) {
      const count = await this.#file.readAt(offset, window.subarray(0, Math.min(window.length, this.#endOffset - offset)));
      if (count === 0) break;
      if (!isZero(window, 0, count)) return false;
      offset += count;
    }
    return true;
  }

  /** Returns undefined at the end, and at the first bad bytes: `badReason` tells which. */
  async next(): Promise<SegmentRecord | undefined> {
    if (this.#badReason !== undefined || this.#offset === this.#endOffset) return undefined;
    await this.#fill(FRAME_HEADER_BYTES);
    const at = this.#offset - this.#windowOffset;
    const available = this.#window.length - at;
    const magic = available >= 4 ? this.#window.readUInt32LE(at) : 0;
    if (magic === MARK_MAGIC && available >= MARK_BYTES) return this.#readMark(at);
    if (magic === FRAME_MAGIC && available >= FRAME_HEADER_BYTES) return this.#readFrame();
    return this.#bad(available < FRAME_HEADER_BYTES ? 'a record is cut off' : 'no record begins here');
  }

  #readMark(at: number): MarkRecord | undefined {
    const mark = decodeMark(this.#window, at, this.#offset, this.#segment.markSeed);
    if (mark === undefined) return this.#bad('a mark has a wrong checksum');
    if (mark.durable.lsn !== this.#before.lsn || mark.durable.chain !== this.#before.chain) {
      return this.#bad(`a mark names LSN ${mark.durable.lsn}, expected ${this.#before.lsn} and its chain`);
    }
    const offset = this.#offset;
    this.#offset += MARK_BYTES;
    return { type: 'mark', offset, endOffset: this.#offset, mark };
  }

  async #readFrame(): Promise<FrameRecord | undefined> {
    const header = decodeFrameHeader(this.#window, this.#offset - this.#windowOffset, this.#segment.frameSeed);
    if (header === undefined) return this.#bad('a frame header has a wrong checksum');
    if (header.firstLsn !== this.#before.lsn + 1) {
      return this.#bad(`a frame begins with LSN ${header.firstLsn}, expected ${this.#before.lsn + 1}`);
    }
    const frameBytes = FRAME_HEADER_BYTES + header.payloadBytes;
    await this.#fill(frameBytes);
    const start = this.#offset - this.#windowOffset;
    if (this.#window.length - start < frameBytes) return this.#bad(`a frame of ${frameBytes} bytes is cut off`);
    const payload = this.#window.subarray(start + FRAME_HEADER_BYTES, start + frameBytes);
    const chain = crc32(payload, chainOverHeader(this.#window, start, this.#before.chain));
    if (chain !== header.chain) return this.#bad('a frame does not match its chain');
    const offset = this.#offset;
    this.#offset += frameBytes;
    this.#before = { lsn: lastLsnOf(header), chain };
    return { type: 'frame', offset, endOffset: this.#offset, header, end: this.#before, payload };
  }

  #bad(reason: string): undefined {
    this.#badReason = reason;
    return undefined;
  }

  /** Makes the window hold `bytes` from the current offset on, or all there is. */
  async #fill(bytes: number): Promise<void> {
    const start = this.#offset - this.#windowOffset;
    if (this.#window.length - start >= bytes) return;
    const wanted = Math.min(Math.max(bytes, READ_BYTES), this.#endOffset - this.#offset);
    const window = Buffer.allocUnsafe(wanted);
    let filled = this.#window.copy(window, 0, start);
    while (filled < wanted) {
      const count = await this.#file.readAt(this.#offset + filled, window.subarray(filled));
      if (count === 0) break;
      filled += count;
    }
    this.#window = window.subarray(0, filled);
    this.#windowOffset = this.#offset;
  }
}
