import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import SqliteDatabase from 'better-sqlite3';
import { expect } from 'chai';
import { isShiplogError } from '../../lib/base/errors.ts';
import { DiskFullError } from '../../lib/env/disk.ts';
import { isAtLeast } from '../../lib/store/sqlite-connection.ts';
import { WAL_BYTES_MAX } from '../../lib/store/sqlite-checkpointer.ts';
import { createSqliteDatabase, SqliteStore } from '../../lib/store/sqlite-store.ts';
import { StoreThread } from '../../lib/store/store-thread.ts';
import type { Store } from '../../lib/store/store.ts';
import { LogWriter, put } from '../support/log-writer.ts';
import { digestOf } from '../support/memory-store.ts';
import { requires } from '../support/requires.ts';
import { range, storeSuite, TEST_CLUSTER_ID } from './store-suite.ts';

storeSuite('SqliteStore', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'shiplog-sqlite-store-'));
  const path = join(directory, 'table.sqlite');
  let paths = 0;
  createSqliteDatabase(path, { clusterId: TEST_CLUSTER_ID });
  return {
    open: () => SqliteStore.open({ path }),
    openSnapshot: (path) => SqliteStore.open({ path }),
    newPath: () => join(directory, `snapshot-${(paths += 1)}.sqlite`),
    dispose: () => rm(directory, { recursive: true }),
  };
});

/** By thread id. */
function nicenessOfThreads(): ReadonlyMap<string, { readonly name: string; readonly niceness: number }> {
  return new Map(
    readdirSync('/proc/self/task').map((thread) => {
      const [, name, rest] = /\((.*)\) (.*)/s.exec(readFileSync(`/proc/self/task/${thread}/stat`, 'utf8'))!;
      // The fields are numbered from 1, and the state is the third.
      return [thread, { name: name!, niceness: Number(rest!.split(' ')[19 - 3]) }];
    }),
  );
}

describe('SqliteStore', () => {
  let directory: string;
  let path: string;
  let log: LogWriter;
  const opened: Store[] = [];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'shiplog-sqlite-store-'));
    path = join(directory, 'table.sqlite');
    log = new LogWriter();
  });

  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close();
    await rm(directory, { recursive: true });
  });

  async function openStore(at = path): Promise<SqliteStore> {
    const store = await SqliteStore.open({ path: at });
    opened.push(store);
    return store;
  }

  /**
   * As a crash would leave it, without what is still in the -wal file. Copied by another process:
   * closing a descriptor of the database in this one would drop SQLite's locks.
   */
  function copyDatabaseFileOnly(to: string): void {
    const { status, stderr } = spawnSync('cp', [path, to]);
    expect(status, stderr.toString()).to.equal(0);
  }

  it('lets the main thread go first where both want one processor', async () => {
    const before = nicenessOfThreads();
    createSqliteDatabase(path, { clusterId: TEST_CLUSTER_ID });
    await openStore();
    const opened = [...nicenessOfThreads()].filter(([thread]) => !before.has(thread));
    const ofStore = opened.filter(([, { name }]) => name.startsWith('store ')).map(([, { niceness }]) => niceness);
    const { niceness: ofMain } = before.get(String(process.pid))!;
    expect(ofStore).to.deep.equal([ofMain + 10, ofMain + 10]);
    expect(nicenessOfThreads().get(String(process.pid))).to.include({ niceness: ofMain });
  });

  it('has in the database file alone what a checkpoint reported, while a writer goes on', async () => {
    createSqliteDatabase(path, { clusterId: TEST_CLUSTER_ID });
    const store = await openStore();
    await store.apply([log.beginEpoch(1)]);
    const load = { stopped: false };
    const writing = (async () => {
      while (!load.stopped) {
        await store.apply([log.write(...range(200).map((index) => put(`key ${(log.lsn + index * 7) % 5000}`, `${log.lsn} `.repeat(20))))]);
      }
    })();

    let reported = 0;
    for (let round = 0; round < 8; round += 1) {
      const point = await store.checkpoint();
      if (point === undefined) continue;
      reported += 1;
      const copy = join(directory, `copy-${round}.sqlite`);
      copyDatabaseFileOnly(copy);
      const database = new SqliteDatabase(copy);
      try {
        const { lsn } = database.prepare<[], { lsn: number }>('SELECT lsn FROM applied').get()!;
        expect(lsn).to.be.at.least(point.lsn);
        expect(database.pragma('integrity_check', { simple: true })).to.equal('ok');
        const rows = database.prepare<[], { key: string; value: string; lsn: number }>('SELECT key, value, lsn FROM kv').all();
        const table = new Map(rows.map(({ key, value, lsn }) => [key, { value, lsn }]));
        expect(digestOf(table).sha256).to.equal(digestOf(log.fold(lsn)).sha256);
      } finally {
        database.close();
      }
    }
    load.stopped = true;
    await writing;
    expect(reported, 'checkpoints that reached the end').to.be.at.least(1);
    expect(log.lsn).to.be.greaterThan(1000);
  });

  it('reports no checkpoint while a reader stands in front of the end of the WAL', async () => {
    createSqliteDatabase(path, { clusterId: TEST_CLUSTER_ID });
    const store = await openStore();
    await store.apply([log.beginEpoch(1), log.write(put('a', '1'))]);
    const reader = new SqliteDatabase(path, { readonly: true });
    reader.exec('BEGIN');
    reader.prepare('SELECT count(*) FROM kv').get();
    await store.apply([log.write(put('a', '2'))]);
    expect(await store.checkpoint()).to.equal(undefined);
    reader.exec('ROLLBACK');
    expect(await store.checkpoint()).to.deep.equal({ lsn: log.lsn, chain: log.chain });
    reader.close();
  });

  it('keeps the WAL file bounded though the writer never pauses', async () => {
    createSqliteDatabase(path, { clusterId: TEST_CLUSTER_ID });
    const store = await openStore();
    await store.apply([log.beginEpoch(1)]);
    // Short transactions and long checkpoints: something is always committed before a checkpoint ends.
    const load = { stopped: false, transactions: 0 };
    const value = 'x'.repeat(1000);
    const writing = (async () => {
      while (!load.stopped) {
        await store.apply([log.write(...range(400).map((index) => put(`key ${(index * 7919 + log.lsn) % 20_000}`, value)))]);
        load.transactions += 1;
      }
    })();
    // Each transaction adds about 1.6 MiB to the WAL, all together more than five times what is allowed.
    for (let rounds = 1; rounds <= 20; rounds += 1) {
      while (load.transactions < rounds * 15) await new Promise((resolve) => setTimeout(resolve, 1));
      await store.checkpoint();
    }
    load.stopped = true;
    await writing;
    expect(statSync(`${path}-wal`).size).to.be.lessThan(3 * WAL_BYTES_MAX);
  });

  it('finds after a crash of the process what was applied, and says where it ends', async () => {
    createSqliteDatabase(path, { clusterId: TEST_CLUSTER_ID });
    const store = await openStore();
    await store.apply([log.beginEpoch(1), log.write(put('a', '1'))]);
    await store.checkpoint();
    await store.apply([log.write(put('a', '2'), put('b', '2'))]);
    const copy = join(directory, 'crashed.sqlite');
    expect(spawnSync('cp', [path, copy]).status).to.equal(0);
    expect(spawnSync('cp', [`${path}-wal`, `${copy}-wal`]).status).to.equal(0);
    const recovered = await openStore(copy);
    expect(recovered.applied).to.include({ lsn: 4, chain: log.chain });
    expect(recovered.get('b')).to.deep.equal({ value: '2', lsn: 4 });
  });

  it('leaves no -wal file behind after a clean close', async () => {
    createSqliteDatabase(path, { clusterId: TEST_CLUSTER_ID });
    const store = await openStore();
    await store.apply([log.beginEpoch(1), log.write(put('a', '1'))]);
    await store.close();
    expect(existsSync(`${path}-wal`)).to.equal(false);
  });

  it('refuses what is no Shiplog database', async () => {
    new SqliteDatabase(path).exec('CREATE TABLE other(x)').close();
    expect((await refusal(path)).message).to.match(/is no Shiplog database: its application id is 0x00000000, expected 0x53686970/);
  });

  it('refuses a file that is not SQLite', async () => {
    writeFileSync(path, 'something else, and longer than the header of a database. '.repeat(20));
    expect((await refusal(path)).message).to.match(/file is not a database/);
  });

  it('refuses a missing file instead of creating one', async () => {
    await refusal(path);
    expect(existsSync(path)).to.equal(false);
  });

  it('refuses a newer format and says what to do', async () => {
    createSqliteDatabase(path, { clusterId: TEST_CLUSTER_ID });
    const database = new SqliteDatabase(path);
    database.pragma('user_version = 2');
    database.close();
    const error = await refusal(path);
    expect(isShiplogError(error, 'data-directory-invalid')).to.equal(true);
    expect(error.message).to.match(/has format 2, this version of Shiplog reads 1: run the newer Shiplog/);
  });

  it('refuses a database with a trigger in it', async () => {
    createSqliteDatabase(path, { clusterId: TEST_CLUSTER_ID });
    new SqliteDatabase(path).exec('CREATE TRIGGER evil AFTER INSERT ON kv BEGIN DELETE FROM kv; END').close();
    expect((await refusal(path)).message).to.match(/other tables than a Shiplog database: evil/);
  });

  it('creates no database over an existing one', () => {
    createSqliteDatabase(path, { clusterId: TEST_CLUSTER_ID });
    expect(() => createSqliteDatabase(path, { clusterId: TEST_CLUSTER_ID })).to.throw(/exists already/);
  });

  it('rolls a transaction back when the disk is full, and carries the same one out when there is space again', async function () {
    requires(this, 'root', 'mount', 'mkfs.ext4');
    const image = join(directory, 'image');
    const mountPoint = join(directory, 'mount');
    run('truncate', ['-s', '12M', image]);
    run('mkfs.ext4', ['-q', '-F', '-O', '^has_journal', image]);
    run('mkdir', [mountPoint]);
    run('mount', ['-o', 'loop', image, mountPoint]);
    try {
      const small = join(mountPoint, 'table.sqlite');
      createSqliteDatabase(small, { clusterId: TEST_CLUSTER_ID });
      const store = await SqliteStore.open({ path: small });
      try {
        await store.apply([log.beginEpoch(1), log.write(put('a', '1'))]);
        const before = store.applied;
        run('sh', ['-c', `head -c 9M /dev/zero > ${mountPoint}/filler`]);
        const batch = log.write(...range(4).map((index) => put(`large ${index}`, 'x'.repeat(1_000_000))));
        const error = await store.apply([batch]).catch((reason: unknown) => reason);
        expect(error).to.be.instanceOf(DiskFullError);
        expect(store.applied).to.equal(before);
        expect(store.get('a')).to.deep.equal({ value: '1', lsn: 2 });
        expect(store.get('large 0')).to.equal(undefined);

        run('rm', [join(mountPoint, 'filler')]);
        await store.apply([batch]);
        expect(store.get('large 3')?.lsn).to.equal(6);
        expect(await store.checkpoint()).to.include({ lsn: 6 });
      } finally {
        await store.close();
      }
    } finally {
      run('umount', [mountPoint]);
    }
  });

  it('refuses in its writer what does not follow the position in the file, and changes nothing', async () => {
    createSqliteDatabase(path, { clusterId: TEST_CLUSTER_ID });
    const writer = new StoreThread('writer');
    try {
      await writer.call('open', { path, mode: 'write' });
      const end = { lsn: 8, chain: 80 };
      const request = { end, keys: ['a'], values: ['1'], epochs: null };
      for (const after of [{ lsn: 7, chain: 0 }, { lsn: 0, chain: 1 }]) {
        const error = await writer.call('apply', { ...request, after }).catch((reason: unknown) => reason);
        expect((error as Error).message).to.match(/the database holds LSN 0 with chain 0, the batch follows [07] with [01]/);
      }
      await writer.call('apply', { ...request, after: { lsn: 0, chain: 0 } });
    } finally {
      await writer.close();
    }
    const store = await openStore();
    expect(store.applied).to.include({ lsn: 8, chain: 80 });
  });

  it('holds on to a pinned state for as long as it takes until the digest is made', async () => {
    createSqliteDatabase(path, { clusterId: TEST_CLUSTER_ID });
    const store = await openStore();
    await store.apply([log.beginEpoch(1), log.write(put('a', '1'))]);
    const thread = new StoreThread('digest');
    try {
      await thread.call('open', { path, mode: 'read' });
      expect(await thread.call('pin', undefined)).to.deep.equal({ lsn: 2, chain: log.chain });
      await store.apply([log.write(put('a', '2'))]);
      expect(await thread.call('digest', undefined)).to.deep.equal(digestOf(log.fold(2)));
    } finally {
      await thread.close();
    }
  });

  it('fails calls that make no sense, and calls after its end, without crashing', async () => {
    const thread = new StoreThread('writer');
    const error = await thread.call('apply', null as never).catch((reason: unknown) => reason);
    expect(isShiplogError(error, 'store-failed')).to.equal(true);
    await thread.close();
    const after = await thread.call('countRows', undefined).catch((reason: unknown) => reason);
    expect(isShiplogError(after, 'store-failed')).to.equal(true);
  });

  it('compares versions of SQLite by number', () => {
    expect(isAtLeast('3.51.3', '3.51.3')).to.equal(true);
    expect(isAtLeast('3.51.2', '3.51.3')).to.equal(false);
    expect(isAtLeast('3.54.1', '3.51.3')).to.equal(true);
    expect(isAtLeast('3.9.10', '3.51.3')).to.equal(false);
    expect(isAtLeast('4.0.0', '3.51.3')).to.equal(true);
  });

  async function refusal(at: string): Promise<Error> {
    try {
      await openStore(at);
    } catch (error) {
      expect(isShiplogError(error)).to.equal(true);
      return error as Error;
    }
    throw new Error(`${at} was opened`);
  }
});

function run(command: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(command, args);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr.toString()}`);
}
