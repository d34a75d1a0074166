/**
 * Every connection to a database is opened here, because most of what makes SQLite behave is set
 * per connection and has to be set on each of them.
 *
 * Nobody else may open these files in this process, not even to read or to copy them: POSIX
 * locks belong to the process, and closing *any* descriptor of a file drops all of SQLite's.
 */
import SqliteDatabase, { type Database } from 'better-sqlite3';
import { ShiplogError } from '../base/errors.ts';
import { assertSchema } from './schema.ts';

/**
 * Up to 3.51.2 a checkpoint that met a reset of the WAL at the wrong moment could lose committed
 * pages (sqlite.org, "the WAL-reset bug"). This store checkpoints while it writes, all the time.
 */
const SQLITE_VERSION_MIN = '3.51.3';

/** A WAL that grew while a long reader kept checkpoints away is cut back to this when it restarts. */
const JOURNAL_BYTES_KEPT = 64 * 1024 * 1024;

/** Counted as memory of the process, though the system takes it back when it needs it. */
const MAPPED_BYTES_MAX = 128 * 1024 * 1024;

/** How long a connection waits for another one's lock. In WAL mode only recovery and closing hold any for long. */
const BUSY_TIMEOUT_MS = 5_000;

/** For everything that never writes. */
export function openReader(path: string): Database {
  return open(path, { readonly: true });
}

/**
 * For reads of single rows. The beginning of the file is mapped into memory: a page that is not in SQLite's
 * cache then costs no call of the system and no copy. (A disk that can't read a mapped page ends the process
 * instead of the call; nothing else is read by this connection, and whoever asks again asks another node.)
 */
export function openPointReader(path: string): Database {
  const database = openReader(path);
  database.pragma(`mmap_size = ${MAPPED_BYTES_MAX}`);
  return database;
}

/** The one connection that changes rows, and the one that checkpoints. */
export function openWriter(path: string): Database {
  const database = open(path, { readonly: false });
  const mode = database.pragma('journal_mode = WAL', { simple: true });
  if (mode !== 'wal') throw new ShiplogError('store-failed', `${path} stays in journal mode ${String(mode)}, expected wal`);
  // NORMAL: a commit doesn't sync. It needn't, the log is the authority and brings back what a
  // power cut takes. But the header of the WAL is synced each time the WAL restarts, and that must
  // be: else an old header could revive old frames, and lay them over a newer database. A
  // checkpoint syncs the WAL before it copies, and the database before the WAL may restart.
  database.pragma('synchronous = NORMAL');
  // A checkpoint must not happen inside some unlucky commit; the checkpointer decides when.
  database.pragma('wal_autocheckpoint = 0');
  database.pragma(`journal_size_limit = ${JOURNAL_BYTES_KEPT}`);
  return database;
}

/** Opens a file that may not be ours yet, e.g. a downloaded snapshot. The caller checks the schema. */
export function openUnchecked(path: string, options: { readonly readonly: boolean }): Database {
  const database = new SqliteDatabase(path, {
    readonly: options.readonly,
    fileMustExist: true,
    timeout: BUSY_TIMEOUT_MS,
  });
  try {
    assertSqliteVersion(database);
    // Nothing in the schema of a file may run code by itself.
    database.pragma('trusted_schema = OFF');
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** @throws ShiplogError `store-failed` below 3.51.3. */
export function assertSqliteVersion(database: Database): void {
  const version = database.prepare('SELECT sqlite_version()').pluck().get() as string;
  if (!isAtLeast(version, SQLITE_VERSION_MIN)) {
    throw new ShiplogError(
      'store-failed',
      `SQLite is ${version}, expected ${SQLITE_VERSION_MIN} or newer (older ones can lose committed data): run npm ci`,
    );
  }
}

export function isAtLeast(version: string, minimum: string): boolean {
  const [got, wanted] = [version, minimum].map((each) => each.split('.').map(Number)) as [number[], number[]];
  for (const [index, part] of wanted.entries()) {
    const difference = (got[index] ?? 0) - part;
    if (difference !== 0) return difference > 0;
  }
  return true;
}

function open(path: string, options: { readonly readonly: boolean }): Database {
  const database = openUnchecked(path, options);
  try {
    assertSchema(database, path);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}
