/** What the log can say. Everything else about a write (who, when answered) is not history. */
import type { EpochRef, LogPoint } from './epoch-history.ts';

export interface PutOperation {
  readonly kind: 'put';
  readonly key: string;
  readonly value: string;
  /** Absolute wall-clock ms at which the key expires. Reserved: no interface sets it yet. */
  readonly expiresAtMs?: number;
  /** 32 hex digits that make a retried write recognisable. Reserved: no interface sets it yet. */
  readonly requestId?: string;
}

export interface DeleteOperation {
  readonly kind: 'delete';
  readonly key: string;
  readonly requestId?: string;
}

export type EpochBeginKind = 'first' | 'switchover' | 'failover' | 'forced';

/** Opens an epoch; always alone in its frame. */
export interface EpochBeginOperation {
  readonly kind: 'epoch-begin';
  readonly begin: EpochBeginKind;
  readonly epoch: EpochRef;
  /** The epoch that this one continues, or null for the first of a cluster. */
  readonly parent: EpochRef | null;
  /** Where the parent ended: the LSN before this record's own, and the chain there. */
  readonly parentEnd: LogPoint;
  /** Operations that a forced promotion was told it may give up; null = unknown, 0 = none. */
  readonly acceptedLoss: number | null;
}

/** The last record of an epoch that was handed over: after it this log takes no write. */
export interface EpochEndOperation {
  readonly kind: 'epoch-end';
  /** Node id (32 hex digits) of the one that may open the next epoch. */
  readonly targetNodeId: string;
  readonly nextEpoch: EpochRef;
}

/** What clients can ask for. */
export type DataOperation = PutOperation | DeleteOperation;
export type ControlOperation = EpochBeginOperation | EpochEndOperation;
export type Operation = DataOperation | ControlOperation;

/** Operations that were committed together: one frame in the log, atomic everywhere. */
export interface Batch {
  readonly firstLsn: number;
  readonly lastLsn: number;
  readonly epochNumber: number;
  /** Wall clock of the primary when the batch was closed, in ms. */
  readonly wallMs: number;
  /** Chain at the end of the frame. */
  readonly chain: number;
  readonly operations: readonly Operation[];
}
