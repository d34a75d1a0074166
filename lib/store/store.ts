/**
 * The table, as the rest of the program may see it: a materialised view of the log. The log is the
 * authority; after a crash the store may hold any prefix of whole transactions, back to its last
 * checkpoint, and replay brings back the rest. SQLite stands behind it (sqlite-store.ts); a memory
 * store that honours the same contract passes the same conformance tests (test/store).
 */
import type { EpochHistory, LogPoint } from '../base/epoch-history.ts';
import type { Batch } from '../base/operation.ts';

export interface StoredRow {
  readonly value: string;
  /** LSN of the row's last write. */
  readonly lsn: number;
}

export interface KeyedRow extends StoredRow {
  readonly key: string;
}

/** What changes in one transaction with the rows. */
export interface AppliedState extends LogPoint {
  readonly clusterId: string;
  readonly history: EpochHistory;
}

export interface TableDigest extends LogPoint {
  readonly rowCount: number;
  /** SHA-256, hex, over all rows in the order of their keys' bytes. */
  readonly sha256: string;
}

export interface SnapshotFile extends LogPoint {
  readonly path: string;
  readonly sizeBytes: number;
  /** SHA-256 of the file, hex. */
  readonly sha256: string;
  readonly clusterId: string;
  /** The epoch that the snapshot's last operation belongs to. */
  readonly epoch: { readonly number: number; readonly id: string };
}

/** The table as it was at one position, in a file of its own: who reads it keeps neither writers nor checkpoints waiting. */
export interface TableCopy extends LogPoint {
  readonly clusterId: string;
  readonly history: EpochHistory;
  readonly rowCount: number;
  /**
   * Rows whose keys begin with `prefix`, in the order of the keys' bytes. Memory is bounded by a page of rows.
   * @throws ShiplogError `store-failed`.
   */
  rows(prefix: string): AsyncIterable<KeyedRow>;
  /** The file stays: whoever asked for the copy removes it. */
  close(): Promise<void>;
}

export interface Store {
  /** State as of the last transaction that `apply` reported. */
  readonly applied: AppliedState;

  /** Reads what is applied. Synchronous: it is on the way of every read. */
  get(key: string): StoredRow | undefined;

  /**
   * Applies whole batches, in LSN order, the first one directly after `applied`, in one
   * transaction; an epoch-begin record changes the history in that same transaction.
   * Calls don't overlap: the caller waits for one before it makes the next.
   * @throws ShiplogError `store-failed`, or DiskFullError after which the same call may be made again.
   */
  apply(batches: readonly Batch[]): Promise<void>;

  /**
   * Brings what is applied into the database file and syncs it. May overlap with `apply`.
   * @returns the position that now survives a crash without the log, or undefined where a reader
   * kept the checkpoint from reaching it: try later.
   */
  checkpoint(): Promise<LogPoint | undefined>;

  /**
   * Writes a consistent copy to `path`, which must not exist, and syncs it. The copy is of the
   * applied position when the call was made or of a later one: the result says which.
   */
  exportSnapshot(path: string): Promise<SnapshotFile>;

  /**
   * Starts a digest over the whole table at exactly the position that is applied now. `begun`
   * resolves once the position is pinned: until then the caller must not call `apply`.
   */
  beginDigest(): { readonly begun: Promise<void>; readonly digest: Promise<TableDigest> };

  /** Bytes of the table's file: about as many as a snapshot of it takes. */
  sizeBytes(): number;

  /** Number of rows, by a full count: for humans, not for hot paths. */
  countRows(): Promise<number>;

  /**
   * The rows whose last write has an LSN above `afterLsn`, in no particular order, by a full scan off the
   * event loop. All of one state: the one that is applied when the first row is asked for, or a later one.
   * Memory is bounded by a page of rows. Checkpoints can't get past that state while rows are left to
   * read, so whoever asks reads on, or leaves the loop.
   * @throws ShiplogError `store-failed`.
   */
  rowsAfter(afterLsn: number): AsyncIterable<KeyedRow>;

  /**
   * Makes a copy at `path`, which must not exist, of the applied position when the call was made or of a later one, and
   * opens it. It is not synced: it is of no use to another process. Ends with the store.
   * @throws ShiplogError `store-failed`, DiskFullError.
   */
  copyTable(path: string): Promise<TableCopy>;

  close(): Promise<void>;
}
