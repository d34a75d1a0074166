/**
 * What reads see: durable operations at once from memory, all others from the store. The applier
 * moves operations from memory to the store in transactions that are much larger than the write groups:
 * per row that costs less than half, so it lets some gather first, unless somebody waits for the store. An entry
 * leaves memory only when the store's own reads show it.
 */
import { ShiplogError, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { Batch } from '../base/operation.ts';
import { Watermark } from '../base/watermark.ts';
import { type Clock, type Timer, sleep } from '../env/clock.ts';
import { DiskFullError } from '../env/disk.ts';
import type { Logger } from '../observe/logger.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Store, StoredRow, TableDigest } from '../store/store.ts';
import type { LoggedBatch } from '../wal/wal.ts';
import { RowCache } from './row-cache.ts';

export interface VisibleTableOptions {
  readonly store: Store;
  /** Memory for rows that were read lately; 0 = every read asks the store. */
  readonly cacheBytes: number;
  /** How long operations may gather before they are applied; 0 = not at all. Default: LIMITS.applyDelayMs. */
  readonly applyDelayMs?: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Called after each transaction of the store. */
  readonly onApplied: () => void;
  /** The store failed for good: the node has to stop. */
  readonly onFailed: (error: unknown) => void;
}

interface PendingRow {
  readonly value: string | null;
  readonly lsn: number;
}

interface DigestRequest {
  readonly atLsn: number;
  readonly resolve: (digest: Promise<TableDigest>) => void;
}

/** One transaction of the store: short enough to be waited for, large enough to pay. */
const TRANSACTION_OPERATIONS_MAX = 8192;
const TRANSACTION_BYTES_MAX = LIMITS.batchBytesMax;
const DISK_FULL_RETRY_MS = 1_000;

export class VisibleTable {
  readonly visible: Watermark;
  readonly applied: Watermark;
  readonly #options: VisibleTableOptions;
  readonly #rows = new Map<string, PendingRow>();
  readonly #cache: RowCache;
  #batches: LoggedBatch[] = [];
  #unappliedBytes = 0;
  #unappliedOperations = 0;
  /** Up to here somebody waits for the store. */
  #hurryLsn = 0;
  /** Runs while operations gather. */
  #delay: Timer | undefined;
  #isDelayOver = false;
  #digestRequests: DigestRequest[] = [];
  #isApplying = false;
  #isStopped = false;
  readonly #stopping = new AbortController();
  #failure: Error | undefined;
  #idleWaiters: (() => void)[] = [];
  #roomWaiters: (() => void)[] = [];

  constructor(options: VisibleTableOptions) {
    this.#options = options;
    this.#cache = new RowCache(options.cacheBytes);
    this.visible = new Watermark('visible', options.store.applied.lsn);
    this.applied = new Watermark('applied', options.store.applied.lsn);
  }

  get unappliedBytes(): number {
    return this.#unappliedBytes;
  }

  /** Rows that were read lately, as they are visible now. */
  get cachedRows(): RowCache {
    return this.#cache;
  }

  get(key: string): StoredRow | undefined {
    const pending = this.#rows.get(key);
    if (pending === undefined) return this.#applied(key);
    return pending.value === null ? undefined : { value: pending.value, lsn: pending.lsn };
  }

  /** Of a key without a pending operation. */
  #applied(key: string): StoredRow | undefined {
    const cached = this.#cache.get(key);
    if (cached !== undefined) return cached;
    const row = this.#options.store.get(key);
    if (row !== undefined) this.#cache.keep(key, row);
    return row;
  }

  /** Makes durable batches visible. */
  show(batches: readonly LoggedBatch[]): void {
    for (const batch of batches) {
      let lsn = batch.firstLsn;
      for (const operation of batch.operations) {
        if (operation.kind === 'put' || operation.kind === 'delete') {
          this.#rows.set(operation.key, { value: operation.kind === 'put' ? operation.value : null, lsn });
          if (operation.kind === 'put') this.#cache.renew(operation.key, { value: operation.value, lsn });
          else this.#cache.drop(operation.key);
        }
        lsn += 1;
      }
      this.#batches.push(batch);
      this.#unappliedBytes += batch.frameBytes;
      this.#unappliedOperations += batch.operations.length;
    }
    this.visible.advance(batches.at(-1)!.lastLsn);
    this.#startApplying();
  }

  /**
   * Resolves when the store has caught up far enough to take more.
   * @throws ShiplogError `stopping`, or what the store failed with: it will not take more.
   */
  async room(): Promise<void> {
    while (this.#unappliedBytes > LIMITS.unappliedBytesMax) {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#isStopped) throw new ShiplogError('stopping', 'this node is stopping; ask another one');
      await new Promise<void>((resolve) => this.#roomWaiters.push(resolve));
    }
  }

  /** Resolves once the store has everything up to `lsn`, for which it does not wait any longer. */
  appliedThrough(lsn: number, signal?: AbortSignal): Promise<void> {
    this.#hurryLsn = Math.max(this.#hurryLsn, lsn);
    this.#startApplying();
    return this.applied.reached(lsn, signal);
  }

  /**
   * A digest of the table at the first end of a batch at or after `atLsn`, the same on every node.
   * Rejects with the signal's reason when aborted before that position came.
   */
  digestAt(atLsn: number, signal?: AbortSignal): Promise<TableDigest> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason as Error);
        return;
      }
      const onAbort = (): void => {
        this.#digestRequests = this.#digestRequests.filter((each) => each !== request);
        reject(signal!.reason as Error);
      };
      const request: DigestRequest = {
        atLsn,
        resolve: (digest) => {
          signal?.removeEventListener('abort', onAbort);
          resolve(digest);
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#digestRequests.push(request);
      this.#startApplying();
    });
  }

  /** Digests that wait for their position. */
  get waitingDigests(): number {
    return this.#digestRequests.length;
  }

  /** Begins no other transaction, and turns away who waits for room. */
  beginStop(): void {
    this.#isStopped = true;
    this.#delay?.cancel();
    this.#stopping.abort(new Error('the table is stopping'));
    this.#wakeRoomWaiters();
  }

  /** Lets the transaction that is under way finish and begins no other: replay brings back the rest. */
  async stop(): Promise<void> {
    this.beginStop();
    if (this.#isApplying) await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
  }

  #startApplying(): void {
    if (this.#isApplying || this.#isStopped || this.#failure !== undefined) return;
    if (!this.#isDue && this.#digestRequests.length === 0) {
      this.#gather();
      return;
    }
    this.#delay?.cancel();
    this.#delay = undefined;
    this.#isApplying = true;
    this.#applyAll().catch((error: unknown) => this.#fail(error));
  }

  /** There is something to apply, and no reason to let more come first. */
  get #isDue(): boolean {
    if (this.#batches.length === 0) return false;
    if (this.#isDelayOver || this.#delayMs === 0 || this.#digestRequests.length > 0 || this.#hurryLsn > this.applied.lsn) return true;
    return this.#unappliedOperations >= TRANSACTION_OPERATIONS_MAX || this.#unappliedBytes >= TRANSACTION_BYTES_MAX;
  }

  get #delayMs(): number {
    return this.#options.applyDelayMs ?? LIMITS.applyDelayMs;
  }

  #gather(): void {
    if (this.#batches.length === 0 || this.#delay !== undefined) return;
    this.#delay = this.#options.clock.setTimer(this.#delayMs, () => {
      this.#delay = undefined;
      this.#isDelayOver = true;
      this.#startApplying();
    });
  }

  /** Nothing is applied any more, and nobody may go on waiting for it. */
  #fail(error: unknown): void {
    this.#failure = error instanceof Error ? error : new Error(messageOf(error));
    this.#becomeIdle();
    this.#wakeRoomWaiters();
    this.#options.onFailed(error);
  }

  #becomeIdle(): void {
    this.#isApplying = false;
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }

  #wakeRoomWaiters(): void {
    for (const resolve of this.#roomWaiters.splice(0)) resolve();
  }

  async #applyAll(): Promise<void> {
    await this.#beginDigests();
    while (this.#isDue && !this.#isStopped) {
      const taken = this.#takeTransaction();
      if (!(await this.#apply(taken))) break;
      this.#forget(taken);
      this.applied.advance(taken.at(-1)!.lastLsn);
      this.#options.onApplied();
      await this.#beginDigests();
    }
    this.#becomeIdle();
    if (this.#isStopped) return;
    if (this.#batches.length > 0 || this.#digestRequests.some((request) => request.atLsn <= this.applied.lsn)) this.#startApplying();
  }

  #takeTransaction(): LoggedBatch[] {
    let count = 0;
    let operations = 0;
    let bytes = 0;
    for (const batch of this.#batches) {
      operations += batch.operations.length;
      bytes += batch.frameBytes;
      if (count > 0 && (operations > TRANSACTION_OPERATIONS_MAX || bytes > TRANSACTION_BYTES_MAX)) break;
      count += 1;
      if (this.#digestRequests.some((request) => request.atLsn <= batch.lastLsn)) break;
    }
    this.#isDelayOver = false;
    return this.#batches.splice(0, count);
  }

  /**
   * SQLite without room pauses here, and with it, by `room`, the writers; nothing is lost meanwhile.
   * @returns false where the table was stopped before there was room.
   */
  async #apply(batches: readonly Batch[]): Promise<boolean> {
    const { clock, store, metrics, logger } = this.#options;
    for (;;) {
      const startedMs = clock.monotonicMs();
      try {
        await store.apply(batches);
        metrics.applySeconds.observe((clock.monotonicMs() - startedMs) / 1000);
        return true;
      } catch (error) {
        if (!(error instanceof DiskFullError)) throw error;
        logger.warn('the store has no disk space; trying again', { retryMs: DISK_FULL_RETRY_MS });
        await sleep(clock, DISK_FULL_RETRY_MS, this.#stopping.signal).catch(() => {});
        if (this.#isStopped) return false;
      }
    }
  }

  #forget(applied: readonly LoggedBatch[]): void {
    for (const batch of applied) {
      let lsn = batch.firstLsn;
      for (const operation of batch.operations) {
        // A later write of the same key is still pending under its own LSN.
        if ((operation.kind === 'put' || operation.kind === 'delete') && this.#rows.get(operation.key)?.lsn === lsn) {
          this.#rows.delete(operation.key);
        }
        lsn += 1;
      }
      this.#unappliedBytes -= batch.frameBytes;
      this.#unappliedOperations -= batch.operations.length;
    }
    this.#wakeRoomWaiters();
  }

  async #beginDigests(): Promise<void> {
    const due = this.#digestRequests.filter((request) => request.atLsn <= this.#options.store.applied.lsn);
    if (due.length === 0) return;
    this.#digestRequests = this.#digestRequests.filter((request) => !due.includes(request));
    const { begun, digest } = this.#options.store.beginDigest();
    for (const request of due) request.resolve(digest);
    // A digest that can't be made is the asker's trouble, not the table's.
    await begun.catch(() => {});
  }
}
