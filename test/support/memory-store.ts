/**
 * A store that honours the contract of lib/store/store.ts without SQLite: on any disk, in any
 * time, with a crash that loses as much as a real one may. Files that it writes are its own format.
 */
import { createHash } from 'node:crypto';
import { type Epoch, EpochHistory, type LogPoint } from '../../lib/base/epoch-history.ts';
import { assert, ShiplogError } from '../../lib/base/errors.ts';
import type { Batch } from '../../lib/base/operation.ts';
import { type Clock, nextTurn } from '../../lib/env/clock.ts';
import { type Disk, readWhole, writeFully } from '../../lib/env/disk.ts';
import type { AppliedState, KeyedRow, SnapshotFile, Store, StoredRow, TableCopy, TableDigest } from '../../lib/store/store.ts';
import { TableDigester } from '../../lib/store/table-digest.ts';

/** One state of the table. Never changed: each transaction makes the next one. */
interface TableState {
  readonly applied: AppliedState;
  readonly rows: ReadonlyMap<string, StoredRow>;
}

interface SnapshotJson extends LogPoint {
  readonly format: 'memory-store';
  readonly clusterId: string;
  readonly epochs: readonly Epoch[];
  readonly rows: readonly (readonly [key: string, value: string, lsn: number])[];
}

export interface MemoryStoreOptions {
  readonly disk: Disk;
  readonly clock: Clock;
}

export class MemoryStore implements Store {
  readonly #options: MemoryStoreOptions;
  /** What the last checkpoint made safe, then each transaction since. A crash leaves one of them. */
  #states: TableState[];
  #applying = false;
  #pinning = false;
  #closed = false;
  /** A store that breaks its contract: a crash can part the rows of a transaction from its position. */
  partsTransactions = false;

  static create(options: MemoryStoreOptions & { readonly clusterId: string }): MemoryStore {
    const applied = { clusterId: options.clusterId, lsn: 0, chain: 0, history: EpochHistory.EMPTY };
    return new MemoryStore(options, [{ applied, rows: new Map() }]);
  }

  /** Opens a file that `exportSnapshot` wrote. */
  static async fromSnapshot(options: MemoryStoreOptions, path: string): Promise<MemoryStore> {
    const json = JSON.parse((await readWhole(options.disk, path)).toString('utf8')) as SnapshotJson;
    assert(json.format === 'memory-store', `${path} is no snapshot of a memory store`);
    const { clusterId, lsn, chain } = json;
    return new MemoryStore(options, [
      {
        applied: { clusterId, lsn, chain, history: new EpochHistory(json.epochs) },
        rows: new Map(json.rows.map(([key, value, lsn]) => [key, { value, lsn }])),
      },
    ]);
  }

  private constructor(options: MemoryStoreOptions, states: TableState[]) {
    this.#options = options;
    this.#states = states;
  }

  get applied(): AppliedState {
    return this.#newest.applied;
  }

  /** Transactions that a crash may take. */
  get transactionsAtRisk(): number {
    return this.#states.length - 1;
  }

  /**
   * What a new process finds after a crash: the last checkpoint and the first `kept` transactions
   * after it. This store is dead from then on.
   */
  crash(kept: number): MemoryStore {
    assert(kept >= 0 && kept <= this.transactionsAtRisk, `can't keep ${kept} of ${this.transactionsAtRisk} transactions`);
    this.#closed = true;
    return new MemoryStore(this.#options, [this.#states[kept]!]);
  }

  /** As the next process finds it where only the process went: what a power cut can take is still at risk. */
  reopened(options: MemoryStoreOptions): MemoryStore {
    this.#closed = true;
    return new MemoryStore(options, [...this.#states]);
  }

  /** As if the file had been copied at this moment. */
  copy(): MemoryStore {
    return new MemoryStore(this.#options, [...this.#states]);
  }

  get(key: string): StoredRow | undefined {
    this.#assertOpen();
    return this.#newest.rows.get(key);
  }

  async apply(batches: readonly Batch[]): Promise<void> {
    this.#assertOpen();
    assert(!this.#applying, 'apply is called again before it returned');
    assert(!this.#pinning, 'apply is called before the digest had begun');
    if (batches.length === 0) return;
    this.#applying = true;
    try {
      const next = this.#after(batches);
      await nextTurn(this.#options.clock);
      this.#assertOpen();
      if (this.partsTransactions) this.#states.push({ applied: next.applied, rows: this.#newest.rows });
      this.#states.push(next);
    } finally {
      this.#applying = false;
    }
  }

  async checkpoint(): Promise<LogPoint | undefined> {
    this.#assertOpen();
    const safe = this.#newest;
    await nextTurn(this.#options.clock);
    this.#assertOpen();
    // What was applied meanwhile is not covered.
    this.#states = this.#states.slice(this.#states.indexOf(safe));
    return { lsn: safe.applied.lsn, chain: safe.applied.chain };
  }

  sizeBytes(): number {
    let size = 4096;
    for (const [key, row] of this.#newest.rows) size += key.length + row.value.length + 32;
    return size;
  }

  async exportSnapshot(path: string): Promise<SnapshotFile> {
    this.#assertOpen();
    const { applied, rows } = this.#newest;
    const { clusterId, lsn, chain, history } = applied;
    assert(!(await this.#options.disk.exists(path)), `${path} exists already`);
    const json: SnapshotJson = {
      format: 'memory-store',
      clusterId,
      lsn,
      chain,
      epochs: history.epochs,
      rows: [...rows].map(([key, row]) => [key, row.value, row.lsn] as const),
    };
    const content = Buffer.from(JSON.stringify(json));
    const file = await this.#options.disk.open(path, { mode: 'create' });
    try {
      await writeFully(file, 0, content);
      await file.sync();
    } finally {
      await file.close();
    }
    const epoch = history.epochAt(lsn);
    return {
      path,
      lsn,
      chain,
      clusterId,
      sizeBytes: content.length,
      sha256: createHash('sha256').update(content).digest('hex'),
      epoch: epoch === undefined ? { number: 0, id: '0'.repeat(32) } : { number: epoch.number, id: epoch.id },
    };
  }

  beginDigest(): { readonly begun: Promise<void>; readonly digest: Promise<TableDigest> } {
    this.#assertOpen();
    const { applied, rows } = this.#newest;
    this.#pinning = true;
    const begun = nextTurn(this.#options.clock).then(() => {
      this.#pinning = false;
    });
    const digest = begun.then(() => ({ lsn: applied.lsn, chain: applied.chain, ...digestOf(rows) }));
    return { begun, digest };
  }

  async countRows(): Promise<number> {
    this.#assertOpen();
    const { rows } = this.#newest;
    await nextTurn(this.#options.clock);
    return rows.size;
  }

  async *rowsAfter(afterLsn: number): AsyncGenerator<KeyedRow, void> {
    this.#assertOpen();
    const { rows } = this.#newest;
    await nextTurn(this.#options.clock);
    for (const [key, { value, lsn }] of rows) {
      this.#assertOpen();
      if (lsn > afterLsn) yield { key, value, lsn };
    }
  }

  async copyTable(path: string): Promise<TableCopy> {
    this.#assertOpen();
    assert(!(await this.#options.disk.exists(path)), `${path} exists already`);
    const { applied, rows } = this.#newest;
    await nextTurn(this.#options.clock);
    this.#assertOpen();
    const open = (): void => this.#assertOpen();
    const inOrder = [...rows].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    return {
      ...applied,
      rowCount: rows.size,
      rows: async function* (prefix) {
        for (const [key, { value, lsn }] of inOrder) {
          open();
          if (key.startsWith(prefix)) yield { key, value, lsn };
        }
      },
      close: () => Promise.resolve(),
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    await nextTurn(this.#options.clock);
  }

  get #newest(): TableState {
    return this.#states.at(-1)!;
  }

  #after(batches: readonly Batch[]): TableState {
    const { clusterId } = this.applied;
    let { lsn, chain, history } = this.applied;
    const rows = new Map(this.#newest.rows);
    for (const batch of batches) {
      assert(
        batch.firstLsn === lsn + 1 && batch.lastLsn === lsn + batch.operations.length,
        `the batch holds LSNs ${batch.firstLsn} to ${batch.lastLsn}, expected ${lsn + 1} to ${lsn + batch.operations.length}`,
      );
      for (const [index, operation] of batch.operations.entries()) {
        if (operation.kind === 'put') rows.set(operation.key, { value: operation.value, lsn: lsn + 1 + index });
        if (operation.kind === 'delete') rows.delete(operation.key);
        if (operation.kind === 'epoch-begin') {
          assert(operation.parentEnd.lsn === lsn && operation.parentEnd.chain === chain, 'the epoch begins elsewhere');
          history = history.opened(operation.epoch, operation.parentEnd);
        }
      }
      lsn = batch.lastLsn;
      chain = batch.chain;
    }
    return { applied: { clusterId, lsn, chain, history }, rows };
  }

  #assertOpen(): void {
    if (this.#closed) throw new ShiplogError('store-failed', 'the store is closed');
  }
}

/** As SQLite orders and digests them. */
export function digestOf(rows: ReadonlyMap<string, StoredRow>): { readonly rowCount: number; readonly sha256: string } {
  const sorted = [...rows]
    .map(([key, row]) => ({ key: Buffer.from(key), row }))
    .sort((a, b) => Buffer.compare(a.key, b.key));
  const digester = new TableDigester();
  for (const { key, row } of sorted) digester.add(key, Buffer.from(row.value), row.lsn);
  return digester.finish();
}
