/** Databases that came from elsewhere, before they are anybody's store. Runs in a thread of the store. */
import type { Database } from 'better-sqlite3';
import { ShiplogError } from '../base/errors.ts';
import { assertSchema, readAppliedState } from './schema.ts';
import { openUnchecked } from './sqlite-connection.ts';
import type { AppliedRecord, FileCheck } from './store-calls.ts';

/** @throws ShiplogError `data-directory-invalid` where the file is foreign, newer or damaged. */
export function verifyDatabaseFile(path: string, depth: FileCheck): AppliedRecord {
  return withFile(path, { readonly: true }, (database) => check(database, path, depth));
}

/** Verifies the file and gives it to another cluster. It is synced when this returns. */
export function adoptDatabaseFile(path: string, clusterId: string): AppliedRecord {
  return withFile(path, { readonly: false }, (database) => {
    check(database, path, 'all');
    // One file without companions, also where the backup was a copy of a live database.
    database.pragma('journal_mode = DELETE');
    database.pragma('synchronous = FULL');
    database.prepare('UPDATE applied SET cluster_id = ?').run(clusterId);
    return describe(database);
  });
}

function check(database: Database, path: string, depth: FileCheck): AppliedRecord {
  assertSchema(database, path);
  const verdict = database.pragma(depth === 'all' ? 'integrity_check(1)' : 'quick_check(1)', { simple: true }) as string;
  if (verdict !== 'ok') throw damaged(path, verdict);
  const record = describe(database);
  const beyond = database.prepare<[number], { key: string; lsn: number }>('SELECT key, lsn FROM kv WHERE lsn > ? LIMIT 1').get(record.lsn);
  if (beyond !== undefined) throw damaged(path, `it holds a row of LSN ${beyond.lsn}, beyond its own position ${record.lsn}`);
  return record;
}

function describe(database: Database): AppliedRecord {
  const { clusterId, lsn, chain, history } = readAppliedState(database);
  return { clusterId, lsn, chain, epochs: history.epochs };
}

function withFile<Result>(path: string, options: { readonly readonly: boolean }, run: (database: Database) => Result): Result {
  let database: Database | undefined;
  try {
    database = openUnchecked(path, options);
    return run(database);
  } catch (error) {
    const { code } = error as { readonly code?: unknown };
    const isDamage = code === 'SQLITE_NOTADB' || (typeof code === 'string' && code.startsWith('SQLITE_CORRUPT'));
    throw isDamage ? damaged(path, (error as Error).message) : error;
  } finally {
    database?.close();
  }
}

function damaged(path: string, what: string): ShiplogError {
  return new ShiplogError('data-directory-invalid', `${path} is damaged: ${what}`);
}
