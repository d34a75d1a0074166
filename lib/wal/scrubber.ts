/**
 * Reads the whole log again, slowly, for as long as the node runs: damage in a part that nobody
 * reads is found while there are still replicas to reseed from.
 */
import { type Clock, sleep } from '../env/clock.ts';
import type { Disk } from '../env/disk.ts';
import type { Logger } from '../observe/logger.ts';
import { SegmentReader } from './segment-reader.ts';
import type { Segment } from './segment.ts';
import { damaged } from './wal-recovery.ts';
import type { Wal } from './wal.ts';

export interface ScrubberOptions {
  readonly wal: Wal;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called where the damage is in what only the log has. */
  readonly onDamage: (error: unknown) => void;
}

const PASS_INTERVAL_MS = 6 * 3_600_000;
/** About 10 MiB a second: a full log of 4 GiB takes seven minutes. */
const PAUSE_BYTES = 1024 * 1024;
const PAUSE_MS = 100;

export class Scrubber {
  readonly #options: ScrubberOptions;
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;

  constructor(options: ScrubberOptions) {
    this.#options = options;
    this.#running = this.#run().catch((error: unknown) => {
      if (!this.#stopping.signal.aborted) options.onDamage(error);
    });
  }

  async #run(): Promise<void> {
    const { wal, clock, logger } = this.#options;
    for (;;) {
      await sleep(clock, PASS_INTERVAL_MS, this.#stopping.signal);
      for (const segment of [...wal.segments]) {
        if (wal.segments.includes(segment)) await this.#verify(segment);
      }
      logger.info('scrubbed the log: every frame is sound', { segments: wal.segments.length });
    }
  }

  async #verify(segment: Segment): Promise<void> {
    const { disk, wal, clock } = this.#options;
    const file = await disk.open(segment.path, { mode: 'read' }).catch((error: unknown) => {
      if (wal.segments.includes(segment)) throw error;
    });
    // Retention was faster.
    if (file === undefined) return;
    try {
      const reader = new SegmentReader(file, segment, segment.boundaryBefore(0), segment.sizeBytes);
      let pauseOffset = PAUSE_BYTES;
      while ((await reader.next()) !== undefined) {
        if (reader.offset < pauseOffset) continue;
        pauseOffset = reader.offset + PAUSE_BYTES;
        await sleep(clock, PAUSE_MS, this.#stopping.signal);
      }
      if (reader.badReason !== undefined) wal.noteDamage(segment, damaged(segment.path, reader.offset, reader.badReason));
    } finally {
      await file.close();
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error('the scrubber was stopped'));
    await this.#running;
  }
}
