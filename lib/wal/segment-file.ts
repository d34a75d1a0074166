/**
 * The file that the log appends to. Zeros stand in it where the next groups will go: a sync that only
 * has to bring data into blocks the file owns already takes two thirds of the time of one that makes the
 * file longer, for then the file system writes its journal too. What it costs is that the bytes of the log
 * are written twice. Zeros behind the last record are the end of the log, as the end of the file is.
 */
import { MIB } from '../base/limits.ts';
import { type DiskFile, DiskFullError, writeFully } from '../env/disk.ts';

const ZEROS = Buffer.alloc(1 * MIB);
/** Of a segment: small ones get fewer. */
const ZEROS_SHARE = 1 / 16;

export class SegmentFile {
  readonly #file: DiskFile;
  #zeroBytes: number;
  /** Zeros included. */
  #sizeBytes: number;

  /** @param sizeBytes of the file, where the log ends too. @param segmentBytes what the segment is going to have. */
  constructor(file: DiskFile, sizeBytes: number, segmentBytes: number) {
    this.#file = file;
    this.#sizeBytes = sizeBytes;
    this.#zeroBytes = Math.min(ZEROS.length, Math.floor(segmentBytes * ZEROS_SHARE));
  }

  /** Writes at the end of the log, and more zeros behind where there are none left. @throws DiskFullError: then `cut`. */
  async append(offset: number, bytes: Uint8Array): Promise<void> {
    await writeFully(this.#file, offset, bytes);
    const end = offset + bytes.length;
    if (end <= this.#sizeBytes) return;
    this.#sizeBytes = end;
    if (this.#zeroBytes > 0) await this.#prepare(end);
  }

  /** Writes what the file ends with until something follows. @throws DiskFullError: then `cut`. */
  async appendLast(offset: number, bytes: Uint8Array): Promise<void> {
    if (offset < this.#sizeBytes) await this.cut(offset);
    await writeFully(this.#file, offset, bytes);
    this.#sizeBytes = offset + bytes.length;
  }

  async #prepare(end: number): Promise<void> {
    try {
      await writeFully(this.#file, end, ZEROS.subarray(0, this.#zeroBytes));
      this.#sizeBytes = end + this.#zeroBytes;
    } catch (error) {
      if (!(error instanceof DiskFullError)) throw error;
      // The last space is not for zeros. This segment goes without.
      this.#zeroBytes = 0;
      await this.#file.truncate(end);
    }
  }

  /** Takes away what is behind `offset`. The next sync makes that durable, too. */
  async cut(offset: number): Promise<void> {
    await this.#file.truncate(offset);
    this.#sizeBytes = offset;
  }

  sync(): Promise<void> {
    return this.#file.sync();
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
