/**
 * What a node offers to those around it: http/ and cli/ know a node by this type alone.
 * http/ translates between it and requests, and decides nothing itself.
 */
import type { AckLevel, ReachedAck } from '../base/ack-level.ts';
import type { EpochHistory, EpochRef } from '../base/epoch-history.ts';
import type { DataOperation, PutOperation } from '../base/operation.ts';
import type { Position } from '../base/position.ts';
import type { TransportRequest, TransportResponse } from '../env/transport.ts';
import type { PromoteEvent, PromoteOptions } from '../failover/promote-events.ts';

export type { PromotionKind } from '../failover/promote-events.ts';

export interface ReadResult {
  readonly value: string;
  /** Position of the key's last write. */
  readonly position: Position;
}

/** Rows in memory, found by the bytes of their keys. What a place says is valid until the next `find`, and within this turn. */
export interface CachedRows {
  /** Keys and values, UTF-8. */
  readonly bytes: Buffer;
  /** @returns the place of the row whose key is `source[start, end)`; undefined where it has to be read. */
  find(source: Uint8Array, start: number, end: number): number | undefined;
  /** LSN of the row's last write. */
  lsnAt(place: number): number;
  valueStartAt(place: number): number;
  valueEndAt(place: number): number;
}

/** What a read is answered with, without a string or an object in between. */
export interface HotReads {
  readonly rows: CachedRows;
  readonly history: EpochHistory;
  readonly visibleLsn: number;
  /** Counts a read that was answered. */
  noteRead(): void;
}

/** A condition on the position of the key's last write. `*` = the key exists. */
export interface WriteCondition {
  /** The write happens only if the key's position is one of these. */
  readonly ifMatch?: '*' | readonly Position[];
  /** The write happens only if the key's position is none of these. */
  readonly ifNoneMatch?: '*' | readonly Position[];
}

/** How durable a write has to be before it is answered. */
export interface WriteDurability {
  /** Default and minimum are the node's own. */
  readonly ack?: AckLevel;
  /** For replicas to confirm, after the sync. */
  readonly timeoutMs?: number;
}

export type { ReachedAck };

export type WriteResult =
  /** `position` is the write's own; null where it was answered before it had one. */
  | { readonly outcome: 'written'; readonly position: Position | null; readonly ack: ReachedAck }
  /** A delete of a key that does not exist: nothing was written. */
  | { readonly outcome: 'absent' }
  /** The condition did not hold; `current` is the key's position, or null where it does not exist. */
  | { readonly outcome: 'precondition-failed'; readonly current: Position | null };

/** Who is told what became of a write. What they do then must not throw, and must not take long. */
export interface WriteListener {
  /** It is synced here, as LSN `lsn` of `history`. */
  onWritten(lsn: number, history: EpochHistory): void;
  /** As `write` would have answered or thrown: it is not that simple. */
  onOther(result: WriteResult): void;
  onFailed(error: unknown): void;
}

/** One of several writes that happen together or not at all. */
export interface BatchWrite {
  readonly operation: DataOperation;
  /** On the position of the key's last write before the batch. */
  readonly condition: WriteCondition;
}

export type BatchWriteOutcome =
  /** `position` is the operation's own; null where it was answered before it had one. */
  | { readonly outcome: 'written'; readonly position: Position | null }
  /** A delete of a key that does not exist. */
  | { readonly outcome: 'absent' };

export type BatchResult =
  /** `position` is that of the last operation, or what the answer rests on where nothing was written; null as above. */
  | { readonly outcome: 'written'; readonly position: Position | null; readonly ack: ReachedAck; readonly results: readonly BatchWriteOutcome[] }
  /** Nothing was written: the condition of the operation at `index` does not hold. */
  | { readonly outcome: 'precondition-failed'; readonly index: number; readonly current: Position | null };

/** All keys at one position. */
export interface TableExport {
  readonly clusterId: string;
  readonly position: Position;
  readonly rowCount: number;
  /** Those that begin with `prefix`, in the order of their bytes. */
  rows(prefix: string): AsyncIterable<{ readonly key: string; readonly value: string }>;
  /** Gives the room on the disk back: whoever opened it closes it. */
  close(): Promise<void>;
}

/** How a write that reaches this node has to be handled. */
export type WriteRoute =
  | { readonly kind: 'local' }
  | { readonly kind: 'forward'; readonly primaryUrl: string }
  | { readonly kind: 'redirect'; readonly primaryUrl: string };

export interface NodeApi {
  readonly nodeId: string;
  readonly nodeName: string;

  /** Position of the newest operation that reads here show. */
  visiblePosition(): Position;

  /** @throws ShiplogError `not-ready` while there is no consistent state. */
  read(key: string): ReadResult | undefined;

  /** For reads of what is in memory; undefined while there is no consistent state. */
  hotReads(): HotReads | undefined;

  /**
   * Several reads of one state, in the order of the keys. `onValue` may throw: nothing more is read then.
   * @throws ShiplogError as `read`.
   */
  readAll(keys: readonly string[], onValue?: (value: string, index: number) => void): readonly (ReadResult | undefined)[];

  /**
   * Resolves once reads here show `position`, in whatever history it is by then.
   * @throws ShiplogError `position-lost` where no surviving history has it, `position-not-reached` after `waitMs`,
   * `not-ready` while there is no consistent state.
   */
  waitFor(position: Position, waitMs: number): Promise<void>;

  /**
   * Where a write has to go. A promise while the primary is changing: then it settles when that is done.
   * @throws ShiplogError `no-primary`, `read-only-replica`, `not-ready` or `stopping`.
   */
  writeRoute(): WriteRoute | Promise<WriteRoute>;

  /**
   * Commits one operation on the primary; resolves once it is as durable as asked for. That nothing was
   * written is answered no earlier: the state that it rests on has to be as durable.
   * @throws ShiplogError `not-primary`, `overloaded`, `disk-full`, `stopping`, `too-few-members`, `too-few-replicas`:
   * not written. `ack-timeout`: written, but too few replicas have confirmed it. `outcome-unknown`.
   */
  write(operation: DataOperation, condition: WriteCondition, durability?: WriteDurability): Promise<WriteResult>;

  /**
   * What `write` does for a put without a condition, with the node's own durability. Nearly all writes come this
   * way, so it is told instead of promised.
   */
  put(operation: PutOperation, listener: WriteListener): void;

  /**
   * Commits all of `writes`, in their order, or none: one frame in the log, one step in every table and every read.
   * A delete of what does not exist is no failure. With `awaitsSync` it is answered at `local` or more, whatever is the default.
   * @throws ShiplogError as `write`; `batch-too-large`.
   */
  writeBatch(writes: readonly BatchWrite[], durability?: WriteDurability, options?: { readonly awaitsSync?: boolean }): Promise<BatchResult>;

  /**
   * Sends a client's write on to the primary and resolves once this node shows it too.
   * The request is sent at most once unless it is certain that it did not arrive.
   * @param durability what the request asks for: confirmations take time beyond the usual.
   * @throws ShiplogError `no-primary` (not sent), `outcome-unknown` (may have been carried out), `not-shown-yet`, or
   * `position-lost`: it was carried out, and a failover has left it behind.
   */
  forward(primaryUrl: string, request: TransportRequest, durability?: WriteDurability): Promise<ForwardedResponse>;

  /**
   * The table at the position that is visible now, or a later one; writes go on meanwhile.
   * @throws ShiplogError `not-ready`, `overloaded`, `disk-full`, `position-not-reached` where the database is far behind.
   */
  exportTable(): Promise<TableExport>;

  /** `GET /wal`: the endless stream. */
  serveLog(request: TransportRequest): Promise<TransportResponse>;
  /** `GET` and `HEAD /snapshot`. */
  serveSnapshot(request: TransportRequest): Promise<TransportResponse>;
  /** Everything under `/peer/`: only nodes call it. */
  servePeer(request: TransportRequest): Promise<TransportResponse>;

  /**
   * Makes this node the primary. The events end with `promoted` or `refused`; leaving them early
   * does not stop what is under way.
   */
  promote(options: PromoteOptions): AsyncIterable<PromoteEvent>;
  /** Takes a node, by id or name, from the members. Only the primary can. @throws ShiplogError `not-primary`, `not-found`. */
  forget(nodeIdOrName: string): Promise<void>;
  /**
   * What an operator tells a node that stopped because it holds operations that the primary lacks:
   * write them to a salvage file, and follow.
   * @throws ShiplogError `bad-request` where the node is not waiting for that.
   */
  rejoin(): Promise<void>;

  status(): NodeStatus;
  /** The same, after a look at what may have changed on the disk. */
  freshStatus(): Promise<NodeStatus>;
  /** Recovered, log sound, reads answered? */
  health(): Verdict;
  /** Healthy and at most `lagMsMax` behind the primary? The default bound is the node's own. */
  readiness(lagMsMax?: number): Verdict;
  metricsText(): Promise<{ readonly contentType: string; readonly text: string }>;
}

export interface ForwardedResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export interface Verdict {
  readonly ok: boolean;
  /** One line for humans. */
  readonly reason: string;
}

export type NodeRole = 'primary' | 'replica';

/** Body of `GET /status`. */
export interface NodeStatus {
  readonly name: string;
  readonly nodeId: string;
  readonly version: string;
  /** `primary` only where writes are taken, or wait for a handover. */
  readonly role: NodeRole;
  /** One word for what the node is doing: see role/. */
  readonly state: string;
  readonly url: string;
  readonly dataDirectory: string;
  readonly clusterId: string | null;
  readonly epoch: { readonly number: number; readonly id: string } | null;
  readonly history: EpochHistory;
  readonly positions: {
    readonly appended: string;
    readonly durable: string;
    readonly visible: string;
    readonly applied: string;
    readonly checkpointed: string;
  };
  readonly uptimeMs: number;
  /** On a replica. */
  readonly upstream: UpstreamStatus | null;
  readonly members: readonly MemberStatus[];
  readonly followers: readonly FollowerStatus[];
  /** Long work that is under way: bootstrap, snapshot, replay. */
  readonly tasks: readonly TaskStatus[];
  /** Durable promise to a promotion that has not come to its end. */
  readonly promise: PromiseStatus | null;
  /** Why this node takes no part any more, until it has rejoined: fenced or diverged. */
  readonly fence: FenceStatus | null;
  /** Names of files with operations that a failover left behind, waiting for somebody to decide. */
  readonly salvage: readonly string[];
  readonly log: { readonly segments: number; readonly bytes: number; readonly firstLsn: number };
}

export interface PromiseStatus {
  readonly epoch: EpochRef;
  readonly targetNodeId: string;
  readonly targetUrl: string;
}

export interface FenceStatus {
  /** `superseded`: another epoch was opened. `conflict`: one with an equal number. `lost-data`: a peer has more of this node's own epoch. `diverged`: an operator has to decide. */
  readonly kind: 'superseded' | 'conflict' | 'lost-data' | 'diverged';
  readonly reason: string;
}

export interface UpstreamStatus {
  readonly url: string;
  readonly connected: boolean;
  /** The primary's durable position, as the last heartbeat told. */
  readonly primaryPosition: string | null;
  readonly lagOperations: number | null;
  readonly lagMs: number | null;
  readonly lastError: string | null;
}

export interface MemberStatus {
  readonly nodeId: string;
  readonly name: string;
  readonly url: string;
  /** True once every replica knows it: from then on it counts for acknowledgements. */
  readonly isSettled?: boolean;
}

export interface FollowerStatus {
  readonly nodeId: string;
  readonly name: string;
  readonly connected: boolean;
  readonly sent: string;
  readonly durable: string;
  readonly applied: string;
  readonly lagOperations: number;
  readonly lagBytes: number;
  readonly lagMs: number;
}

export interface TaskStatus {
  readonly name: string;
  readonly doneBytes: number;
  readonly totalBytes: number | null;
  readonly bytesPerS: number;
  readonly etaS: number | null;
}
