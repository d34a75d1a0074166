/**
 * The primary's queue: while one write group syncs, the next one gathers. Conditions are decided
 * when a group is closed, against what is visible plus the earlier operations of that group; an
 * answer that rests on such an operation waits for its sync like the operation itself. Single writes
 * of several clients share frames; what one client wants to happen together is a frame of its own.
 */
import type { EpochHistory, EpochRef } from '../base/epoch-history.ts';
import { ShiplogError, assert, isShiplogError, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { DataOperation, PutOperation } from '../base/operation.ts';
import type { Clock } from '../env/clock.ts';
import type { Metrics } from '../observe/metrics.ts';
import { encodedSize } from '../wal/operation-codec.ts';
import type { FrameSource } from '../wal/wal.ts';
import type { Committer } from './committer.ts';
import type { VisibleTable } from './visible-table.ts';

/** Decides on the LSN of the key's last write (null = no such key) whether the operation may happen. */
export type CommitCondition = (currentLsn: number | null) => boolean;

export type CommitOutcome =
  | { readonly outcome: 'written'; readonly lsn: number }
  /** Answered before the sync, which may still fail: there is no LSN yet. */
  | { readonly outcome: 'taken' }
  | NotWritten;

/** Nothing is written. `restsOnLsn`: the state that says so ends there, at most. */
export type NotWritten =
  | { readonly outcome: 'absent'; readonly restsOnLsn: number }
  | { readonly outcome: 'precondition-failed'; readonly currentLsn: number | null; readonly restsOnLsn: number };

export interface PutListener {
  /** It is durable and visible. */
  onWritten(lsn: number, history: EpochHistory): void;
  /** With what `submit` would throw. */
  onFailed(error: unknown): void;
}

/** One of several operations that happen together or not at all. */
export interface BatchedOperation {
  readonly operation: DataOperation;
  /** Judged against the state before the batch. */
  readonly condition?: CommitCondition | undefined;
}

export type BatchOutcome =
  /** LSN of each operation, null for a delete of what does not exist. The outcome is certain when `endLsn` is. */
  | { readonly outcome: 'written'; readonly lsns: readonly (number | null)[]; readonly endLsn: number }
  /** Answered before the sync, which may still fail: there are no LSNs yet. */
  | { readonly outcome: 'taken'; readonly isWritten: readonly boolean[] }
  /** Nothing is written: the condition of the operation at `index` does not hold. */
  | { readonly outcome: 'precondition-failed'; readonly index: number; readonly currentLsn: number | null; readonly restsOnLsn: number };

export interface GroupCommitOptions {
  readonly committer: Committer;
  readonly table: VisibleTable;
  readonly clock: Clock;
  readonly metrics: Metrics;
  /** The epoch in which this node may write now; undefined = it is not the primary. */
  readonly writableEpoch: () => EpochRef | undefined;
  /** Asked for every write: it may be changed while the node runs. */
  readonly queueBytesMax: () => number;
}

interface QueuedWrite {
  readonly kind: 'write';
  readonly operation: DataOperation;
  readonly condition: CommitCondition | undefined;
  readonly awaitsSync: boolean;
  readonly bytes: number;
  resolve(outcome: CommitOutcome): void;
  reject(error: unknown): void;
}

/** A write that is told, without closures: there may be a hundred thousand of them a second. */
class QueuedPut implements QueuedWrite {
  readonly kind = 'write';
  readonly condition = undefined;
  readonly awaitsSync = true;
  readonly operation: PutOperation;
  readonly bytes: number;
  readonly #listener: PutListener;
  readonly #committer: Committer;

  constructor(operation: PutOperation, bytes: number, listener: PutListener, committer: Committer) {
    this.operation = operation;
    this.bytes = bytes;
    this.#listener = listener;
    this.#committer = committer;
  }

  resolve(outcome: CommitOutcome): void {
    assert(outcome.outcome === 'written', 'nothing can keep it from being written but the disk');
    this.#listener.onWritten(outcome.lsn, this.#committer.history);
  }

  reject(error: unknown): void {
    this.#listener.onFailed(error);
  }
}

interface QueuedBatch {
  readonly kind: 'batch';
  readonly operations: readonly BatchedOperation[];
  readonly awaitsSync: boolean;
  readonly bytes: number;
  readonly resolve: (outcome: BatchOutcome) => void;
  readonly reject: (error: unknown) => void;
}

/** A frame to be, and who is to hear of it. */
interface Frame {
  readonly operations: readonly DataOperation[];
  readonly payloadBytes: number;
  /** @param firstLsn of its operations, which are durable. */
  resolve(firstLsn: number): void;
  reject(error: unknown): void;
}

/** Single writes of several clients. */
class SharedFrame implements Frame {
  readonly operations: readonly DataOperation[];
  readonly payloadBytes: number;
  readonly #writes: readonly QueuedWrite[];

  constructor(writes: readonly QueuedWrite[]) {
    this.operations = writes.map(({ operation }) => operation);
    this.payloadBytes = writes.reduce((sum, { bytes }) => sum + bytes, 0);
    this.#writes = writes;
  }

  resolve(firstLsn: number): void {
    let lsn = firstLsn;
    for (const write of this.#writes) {
      write.resolve({ outcome: 'written', lsn });
      lsn += 1;
    }
  }

  reject(error: unknown): void {
    for (const write of this.#writes) write.reject(error);
  }
}

/** What is written of a batch. */
class BatchFrame implements Frame {
  readonly operations: readonly DataOperation[];
  readonly payloadBytes: number;
  readonly #batch: QueuedBatch;
  readonly #isWritten: readonly boolean[];

  constructor(batch: QueuedBatch, isWritten: readonly boolean[]) {
    this.operations = batch.operations.flatMap(({ operation }, index) => (isWritten[index]! ? [operation] : []));
    const isWhole = this.operations.length === batch.operations.length;
    this.payloadBytes = isWhole ? batch.bytes : this.operations.reduce((sum, operation) => sum + encodedSize(operation), 0);
    this.#batch = batch;
    this.#isWritten = isWritten;
  }

  resolve(firstLsn: number): void {
    let lsn = firstLsn - 1;
    const lsns = this.#isWritten.map((isWritten) => (isWritten ? (lsn += 1) : null));
    this.#batch.resolve({ outcome: 'written', lsns, endLsn: lsn });
  }

  reject(error: unknown): void {
    this.#batch.reject(error);
  }
}

/** Who hears that nothing is written when the group is durable: the answer rests on it. */
type Dependent = Pick<QueuedWrite, 'resolve' | 'reject'>;

interface Group {
  readonly epoch: EpochRef;
  readonly frames: Frame[];
  /** Deletes that rest on an operation of this group: it deletes the key before them. */
  readonly dependents: Dependent[];
  readonly earlier: EarlierWrites;
}

/** What a group does to its keys. Groups of nothing but puts never ask, so it is looked through only then. */
class EarlierWrites {
  readonly #noted: DataOperation[] = [];
  readonly #exists = new Map<string, boolean>();

  note(operation: DataOperation): void {
    this.#noted.push(operation);
  }

  has(key: string): boolean {
    return this.exists(key) !== undefined;
  }

  /** Whether the key exists after the writes noted so far; undefined where none of them is of this key. */
  exists(key: string): boolean | undefined {
    for (const operation of this.#noted) this.#exists.set(operation.key, operation.kind === 'put');
    this.#noted.length = 0;
    return this.#exists.get(key);
  }
}

export class GroupCommit {
  readonly #options: GroupCommitOptions;
  #queue: (QueuedWrite | QueuedBatch)[] = [];
  #queueBytes = 0;
  #queueOperations = 0;
  #isRunning = false;
  #isClosed = false;
  #idleWaiters: (() => void)[] = [];

  constructor(options: GroupCommitOptions) {
    this.#options = options;
  }

  get queueBytes(): number {
    return this.#queueBytes;
  }

  get queueOperations(): number {
    return this.#queueOperations;
  }

  /**
   * Resolves after the sync that covers the operation, or as soon as it is certain that nothing is
   * written; without `awaitsSync` as soon as it is certain that it will be, if the disk takes it.
   * @throws ShiplogError `overloaded`, `stopping`, `not-primary`, `disk-full` (not written) or `outcome-unknown`.
   */
  submit(operation: DataOperation, condition?: CommitCondition, { awaitsSync = true }: { readonly awaitsSync?: boolean } = {}): Promise<CommitOutcome> {
    return new Promise((resolve, reject) => {
      const bytes = encodedSize(operation);
      this.#admit(bytes, 1);
      if (!awaitsSync && isUnconditional({ operation, condition })) resolve({ outcome: 'taken' });
      this.#enqueue({ kind: 'write', operation, condition, awaitsSync, bytes, resolve, reject }, 1);
    });
  }

  /** What `submit` does for a put without a condition, told instead of promised. */
  put(operation: PutOperation, listener: PutListener): void {
    const bytes = encodedSize(operation);
    try {
      this.#admit(bytes, 1);
    } catch (error) {
      listener.onFailed(error);
      return;
    }
    this.#enqueue(new QueuedPut(operation, bytes, listener, this.#options.committer), 1);
  }

  /**
   * Operations that get one frame, and so consecutive LSNs, if all their conditions hold. A key may come more
   * than once: the operations happen in their order. A delete of what does not exist is left out of the frame.
   * @throws ShiplogError as `submit`; `batch-too-large` beyond the bounds of a frame.
   */
  submitBatch(operations: readonly BatchedOperation[], { awaitsSync = true }: { readonly awaitsSync?: boolean } = {}): Promise<BatchOutcome> {
    return new Promise((resolve, reject) => {
      const bytes = operations.reduce((sum, { operation }) => sum + encodedSize(operation), 0);
      checkBatchSize(operations.length, bytes);
      this.#admit(bytes, operations.length);
      this.#enqueue({ kind: 'batch', operations, awaitsSync, bytes, resolve, reject }, operations.length);
    });
  }

  #admit(bytes: number, operations: number): void {
    if (this.#isClosed) throw new ShiplogError('stopping', 'this node is stopping; ask another one');
    if (this.#queueBytes + bytes > this.#options.queueBytesMax() || this.#queueOperations + operations > LIMITS.queueOperationsMax) {
      this.#options.metrics.writesRefused.increment();
      throw new ShiplogError('overloaded', `${this.#queueOperations} writes with ${this.#queueBytes} bytes are waiting for the disk already`);
    }
  }

  #enqueue(entry: QueuedWrite | QueuedBatch, operations: number): void {
    this.#queue.push(entry);
    this.#queueBytes += entry.bytes;
    this.#queueOperations += operations;
    if (this.#isRunning) return;
    this.#isRunning = true;
    // Requests that arrived in the same turn of the event loop join this group.
    this.#options.clock.defer(() => void this.#run());
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0) {
      const epoch = this.#options.writableEpoch();
      if (epoch === undefined) {
        this.#rejectQueue(new ShiplogError('not-primary', 'this node is not the primary (any more)'));
        break;
      }
      const group = this.#closeGroup(epoch);
      if (group.frames.length > 0) await this.#commit(group);
    }
    this.#isRunning = false;
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }

  /** Takes what fits into one group from the queue and decides every condition. */
  #closeGroup(epoch: EpochRef): Group {
    const group: Group = { epoch, frames: [], dependents: [], earlier: new EarlierWrites() };
    let writes: QueuedWrite[] = [];
    let groupBytes = 0;
    let taken = 0;
    const closeFrame = (): void => {
      if (writes.length > 0) group.frames.push(new SharedFrame(writes));
      writes = [];
    };
    for (const entry of this.#queue) {
      if (groupBytes > 0 && groupBytes + entry.bytes > LIMITS.batchBytesMax) break;
      let framed: QueuedWrite | BatchFrame | 'answered' | 'depends';
      try {
        framed = entry.kind === 'write' ? this.#judgeWrite(entry, group) : this.#judgeBatch(entry, group);
      } catch (error) {
        // The store can't be read: nothing is written, and the others are none the worse.
        entry.reject(error);
        framed = 'answered';
      }
      // Its condition names a position that does not exist yet: decide it against the durable state.
      if (framed === 'depends') break;
      taken += 1;
      this.#queueBytes -= entry.bytes;
      this.#queueOperations -= entry.kind === 'write' ? 1 : entry.operations.length;
      if (framed === 'answered') continue;
      groupBytes += entry.bytes;
      if (framed instanceof BatchFrame) {
        closeFrame();
        group.frames.push(framed);
      } else {
        writes.push(framed);
        if (writes.length === LIMITS.batchOperationsMax) closeFrame();
      }
    }
    closeFrame();
    this.#queue = this.#queue.slice(taken);
    return group;
  }

  /** A write that goes into the log is returned; whether another one is answered by now or depends on the group, is told. */
  #judgeWrite(write: QueuedWrite, { earlier, dependents }: Group): QueuedWrite | 'answered' | 'depends' {
    const { operation } = write;
    const refusal = this.#refusal(write, earlier);
    if (refusal === 'depends') return refusal;
    if (refusal !== undefined) {
      if (earlier.has(operation.key) && write.awaitsSync) dependents.push(write);
      else write.resolve(refusal);
      return 'answered';
    }
    if (!write.awaitsSync) write.resolve({ outcome: 'taken' });
    earlier.note(operation);
    return write;
  }

  /** What of a batch goes into the log: all but deletes of what does not exist, or nothing. */
  #judgeBatch(batch: QueuedBatch, group: Group): BatchFrame | 'answered' | 'depends' {
    const { table } = this.#options;
    const { operations } = batch;
    if (operations.some(({ operation, condition }) => condition !== undefined && group.earlier.has(operation.key))) return 'depends';
    const restsOnLsn = table.visible.lsn;
    for (const [index, { operation, condition }] of operations.entries()) {
      if (condition === undefined) continue;
      const currentLsn = table.get(operation.key)?.lsn ?? null;
      if (condition(currentLsn)) continue;
      batch.resolve({ outcome: 'precondition-failed', index, currentLsn, restsOnLsn });
      return 'answered';
    }

    const exists = new Map<string, boolean>();
    let restsOnGroup = false;
    // Whether a key exists matters to deletes alone, and most large batches have none.
    const hasDeletes = operations.some(({ operation }) => operation.kind === 'delete');
    const isWritten = operations.map(({ operation }) => {
      if (!hasDeletes) return true;
      if (operation.kind === 'delete') {
        const before = exists.get(operation.key) ?? group.earlier.exists(operation.key);
        if (!(before ?? table.get(operation.key) !== undefined)) {
          restsOnGroup ||= group.earlier.has(operation.key);
          return false;
        }
      }
      exists.set(operation.key, operation.kind === 'put');
      return true;
    });
    for (const [index, { operation }] of operations.entries()) if (isWritten[index]!) group.earlier.note(operation);
    if (!batch.awaitsSync) batch.resolve({ outcome: 'taken', isWritten });
    if (isWritten.includes(true)) return new BatchFrame(batch, isWritten);
    if (restsOnGroup) group.dependents.push(whollyAbsent(batch));
    else batch.resolve({ outcome: 'written', lsns: operations.map(() => null), endLsn: restsOnLsn });
    return 'answered';
  }

  /** Why an operation is not written, or undefined where it is. */
  #refusal(write: QueuedWrite, earlier: EarlierWrites): NotWritten | 'depends' | undefined {
    const { operation, condition } = write;
    if (isUnconditional(write)) return undefined;
    const existsInGroup = earlier.exists(operation.key);
    if (condition !== undefined && existsInGroup !== undefined) return 'depends';
    const { table } = this.#options;
    const currentLsn = existsInGroup === undefined ? (table.get(operation.key)?.lsn ?? null) : null;
    const restsOnLsn = table.visible.lsn;
    if (condition !== undefined && !condition(currentLsn)) return { outcome: 'precondition-failed', currentLsn, restsOnLsn };
    const exists = existsInGroup ?? currentLsn !== null;
    return operation.kind === 'delete' && !exists ? { outcome: 'absent', restsOnLsn } : undefined;
  }

  async #commit(group: Group): Promise<void> {
    const { clock, committer, writableEpoch } = this.#options;
    const wallMs = clock.wallMs();
    const sources: FrameSource[] = group.frames.map(({ operations, payloadBytes }) => ({
      type: 'operations',
      operations,
      payloadBytes,
      epoch: group.epoch,
      wallMs,
    }));
    try {
      const batches = await committer.commit(sources);
      // The role again, after the sync: whoever took over meanwhile may not have these operations.
      if (writableEpoch()?.id !== group.epoch.id) throw new ShiplogError('outcome-unknown', 'this node ceased to be the primary while the write was synced');
      for (const [index, frame] of group.frames.entries()) frame.resolve(batches[index]!.firstLsn);
      for (const dependent of group.dependents) dependent.resolve({ outcome: 'absent', restsOnLsn: batches.at(-1)!.lastLsn });
    } catch (error) {
      const isCertain = isShiplogError(error, 'disk-full') || isShiplogError(error, 'stopping') || isShiplogError(error, 'outcome-unknown');
      const answer = isCertain ? error : unknownOutcome(error);
      for (const waiting of [...group.frames, ...group.dependents]) waiting.reject(answer);
    }
  }

  #rejectQueue(error: ShiplogError): void {
    const queue = this.#queue;
    this.#queue = [];
    this.#queueBytes = 0;
    this.#queueOperations = 0;
    for (const write of queue) write.reject(error);
  }

  /** Takes no more, and resolves when all that was taken is answered. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.idle();
  }

  /** Resolves when all that was taken is answered. */
  async idle(): Promise<void> {
    if (!this.#isRunning) return;
    await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
  }
}

/** Nothing can keep it from being written but the disk. */
function isUnconditional({ operation, condition }: Pick<QueuedWrite, 'operation' | 'condition'>): boolean {
  return condition === undefined && operation.kind === 'put';
}

function checkBatchSize(count: number, bytes: number): void {
  assert(count > 0, 'a batch has operations');
  if (count > LIMITS.batchOperationsMax) throw new ShiplogError('batch-too-large', `the batch has ${count} operations, expected at most ${LIMITS.batchOperationsMax}`);
  if (count > 1 && bytes > LIMITS.batchBytesMax) throw new ShiplogError('batch-too-large', `the operations take ${bytes} bytes, expected at most ${LIMITS.batchBytesMax} in one batch`);
}

/** A batch of which nothing is left, since the group deletes its keys before it: certain when the group is. */
function whollyAbsent({ operations, resolve, reject }: QueuedBatch): Dependent {
  const settle = (outcome: CommitOutcome): void => {
    assert(outcome.outcome === 'absent', 'a delete that is left out is absent');
    resolve({ outcome: 'written', lsns: operations.map(() => null), endLsn: outcome.restsOnLsn });
  };
  return { resolve: settle, reject };
}

function unknownOutcome(cause: unknown): ShiplogError {
  return new ShiplogError('outcome-unknown', `the write may or may not survive: ${messageOf(cause)}`, { cause });
}
