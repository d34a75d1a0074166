/**
 * A worker thread of the store: one connection, one call at a time. The same file serves as the
 * writer, as the checkpointer, and as the threads that come and go for exports, digests and counts;
 * none of them can hold the event loop of the main thread.
 */
import type { Database } from 'better-sqlite3';
import { constants, getPriority, setPriority } from 'node:os';
import { parentPort } from 'node:worker_threads';
import { assert, messageOf } from '../base/errors.ts';
import { adoptDatabaseFile, verifyDatabaseFile } from './database-file.ts';
import { openReader, openWriter } from './sqlite-connection.ts';
import { readAppliedState } from './schema.ts';
import { copyDatabase, exportSnapshot } from './snapshot-export.ts';
import { SqliteCheckpointer } from './sqlite-checkpointer.ts';
import { SqliteWriter } from './sqlite-writer.ts';
import {
  type AppliedRecord,
  CLOSE_MESSAGE,
  type CopiedTable,
  type KeyedRowsPage,
  type KeyedRowsRequest,
  type OpenRequest,
  type RowsPage,
  type RowsRequest,
  type StoreCallMessage,
  type StoreCallName,
  type StoreCalls,
  type StoreReplyMessage,
} from './store-calls.ts';
import type { KeyedRow } from './store.ts';
import { TableDigester } from './table-digest.ts';

/** Of rows that go to the main thread at once; a single row may be longer. */
const PAGE_ROWS_MAX = 1_000;
const PAGE_LENGTH_MAX = 1024 * 1024;

/** A tenth of a processor that the main thread wants for itself; all of one that is free. */
const NICENESS = 10;

const port = parentPort;
assert(port !== null, 'sqlite-worker.ts runs as a worker thread only');

class SqliteWorker {
  #database: Database | undefined;
  #writer: SqliteWriter | undefined;

  readonly calls: { readonly [Name in StoreCallName]: (request: StoreCalls[Name]['request']) => StoreCalls[Name]['result'] } = {
    open: (request) => this.#open(request),
    apply: (request) => this.#writerOrThrow().apply(request),
    restartWal: () => this.#writerOrThrow().restartWal(),
    checkpoint: () => new SqliteCheckpointer(this.#databaseOrThrow()).checkpoint(),
    exportSnapshot: ({ path }) => exportSnapshot(this.#databaseOrThrow(), path),
    pin: () => this.#pin(),
    digest: () => this.#digest(),
    rowsAfter: (request) => this.#rowsAfter(request),
    copyTable: ({ path }) => this.#copyTable(path),
    rowsByKey: (request) => this.#rowsByKey(request),
    countRows: () => this.#databaseOrThrow().prepare('SELECT count(*) FROM kv').pluck().get() as number,
    verifyFile: ({ path, check }) => verifyDatabaseFile(path, check),
    adoptFile: ({ path, clusterId }) => adoptDatabaseFile(path, clusterId),
  };

  close(): void {
    this.#database?.close();
  }

  #open({ path, mode }: OpenRequest): AppliedRecord {
    assert(this.#database === undefined, 'a thread opens one database');
    this.#database = mode === 'write' ? openWriter(path) : openReader(path);
    if (mode === 'write') this.#writer = new SqliteWriter(this.#database);
    const { clusterId, lsn, chain, history } = readAppliedState(this.#database);
    return { clusterId, lsn, chain, epochs: history.epochs };
  }

  #pin(): { readonly lsn: number; readonly chain: number } {
    const database = this.#databaseOrThrow();
    // BEGIN alone pins nothing: the transaction starts to see one state with its first read.
    database.exec('BEGIN');
    const { lsn, chain } = readAppliedState(database);
    return { lsn, chain };
  }

  #digest(): { readonly rowCount: number; readonly sha256: string } {
    const database = this.#databaseOrThrow();
    assert(database.inTransaction, 'a digest is of a pinned state');
    const digester = new TableDigester();
    const rows = database
      .prepare<[], [Buffer, Buffer, number]>('SELECT CAST(key AS BLOB), CAST(value AS BLOB), lsn FROM kv ORDER BY key')
      .raw();
    for (const [key, value, lsn] of rows.iterate()) digester.add(key, value, lsn);
    database.exec('ROLLBACK');
    return digester.finish();
  }

  #rowsAfter({ afterLsn, afterRowId }: RowsRequest): RowsPage {
    const database = this.#databaseOrThrow();
    assert(database.inTransaction, 'rows are read of a pinned state');
    const statement = database.prepare<[number, number], KeyedRow & { readonly rowId: number }>(
      'SELECT rowid AS rowId, key, value, lsn FROM kv WHERE rowid > ? AND lsn > ? ORDER BY rowid',
    );
    const rows: KeyedRow[] = [];
    let length = 0;
    for (const { rowId, key, value, lsn } of statement.iterate(afterRowId, afterLsn)) {
      rows.push({ key, value, lsn });
      length += key.length + value.length;
      if (rows.length >= PAGE_ROWS_MAX || length >= PAGE_LENGTH_MAX) return { rows, lastRowId: rowId };
    }
    return { rows, lastRowId: null };
  }

  #copyTable(path: string): CopiedTable {
    const database = this.#databaseOrThrow();
    copyDatabase(database, path);
    database.close();
    this.#database = openReader(path);
    const { clusterId, lsn, chain, history } = readAppliedState(this.#database);
    return { clusterId, lsn, chain, epochs: history.epochs, rowCount: this.calls.countRows(undefined) };
  }

  #rowsByKey({ prefix, afterKey }: KeyedRowsRequest): KeyedRowsPage {
    // Keys with one prefix stand together: SQLite compares their bytes.
    const statement = this.#databaseOrThrow().prepare<[string], KeyedRow>(`SELECT key, value, lsn FROM kv WHERE key ${afterKey === null ? '>=' : '>'} ? ORDER BY key`);
    const rows: KeyedRow[] = [];
    let length = 0;
    for (const row of statement.iterate(afterKey ?? prefix)) {
      if (!row.key.startsWith(prefix)) break;
      rows.push(row);
      length += row.key.length + row.value.length;
      if (rows.length >= PAGE_ROWS_MAX || length >= PAGE_LENGTH_MAX) return { rows, isLast: false };
    }
    return { rows, isLast: true };
  }

  #databaseOrThrow(): Database {
    assert(this.#database !== undefined, 'open comes first');
    return this.#database;
  }

  #writerOrThrow(): SqliteWriter {
    assert(this.#writer !== undefined, 'this thread may only read');
    return this.#writer;
  }
}

const worker = new SqliteWorker();
stepBack();

port.on('message', (message: StoreCallMessage | typeof CLOSE_MESSAGE) => {
  if (message === CLOSE_MESSAGE) {
    worker.close();
    port.close();
    return;
  }
  port.postMessage(replyTo(message));
});

/**
 * What is durable is served from memory, so nobody waits for the store; where it shares a processor with
 * the main thread, everybody would wait for that one. A sandbox may forbid it: then the system decides.
 */
function stepBack(): void {
  // Elsewhere a priority is not of one thread but of the process.
  if (process.platform !== 'linux') return;
  try {
    setPriority(Math.min(constants.priority.PRIORITY_LOW, getPriority() + NICENESS));
  } catch {
    // It would only have been better.
  }
}

function replyTo({ id, name, request }: StoreCallMessage): StoreReplyMessage {
  try {
    return { id, outcome: 'done', result: worker.calls[name](request as never) };
  } catch (error) {
    return { id, outcome: 'failed', code: codeOf(error), message: messageOf(error) };
  }
}

function codeOf(error: unknown): string {
  const { code } = error as { readonly code?: unknown };
  return typeof code === 'string' ? code : 'unknown';
}
