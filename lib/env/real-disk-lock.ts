/**
 * A lock that dies with its process, however that process dies. Node has no flock, so a small SQLite
 * file is held in an exclusive transaction: SQLite takes a lock of the system on it, and the system
 * gives it back. (The one place outside store/ that uses better-sqlite3; nothing is ever stored.)
 *
 * The system drops such a lock when the process closes *any* descriptor of the file: nothing else in
 * this process may open it, not even to read.
 */
import Database from 'better-sqlite3';
import { open } from 'node:fs/promises';
import { messageOf, ShiplogError } from '../base/errors.ts';
import type { DiskLock } from './disk.ts';
import { describeSystemError } from './system-error.ts';

/** The timer only has to be there; it is never meant to do anything. */
const PIN_INTERVAL_MS = 24 * 3_600_000;

export class RealDiskLock implements DiskLock {
  readonly #database: Database.Database;
  readonly #pin: NodeJS.Timeout;

  private constructor(database: Database.Database) {
    this.#database = database;
    // A database that nobody refers to any more is closed by the garbage collector, and the lock with
    // it. Node itself refers to a timer until it is cleared, also to one that does not hold the process.
    this.#pin = setInterval(() => this.#database, PIN_INTERVAL_MS).unref();
  }

  /** @throws ShiplogError `data-directory-in-use` where another holder lives, in this process or another. */
  static async take(path: string): Promise<RealDiskLock> {
    await makeFile(path);
    let database: Database.Database | undefined;
    try {
      database = new Database(path, { fileMustExist: true, timeout: 0 });
      // Nothing is written, so nothing needs a journal, and no journal file stays behind.
      database.pragma('journal_mode = MEMORY');
      database.pragma('locking_mode = EXCLUSIVE');
      database.exec('BEGIN EXCLUSIVE');
      return new RealDiskLock(database);
    } catch (error) {
      database?.close();
      throw describeLockError(error, path);
    }
  }

  /** The file stays: removing it could remove the lock of the next holder. */
  async release(): Promise<void> {
    clearInterval(this.#pin);
    this.#database.close();
  }
}

/** Made here and not by SQLite, which would let other users read it. */
async function makeFile(path: string): Promise<void> {
  try {
    // `wx` fails without opening where the file exists: opening and closing it would drop our own lock.
    await (await open(path, 'wx', 0o600)).close();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw describeSystemError(error as Error, 'make the lock file', path);
  }
}

function describeLockError(error: unknown, path: string): Error {
  const code = error instanceof Database.SqliteError ? error.code : '';
  if (code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED')) {
    return new ShiplogError(
      'data-directory-in-use',
      `another process holds ${path}; stop it (fuser -v ${path} names it), or give this node another data directory`,
      { cause: error },
    );
  }
  if (code === 'SQLITE_NOTADB' || code.startsWith('SQLITE_CORRUPT')) {
    return new ShiplogError(
      'data-directory-invalid',
      `${path} is not a lock file of this program; if no node runs on this directory, remove it and start again`,
      { cause: error },
    );
  }
  return new Error(
    `can not lock ${path}: ${messageOf(error)}; let the user of this process read and write it, or name another place`,
    { cause: error },
  );
}
