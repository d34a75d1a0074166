import { expect } from 'chai';
import { LIMITS } from '../../lib/base/limits.ts';
import { MemberList } from '../../lib/replication/member-list.ts';
import { rejectionOf } from '../env/rejection.ts';
import { MemoryDisk } from '../support/memory-disk.ts';

const member = (index: number, url = `http://n${index}`) => ({ nodeId: index.toString(16).padStart(32, '0'), name: `n${index}`, url });

async function emptyList(): Promise<{ disk: MemoryDisk; list: MemberList }> {
  const disk = new MemoryDisk({ seed: 1 });
  await disk.makeDirectory('/node');
  await disk.syncDirectory('/');
  return { disk, list: await MemberList.load(disk, '/node') };
}

describe('MemberList', () => {
  it('is durable when add resolves, and takes a new name and URL of a known id', async () => {
    const { disk, list } = await emptyList();
    await Promise.all([list.add(member(1)), list.add(member(2)), list.add(member(1, 'http://moved'))]);
    const restored = await MemberList.load(disk.crash({ survives: 'nothing' }), '/node');
    expect(restored.all).to.have.deep.members([member(2), member(1, 'http://moved')]);
  });

  it('tries again after a save that failed, also where nothing has changed since', async () => {
    const { disk, list } = await emptyList();
    disk.setCapacity(0);
    expect((await rejectionOf(list.add(member(1)))).name).to.equal('DiskFullError');
    disk.setCapacity(1 << 20);
    await list.add(member(1));
    expect((await MemberList.load(disk.crash({ survives: 'nothing' }), '/node')).all).to.deep.equal([member(1)]);
  });

  it('writes nothing where nothing has changed', async () => {
    const { disk, list } = await emptyList();
    await list.add(member(1));
    const calls = disk.callCount;
    await list.add(member(1));
    await list.replace([member(1)]);
    expect(disk.callCount).to.equal(calls);
  });

  it('is bounded', async () => {
    const { list } = await emptyList();
    await list.replace(Array.from({ length: LIMITS.membersMax }, (_, index) => member(index)));
    await list.add(member(99_999));
    expect(list.all).to.have.length(LIMITS.membersMax);
  });
});
