/**
 * Brings what SQLite has applied into its database file from time to time. Only what a checkpoint
 * has covered may be removed from the log.
 */
import type { LogPoint } from '../base/epoch-history.ts';
import type { Clock, Timer } from '../env/clock.ts';
import { DiskFullError } from '../env/disk.ts';
import type { Logger } from '../observe/logger.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Store } from './store.ts';

export interface CheckpointerOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** A checkpoint is due after this many applied operations … */
  readonly operations: number;
  /** … or after this time, if anything was applied at all. */
  readonly intervalMs: number;
  /** Called whenever the position that SQLite holds without the log has risen. */
  readonly onCheckpointed: (point: LogPoint) => void;
  readonly onFailed: (error: unknown) => void;
}

/** A reader (a snapshot being made) can keep a checkpoint from finishing: ask again after this time. */
const RETRY_MS = 200;

export class Checkpointer {
  readonly #options: CheckpointerOptions;
  #checkpointedLsn: number;
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #isStopped = false;

  constructor(options: CheckpointerOptions) {
    this.#options = options;
    this.#checkpointedLsn = options.store.applied.lsn;
    this.#schedule(options.intervalMs);
  }

  /** To be called after every transaction of the store. */
  noteApplied(): void {
    if (this.#options.store.applied.lsn - this.#checkpointedLsn >= this.#options.operations) this.request();
  }

  /** Starts a checkpoint unless one is running. */
  request(): void {
    if (this.#isStopped || this.#running !== undefined || this.#options.store.applied.lsn === this.#checkpointedLsn) return;
    this.#running = this.#run().catch(this.#options.onFailed);
  }

  async #run(): Promise<void> {
    const { clock, metrics } = this.#options;
    const startedMs = clock.monotonicMs();
    const point = await this.#checkpoint();
    metrics.checkpointSeconds.observe((clock.monotonicMs() - startedMs) / 1000);
    this.#running = undefined;
    if (point !== undefined && point.lsn > this.#checkpointedLsn) {
      this.#checkpointedLsn = point.lsn;
      this.#options.onCheckpointed(point);
    }
    this.#schedule(point === undefined ? RETRY_MS : this.#options.intervalMs);
  }

  /** Without disk space there is no checkpoint for now; the log keeps what it would have covered. */
  async #checkpoint(): Promise<LogPoint | undefined> {
    try {
      return await this.#options.store.checkpoint();
    } catch (error) {
      if (!(error instanceof DiskFullError)) throw error;
      this.#options.logger.warn('no disk space for a checkpoint; trying again', { reason: error.message });
      return undefined;
    }
  }

  #schedule(delayMs: number): void {
    this.#timer?.cancel();
    if (this.#isStopped) return;
    this.#timer = this.#options.clock.setTimer(delayMs, () => {
      this.#schedule(this.#options.intervalMs);
      this.request();
    });
  }

  /** Waits for a running checkpoint and starts no other. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    await this.#running;
  }
}
