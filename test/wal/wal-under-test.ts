/** A log to test: opened with small segments, chance and time from a seed, and sources to append. */
import { EpochHistory, type EpochRef, type LogPoint } from '../../lib/base/epoch-history.ts';
import type { DataOperation, Operation } from '../../lib/base/operation.ts';
import type { Clock, Timer } from '../../lib/env/clock.ts';
import type { Disk } from '../../lib/env/disk.ts';
import type { Random } from '../../lib/env/random.ts';
import { type Logger, SILENT_LOGGER } from '../../lib/observe/logger.ts';
import type { Metrics } from '../../lib/observe/metrics.ts';
import { type FrameSource, Wal } from '../../lib/wal/wal.ts';
import { SeededRandom } from '../support/seeded-random.ts';

export const DIRECTORY = '/node/wal';
export const CLUSTER_ID = 'c1'.repeat(16);
export const EPOCH: EpochRef = { number: 1, id: '1e'.repeat(16) };
export const WALL_MS = 1_700_000_000_000;
const ZERO: LogPoint = { lsn: 0, chain: 0 };

export interface TestWalOptions {
  readonly directory?: string;
  readonly segmentBytes?: number;
  readonly tailBytesMax?: number;
  readonly applied?: LogPoint & { readonly history: EpochHistory };
  readonly base?: LogPoint;
  readonly clusterId?: string;
  readonly random?: Random;
  readonly clock?: Clock;
  readonly logger?: Logger;
}

export function openWal(disk: Disk, options: TestWalOptions = {}): Promise<Wal> {
  return Wal.open({
    disk,
    clock: options.clock ?? new StandingClock(),
    random: options.random ?? new SeededRandom(1),
    logger: options.logger ?? SILENT_LOGGER,
    metrics: NO_METRICS,
    directory: options.directory ?? DIRECTORY,
    clusterId: options.clusterId ?? CLUSTER_ID,
    base: options.base ?? ZERO,
    applied: options.applied ?? { ...ZERO, history: EpochHistory.EMPTY },
    segmentBytes: options.segmentBytes ?? 2048,
    // Thousands of logs are opened here: the 8 MiB that one has in production would be all that they do.
    tailBytesMax: options.tailBytesMax ?? 256 * 1024,
  });
}

/** Makes the log's directory as startup would: its name is durable. */
export async function makeWalDirectory(disk: Disk, directory = DIRECTORY): Promise<void> {
  await disk.makeDirectory(directory);
  await disk.syncDirectory('/');
  await disk.syncDirectory('/node');
}

/** The frame that opens the first epoch. */
export const FIRST_EPOCH: FrameSource = frame(
  [{ kind: 'epoch-begin', begin: 'first', epoch: EPOCH, parent: null, parentEnd: ZERO, acceptedLoss: 0 }],
  EPOCH,
);

export function frame(operations: readonly Operation[], epoch = EPOCH, wallMs = WALL_MS): FrameSource {
  return { type: 'operations', operations, epoch, wallMs };
}

export function put(key: string, value: string): DataOperation {
  return { kind: 'put', key, value };
}

export function del(key: string): DataOperation {
  return { kind: 'delete', key };
}

/** The frame that opens another epoch after `wal.end`. */
export function nextEpoch(wal: Wal, epoch: EpochRef): FrameSource {
  const { number, id } = wal.history.current!;
  return frame(
    [{ kind: 'epoch-begin', begin: 'failover', epoch, parent: { number, id }, parentEnd: wal.end, acceptedLoss: 0 }],
    epoch,
  );
}

/** Time that moves only when it is told to. */
export class StandingClock implements Clock {
  wall = WALL_MS;
  monotonic = 0;

  monotonicMs(): number {
    return this.monotonic;
  }

  wallMs(): number {
    return this.wall;
  }

  setTimer(): Timer {
    throw new Error('the log sets no timers');
  }

  defer(callback: () => void): void {
    queueMicrotask(callback);
  }
}

const ignore = { increment: () => {}, observe: () => {} };
export const NO_METRICS: Metrics = {
  operationsCommitted: ignore,
  readsServed: ignore,
  writesRefused: ignore,
  batchOperations: ignore,
  groupBytes: ignore,
  syncSeconds: ignore,
  applySeconds: ignore,
  checkpointSeconds: ignore,
  streamBytesSent: ignore,
  streamBytesReceived: ignore,
  streamReconnects: ignore,
  snapshotsServed: ignore,
  readGaugesFrom: () => {},
  readRequestsFrom: () => {},
  text: () => Promise.resolve(''),
  contentType: 'text/plain',
};
