/**
 * Tables in memory for whole nodes: outlives the node, as a disk does, and loses in a crash what
 * SQLite could lose. The file at a table's path is what it began with; what was applied since is here.
 */
import { createHash } from 'node:crypto';
import { ShiplogError } from '../../lib/base/errors.ts';
import type { Clock } from '../../lib/env/clock.ts';
import { type Disk, readWhole } from '../../lib/env/disk.ts';
import type { StoreProvider } from '../../lib/node/store-provider.ts';
import type { AppliedState, Store } from '../../lib/store/store.ts';
import { MemoryStore } from './memory-store.ts';

export class MemoryStores implements StoreProvider {
  readonly #disk: () => Disk;
  readonly #clock: Clock;
  readonly #tables = new Map<string, { readonly fileDigest: string; store: MemoryStore }>();
  /** Stands between a node and its table: for faults. */
  wrap: (store: MemoryStore) => Store = (store) => store;

  /** `disk` is asked anew each time: a crash puts another one in its place. */
  constructor(disk: () => Disk, clock: Clock) {
    this.#disk = disk;
    this.#clock = clock;
  }

  async create(path: string, clusterId: string): Promise<void> {
    const store = MemoryStore.create({ disk: this.#disk(), clock: this.#clock, clusterId });
    await store.exportSnapshot(path);
    await store.close();
  }

  async open(path: string): Promise<Store> {
    const fileDigest = createHash('sha256').update(await readWhole(this.#disk(), path)).digest('hex');
    const known = this.#tables.get(path);
    // Another file at the same path is another table.
    const store =
      known?.fileDigest === fileDigest
        ? known.store.reopened({ disk: this.#disk(), clock: this.#clock })
        : await MemoryStore.fromSnapshot({ disk: this.#disk(), clock: this.#clock }, path);
    this.#tables.set(path, { fileDigest, store });
    return this.wrap(store);
  }

  async verifySnapshot(path: string, expected: { readonly clusterId: string; readonly lsn: number; readonly chain: number }): Promise<AppliedState> {
    const { applied } = await MemoryStore.fromSnapshot({ disk: this.#disk(), clock: this.#clock }, path);
    if (applied.clusterId === expected.clusterId && applied.lsn === expected.lsn && applied.chain === expected.chain) return applied;
    throw new ShiplogError('data-directory-invalid', `${path} holds LSN ${applied.lsn}, expected ${expected.lsn}`);
  }

  /** As if the data directory had been copied: with the disk's files goes what was applied to them. */
  copyFrom(other: MemoryStores): void {
    for (const [path, { fileDigest, store }] of other.#tables) {
      this.#tables.set(path, { fileDigest, store: store.copy() });
    }
  }

  /** Power cut: of the transactions since its last checkpoint, each table keeps as many as `choose` says. */
  crash(choose: (atRisk: number) => number): void {
    for (const table of this.#tables.values()) table.store = table.store.crash(choose(table.store.transactionsAtRisk));
  }
}
