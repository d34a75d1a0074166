/**
 * The one way into a node's data, for both roles: log first, then the visible table. A primary's
 * group commit and a replica's receiver are its only callers, one at a time.
 */
import type { EpochHistory } from '../base/epoch-history.ts';
import { ShiplogError, assert } from '../base/errors.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { FrameSource, LoggedBatch, Wal } from '../wal/wal.ts';
import type { VisibleTable } from './visible-table.ts';

export interface CommitterOptions {
  readonly wal: Wal;
  readonly table: VisibleTable;
  readonly metrics: Metrics;
  /** Resolves when the log beyond the last checkpoint is within its bound. */
  readonly checkpointRoom: () => Promise<void>;
  /** Called once, when the log can't be trusted with another write. */
  readonly onPoisoned: (error: ShiplogError) => void;
}

export class Committer {
  readonly #options: CommitterOptions;
  #isCommitting = false;

  constructor(options: CommitterOptions) {
    this.#options = options;
  }

  /** Of the log, up to its durable end. */
  get history(): EpochHistory {
    return this.#options.wal.history;
  }

  /**
   * Appends one write group, syncs it and makes it visible. See `Wal.append` for the errors.
   * @returns the batches with their LSNs.
   */
  async commit(sources: readonly FrameSource[]): Promise<readonly LoggedBatch[]> {
    const { wal, table, metrics } = this.#options;
    assert(!this.#isCommitting, 'commits must not overlap');
    this.#isCommitting = true;
    try {
      await table.room();
      await this.#options.checkpointRoom();
      const batches = await wal.append(sources);
      table.show(batches);
      for (const batch of batches) {
        metrics.operationsCommitted.increment(batch.operations.length);
        metrics.batchOperations.observe(batch.operations.length);
      }
      return batches;
    } catch (error) {
      if (error instanceof ShiplogError && error.code === 'log-poisoned') this.#options.onPoisoned(error);
      throw error;
    } finally {
      this.#isCommitting = false;
    }
  }
}
