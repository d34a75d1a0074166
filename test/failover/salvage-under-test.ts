/** A log and a table whose end is to be set aside, and what a salvage file says, taken apart by hand. */
import type { DataOperation } from '../../lib/base/operation.ts';
import type { Disk } from '../../lib/env/disk.ts';
import { readWhole } from '../../lib/env/disk.ts';
import type { SalvageInput } from '../../lib/failover/salvage-writer.ts';
import type { Wal } from '../../lib/wal/wal.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { CLUSTER_ID, EPOCH, FIRST_EPOCH, StandingClock, frame, makeWalDirectory, openWal, put } from '../wal/wal-under-test.ts';

export const NODE_ID = 'ab'.repeat(16);
export const DATA_DIRECTORY = '/node';

/** A log with a group for each list of operations, all of them applied to a table. */
export class SalvageUnderTest {
  readonly disk: Disk;
  readonly wal: Wal;
  readonly store: MemoryStore;

  private constructor(disk: Disk, wal: Wal, store: MemoryStore) {
    this.disk = disk;
    this.wal = wal;
    this.store = store;
  }

  /** LSN 1 opens the epoch, so the first operation has LSN 2. */
  static async begin(disk: Disk, ...groups: readonly (readonly DataOperation[])[]): Promise<SalvageUnderTest> {
    await makeWalDirectory(disk);
    const wal = await openWal(disk, { segmentBytes: 512 });
    const store = MemoryStore.create({ disk, clock: new StandingClock(), clusterId: CLUSTER_ID });
    const test = new SalvageUnderTest(disk, wal, store);
    await store.apply(await wal.append([FIRST_EPOCH]));
    for (const group of groups) await test.write(...group);
    return test;
  }

  async write(...operations: readonly DataOperation[]): Promise<void> {
    await this.store.apply(await this.wal.append([frame(operations, EPOCH)]));
  }

  /** One put in each group. */
  async fill(count: number, valueLength = 100): Promise<void> {
    for (let index = 0; index < count; index += 1) await this.write(put(`key${index}`, `${index}`.padEnd(valueLength, '.')));
  }

  /** Removes the oldest segments, as retention does. @returns the LSN after which the log begins now. */
  async forgetSegments(count: number): Promise<number> {
    this.wal.setCheckpointed(this.wal.end);
    const startLsn = this.wal.segments[count]!.header.before.lsn;
    await this.wal.removeOldSegments({ bytesMin: 0, msMin: 0, bytesMax: 1 << 30, msMax: 1 << 30 }, startLsn);
    if (this.wal.start.lsn !== startLsn) throw new Error(`the log begins after LSN ${this.wal.start.lsn}, expected ${startLsn}`);
    return startLsn;
  }

  input(forkLsn: number, more: Partial<SalvageInput> = {}): SalvageInput {
    const { disk, wal, store } = this;
    return { disk, wal, store, dataDirectory: DATA_DIRECTORY, clusterId: CLUSTER_ID, nodeId: NODE_ID, forkLsn, generation: 'gen-000001', writtenAtMs: 1_700_000_000_000, ...more };
  }
}

export interface TakenApart {
  readonly header: Record<string, unknown>;
  readonly lines: readonly Record<string, unknown>[];
  readonly footer: Record<string, unknown>;
  /** All bytes before the footer. */
  readonly summedUp: string;
}

export async function takeApart(disk: Disk, name: string): Promise<TakenApart> {
  const text = (await readWhole(disk, `${DATA_DIRECTORY}/salvage/${name}`)).toString('utf8');
  const lines = text.trimEnd().split('\n');
  const [header, ...rest] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  return { header: header!, lines: rest.slice(0, -1), footer: rest.at(-1)!, summedUp: `${lines.slice(0, -1).join('\n')}\n` };
}
