/**
 * What the main thread asks of the store's worker threads. One table for both sides: requests and
 * results cross between threads by structured clone, so they hold plain data only.
 */
import type { Epoch, LogPoint } from '../base/epoch-history.ts';
import type { KeyedRow } from './store.ts';

export interface StoreCalls {
  /** Opens the thread's connection. All calls down to `countRows` need it. */
  readonly open: { readonly request: OpenRequest; readonly result: AppliedRecord };
  /** Writer only. */
  readonly apply: { readonly request: ApplyRequest; readonly result: undefined };
  /** Writer only: finishes what a checkpoint began, and lets the WAL start again from its beginning. */
  readonly restartWal: { readonly request: undefined; readonly result: LogPoint | undefined };
  /** Checkpointer only. */
  readonly checkpoint: { readonly request: undefined; readonly result: CheckpointResult };
  readonly exportSnapshot: { readonly request: { readonly path: string }; readonly result: ExportResult };
  /** Holds on to the state that is applied now, for the `digest` that follows. */
  readonly pin: { readonly request: undefined; readonly result: LogPoint };
  readonly digest: { readonly request: undefined; readonly result: { readonly rowCount: number; readonly sha256: string } };
  /** One page, in the order of row ids. `pin` comes before the first one: all pages are of one state. */
  readonly rowsAfter: { readonly request: RowsRequest; readonly result: RowsPage };
  /** Makes a copy, and from then on has that open instead. */
  readonly copyTable: { readonly request: { readonly path: string }; readonly result: CopiedTable };
  /** One page of a copy, in the order of keys. */
  readonly rowsByKey: { readonly request: KeyedRowsRequest; readonly result: KeyedRowsPage };
  readonly countRows: { readonly request: undefined; readonly result: number };
  /** Without `open`: the file is not a store yet. */
  readonly verifyFile: { readonly request: { readonly path: string; readonly check: FileCheck }; readonly result: AppliedRecord };
  readonly adoptFile: { readonly request: { readonly path: string; readonly clusterId: string }; readonly result: AppliedRecord };
}

/** `pages`: every page and row, but not whether the index on the key names exactly the rows. `all` takes five times as long. */
export type FileCheck = 'pages' | 'all';

export type StoreCallName = keyof StoreCalls;

export interface OpenRequest {
  readonly path: string;
  readonly mode: 'write' | 'read';
}

/** AppliedState without its class. */
export interface AppliedRecord extends LogPoint {
  readonly clusterId: string;
  readonly epochs: readonly Epoch[];
}

/**
 * Batches, flattened: a few long arrays cross between threads much faster than thousands of
 * objects. The operation at index i has LSN `after.lsn + 1 + i`.
 */
export interface ApplyRequest {
  /** What must be applied already, exactly. */
  readonly after: LogPoint;
  readonly end: LogPoint;
  /** Null where the operation is a control record, which has no row. */
  readonly keys: readonly (string | null)[];
  /** Null for a delete. */
  readonly values: readonly (string | null)[];
  /** The new history, or null where it stays. */
  readonly epochs: readonly Epoch[] | null;
}

export interface CheckpointResult {
  /** What the checkpoint covers, or undefined where it did not get to the end of the WAL. */
  readonly point: LogPoint | undefined;
  readonly walBytes: number;
}

export interface ExportResult extends AppliedRecord {
  readonly sizeBytes: number;
  readonly sha256: string;
}

export interface RowsRequest {
  /** Only rows whose last write is above. */
  readonly afterLsn: number;
  /** Where the page before ended; 0 for the first. */
  readonly afterRowId: number;
}

export interface RowsPage {
  readonly rows: readonly KeyedRow[];
  /** Where the next page begins, or null where there is none. */
  readonly lastRowId: number | null;
}

export interface CopiedTable extends AppliedRecord {
  readonly rowCount: number;
}

export interface KeyedRowsRequest {
  readonly prefix: string;
  /** Where the page before ended; null for the first. */
  readonly afterKey: string | null;
}

export interface KeyedRowsPage {
  readonly rows: readonly KeyedRow[];
  readonly isLast: boolean;
}

export interface StoreCallMessage {
  readonly id: number;
  readonly name: StoreCallName;
  readonly request: unknown;
}

/** The message that ends a thread, after everything asked of it before. */
export const CLOSE_MESSAGE = 'close';

export type StoreReplyMessage =
  | { readonly id: number; readonly outcome: 'done'; readonly result: unknown }
  /** `code` is SQLite's, Node's or ours; the class doesn't cross between threads. */
  | { readonly id: number; readonly outcome: 'failed'; readonly code: string; readonly message: string };
