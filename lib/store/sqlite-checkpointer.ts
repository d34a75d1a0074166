/**
 * Brings what is in SQLite's WAL into the database file while the writer goes on. Runs in a thread
 * of its own, on a connection of its own.
 *
 * Which position survives a crash once `PRAGMA wal_checkpoint(PASSIVE)` has returned?
 *
 *  1. The applied position is read *before* the checkpoint begins: a commit that is visible to that
 *     read is in the WAL, at or below its end at that moment.
 *  2. The checkpoint then takes its own, same or later, view of the WAL's end: `log`. It syncs the
 *     WAL, copies the pages of all frames up to `log` that no reader stands in front of, and
 *     reports how far it came: `checkpointed`. What the writer appends meanwhile is above `log`.
 *  3. So `checkpointed = log` (and not busy) means: everything up to `log`, and with it the position
 *     from step 1, is in the database file. Reading the position *after* the checkpoint would be
 *     wrong: the writer may have gone on in between.
 *  4. Is it synced? The WAL is, up to `log`, from before the copying. The database file is synced
 *     in the same checkpoint where the writer stood still, else in the one that completes it: SQLite
 *     never starts the WAL over before that. Either file brings the position back, and SQLite
 *     needs both anyway. (`synchronous` = OFF would skip all of these syncs; see openWriter.)
 *
 * A reader with an older view, such as VACUUM INTO or a digest, makes `checkpointed < log`; then
 * nothing is reported. Also when the WAL was started over between steps 1 and 2 — that takes a
 * second checkpointer, and there is none.
 *
 * A writer that never pauses has always appended something above `log`, so the WAL is never wholly
 * copied, never starts over, and would grow for ever. Above WAL_BYTES_MAX the store therefore has
 * the writer's thread copy the small rest between two transactions: SqliteWriter.restartWal.
 * While a long reader is at work that can't be done. Then the WAL grows by what is applied
 * meanwhile, which the bound on the log beyond the checkpoint limits in turn, and is cut back after.
 */
import type { Database } from 'better-sqlite3';
import { assert } from '../base/errors.ts';
import { readAppliedState } from './schema.ts';
import type { CheckpointResult } from './store-calls.ts';

/** The WAL may reach this size, plus what is applied during one checkpoint. */
export const WAL_BYTES_MAX = 32 * 1024 * 1024;

/**
 * A point read, or a commit that is just writing the head of the WAL's index, makes a passive
 * checkpoint give up at once. Both are over in microseconds: try again.
 */
const ATTEMPTS_MAX = 10;

const FRAME_HEADER_BYTES = 24;

export class SqliteCheckpointer {
  readonly #database: Database;
  readonly #frameBytes: number;

  /** The connection must be one made by `openWriter`: it is the one that syncs. */
  constructor(database: Database) {
    this.#database = database;
    this.#frameBytes = (database.pragma('page_size', { simple: true }) as number) + FRAME_HEADER_BYTES;
  }

  checkpoint(): CheckpointResult {
    let walBytes = 0;
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
      const { lsn, chain } = readAppliedState(this.#database);
      const [result] = this.#database.pragma('wal_checkpoint(PASSIVE)') as [
        { readonly busy: number; readonly log: number; readonly checkpointed: number },
      ];
      // Busy: it did not even begin, and the other numbers are -1.
      if (result.busy !== 0) continue;
      assert(result.log >= 0, 'the database has left WAL mode');
      walBytes = result.log * this.#frameBytes;
      if (result.checkpointed === result.log) return { point: { lsn, chain }, walBytes };
    }
    return { point: undefined, walBytes };
  }
}
