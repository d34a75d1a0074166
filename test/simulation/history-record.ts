/**
 * What a simulated run leaves behind for its judges: every operation as its client saw it, and — told by
 * the simulator, which sees all disks — the truth: the history that survived, the epochs that were ever
 * opened, what was set aside in salvage files, and what every node holds in the end.
 *
 * Times are numbers of one counter of events for the whole world: no two events share one, so "ended
 * before" is never in doubt.
 */
import type { AckLevel } from '../../lib/base/ack-level.ts';
import type { EpochRef } from '../../lib/base/epoch-history.ts';
import type { DataOperation, EpochBeginKind, Operation } from '../../lib/base/operation.ts';
import type { Position } from '../../lib/base/position.ts';
import type { ReachedAck } from '../../lib/node/node-api.ts';

interface RecordBase {
  /** Unique in the run: violations name operations by it. */
  readonly id: number;
  /** A session: one client has one operation under way at a time. */
  readonly clientId: string;
  /** Id of the node that was asked. */
  readonly nodeId: string;
  readonly key: string;
  /** Event number, before the first byte leaves. */
  readonly invokedAt: number;
  /** Event number of the answer (or of the certain failure); null where none ever came. */
  readonly endedAt: number | null;
  /** `min` that the client passed. */
  readonly minPosition: Position | null;
}

/**
 * What is known about a write or delete:
 *
 *   ok             answered 200 at `ackReached`
 *   not-found      a delete of a key that was not there: nothing was written
 *   failed         certainly not carried out: refused, a condition that did not hold, never sent
 *   unknown        sent, but no answer, or one that says that it is not known
 *   ack-timeout    stored on the primary (has a position), not confirmed by as many as asked for
 *   position-lost  it got a position, and that is in no surviving history any more
 */
export type MutationOutcome = 'ok' | 'not-found' | 'failed' | 'unknown' | 'ack-timeout' | 'position-lost';

export interface MutationRecord extends RecordBase {
  readonly kind: 'write' | 'delete';
  /** No value is ever written twice in a run, so a value names its write. Null for a delete. */
  readonly value: string | null;
  readonly outcome: MutationOutcome;
  readonly ackAsked: AckLevel;
  /** Null where the answer told none. */
  readonly ackReached: ReachedAck | null;
  /** The write's own (ETag), where the answer told it; of a `not-found`, the node's Shiplog-Position. */
  readonly position: Position | null;
  /** A condition that was sent along: the position of the key's last write (`If-Match`), or whether there is such a key. */
  readonly onlyIf?: Position | 'present' | 'absent';
  /** Of an operation that was sent with others, to happen together or not at all: each has a record, with event numbers of its own. */
  readonly batch?: BatchPlace;
}

export interface BatchPlace {
  /** Id of the batch: that of its first operation. */
  readonly id: number;
  /** 0 for the first operation. */
  readonly index: number;
}

/**
 *   ok             200 with a value
 *   not-found      404: there is no such key
 *   failed         refused: not ready, stopping, no connection, …
 *   unknown        no answer came
 *   position-lost  410: `min` is in no surviving history
 *   not-reached    503: the node did not have `min` in time
 */
export type ReadOutcome = 'ok' | 'not-found' | 'failed' | 'unknown' | 'position-lost' | 'not-reached';

export interface ReadRecord extends RecordBase {
  readonly kind: 'read';
  /** What was read; null where there was no such key, or no answer. */
  readonly value: string | null;
  readonly outcome: ReadOutcome;
  /** The node's role in the turn in which it read; null where the simulator can't tell: then it counts as a replica. */
  readonly role: 'primary' | 'replica' | null;
  /** The node's Shiplog-Position: the answer shows the history up to it. */
  readonly position: Position | null;
  /** Position of the key's last write (ETag). */
  readonly keyPosition: Position | null;
}

export type HistoryRecord = MutationRecord | ReadRecord;

/** One operation of a log. */
export interface LoggedOperation {
  readonly lsn: number;
  /** Id of the epoch that it belongs to (32 hex digits). */
  readonly epochId: string;
  /** LSN of the first operation in its frame. */
  readonly frameLsn: number;
  readonly operation: Operation;
}

/** An epoch that was opened at some time on some node, whether or not it survived. */
export interface OpenedEpoch {
  readonly epoch: EpochRef;
  readonly parent: EpochRef | null;
  readonly begin: EpochBeginKind;
  /** LSN of its epoch-begin record. Its parent ended at the LSN before. */
  readonly firstLsn: number;
  /** Node that opened it: the primary of this epoch. */
  readonly nodeId: string;
  /**
   * Event number at or before which it was opened: no write of this epoch was answered before it.
   * The moment at which the epoch-begin record was handed to the log is right.
   */
  readonly openedAt: number;
  /** What a forced promotion was told it may give up, counted from `announcedLsn`; null = unknown. 0 for all others. */
  readonly acceptedLoss: number | null;
  /**
   * Of a forced promotion: the highest LSN of the parent that the target knew to have been announced.
   * Null where the simulator does not know it: then every lost operation counts against `acceptedLoss`.
   */
  readonly announcedLsn: number | null;
  /** Of a forced promotion: the lowest `ack` that it said was safe all the same (n − p + 1); null = said nothing. */
  readonly safeAck: number | null;
}

export interface SalvageFile {
  readonly nodeId: string;
  readonly name: string;
  /** False where the log no longer reached back to the fork: then it holds rows, not every operation. */
  readonly isComplete: boolean;
  /** The last position that both histories share. */
  readonly forkLsn: number;
  /** End of the log that was set aside. */
  readonly throughPosition: Position;
  readonly operations: readonly { readonly position: Position; readonly operation: DataOperation }[];
}

/** What one node holds when everything has healed and come to rest. */
export interface NodeEnd {
  readonly nodeId: string;
  /** What its log still holds; a node that was reseeded begins later than LSN 1. */
  readonly log: readonly LoggedOperation[];
  /** As reads on this node show it. */
  readonly table: ReadonlyMap<string, { readonly value: string; readonly lsn: number }>;
  /** The node's own digest of its table, and the point at which it was taken. */
  readonly digest: { readonly lsn: number; readonly chain: number; readonly rowCount: number; readonly sha256: string };
}

export interface Ruin {
  readonly nodeId: string;
  /** Event number of the last time. */
  readonly at: number;
}

export interface HistoryTruth {
  /**
   * The surviving history as a whole, from LSN 1, without gaps. Not just what one node's log still
   * holds: where all have cut their logs, what the simulator saw committed.
   */
  readonly log: readonly LoggedOperation[];
  /** All epochs that were ever opened, in any order. */
  readonly epochs: readonly OpenedEpoch[];
  readonly salvage: readonly SalvageFile[];
  /** Every node that lives in the end. */
  readonly nodes: readonly NodeEnd[];
  /** Nodes whose disk was destroyed or rolled back at some time: no salvage can be expected of them. */
  readonly ruins: readonly Ruin[];
}

/** What one checker has to say. */
export interface CheckReport {
  /** Operations (or nodes, or log entries) that it could judge. A check that judged nothing proves nothing. */
  readonly checkedCount: number;
  readonly violations: readonly Violation[];
}

/** One way in which what happened contradicts what was promised. */
export interface Violation {
  /** Stable, for tests and for sorting: `lost`, `stale-read`, `phantom`, … */
  readonly code: ViolationCode;
  /** A sentence that names the operations. */
  readonly message: string;
  /** Ids of the records concerned. */
  readonly recordIds: readonly number[];
}

export type ViolationCode =
  // the run itself
  | 'empty-check'
  | 'too-many-failures'
  | 'malformed-history'
  // 1 real-time order
  | 'reordered-writes'
  | 'reused-position'
  | 'misplaced-write'
  | 'stale-read'
  // 2 register
  | 'not-linearizable'
  // 3 set
  | 'lost'
  | 'phantom'
  | 'duplicate'
  | 'loss-beyond-accepted'
  | 'wrong-salvage'
  // 4 reads against the history
  | 'wrong-read'
  | 'wrong-condition'
  | 'unknown-position'
  // 5 sessions
  | 'session-went-back'
  | 'wrong-410'
  // 6 end state
  | 'log-broken'
  | 'logs-differ'
  | 'table-differs'
  | 'digests-differ'
  // 7 batches
  | 'torn-batch'
  | 'wrong-batch';
