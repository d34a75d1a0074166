/**
 * One generation at work: log, store, visible table and committer, put together and recovered.
 * Whoever holds an engine has a consistent state.
 */
import type { EpochHistory, LogPoint } from '../base/epoch-history.ts';
import { ShiplogError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { Timer } from '../env/clock.ts';
import { DiskFullError } from '../env/disk.ts';
import { Committer } from '../commit/committer.ts';
import { VisibleTable } from '../commit/visible-table.ts';
import { Checkpointer } from '../store/checkpointer.ts';
import type { Store } from '../store/store.ts';
import { Scrubber } from '../wal/scrubber.ts';
import { Wal } from '../wal/wal.ts';
import type { Current } from './data-directory.ts';
import type { CachedRows, HotReads } from './node-api.ts';
import type { NodeOptions } from './node-options.ts';

export interface EngineOptions {
  readonly node: NodeOptions;
  readonly current: Current;
  /** Lowest LSN after which somebody still needs the log; null = nobody does. */
  readonly neededAfterLsn: () => number | null;
  /** Log or store can't be trusted any more: the node must stop. */
  readonly onFailed: (error: unknown) => void;
}

const RETENTION_INTERVAL_MS = 60_000;

export class Engine implements HotReads {
  readonly clusterId: string;
  readonly wal: Wal;
  readonly store: Store;
  readonly table: VisibleTable;
  readonly committer: Committer;
  readonly #options: EngineOptions;
  readonly #checkpointer: Checkpointer;
  readonly #scrubber: Scrubber;
  #checkpointWaiters: (() => void)[] = [];
  #retentionTimer: Timer | undefined;
  #retaining: Promise<void> | undefined;
  #isClosed = false;

  private constructor(options: EngineOptions, store: Store, wal: Wal) {
    const { environment, logger, metrics, checkpointOperations, checkpointIntervalMs } = options.node;
    this.#options = options;
    this.clusterId = options.current.clusterId;
    this.store = store;
    this.wal = wal;
    this.table = new VisibleTable({
      store,
      cacheBytes: options.node.cacheBytes,
      clock: environment.clock,
      logger,
      metrics,
      onApplied: () => this.#checkpointer.noteApplied(),
      onFailed: options.onFailed,
    });
    this.#checkpointer = new Checkpointer({
      store,
      clock: environment.clock,
      logger,
      metrics,
      operations: checkpointOperations,
      intervalMs: checkpointIntervalMs,
      onCheckpointed: (point) => this.#checkpointed(point),
      onFailed: options.onFailed,
    });
    this.committer = new Committer({
      wal,
      table: this.table,
      metrics,
      checkpointRoom: () => this.#checkpointRoom(),
      onPoisoned: options.onFailed,
    });
    this.#scrubber = new Scrubber({ wal, disk: environment.disk, clock: environment.clock, logger, onDamage: options.onFailed });
  }

  /**
   * Opens what CURRENT names: store first, since it says from where the log is needed; then the log;
   * then whatever the log has beyond the store becomes visible again.
   * @throws ShiplogError `log-damaged`, `store-failed`, `data-directory-invalid`.
   */
  static async open(options: EngineOptions): Promise<Engine> {
    const { environment, logger, metrics, segmentBytes, stores } = options.node;
    const { generation, clusterId, base } = options.current;
    const store = await stores.open(generation.databasePath);
    let wal: Wal | undefined;
    let engine: Engine | undefined;
    try {
      // What the store holds shall not need the log: frames up to there are not read again. A
      // reader or a full disk can be in the way; then the log keeps what it has until the next checkpoint.
      const checkpointed = await store.checkpoint().catch((error: unknown) => {
        if (!(error instanceof DiskFullError)) throw error;
        return undefined;
      });
      wal = await Wal.open({
        disk: environment.disk,
        clock: environment.clock,
        random: environment.random,
        logger,
        metrics,
        directory: generation.walDirectory,
        clusterId,
        base,
        applied: store.applied,
        checkpointedLsn: checkpointed?.lsn ?? base.lsn,
        segmentBytes,
      });
      engine = new Engine(options, store, wal);
      await engine.#replay();
      engine.#retainAfter(RETENTION_INTERVAL_MS);
      return engine;
    } catch (error) {
      // What led here is the error that matters, whatever closing says to it.
      if (engine !== undefined) await engine.close().catch(() => {});
      else await wal?.close().catch(() => {});
      await store.close();
      throw error;
    }
  }

  async #replay(): Promise<void> {
    const fromLsn = this.store.applied.lsn;
    for await (const batch of this.wal.readBatches(fromLsn)) {
      await this.table.room();
      this.table.show([batch]);
    }
    // Whoever starts wants to know whether the store takes it.
    void this.table.appliedThrough(this.wal.end.lsn);
    if (this.wal.end.lsn > fromLsn) this.#options.node.logger.info('replayed the log', { fromLsn: fromLsn + 1, throughLsn: this.wal.end.lsn });
  }

  get history(): EpochHistory {
    return this.wal.history;
  }

  get rows(): CachedRows {
    return this.table.cachedRows;
  }

  get visibleLsn(): number {
    return this.table.visible.lsn;
  }

  noteRead(): void {
    this.#options.node.metrics.readsServed.increment();
  }

  #checkpointed(point: LogPoint): void {
    this.wal.setCheckpointed(point);
    for (const resolve of this.#checkpointWaiters.splice(0)) resolve();
    this.#retain();
  }

  /** The log beyond the last checkpoint is what a restart has to replay: it is bounded. */
  async #checkpointRoom(): Promise<void> {
    while (this.wal.bytesAfter(this.wal.checkpointedLsn) > LIMITS.uncheckpointedBytesMax) {
      if (this.#isClosed) throw new ShiplogError('stopping', 'this node is stopping; ask another one');
      this.#checkpointer.request();
      await new Promise<void>((resolve) => this.#checkpointWaiters.push(resolve));
    }
  }

  #retain(): void {
    if (this.#retaining !== undefined || this.#isClosed) return;
    this.#retaining = this.wal
      .removeOldSegments(this.#options.node.retention, this.#options.neededAfterLsn())
      .then(() => {}, this.#options.onFailed)
      .finally(() => {
        this.#retaining = undefined;
      });
  }

  #retainAfter(delayMs: number): void {
    this.#retentionTimer = this.#options.node.environment.clock.setTimer(delayMs, () => {
      this.#retain();
      if (!this.#isClosed) this.#retainAfter(RETENTION_INTERVAL_MS);
    });
  }

  /** Turns away who waits for room: nothing of theirs is written, and what they wait for may never come. */
  beginClose(): void {
    this.#isClosed = true;
    this.table.beginStop();
    for (const resolve of this.#checkpointWaiters.splice(0)) resolve();
  }

  /** Nothing may be committing. What the store lacks is replayed at the next start. */
  async close(): Promise<void> {
    this.beginClose();
    this.#retentionTimer?.cancel();
    await this.#retaining;
    await this.#scrubber.stop();
    await this.table.stop();
    await this.#checkpointer.stop();
    await this.wal.close();
    await this.store.close();
  }
}
