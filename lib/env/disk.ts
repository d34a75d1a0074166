/**
 * Files, as the rest of the program may see them.
 *
 * The contract that recovery is built on: bytes survive a crash only after `sync`, names only after
 * `syncDirectory`. Of unsynced bytes any subset may survive, in any order, zero-filled or not.
 */
export interface Disk {
  open(path: string, options: OpenOptions): Promise<DiskFile>;
  /** Names in a directory, sorted; an empty list where the directory does not exist. */
  list(directory: string): Promise<string[]>;
  exists(path: string): Promise<boolean>;
  /** Creates a directory and its parents; the caller syncs the parent. */
  makeDirectory(path: string): Promise<void>;
  /** Removes a file, or a directory with all that is in it. Quiet where it does not exist. */
  remove(path: string): Promise<void>;
  /** Replaces `to` where it exists. Durable after `syncDirectory` of the parent. */
  rename(from: string, to: string): Promise<void>;
  syncDirectory(path: string): Promise<void>;
  /** Bytes that an unprivileged writer can still use on the file system of `path`. */
  freeBytes(path: string): Promise<number>;
  /**
   * Takes a lock that dies with the process, or with `release`.
   * @throws ShiplogError `data-directory-in-use` where another holder lives.
   */
  lock(path: string): Promise<DiskLock>;
}

export interface OpenOptions {
  /** `read` opens what exists; `write` opens what exists for both; `create` makes it, empty, where it is missing. */
  readonly mode: 'read' | 'write' | 'create';
  /** Every write is on the device before it returns (O_DSYNC). */
  readonly dataSync?: boolean;
}

export interface DiskFile {
  /**
   * Writes the buffers one after another at `offset`. May write less than asked: the caller loops.
   * @returns bytes written. @throws DiskFullError, or the system's error.
   */
  writeAt(offset: number, buffers: readonly Uint8Array[]): Promise<number>;
  /** Reads up to `into.length` bytes; fewer only at the end of the file. @returns bytes read. */
  readAt(offset: number, into: Uint8Array): Promise<number>;
  size(): Promise<number>;
  truncate(sizeBytes: number): Promise<void>;
  /** Data and as much metadata as is needed to read it back (fdatasync). */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface DiskLock {
  release(): Promise<void>;
}

/** ENOSPC or EDQUOT: nothing is broken, space may come back. */
export class DiskFullError extends Error {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.name = 'DiskFullError';
  }
}

/** Writes all of it, looping over short writes. */
export async function writeFully(file: DiskFile, offset: number, data: Uint8Array): Promise<void> {
  let written = 0;
  while (written < data.length) {
    const count = await file.writeAt(offset + written, [written === 0 ? data : data.subarray(written)]);
    // A regular file that takes nothing without an error would loop for ever.
    if (count === 0) throw new DiskFullError('the file takes no more bytes');
    written += count;
  }
}

export async function readWhole(disk: Disk, path: string): Promise<Buffer> {
  const file = await disk.open(path, { mode: 'read' });
  try {
    const content = Buffer.alloc(await file.size());
    let filled = 0;
    while (filled < content.length) {
      const count = await file.readAt(filled, content.subarray(filled));
      if (count === 0) break;
      filled += count;
    }
    return content.subarray(0, filled);
  } finally {
    await file.close();
  }
}
