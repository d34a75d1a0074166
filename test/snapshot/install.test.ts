import { copyFileSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import SqliteDatabase from 'better-sqlite3';
import { expect } from 'chai';
import { isShiplogError } from '../../lib/base/errors.ts';
import { restoreSnapshot, verifySnapshot } from '../../lib/snapshot/install.ts';
import { SqliteStore } from '../../lib/store/sqlite-store.ts';
import type { SnapshotFile } from '../../lib/store/store.ts';
import { put, testEpoch } from '../support/log-writer.ts';
import { digestOf } from '../support/memory-store.ts';
import { TEST_CLUSTER_ID } from '../store/store-suite.ts';
import { SnapshotFixture } from './snapshot-fixture.ts';

const NEW_CLUSTER_ID = 'd'.repeat(32);

describe('installing a snapshot', () => {
  let fixture: SnapshotFixture;
  let snapshot: SnapshotFile;
  let path: string;

  before(async () => {
    fixture = await SnapshotFixture.create();
    snapshot = await fixture.store.exportSnapshot(join(fixture.directory, 'good.sqlite'));
  });

  beforeEach(() => {
    path = join(fixture.directory, 'candidate.sqlite');
    copyFileSync(snapshot.path, path);
  });

  after(() => fixture.dispose());

  async function refusal(expected?: Parameters<typeof verifySnapshot>[1]): Promise<string> {
    try {
      await verifySnapshot(path, expected);
    } catch (error) {
      expect(isShiplogError(error, 'data-directory-invalid'), String(error)).to.equal(true);
      return (error as Error).message;
    }
    return 'it was accepted';
  }

  it('accepts what was announced, and says what it holds', async () => {
    const state = await verifySnapshot(path, snapshot);
    expect(state).to.include({ lsn: 1001, chain: fixture.log.chain, clusterId: TEST_CLUSTER_ID });
    expect(state.history.epochs).to.deep.equal(fixture.log.history.epochs);
  });

  it('refuses a good file that is another one than was announced', async () => {
    expect(await refusal({ ...snapshot, lsn: 1000 })).to.match(/is not the snapshot that was announced: it holds .* LSN 1001, .* expected .* LSN 1000,/);
    expect(await refusal({ ...snapshot, chain: 1 })).to.match(/expected .* chain 1,/);
    expect(await refusal({ ...snapshot, clusterId: NEW_CLUSTER_ID })).to.match(new RegExp(`expected cluster ${NEW_CLUSTER_ID}`));
    expect(await refusal({ ...snapshot, epoch: testEpoch(2) })).to.match(/expected .* epoch 2\./);
  });

  it('refuses a foreign database and a foreign file', async () => {
    writeFileSync(path, '');
    expect(await refusal()).to.match(/is no Shiplog database/);
    writeFileSync(path, 'not a database at all, but long enough to have a header of one hundred bytes. '.repeat(20));
    expect(await refusal()).to.match(/is damaged: file is not a database/);
  });

  it('refuses a file that was cut short', async () => {
    truncateSync(path, readFileSync(path).length - 4096);
    expect(await refusal()).to.match(/is damaged/);
  });

  it('refuses a file with a damaged page', async () => {
    const content = readFileSync(path);
    const pageCount = content.length / 4096;
    // Each tree page begins with its kind; the last pages may be free of structure, so take those at the front.
    for (const page of [1, 2, 3, Math.floor(pageCount / 2)]) {
      const damaged = Buffer.from(content);
      damaged[page * 4096]! ^= 0xff;
      writeFileSync(path, damaged);
      expect(await refusal(), `page ${page}`).to.match(/is damaged/);
    }
  });

  it('refuses an index that does not agree with its table', async () => {
    const content = readFileSync(path);
    const needle = Buffer.from('key 777');
    const first = content.indexOf(needle);
    const second = content.indexOf(needle, first + 1);
    expect(second, 'the key is in the table and in the index').to.be.greaterThan(first);
    content[second + 6] = '8'.charCodeAt(0);
    writeFileSync(path, content);
    expect(await refusal()).to.match(/is damaged/);
  });

  it('refuses rows beyond its own position', async () => {
    const database = new SqliteDatabase(path);
    database.prepare('UPDATE applied SET lsn = 500').run();
    database.close();
    expect(await refusal()).to.match(/it holds a row of LSN \d+, beyond its own position 500/);
  });

  it('refuses a trigger that would run here', async () => {
    new SqliteDatabase(path).exec('CREATE TRIGGER evil AFTER INSERT ON kv BEGIN DELETE FROM kv; END').close();
    expect(await refusal()).to.match(/other tables than a Shiplog database: evil/);
  });

  it('restores a backup as a new cluster with all rows and positions, and leaves the backup as it was', async () => {
    const before = readFileSync(path);
    const databasePath = join(fixture.directory, 'restored.sqlite');
    const state = await restoreSnapshot({ disk: fixture.disk, snapshotPath: path, databasePath, clusterId: NEW_CLUSTER_ID });
    expect(state).to.include({ clusterId: NEW_CLUSTER_ID, lsn: 1001, chain: fixture.log.chain });
    expect(readFileSync(path).equals(before)).to.equal(true);
    expect(readdirSync(fixture.directory).filter((name) => name.startsWith('restored'))).to.deep.equal(['restored.sqlite']);
    const store = await SqliteStore.open({ path: databasePath });
    try {
      expect(store.applied).to.include({ clusterId: NEW_CLUSTER_ID, lsn: 1001 });
      expect((await store.beginDigest().digest).sha256).to.equal(digestOf(fixture.log.fold(1001)).sha256);
      const { lsn, chain } = store.applied;
      const operations = [put('after', 'restore')];
      await store.apply([{ firstLsn: lsn + 1, lastLsn: lsn + 1, epochNumber: 2, wallMs: 0, chain: chain ^ 1, operations }]);
      expect(store.get('after')?.lsn).to.equal(1002);
    } finally {
      await store.close();
    }
  });

  it('restores a copy of a live database in WAL mode, too', async () => {
    const database = new SqliteDatabase(path);
    database.pragma('journal_mode = WAL');
    database.close();
    const databasePath = join(fixture.directory, 'from-wal-mode.sqlite');
    const state = await restoreSnapshot({ disk: fixture.disk, snapshotPath: path, databasePath, clusterId: NEW_CLUSTER_ID });
    expect(state.lsn).to.equal(1001);
    expect(readFileSync(databasePath)[18], 'journal mode in the header').to.equal(1);
  });

  it('restores over nothing that exists, and nothing that is damaged', async () => {
    const target = { disk: fixture.disk, snapshotPath: path, clusterId: NEW_CLUSTER_ID };
    const taken = await restoreSnapshot({ ...target, databasePath: snapshot.path }).catch((error: unknown) => error);
    expect((taken as Error).message).to.match(/exists already: restore into an empty data directory/);
    truncateSync(path, 8192);
    const databasePath = join(fixture.directory, 'never.sqlite');
    const damaged = await restoreSnapshot({ ...target, databasePath }).catch((error: unknown) => error);
    expect(isShiplogError(damaged, 'data-directory-invalid'), String(damaged)).to.equal(true);
    expect(readdirSync(fixture.directory)).to.not.include('never.sqlite');
  });
});
