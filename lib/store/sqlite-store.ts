/**
 * The table in SQLite.
 *
 *   main thread    one read-only connection: get(), a few microseconds, no transaction left behind
 *   writer         the only connection that changes anything; one transaction per apply()
 *   checkpointer   copies SQLite's WAL into the database file while the writer goes on
 *   on demand      one thread each for an export, a digest, a count
 *
 * All but the point reads happens in threads, so neither a transaction nor a sync nor a checkpoint
 * holds the event loop.
 */
import type { Database, Statement } from 'better-sqlite3';
import SqliteDatabase from 'better-sqlite3';
import { EpochHistory } from '../base/epoch-history.ts';
import { assert, isShiplogError, messageOf, ShiplogError, unreachable } from '../base/errors.ts';
import type { Batch } from '../base/operation.ts';
import { createSchema } from './schema.ts';
import { assertSqliteVersion, openPointReader } from './sqlite-connection.ts';
import { WAL_BYTES_MAX } from './sqlite-checkpointer.ts';
import type { ApplyRequest, KeyedRowsPage, RowsPage } from './store-calls.ts';
import { errorOf, StoreThread } from './store-thread.ts';
import type { AppliedState, KeyedRow, SnapshotFile, Store, StoredRow, TableCopy, TableDigest } from './store.ts';

/**
 * Creates an empty database for `clusterId`, complete and synced. The caller syncs the directory.
 * @throws ShiplogError `data-directory-invalid` where there is something at `path` already.
 */
export function createSqliteDatabase(path: string, options: { readonly clusterId: string }): void {
  let database: Database | undefined;
  try {
    database = new SqliteDatabase(path);
    assertSqliteVersion(database);
    const existing = database.prepare('SELECT count(*) FROM sqlite_schema').pluck().get() as number;
    if (existing !== 0) throw new ShiplogError('data-directory-invalid', `${path} exists already: a new database needs a new name`);
    database.pragma('synchronous = FULL');
    createSchema(database, options.clusterId);
  } catch (error) {
    throw storeError(error, `can't create ${path}`);
  } finally {
    database?.close();
  }
}

export interface SqliteStoreOptions {
  /** The database file. SQLite puts `-wal` and `-shm` files beside it. */
  readonly path: string;
}

export class SqliteStore implements Store {
  readonly #path: string;
  readonly #reader: Database;
  readonly #select: Statement<[string], StoredRow>;
  readonly #begin: Statement<[]>;
  readonly #commit: Statement<[]>;
  readonly #pageCount: Statement<[], number>;
  readonly #pageSizeBytes: number;
  readonly #writer: StoreThread;
  readonly #checkpointer: StoreThread;
  /** Threads that were started for one task. */
  readonly #tasks = new Set<StoreThread>();
  #applied: AppliedState;
  #applying = false;
  #closed: Promise<void> | undefined;

  /**
   * Opens a database that exists; where the last process crashed, SQLite recovers it here.
   * @throws ShiplogError `data-directory-invalid` where the file is no Shiplog database or of a newer
   * format; `store-failed` where SQLite is too old or can't read it.
   */
  static async open(options: SqliteStoreOptions): Promise<SqliteStore> {
    const writer = new StoreThread('writer');
    const checkpointer = new StoreThread('checkpointer');
    let reader: Database | undefined;
    try {
      // The writer first: it is the one that may recover, and that turns a snapshot into WAL mode.
      const { clusterId, lsn, chain, epochs } = await writer.call('open', { path: options.path, mode: 'write' });
      await checkpointer.call('open', { path: options.path, mode: 'write' });
      reader = openPointReader(options.path);
      return new SqliteStore({
        path: options.path,
        reader,
        writer,
        checkpointer,
        applied: { clusterId, lsn, chain, history: new EpochHistory(epochs) },
      });
    } catch (error) {
      reader?.close();
      await Promise.all([writer.close(), checkpointer.close()]);
      if (isShiplogError(error, 'store-failed')) {
        throw new ShiplogError('store-failed', `can't open ${options.path}: ${error.message}; restore this node from a snapshot, or empty its data directory to let it reseed from the primary`, { cause: error });
      }
      throw storeError(error, `can't open ${options.path}`);
    }
  }

  private constructor(parts: {
    readonly path: string;
    readonly reader: Database;
    readonly writer: StoreThread;
    readonly checkpointer: StoreThread;
    readonly applied: AppliedState;
  }) {
    this.#path = parts.path;
    this.#reader = parts.reader;
    this.#writer = parts.writer;
    this.#checkpointer = parts.checkpointer;
    this.#applied = parts.applied;
    this.#select = parts.reader.prepare('SELECT value, lsn FROM kv WHERE key = ?');
    this.#begin = parts.reader.prepare('BEGIN');
    this.#commit = parts.reader.prepare('COMMIT');
    this.#pageCount = parts.reader.prepare<[], number>('PRAGMA page_count').pluck();
    this.#pageSizeBytes = parts.reader.pragma('page_size', { simple: true }) as number;
  }

  get applied(): AppliedState {
    return this.#applied;
  }

  /**
   * May show a transaction a moment before the `apply` that wrote it resolves.
   * @throws ShiplogError `store-failed`.
   */
  get(key: string): StoredRow | undefined {
    try {
      this.#beginReads();
      return this.#select.get(key);
    } catch (error) {
      throw storeError(error, `can't read from ${this.#path}`);
    }
  }

  /**
   * Reads that follow one another without a pause share a transaction: taking and giving back the read lock costs
   * two calls of the system, as much as reading a row. It ends with what runs now, so no checkpoint waits for it
   * long, nor the answer to an `apply`, after which everybody may rely on seeing what was applied.
   */
  #beginReads(): void {
    if (this.#reader.inTransaction) return;
    this.#begin.run();
    queueMicrotask(() => this.#endReads());
  }

  #endReads(): void {
    if (this.#reader.inTransaction) this.#commit.run();
  }

  async apply(batches: readonly Batch[]): Promise<void> {
    if (batches.length === 0) return;
    assert(!this.#applying, 'apply is called again before it returned');
    const { request, next } = flatten(this.#applied, batches);
    this.#applying = true;
    try {
      await this.#writer.call('apply', request);
      this.#endReads();
      this.#applied = next;
    } finally {
      this.#applying = false;
    }
  }

  async checkpoint(): Promise<{ readonly lsn: number; readonly chain: number } | undefined> {
    const { point, walBytes } = await this.#checkpointer.call('checkpoint', undefined);
    if (point === undefined || walBytes < WAL_BYTES_MAX) return point;
    // Almost everything is copied, so the writer pauses for the little that came after.
    return (await this.#writer.call('restartWal', undefined)) ?? point;
  }

  sizeBytes(): number {
    try {
      return this.#pageCount.get()! * this.#pageSizeBytes;
    } catch (error) {
      throw storeError(error, `can't read from ${this.#path}`);
    }
  }

  exportSnapshot(path: string): Promise<SnapshotFile> {
    return this.#inTask('export', async (thread) => {
      const { epochs, clusterId, lsn, chain, sizeBytes, sha256 } = await thread.call('exportSnapshot', { path });
      const epoch = new EpochHistory(epochs).epochAt(lsn);
      return {
        path,
        sizeBytes,
        sha256,
        clusterId,
        lsn,
        chain,
        epoch: epoch === undefined ? NO_EPOCH : { number: epoch.number, id: epoch.id },
      };
    });
  }

  beginDigest(): { readonly begun: Promise<void>; readonly digest: Promise<TableDigest> } {
    const { lsn, chain } = this.#applied;
    let reportBegun: (pinned: Promise<void>) => void;
    const begun = new Promise<void>((resolve) => {
      reportBegun = resolve;
    });
    const digest = this.#inTask('digest', async (thread) => {
      const pinned = await thread.call('pin', undefined);
      assert(pinned.lsn === lsn && pinned.chain === chain, `something was applied before the digest of LSN ${lsn} had begun`);
      reportBegun(Promise.resolve());
      return { lsn, chain, ...(await thread.call('digest', undefined)) };
    });
    // Where pinning fails both fail, and the caller need only look at one of them.
    begun.catch(() => {});
    digest.catch((error: unknown) => reportBegun(Promise.reject(error as Error)));
    return { begun, digest };
  }

  countRows(): Promise<number> {
    return this.#inTask('count', (thread) => thread.call('countRows', undefined));
  }

  async *rowsAfter(afterLsn: number): AsyncGenerator<KeyedRow, void> {
    const thread = await this.#beginTask('rows');
    try {
      await thread.call('pin', undefined);
      for (let afterRowId: number | null = 0; afterRowId !== null; ) {
        const page: RowsPage = await thread.call('rowsAfter', { afterLsn, afterRowId });
        yield* page.rows;
        afterRowId = page.lastRowId;
      }
    } finally {
      await this.#endTask(thread);
    }
  }

  async copyTable(path: string): Promise<TableCopy> {
    const thread = await this.#beginTask('copy');
    try {
      const { epochs, clusterId, lsn, chain, rowCount } = await thread.call('copyTable', { path });
      return { clusterId, lsn, chain, history: new EpochHistory(epochs), rowCount, rows: (prefix) => rowsOfCopy(thread, prefix), close: () => this.#endTask(thread) };
    } catch (error) {
      await this.#endTask(thread);
      throw error;
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#tasks].map((thread) => thread.close()));
    this.#reader.close();
    await this.#checkpointer.close();
    // The writer last: whoever closes last copies the rest of the WAL, and that must not happen here.
    await this.#writer.close();
  }

  async #inTask<Result>(name: string, run: (thread: StoreThread) => Promise<Result>): Promise<Result> {
    const thread = await this.#beginTask(name);
    try {
      return await run(thread);
    } finally {
      await this.#endTask(thread);
    }
  }

  async #beginTask(name: string): Promise<StoreThread> {
    if (this.#closed !== undefined) throw new ShiplogError('store-failed', 'the store is closed');
    const thread = new StoreThread(name);
    this.#tasks.add(thread);
    try {
      await thread.call('open', { path: this.#path, mode: 'read' });
      return thread;
    } catch (error) {
      await this.#endTask(thread);
      throw error;
    }
  }

  async #endTask(thread: StoreThread): Promise<void> {
    await thread.close();
    this.#tasks.delete(thread);
  }
}

/** What a table that holds nothing yet says instead of an epoch. */
const NO_EPOCH = { number: 0, id: '0'.repeat(32) } as const;

async function* rowsOfCopy(thread: StoreThread, prefix: string): AsyncGenerator<KeyedRow, void> {
  for (let afterKey: string | null = null; ; ) {
    const { rows, isLast }: KeyedRowsPage = await thread.call('rowsByKey', { prefix, afterKey });
    yield* rows;
    if (isLast) return;
    afterKey = rows.at(-1)!.key;
  }
}

/** One transaction's worth of batches as arrays, and the state after it. */
function flatten(applied: AppliedState, batches: readonly Batch[]): { readonly request: ApplyRequest; readonly next: AppliedState } {
  const keys: (string | null)[] = [];
  const values: (string | null)[] = [];
  let { lsn, chain, history } = applied;
  for (const batch of batches) {
    assert(
      batch.firstLsn === lsn + 1 && batch.lastLsn === lsn + batch.operations.length,
      `the batch holds LSNs ${batch.firstLsn} to ${batch.lastLsn}, expected ${lsn + 1} to ${lsn + batch.operations.length}`,
    );
    for (const operation of batch.operations) {
      switch (operation.kind) {
        case 'put':
          keys.push(operation.key);
          values.push(operation.value);
          break;
        case 'delete':
          keys.push(operation.key);
          values.push(null);
          break;
        case 'epoch-begin':
          assert(
            operation.parentEnd.lsn === lsn && operation.parentEnd.chain === chain,
            `epoch ${operation.epoch.number} begins after LSN ${operation.parentEnd.lsn}, the table ends at ${lsn}`,
          );
          history = history.opened(operation.epoch, operation.parentEnd);
          keys.push(null);
          values.push(null);
          break;
        case 'epoch-end':
          keys.push(null);
          values.push(null);
          break;
        default:
          unreachable(operation);
      }
    }
    lsn = batch.lastLsn;
    chain = batch.chain;
  }
  return {
    request: {
      after: { lsn: applied.lsn, chain: applied.chain },
      end: { lsn, chain },
      keys,
      values,
      epochs: history === applied.history ? null : history.epochs,
    },
    next: { clusterId: applied.clusterId, lsn, chain, history },
  };
}

function storeError(error: unknown, what: string): Error {
  if (isShiplogError(error)) return error;
  const { code } = error as { readonly code?: unknown };
  return errorOf(typeof code === 'string' ? code : 'unknown', `${what}: ${messageOf(error)}`, error);
}
