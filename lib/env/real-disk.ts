/**
 * The disk of this machine. The log appends through it, so a file is a numeric descriptor and the
 * calls are Node's callback ones: a FileHandle costs more per call and says nothing more.
 */
import fs from 'node:fs';
import { mkdir, readdir, rename, rm, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { assert } from '../base/errors.ts';
import type { Disk, DiskFile, DiskLock, OpenOptions } from './disk.ts';
import { RealDiskLock } from './real-disk-lock.ts';
import { describeSyncError, describeSystemError, isMissing } from './system-error.ts';

const { O_CREAT, O_DIRECTORY, O_DSYNC, O_RDONLY, O_RDWR } = fs.constants;

/** Data is the owner's alone: values may be secrets, and no other user has business with the files. */
const DIRECTORY_MODE = 0o700;
const FILE_MODE = 0o600;

export class RealDisk implements Disk {
  async open(path: string, options: OpenOptions): Promise<DiskFile> {
    return new RealDiskFile(await openDescriptor(path, flagsOf(options), ACTIONS[options.mode]), path);
  }

  async list(directory: string): Promise<string[]> {
    try {
      return (await readdir(directory)).sort();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw describeSystemError(error as Error, 'list', directory);
    }
  }

  async exists(path: string): Promise<boolean> {
    try {
      await stat(path);
      return true;
    } catch (error) {
      if (isMissing(error)) return false;
      throw describeSystemError(error as Error, 'look at', path);
    }
  }

  async makeDirectory(path: string): Promise<void> {
    try {
      await makeOneDirectory(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || dirname(path) === path) {
        throw describeSystemError(error as Error, 'make the directory', path);
      }
      // Not mkdir's own `recursive`: on a read-only file system it reports ENOENT.
      await this.makeDirectory(dirname(path));
      await makeOneDirectory(path).catch((error: Error) => {
        throw describeSystemError(error, 'make the directory', path);
      });
    }
  }

  async remove(path: string): Promise<void> {
    try {
      await rm(path, { recursive: true, force: true });
    } catch (error) {
      throw describeSystemError(error as Error, 'remove', path);
    }
  }

  async rename(from: string, to: string): Promise<void> {
    try {
      await rename(from, to);
    } catch (error) {
      throw describeSystemError(error as Error, `rename ${from} to`, to);
    }
  }

  async syncDirectory(path: string): Promise<void> {
    const descriptor = await openDescriptor(path, O_RDONLY | O_DIRECTORY, 'open the directory');
    try {
      await new Promise<void>((resolve, reject) => {
        fs.fsync(descriptor, (error) => (error === null ? resolve() : reject(describeSyncError(error, path))));
      });
    } finally {
      await closeDescriptor(descriptor, path);
    }
  }

  async freeBytes(path: string): Promise<number> {
    try {
      const { bavail, bsize } = await statfs(path);
      return bavail * bsize;
    } catch (error) {
      throw describeSystemError(error as Error, 'ask for the free space of', path);
    }
  }

  lock(path: string): Promise<DiskLock> {
    return RealDiskLock.take(path);
  }
}

class RealDiskFile implements DiskFile {
  readonly #descriptor: number;
  readonly #path: string;
  #closing: Promise<void> | undefined;
  #callsUnderWay = 0;
  #onIdle: (() => void) | undefined;

  constructor(descriptor: number, path: string) {
    this.#descriptor = descriptor;
    this.#path = path;
  }

  writeAt(offset: number, buffers: readonly Uint8Array[]): Promise<number> {
    this.#begin('write to');
    return new Promise((resolve, reject) => {
      const done = (error: NodeJS.ErrnoException | null, writtenBytes: number): void => {
        this.#end();
        if (error === null) resolve(writtenBytes);
        else reject(describeSystemError(error, 'write to', this.#path));
      };
      if (buffers.length === 1) fs.write(this.#descriptor, buffers[0]!, 0, buffers[0]!.length, offset, done);
      else fs.writev(this.#descriptor, buffers, offset, done);
    });
  }

  readAt(offset: number, into: Uint8Array): Promise<number> {
    this.#begin('read');
    return new Promise((resolve, reject) => {
      let filled = 0;
      const readOn = (): void => fs.read(this.#descriptor, into, filled, into.length - filled, offset + filled, done);
      const done = (error: NodeJS.ErrnoException | null, readBytes: number): void => {
        filled += readBytes;
        // The system may cut a read short anywhere; only zero bytes mean the end of the file.
        if (error === null && readBytes > 0 && filled < into.length) {
          readOn();
          return;
        }
        this.#end();
        if (error === null) resolve(filled);
        else reject(describeSystemError(error, 'read', this.#path));
      };
      readOn();
    });
  }

  size(): Promise<number> {
    this.#begin('ask for the size of');
    return new Promise((resolve, reject) => {
      fs.fstat(this.#descriptor, (error, stats) => {
        this.#end();
        if (error === null) resolve(stats.size);
        else reject(describeSystemError(error, 'ask for the size of', this.#path));
      });
    });
  }

  truncate(sizeBytes: number): Promise<void> {
    this.#begin('truncate');
    return new Promise((resolve, reject) => {
      fs.ftruncate(this.#descriptor, sizeBytes, (error) => {
        this.#end();
        if (error === null) resolve();
        else reject(describeSystemError(error, 'truncate', this.#path));
      });
    });
  }

  sync(): Promise<void> {
    this.#begin('sync');
    return new Promise((resolve, reject) => {
      fs.fdatasync(this.#descriptor, (error) => {
        this.#end();
        if (error === null) resolve();
        else reject(describeSyncError(error, this.#path));
      });
    });
  }

  /** May be called again; every other call after it is a programmer's error. */
  close(): Promise<void> {
    this.#closing ??= this.#closeWhenIdle();
    return this.#closing;
  }

  async #closeWhenIdle(): Promise<void> {
    // The system gives the number of a closed descriptor to the next file: a write that still waits in
    // the thread pool would go into that one.
    if (this.#callsUnderWay > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    await closeDescriptor(this.#descriptor, this.#path);
  }

  #begin(action: string): void {
    assert(this.#closing === undefined, `can not ${action} ${this.#path} after close`);
    this.#callsUnderWay += 1;
  }

  #end(): void {
    this.#callsUnderWay -= 1;
    if (this.#callsUnderWay === 0) this.#onIdle?.();
  }
}

/** Quiet where the directory exists already. */
async function makeOneDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: DIRECTORY_MODE });
  } catch (error) {
    const exists = (error as NodeJS.ErrnoException).code === 'EEXIST' && (await stat(path)).isDirectory();
    if (!exists) throw error;
  }
}

/** What failed, as in "can not … PATH". */
const ACTIONS = { read: 'read', write: 'write', create: 'make' } as const;

function flagsOf({ mode, dataSync = false }: OpenOptions): number {
  const access = mode === 'read' ? O_RDONLY : mode === 'write' ? O_RDWR : O_RDWR | O_CREAT;
  return dataSync ? access | O_DSYNC : access;
}

function openDescriptor(path: string, flags: number, action: string): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(path, flags, FILE_MODE, (error, descriptor) => {
      if (error === null) resolve(descriptor);
      else reject(describeSystemError(error, action, path));
    });
  });
}

function closeDescriptor(descriptor: number, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.close(descriptor, (error) => {
      if (error == null) resolve();
      else reject(describeSystemError(error, 'close', path));
    });
  });
}
