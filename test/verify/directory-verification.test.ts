import { truncateSync } from 'node:fs';
import { cp, open, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { expect } from 'chai';
import { isShiplogError } from '../../lib/base/errors.ts';
import type { DirectoryVerification } from '../../lib/verify/directory-verification.ts';
import { put, del, nextEpoch } from '../wal/wal-under-test.ts';
import { NodeUnderTest, contentsOf, makeRoom, tamper, verify } from './data-directory-under-test.ts';

describe('verifyDirectory', () => {
  let stopped: Awaited<ReturnType<typeof makeRoom>>;
  let room: Awaited<ReturnType<typeof makeRoom>>;
  let path: string;
  let node: NodeUnderTest | undefined;

  before(async () => {
    stopped = await makeRoom();
    path = `${stopped.path}/node`;
    await (await writeSome()).stop();
    node = undefined;
  });

  after(() => stopped.remove());

  beforeEach(async () => {
    room = await makeRoom();
    path = `${room.path}/node`;
  });

  afterEach(async () => {
    await node?.stop();
    node = undefined;
    await room.remove();
  });

  /** LSN 1 opens the epoch; `kept` is written twice, `gone` is deleted, `empty` and odd keys are there too. */
  async function writeSome(): Promise<NodeUnderTest> {
    node = await NodeUnderTest.found(path);
    await node.write(put('kept', 'first'), put('gone', 'x'));
    await node.write(put('kept', 'second'), put('empty', ''), put('a\0b\u{1f6a2}', 'ü'.repeat(300)));
    await node.write(del('gone'), del('never there'));
    for (let index = 0; index < 20; index += 1) await node.write(put(`key ${index}`, `value ${index}`.repeat(10)));
    return node;
  }

  /** The directory of a node that wrote all of that and was stopped. */
  async function takeStopped(): Promise<void> {
    await cp(`${stopped.path}/node`, path, { recursive: true });
  }

  function walDirectory(): string {
    return `${path}/gen-000001/wal`;
  }

  async function segmentNames(): Promise<string[]> {
    return (await readdir(walDirectory())).filter((name) => name.endsWith('.wal')).sort();
  }

  function messages(verification: DirectoryVerification): string[] {
    expect(verification.findingCount).to.equal(verification.findings.length);
    return verification.findings.map((finding) => (finding.about === 'row' ? `${finding.key}: ${finding.message}` : finding.message));
  }

  it('finds a directory sound whose node was stopped, and counts what it compared', async () => {
    await takeStopped();
    const verification = await verify(path);
    expect(verification.findings).to.deep.equal([]);
    expect(verification.isSound).to.equal(true);
    expect(verification.log.endState).to.deep.equal({ state: 'clean', isStopped: true });
    expect(verification.log.segments.length).to.be.above(3);
    expect(verification.table).to.deep.equal({ rowCount: 23, checkedCount: 23, olderCount: 0, deletedCount: 2 });
    expect(verification.applied?.lsn).to.equal(28);
  });

  it('leaves every file as it was', async () => {
    await takeStopped();
    const before = await contentsOf(path);
    await verify(path);
    expect(await contentsOf(path)).to.deep.equal(before);
  });

  it('reads what a killed node left in the -wal of its database, and leaves it there', async () => {
    const live = await writeSome();
    const killed = live.copyKilled(`${room.path}/killed`);
    expect((await stat(`${killed}/gen-000001/store.sqlite-wal`)).size).to.be.above(0);
    const before = await contentsOf(killed);
    const verification = await verify(killed);
    expect(verification.findings).to.deep.equal([]);
    expect(verification.applied?.lsn).to.equal(28);
    expect(verification.table?.checkedCount).to.equal(23);
    expect(verification.log.endState).to.deep.equal({ state: 'clean', isStopped: false });
    const after = await contentsOf(killed);
    // Its index is made anew by whoever opens it first.
    for (const contents of [before, after]) contents.delete(`${killed}/gen-000001/store.sqlite-shm`);
    expect(after).to.deep.equal(before);
  });

  it('finds nothing wrong where the table is behind the log: the next start replays the rest', async () => {
    const live = await writeSome();
    await live.log({ type: 'operations', operations: [put('late', 'x'), del('kept')], epoch: live.wal.history.current!, wallMs: 1 });
    const verification = await verify(live.copyKilled(`${room.path}/killed`));
    expect(verification.findings).to.deep.equal([]);
    expect(verification.applied?.lsn).to.equal(28);
    expect(verification.log.end.lsn).to.equal(30);
    expect(verification.table?.rowCount).to.equal(23);
  });

  it('finds a torn tail of a killed node to be no damage', async () => {
    const live = await writeSome();
    await live.log({ type: 'operations', operations: [put('late', 'x'.repeat(100))], epoch: live.wal.history.current!, wallMs: 1 });
    const killed = live.copyKilled(`${room.path}/killed`);
    const last = live.wal.segments.at(-1)!;
    const lastFile = last.path.replace(path, killed);
    truncateSync(lastFile, last.sizeBytes - 10);
    const verification = await verify(killed);
    expect(verification.isSound).to.equal(true);
    expect(verification.log.endState).to.include({ state: 'torn', path: lastFile });
    expect(verification.log.end.lsn).to.equal(28);
  });

  it('checks several epochs against the history in the database', async () => {
    const live = await writeSome();
    await live.append(nextEpoch(live.wal, { number: 2, id: '2e'.repeat(16) }));
    await live.write(put('kept', 'third'));
    await live.append(nextEpoch(live.wal, { number: 5, id: '5e'.repeat(16) }));
    await live.stop();
    node = undefined;
    expect((await verify(path)).findings).to.deep.equal([]);
    await tamper(path, (database) => database.exec('UPDATE epochs SET end_chain = end_chain + 1 WHERE number = 1'));
    expect(messages(await verify(path))).to.have.lengthOf(1).and.to.match(/the database's history says \{"number":1,/);
  });

  it('takes rows older than the log as they are, says how many, and holds the others against it', async () => {
    await takeStopped();
    const names = await segmentNames();
    const kept = names.findLastIndex((name) => Number.parseInt(name, 10) <= 12);
    for (const name of names.slice(0, kept)) await rm(`${walDirectory()}/${name}`);
    const firstLsn = Number.parseInt(names[kept]!, 10);
    expect(firstLsn).to.be.within(6, 12);

    const sound = await verify(path);
    expect(sound.findings).to.deep.equal([]);
    const inLog = 28 - firstLsn + 1;
    expect(sound.table).to.deep.equal({ rowCount: 23, checkedCount: inLog, olderCount: 23 - inLog, deletedCount: 0 });

    await tamper(path, (database) => {
      database.exec("UPDATE kv SET value = 'x' WHERE key = 'kept'");
      database.exec("UPDATE kv SET value = 'x', lsn = 3 WHERE key = 'key 19'");
      database.exec(`INSERT INTO kv(key, value, lsn) VALUES ('extra', 'x', ${firstLsn})`);
    });
    expect(messages(await verify(path))).to.have.members([
      'key 19: the log wrote it last at LSN 28, but its row claims LSN 3',
      `extra: its row claims LSN ${firstLsn}, but the log has no write of this key`,
    ]);
  });

  describe('finds', () => {
    const changes: readonly (readonly [string, string, RegExp])[] = [
      ['another value', "UPDATE kv SET value = 'Second' WHERE key = 'kept'", /^kept: its row has another value than the log wrote at LSN 4$/],
      ['an older value, as a lost write would leave', "UPDATE kv SET value = 'first', lsn = 2 WHERE key = 'kept'", /^kept: the log wrote it last at LSN 4, but its row claims LSN 2$/],
      ['a row that is missing', "DELETE FROM kv WHERE key = 'key 7'", /^key 7: the log wrote it at LSN 16, but there is no such row$/],
      ['a row that comes from nowhere', "INSERT INTO kv(key, value, lsn) VALUES ('extra', 'x', 5)", /^extra: its row claims LSN 5, but the log has no write of this key$/],
      ['a row without an LSN', "INSERT INTO kv(key, value, lsn) VALUES ('extra', 'x', 0)", /^extra: its row claims LSN 0/],
      ['a row that came back from the dead', "INSERT INTO kv(key, value, lsn) VALUES ('gone', 'x', 3)", /^gone: the log deleted it at LSN 7, but its row of LSN 3 is there$/],
      ['a row beyond the applied position', "INSERT INTO kv(key, value, lsn) VALUES ('extra', 'x', 29)", /^extra: its row claims LSN 29, but the table has applied only 28$/],
      ['another chain', 'UPDATE applied SET chain = chain + 1', /^the database has applied LSN 28 with chain \d+, in the log the chain there is \d+$/],
      ['another cluster', `UPDATE applied SET cluster_id = '${'0'.repeat(32)}'`, /^the database belongs to cluster 0{32}, the directory to (c1){16}$/],
      ['a position inside of a batch', 'UPDATE applied SET lsn = 5', /^the database has applied LSN 5, which is not the end of a batch in the log$/],
      ['a position beyond the log', 'UPDATE applied SET lsn = 29', /the log ends with LSN 28, but the table has applied 29$/],
      ['another epoch', `UPDATE epochs SET id = '${'0'.repeat(32)}'`, /^the database's history says .*"id":"0{32}".* where the log has epoch .*"id":"(1e){16}"/],
      ['a missing epoch', 'DELETE FROM epochs', /^the database's history has 0 epochs, the log has 1$/],
      ['a history that is none', 'UPDATE epochs SET last_lsn = 4', /exactly the last epoch is open$/],
    ];
    for (const [what, sql, message] of changes) {
      it(`${what} in the table`, async () => {
        await takeStopped();
        await tamper(path, (database) => database.exec(sql));
        const verification = await verify(path);
        expect(verification.isSound).to.equal(false);
        expect(messages(verification)).to.have.lengthOf(1);
        expect(messages(verification)[0]).to.match(message);
      });
    }

    it('rows of later writes where the applied position went back', async () => {
      await takeStopped();
      await tamper(path, (database) => database.exec('UPDATE applied SET lsn = 27'));
      expect(messages(await verify(path))).to.satisfy(
        (found: string[]) => found.length === 2 && found[0]!.includes('applied LSN 27 with chain') && found[1] === 'key 19: its row claims LSN 28, but the table has applied only 27',
      );
    });

    it('the same when the keys are taken in many passes, to save memory', async () => {
      await takeStopped();
      const sound = await verify(path, { operationsPerPassMax: 3 });
      expect(sound.findings).to.deep.equal([]);
      expect(sound.table).to.deep.equal({ rowCount: 23, checkedCount: 23, olderCount: 0, deletedCount: 2 });
      await tamper(path, (database) => {
        for (const [, sql] of changes.slice(0, 4)) database.exec(sql);
      });
      const [one, many] = [await verify(path), await verify(path, { operationsPerPassMax: 3 })];
      expect(many.table).to.deep.equal(one.table);
      expect(messages(many)).to.have.members(messages(one));
    });

    it('flipped bytes in the log, and then compares no rows', async () => {
      await takeStopped();
      const name = (await segmentNames())[1]!;
      await flipByte(`${walDirectory()}/${name}`, 250);
      const verification = await verify(path);
      expect(verification.table).to.equal(undefined);
      expect(verification.findings).to.have.lengthOf(1);
      expect(verification.findings[0]).to.include({ about: 'log', path: `${walDirectory()}/${name}` });
      expect(messages(verification)[0]).to.match(/, and another segment follows$/);
    });

    it('a cut tail that the table has applied', async () => {
      await takeStopped();
      const file = `${walDirectory()}/${(await segmentNames()).at(-1)}`;
      truncateSync(file, (await stat(file)).size - 50);
      expect(messages(await verify(path))[0]).to.match(/, and the table has applied LSN 28$/);
    });

    it('a log that is gone', async () => {
      await takeStopped();
      for (const name of await segmentNames()) await rm(`${walDirectory()}/${name}`);
      expect(messages(await verify(path))).to.deep.equal(['there is no segment, but the table has applied LSN 28']);
    });

    it('a database file with damaged pages', async () => {
      await takeStopped();
      const file = await open(`${path}/gen-000001/store.sqlite`, 'r+');
      const { size } = await file.stat();
      await file.write(Buffer.alloc(size - 8192, 0xa5), 0, size - 8192, 8192);
      await file.close();
      const verification = await verify(path);
      expect(verification.isSound).to.equal(false);
      expect(verification.findings.every((finding) => finding.about === 'database')).to.equal(true);
      expect(verification.log.endState.state).to.equal('clean');
    });

    it('a database file that is none, and one that is missing', async () => {
      await takeStopped();
      await writeFile(`${path}/gen-000001/store.sqlite`, 'x'.repeat(10_000));
      expect(messages(await verify(path))[0]).to.match(/store\.sqlite: file is not a database$/);
      await rm(`${path}/gen-000001/store.sqlite`);
      expect(messages(await verify(path))).to.deep.equal([`${path}/gen-000001/store.sqlite is missing`]);
    });
  });

  it('keeps the first hundred findings and counts the rest', async () => {
    node = await NodeUnderTest.found(path, { segmentBytes: 1 << 20 });
    await node.write(...Array.from({ length: 500 }, (_, index) => put(`key ${index}`, 'x')));
    await node.stop();
    node = undefined;
    await tamper(path, (database) => database.exec("UPDATE kv SET value = 'y'"));
    const verification = await verify(path);
    expect(verification.findings).to.have.lengthOf(100);
    expect(verification.findingCount).to.equal(500);
    expect(JSON.stringify(verification.findings)).not.to.include('"y"');
  });

  it('refuses a directory that a node uses, and lets go of it afterwards', async () => {
    await writeSome();
    const error = await verify(path).catch((thrown: unknown) => thrown);
    expect(isShiplogError(error, 'data-directory-in-use')).to.equal(true);
    await node!.stop();
    node = undefined;
    expect((await verify(path)).isSound).to.equal(true);
    expect((await verify(path)).isSound).to.equal(true);
  });
});

async function flipByte(path: string, offset: number): Promise<void> {
  const file = await open(path, 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, offset);
  byte[0]! ^= 0x10;
  await file.write(byte, 0, 1, offset);
  await file.close();
}
