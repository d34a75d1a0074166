/** Log, table, committer and group commit on a disk and a store in memory, with every step in the test's hands. */
import { EpochHistory, type EpochRef } from '../../lib/base/epoch-history.ts';
import { LIMITS } from '../../lib/base/limits.ts';
import { Committer } from '../../lib/commit/committer.ts';
import { type CommitCondition, type CommitOutcome, GroupCommit } from '../../lib/commit/group-commit.ts';
import { VisibleTable } from '../../lib/commit/visible-table.ts';
import { SILENT_LOGGER } from '../../lib/observe/logger.ts';
import type { Store } from '../../lib/store/store.ts';
import { Wal } from '../../lib/wal/wal.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { type DiskCall, type DiskFault, MemoryDisk } from '../support/memory-disk.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { noMetrics } from '../support/no-metrics.ts';
import { SeededRandom } from '../support/seeded-random.ts';

const CLUSTER_ID = 'c1'.repeat(16);
export const EPOCH: EpochRef = { number: 1, id: '1e'.repeat(16) };

/** Stands before a store: holds its applies up, or makes them fail. */
export class StoreGate {
  readonly store: Store;
  applies: number[] = [];
  /** Awaited before each apply. */
  beforeApply: () => Promise<void> = () => Promise.resolve();
  beforeGet: () => void = () => {};

  constructor(inner: Store) {
    this.store = new Proxy(inner, {
      get: (target, name) => {
        if (name === 'apply') return (batches: Parameters<Store['apply']>[0]) => this.#apply(target, batches);
        if (name === 'get') {
          return (key: string) => {
            this.beforeGet();
            return target.get(key);
          };
        }
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value;
      },
    });
  }

  async #apply(target: Store, batches: Parameters<Store['apply']>[0]): Promise<void> {
    await this.beforeApply();
    await target.apply(batches);
    this.applies.push(batches.at(-1)!.lastLsn);
  }
}

export class CommitUnderTest {
  readonly clock = new FakeClock();
  readonly disk: MemoryDisk;
  readonly gate: StoreGate;
  readonly failures: unknown[] = [];
  readonly poisons: unknown[] = [];
  readonly table: VisibleTable;
  readonly committer: Committer;
  readonly groupCommit: GroupCommit;
  readonly wal: Wal;
  /** Counted from the first write of a test on. */
  readonly calls: DiskCall[];
  /** The epoch in which writes are taken. */
  epoch: EpochRef | undefined = EPOCH;
  queueBytesMax: number = LIMITS.queueBytesMax;
  checkpointRoom: () => Promise<void> = () => Promise.resolve();

  static async create(options: { onCall?: (call: DiskCall) => DiskFault | undefined; delay?: (call: DiskCall) => Promise<void> } = {}): Promise<CommitUnderTest> {
    const calls: DiskCall[] = [];
    let isReady = false;
    const disk = new MemoryDisk({
      seed: 1,
      intercept: (call) => {
        calls.push(call);
        return isReady ? options.onCall?.(call) : undefined;
      },
      delay: (call) => (isReady && options.delay !== undefined ? options.delay(call) : Promise.resolve()),
    });
    await disk.makeDirectory('/wal');
    const clock = new FakeClock();
    const wal = await Wal.open({
      disk,
      clock,
      random: new SeededRandom(1),
      logger: SILENT_LOGGER,
      metrics: noMetrics(),
      directory: '/wal',
      clusterId: CLUSTER_ID,
      base: { lsn: 0, chain: 0 },
      applied: { lsn: 0, chain: 0, history: EpochHistory.EMPTY },
      segmentBytes: 1 << 26,
    });
    const test = new CommitUnderTest(clock, disk, wal, calls);
    await clock.until(
      test.committer.commit([
        { type: 'operations', epoch: EPOCH, wallMs: 1, operations: [{ kind: 'epoch-begin', begin: 'first', epoch: EPOCH, parent: null, parentEnd: { lsn: 0, chain: 0 }, acceptedLoss: 0 }] },
      ]),
    );
    await clock.settle();
    calls.length = 0;
    test.gate.applies = [];
    isReady = true;
    return test;
  }

  private constructor(clock: FakeClock, disk: MemoryDisk, wal: Wal, calls: DiskCall[]) {
    this.clock = clock;
    this.disk = disk;
    this.wal = wal;
    this.calls = calls;
    const metrics = noMetrics();
    this.gate = new StoreGate(MemoryStore.create({ disk, clock, clusterId: CLUSTER_ID }));
    this.table = new VisibleTable({ store: this.gate.store, cacheBytes: 4_000, applyDelayMs: 0, clock, logger: SILENT_LOGGER, metrics, onApplied: () => {}, onFailed: (error) => this.failures.push(error) });
    this.committer = new Committer({ wal, table: this.table, metrics, checkpointRoom: () => this.checkpointRoom(), onPoisoned: (error) => this.poisons.push(error) });
    this.groupCommit = new GroupCommit({ committer: this.committer, table: this.table, clock, metrics, writableEpoch: () => this.epoch, queueBytesMax: () => this.queueBytesMax });
  }

  put(key: string, value: string, condition?: CommitCondition): Promise<CommitOutcome> {
    return this.groupCommit.submit({ kind: 'put', key, value }, condition);
  }

  delete(key: string, condition?: CommitCondition): Promise<CommitOutcome> {
    return this.groupCommit.submit({ kind: 'delete', key }, condition);
  }

  /** Calls of one name on files of the log. */
  count(name: DiskCall['name']): number {
    return this.calls.filter((call) => call.name === name && call.path.startsWith('/wal/')).length;
  }
}

/** Opens when told to: what waits for it stands still until then. */
export class Gate {
  #opening = Promise.withResolvers<void>();
  arrivals = 0;

  pass(): Promise<void> {
    this.arrivals += 1;
    return this.#opening.promise;
  }

  open(): void {
    this.#opening.resolve();
  }

  close(): void {
    this.#opening = Promise.withResolvers<void>();
  }
}

/** What a promise has come to by now. */
export function watch<Value>(promise: Promise<Value>): { value?: Value; error?: Error; isSettled: boolean } {
  const seen: { value?: Value; error?: Error; isSettled: boolean } = { isSettled: false };
  promise.then(
    (value) => Object.assign(seen, { value, isSettled: true }),
    (error: unknown) => Object.assign(seen, { error, isSettled: true }),
  );
  return seen;
}
