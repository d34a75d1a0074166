import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RealDisk } from '../../lib/env/real-disk.ts';
import { SILENT_LOGGER } from '../../lib/observe/logger.ts';
import { SnapshotService, type SnapshotServiceOptions } from '../../lib/snapshot/snapshot-service.ts';
import { createSqliteDatabase, SqliteStore } from '../../lib/store/sqlite-store.ts';
import { LogWriter, put } from '../support/log-writer.ts';
import { range, TEST_CLUSTER_ID } from '../store/store-suite.ts';
import { ManualClock } from './manual-clock.ts';

/** A store with some rows, and the service of its snapshots. */
export class SnapshotFixture {
  readonly directory: string;
  readonly disk = new RealDisk();
  readonly clock = new ManualClock();
  readonly log = new LogWriter();
  readonly store: SqliteStore;
  readonly service: SnapshotService;
  served = 0;

  static async create(): Promise<SnapshotFixture> {
    const directory = await mkdtemp(join(tmpdir(), 'shiplog-snapshot-'));
    const path = join(directory, 'table.sqlite');
    createSqliteDatabase(path, { clusterId: TEST_CLUSTER_ID });
    const fixture = new SnapshotFixture(directory, await SqliteStore.open({ path }));
    await fixture.store.apply([
      fixture.log.beginEpoch(1),
      fixture.log.write(...range(1000).map((index) => put(`key ${index}`, `value ${index} `.repeat(20)))),
    ]);
    await fixture.service.start();
    return fixture;
  }

  private constructor(directory: string, store: SqliteStore) {
    this.directory = directory;
    this.store = store;
    this.service = this.newService({});
  }

  get snapshotDirectory(): string {
    return join(this.directory, 'snapshots');
  }

  newService(options: Partial<SnapshotServiceOptions>): SnapshotService {
    return new SnapshotService({
      store: () => this.store,
      disk: this.disk,
      clock: this.clock,
      directory: this.snapshotDirectory,
      logger: SILENT_LOGGER,
      metrics: { snapshotsServed: { increment: () => (this.served += 1) } },
      ...options,
    });
  }

  async write(count: number): Promise<void> {
    await this.store.apply([this.log.write(...range(count).map((index) => put(`key ${(this.log.lsn + index) % 1000}`, `at ${this.log.lsn}`)))]);
  }

  async dispose(): Promise<void> {
    await this.service.close();
    await this.store.close();
    await rm(this.directory, { recursive: true });
  }
}
