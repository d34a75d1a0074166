/** The one place that changes rows. Runs in the store's writer thread. */
import type { Database, Statement } from 'better-sqlite3';
import type { LogPoint } from '../base/epoch-history.ts';
import { assert } from '../base/errors.ts';
import { readAppliedState, replaceEpochs } from './schema.ts';
import type { ApplyRequest } from './store-calls.ts';

/** How long a restart of the WAL waits for readers. Point reads take microseconds; for others it isn't worth it. */
const RESTART_WAIT_MS = 100;

export class SqliteWriter {
  readonly #database: Database;
  readonly #put: Statement<[string, string, number]>;
  readonly #delete: Statement<[string]>;
  readonly #advance: Statement<[number, number, number, number]>;

  constructor(database: Database) {
    this.#database = database;
    this.#put = database.prepare(
      'INSERT INTO kv(key, value, lsn) VALUES (?, ?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value, lsn = excluded.lsn',
    );
    this.#delete = database.prepare('DELETE FROM kv WHERE key = ?');
    this.#advance = database.prepare('UPDATE applied SET lsn = ?, chain = ? WHERE lsn = ? AND chain = ?');
  }

  /** Rows, position, chain and history in one transaction, or nothing of it. */
  apply(request: ApplyRequest): undefined {
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      this.#advanceTo(request);
      this.#writeRows(request);
      if (request.epochs !== null) replaceEpochs(this.#database, request.epochs);
      this.#database.exec('COMMIT');
    } catch (error) {
      // After some errors (a full disk is one) SQLite has rolled back by itself.
      if (this.#database.inTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
    return undefined;
  }

  /**
   * Copies what is left in the WAL into the database and makes the next commit start the WAL from
   * its beginning. Called on the writer's own thread, where nothing can be committed meanwhile.
   * @returns the position that is checkpointed now, or undefined where a reader was in the way.
   */
  restartWal(): LogPoint | undefined {
    const before = this.#database.pragma('busy_timeout', { simple: true }) as number;
    this.#database.pragma(`busy_timeout = ${RESTART_WAIT_MS}`);
    try {
      const { lsn, chain } = readAppliedState(this.#database);
      const [result] = this.#database.pragma('wal_checkpoint(RESTART)') as [{ readonly busy: number }];
      return result.busy === 0 ? { lsn, chain } : undefined;
    } finally {
      this.#database.pragma(`busy_timeout = ${before}`);
    }
  }

  /** Apply exactly what follows, or nothing (etcd#17247: applied twice after a reconnect). */
  #advanceTo({ after, end }: ApplyRequest): void {
    const { changes } = this.#advance.run(end.lsn, end.chain, after.lsn, after.chain);
    if (changes === 1) return;
    const { lsn, chain } = readAppliedState(this.#database);
    assert(false, `the database holds LSN ${lsn} with chain ${chain}, the batch follows ${after.lsn} with ${after.chain}`);
  }

  #writeRows({ after, keys, values }: ApplyRequest): void {
    // Only a key's last write is seen after the transaction, so only that one is carried out.
    const lastIndexes = new Map<string, number>();
    for (const [index, key] of keys.entries()) {
      if (key !== null) lastIndexes.set(key, index);
    }
    for (const [key, index] of lastIndexes) {
      const value = values[index]!;
      if (value === null) this.#delete.run(key);
      else this.#put.run(key, value, after.lsn + 1 + index);
    }
  }
}
