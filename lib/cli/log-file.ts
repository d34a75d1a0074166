import { type Disk, type DiskFile, writeFully } from '../env/disk.ts';

/** A larger file is put aside as `FILE.1` when it is opened. */
const SIZE_BYTES_MAX = 16 * 1024 * 1024;

/** A file that lines are appended to. What it holds is for people: it is not synced. */
export class LogFile {
  readonly #file: DiskFile;
  #offset: number;

  private constructor(file: DiskFile, offset: number) {
    this.#file = file;
    this.#offset = offset;
  }

  static async open(disk: Disk, path: string): Promise<LogFile> {
    let file = await disk.open(path, { mode: 'create' });
    let size = await file.size();
    if (size > SIZE_BYTES_MAX) {
      await file.close();
      await disk.rename(path, `${path}.1`);
      file = await disk.open(path, { mode: 'create' });
      size = 0;
    }
    return new LogFile(file, size);
  }

  /** Calls don't overlap. */
  async append(text: string): Promise<void> {
    const data = Buffer.from(text);
    await writeFully(this.#file, this.#offset, data);
    this.#offset += data.length;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}
