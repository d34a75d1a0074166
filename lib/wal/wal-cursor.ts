/**
 * One reader's place in the log: yields the bytes of frames, marks cut out, from any frame boundary
 * on to the durable end and on as it grows. A place is a byte of a segment, so the newest bytes
 * come from memory and older ones from the file by the same path, and a reader that stalls holds
 * nothing but its place and at most one chunk.
 */
import { crc32 } from 'node:zlib';
import type { LogPoint } from '../base/epoch-history.ts';
import { ShiplogError, assert } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { Disk, DiskFile } from '../env/disk.ts';
import { FRAME_HEADER_BYTES, FRAME_MAGIC, chainOverHeader, decodeFrameHeader, lastLsnOf } from './frame.ts';
import { MARK_BYTES, MARK_MAGIC } from './mark.ts';
import type { Segment } from './segment.ts';
import { SEGMENT_HEADER_BYTES } from './segment-header.ts';
import { SegmentReader } from './segment-reader.ts';
import { damaged } from './wal-recovery.ts';
import type { Wal } from './wal.ts';

export interface WalChunk {
  /** At most LIMITS.streamChunkBytes. */
  readonly bytes: Buffer;
  /** Frame salt of the segment that the bytes are from. */
  readonly salt: Buffer;
  /** True where the bytes end with a whole frame: something else may be said after them. */
  readonly endsFrame: boolean;
  /** Last LSN of the last whole frame up to here. */
  readonly throughLsn: number;
}

export class WalCursor {
  readonly #wal: Wal;
  readonly #disk: Disk;
  readonly #chunkBytes: number;
  /** Undefined only while the log has no segment at all. */
  #segment: Segment | undefined;
  #offset: number;
  /** End of the last whole frame. */
  #point: LogPoint;
  /** The frame that is being read, where one is. */
  #frame: { remainingBytes: number; chain: number; readonly expected: LogPoint } | undefined;
  #file: DiskFile | undefined;

  private constructor(wal: Wal, disk: Disk, place: { segment: Segment | undefined; offset: number; point: LogPoint }, chunkBytes: number) {
    assert(chunkBytes >= 2 * FRAME_HEADER_BYTES, `chunks of ${chunkBytes} bytes are too small`);
    this.#wal = wal;
    this.#disk = disk;
    this.#segment = place.segment;
    this.#offset = place.offset;
    this.#point = place.point;
    this.#chunkBytes = chunkBytes;
  }

  /**
   * A cursor after `lsn`, which must be the end of a frame.
   * @throws ShiplogError `position-gone` where the log begins later.
   * @throws ShiplogError `chain-mismatch` where `lsn` is above the durable end or inside a frame.
   */
  static async open(wal: Wal, disk: Disk, afterLsn: number, chunkBytes: number = LIMITS.streamChunkBytes): Promise<WalCursor> {
    const { end, segments } = wal;
    if (afterLsn === end.lsn) {
      const last = segments.at(-1);
      return new WalCursor(wal, disk, { segment: last, offset: last?.sizeBytes ?? SEGMENT_HEADER_BYTES, point: end }, chunkBytes);
    }
    if (afterLsn > end.lsn) throw new ShiplogError('chain-mismatch', `LSN ${afterLsn} is above the durable end ${end.lsn}`);
    const segment = segments.findLast((each) => each.header.before.lsn <= afterLsn);
    if (segment === undefined) {
      throw new ShiplogError('position-gone', `the log begins at LSN ${wal.start.lsn + 1}, asked for ${afterLsn + 1}; take a snapshot`);
    }
    const cursor = new WalCursor(wal, disk, { segment, offset: 0, point: segment.header.before }, chunkBytes);
    try {
      await cursor.#seek(segment, afterLsn);
    } catch (error) {
      await cursor.close();
      throw error;
    }
    return cursor;
  }

  /** End of the last whole frame that was yielded; at first, where the cursor was opened. */
  get point(): LogPoint {
    return this.#point;
  }

  async #seek(segment: Segment, afterLsn: number): Promise<void> {
    const boundary = segment.boundaryBefore(afterLsn);
    this.#offset = boundary.offset;
    this.#point = boundary.point;
    if (boundary.point.lsn === afterLsn) return;
    this.#file = await this.#openFile(segment);
    const reader = new SegmentReader(this.#file, segment, boundary, segment.sizeBytes);
    while (reader.point.lsn < afterLsn && (await reader.next()) !== undefined);
    if (reader.badReason !== undefined) throw this.#damage(segment, reader.offset, reader.badReason);
    if (reader.point.lsn !== afterLsn) throw new ShiplogError('chain-mismatch', `LSN ${afterLsn} is not the end of a batch`);
    this.#offset = reader.offset;
    this.#point = reader.point;
  }

  /**
   * The next bytes, or undefined at the durable end: wait for `wal.durable` to pass `point.lsn`.
   * @throws ShiplogError `position-gone` where retention was faster, `log-damaged` where a frame does not verify.
   */
  async next(): Promise<WalChunk | undefined> {
    const parts: Buffer[] = [];
    let isBorrowed = false;
    let size = 0;
    while (size < this.#chunkBytes) {
      if (this.#segment === undefined || this.#offset === this.#segment.sizeBytes) {
        // A chunk never mixes segments: each has its own salt.
        if (size > 0 || !(await this.#enterNextSegment())) break;
        continue;
      }
      const cached = this.#wal.tail.at(this.#segment, this.#offset);
      isBorrowed ||= cached !== undefined;
      if (cached === undefined && size > 0) break;
      const available = cached ?? (await this.#readFile(this.#segment));
      const offsetBefore = this.#offset;
      size += this.#take(available, this.#chunkBytes - size, this.#segment, parts);
      // The next header doesn't fit into what is left of the chunk.
      if (this.#offset === offsetBefore) break;
    }
    if (size === 0) return undefined;
    return {
      // From here on others get a turn, and memory may be overwritten.
      bytes: isBorrowed ? Buffer.concat(parts) : joined(parts, this.#chunkBytes),
      salt: this.#segment!.header.frameSalt,
      endsFrame: this.#frame === undefined,
      throughLsn: this.#point.lsn,
    };
  }

  async #enterNextSegment(): Promise<boolean> {
    const { segments } = this.#wal;
    const next = segments.find((segment) => segment.header.before.lsn >= this.#point.lsn && segment !== this.#segment);
    if (next === undefined) return false;
    if (next.header.before.lsn !== this.#point.lsn) {
      throw new ShiplogError('position-gone', `the log now begins at LSN ${next.firstLsn}, asked for ${this.#point.lsn + 1}; take a snapshot`);
    }
    await this.#file?.close();
    this.#file = undefined;
    this.#segment = next;
    this.#offset = SEGMENT_HEADER_BYTES;
    return true;
  }

  async #readFile(segment: Segment): Promise<Buffer> {
    this.#file ??= await this.#openFile(segment);
    // Fresh for every read: whoever sends it may hold it until the socket has taken it.
    const bytes = Buffer.allocUnsafeSlow(Math.min(this.#chunkBytes, segment.sizeBytes - this.#offset));
    const count = await this.#file.readAt(this.#offset, bytes);
    if (count < bytes.length) throw this.#damage(segment, this.#offset + count, 'the file is shorter than what was synced');
    return bytes;
  }

  async #openFile(segment: Segment): Promise<DiskFile> {
    try {
      return await this.#disk.open(segment.path, { mode: 'read' });
    } catch (error) {
      if (this.#wal.segments.includes(segment)) throw error;
      throw new ShiplogError('position-gone', `the segment that holds LSN ${this.#point.lsn + 1} was removed; take a snapshot`, { cause: error });
    }
  }

  /** Moves over `available`, adding frames' bytes to `parts` and passing over marks. @returns bytes added. */
  #take(available: Buffer, bytesMax: number, segment: Segment, parts: Buffer[]): number {
    let at = 0;
    let added = 0;
    let partStart = 0;
    const endPart = (): void => {
      if (at > partStart) parts.push(available.subarray(partStart, at));
    };
    while (at < available.length && added < bytesMax) {
      if (this.#frame !== undefined) {
        const count = Math.min(this.#frame.remainingBytes, available.length - at, bytesMax - added);
        this.#frame.chain = crc32(available.subarray(at, at + count), this.#frame.chain);
        this.#frame.remainingBytes -= count;
        at += count;
        added += count;
        if (this.#frame.remainingBytes === 0) this.#finishFrame(segment, this.#offset + at);
        continue;
      }
      const left = available.length - at;
      const magic = left >= 4 ? available.readUInt32LE(at) : 0;
      if (magic === MARK_MAGIC && left >= MARK_BYTES) {
        endPart();
        at += MARK_BYTES;
        partStart = at;
        continue;
      }
      // A header that is cut by the window or by what is left of the chunk waits for the next one.
      if ((left < FRAME_HEADER_BYTES && this.#offset + available.length < segment.sizeBytes) || bytesMax - added < FRAME_HEADER_BYTES) break;
      this.#beginFrame(available, at, magic, segment);
      at += FRAME_HEADER_BYTES;
      added += FRAME_HEADER_BYTES;
    }
    endPart();
    this.#offset += at;
    return added;
  }

  #beginFrame(available: Buffer, at: number, magic: number, segment: Segment): void {
    const isWhole = magic === FRAME_MAGIC && available.length - at >= FRAME_HEADER_BYTES;
    const header = isWhole ? decodeFrameHeader(available, at, segment.frameSeed) : undefined;
    if (header === undefined || header.firstLsn !== this.#point.lsn + 1) {
      throw this.#damage(segment, this.#offset + at, 'no frame begins here');
    }
    this.#frame = {
      remainingBytes: header.payloadBytes,
      chain: chainOverHeader(available, at, this.#point.chain),
      expected: { lsn: lastLsnOf(header), chain: header.chain },
    };
  }

  #finishFrame(segment: Segment, endOffset: number): void {
    const { chain, expected } = this.#frame!;
    if (chain !== expected.chain) throw this.#damage(segment, endOffset, `the frame that ends here at LSN ${expected.lsn} does not match its chain`);
    this.#point = expected;
    this.#frame = undefined;
  }

  /** The log forgets what can't be read, so that whoever asks for it again is told to take a snapshot. */
  #damage(segment: Segment, offset: number, what: string): Error {
    const error = damaged(segment.path, offset, what);
    this.#wal.noteDamage(segment, error);
    return error;
  }

  async close(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }
}

/**
 * One buffer that keeps alive no more than about its own size: a slice of a large group would keep
 * the whole group for as long as a stalled reader holds it.
 */
function joined(parts: readonly Buffer[], chunkBytes: number): Buffer {
  const only = parts.length === 1 ? parts[0]! : undefined;
  if (only !== undefined && only.buffer.byteLength <= chunkBytes) return only;
  return Buffer.concat(parts);
}
