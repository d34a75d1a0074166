/**
 * The primary's queue: while one write group syncs, the next one gathers. Conditions are decided
 * when a batch is closed, against what is visible plus the earlier operations of that batch; an
 * answer that rests on such an operation waits for its sync like the operation itself.
 */
import type { EpochRef } from '../base/epoch-history.ts';
import { ShiplogError, isShiplogError, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { DataOperation } from '../base/operation.ts';
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
  readonly operation: DataOperation;
  readonly condition: CommitCondition | undefined;
  readonly awaitsSync: boolean;
  readonly bytes: number;
  readonly resolve: (outcome: CommitOutcome) => void;
  readonly reject: (error: unknown) => void;
}

interface Group {
  readonly epoch: EpochRef;
  /** One list per frame. */
  readonly frames: QueuedWrite[][];
  /** Deletes that rest on an operation of this group: it deletes the key before them. */
  readonly dependents: QueuedWrite[];
}

export class GroupCommit {
  readonly #options: GroupCommitOptions;
  #queue: QueuedWrite[] = [];
  #queueBytes = 0;
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
    return this.#queue.length;
  }

  /**
   * Resolves after the sync that covers the operation, or as soon as it is certain that nothing is
   * written; without `awaitsSync` as soon as it is certain that it will be, if the disk takes it.
   * @throws ShiplogError `overloaded`, `stopping`, `not-primary`, `disk-full` (not written) or `outcome-unknown`.
   */
  submit(operation: DataOperation, condition?: CommitCondition, { awaitsSync = true }: { readonly awaitsSync?: boolean } = {}): Promise<CommitOutcome> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) throw new ShiplogError('stopping', 'this node is stopping; ask another one');
      const bytes = encodedSize(operation);
      if (this.#queueBytes + bytes > this.#options.queueBytesMax() || this.#queue.length >= LIMITS.queueOperationsMax) {
        this.#options.metrics.writesRefused.increment();
        throw new ShiplogError('overloaded', `${this.#queue.length} writes with ${this.#queueBytes} bytes are waiting for the disk already`);
      }
      this.#queue.push({ operation, condition, awaitsSync, bytes, resolve, reject });
      if (!awaitsSync && isUnconditional({ operation, condition })) resolve({ outcome: 'taken' });
      this.#queueBytes += bytes;
      if (this.#isRunning) return;
      this.#isRunning = true;
      // Requests that arrived in the same turn of the event loop join this group.
      this.#options.clock.defer(() => void this.#run());
    });
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
    const group: Group = { epoch, frames: [], dependents: [] };
    const earlier = new Map<string, { readonly exists: boolean }>();
    let frame: QueuedWrite[] = [];
    let groupBytes = 0;
    let taken = 0;
    for (const write of this.#queue) {
      if (groupBytes > 0 && groupBytes + write.bytes > LIMITS.batchBytesMax) break;
      taken += 1;
      this.#queueBytes -= write.bytes;
      const { operation } = write;
      let refusal: NotWritten | 'depends' | undefined;
      try {
        refusal = this.#refusal(write, earlier.get(operation.key));
      } catch (error) {
        // The store can't be read: nothing is written, and the others are none the worse.
        write.reject(error);
        continue;
      }
      if (refusal === 'depends') {
        // Its condition names a position that does not exist yet: decide it against the durable state.
        taken -= 1;
        this.#queueBytes += write.bytes;
        break;
      }
      if (refusal !== undefined) {
        if (earlier.has(operation.key) && write.awaitsSync) group.dependents.push(write);
        else write.resolve(refusal);
        continue;
      }
      if (!write.awaitsSync) write.resolve({ outcome: 'taken' });
      earlier.set(operation.key, { exists: operation.kind === 'put' });
      frame.push(write);
      groupBytes += write.bytes;
      if (frame.length === LIMITS.batchOperationsMax) {
        group.frames.push(frame);
        frame = [];
      }
    }
    if (frame.length > 0) group.frames.push(frame);
    this.#queue = this.#queue.slice(taken);
    return group;
  }

  /** Why an operation is not written, or undefined where it is. */
  #refusal(write: QueuedWrite, earlier: { readonly exists: boolean } | undefined): NotWritten | 'depends' | undefined {
    const { operation, condition } = write;
    if (isUnconditional(write)) return undefined;
    if (condition !== undefined && earlier !== undefined) return 'depends';
    const { table } = this.#options;
    const currentLsn = earlier === undefined ? (table.get(operation.key)?.lsn ?? null) : null;
    const restsOnLsn = table.visible.lsn;
    if (condition !== undefined && !condition(currentLsn)) return { outcome: 'precondition-failed', currentLsn, restsOnLsn };
    const exists = earlier === undefined ? currentLsn !== null : earlier.exists;
    return operation.kind === 'delete' && !exists ? { outcome: 'absent', restsOnLsn } : undefined;
  }

  async #commit(group: Group): Promise<void> {
    const { clock, committer, writableEpoch } = this.#options;
    const wallMs = clock.wallMs();
    const sources: FrameSource[] = group.frames.map((writes) => ({
      type: 'operations',
      operations: writes.map((write) => write.operation),
      epoch: group.epoch,
      wallMs,
    }));
    try {
      const batches = await committer.commit(sources);
      // The role again, after the sync: whoever took over meanwhile may not have these operations.
      if (writableEpoch()?.id !== group.epoch.id) throw new ShiplogError('outcome-unknown', 'this node ceased to be the primary while the write was synced');
      for (const [index, writes] of group.frames.entries()) {
        let lsn = batches[index]!.firstLsn;
        for (const write of writes) {
          write.resolve({ outcome: 'written', lsn });
          lsn += 1;
        }
      }
      for (const write of group.dependents) write.resolve({ outcome: 'absent', restsOnLsn: batches.at(-1)!.lastLsn });
    } catch (error) {
      const isCertain = isShiplogError(error, 'disk-full') || isShiplogError(error, 'stopping') || isShiplogError(error, 'outcome-unknown');
      const answer = isCertain ? error : unknownOutcome(error);
      for (const write of group.frames.flat()) write.reject(answer);
      for (const write of group.dependents) write.reject(answer);
    }
  }

  #rejectQueue(error: ShiplogError): void {
    const queue = this.#queue;
    this.#queue = [];
    this.#queueBytes = 0;
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

function unknownOutcome(cause: unknown): ShiplogError {
  return new ShiplogError('outcome-unknown', `the write may or may not survive: ${messageOf(cause)}`, { cause });
}
