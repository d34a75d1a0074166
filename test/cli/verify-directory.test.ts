import { mkdir, readdir } from 'node:fs/promises';
import { expect } from 'chai';
import { NodeUnderTest, contentsOf, makeRoom, tamper } from '../verify/data-directory-under-test.ts';
import { del, put } from '../wal/wal-under-test.ts';
import { shiplog } from './shiplog-process.ts';

describe('shiplog verify DIRECTORY', () => {
  let room: Awaited<ReturnType<typeof makeRoom>>;
  let node: NodeUnderTest;

  beforeEach(async () => {
    room = await makeRoom();
    node = await NodeUnderTest.found(`${room.path}/node`);
    await node.write(put('kept', 'secret'), put('gone', 'x'), del('gone'));
  });

  afterEach(async () => {
    await node.stop();
    await room.remove();
  });

  it('says that a sound directory is sound, and what that rests on', async () => {
    await node.stop();
    const before = await contentsOf(node.path);
    const { code, stdout, stderr } = await shiplog(['verify', node.path]);
    expect(stderr).to.equal(`✓ ${node.path} is sound\n`);
    expect(stdout).to.include('rows\t1\n').and.to.include('… equal to their last write in the log\t1\n').and.to.include('deleted keys that are gone\t1\n');
    expect(code).to.equal(0);
    expect(await contentsOf(node.path)).to.deep.equal(before);
  });

  it('takes a node that was killed as it is', async () => {
    const { code, stdout } = await shiplog(['verify', node.copyKilled(`${room.path}/killed`), '--json']);
    expect(code).to.equal(0);
    expect(JSON.parse(stdout)).to.deep.include({
      isSound: true,
      position: '1.1e1e-4',
      table: { rowCount: 1, checkedCount: 1, olderCount: 0, deletedCount: 1 },
      findings: [],
    });
  });

  it('names a row that is not what the log says, but not its value', async () => {
    await node.stop();
    await tamper(node.path, (database) => database.exec("UPDATE kv SET value = 'public'"));
    const { code, stdout, stderr } = await shiplog(['verify', node.path]);
    expect(code).to.equal(5);
    expect(stderr).to.include('shiplog: key "kept": its row has another value than the log wrote at LSN 2\n').and.to.include('is damaged: keep a copy');
    expect(stdout + stderr).not.to.match(/secret|public/);
    expect((JSON.parse((await shiplog(['verify', node.path, '--json'])).stdout) as { findings: unknown }).findings).to.deep.equal([
      { about: 'row', key: 'kept', message: 'its row has another value than the log wrote at LSN 2' },
    ]);
  });

  it('refuses while a node uses the directory', async () => {
    const { code, stdout, stderr } = await shiplog(['verify', node.path]);
    expect(code).to.equal(68);
    expect(stdout).to.equal('');
    expect(stderr).to.match(/^shiplog: another process holds .*\/node\/lock/);
  });

  it('refuses what is no data directory, and leaves nothing in it', async () => {
    await mkdir(`${room.path}/other`);
    const { code, stderr } = await shiplog(['verify', `${room.path}/other`]);
    expect(code).to.equal(70);
    expect(stderr).to.include('is not the data directory of a node');
    expect(await readdir(`${room.path}/other`)).to.deep.equal([]);
  });
});
