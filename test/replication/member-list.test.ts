import { expect } from 'chai';
import { LIMITS } from '../../lib/base/limits.ts';
import { writeDurableJson } from '../../lib/env/durable-file.ts';
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

  it('keeps the addresses of nodes that left it, until somebody is a member there again', async () => {
    const { disk, list } = await emptyList();
    await list.replace([member(1), member(2), member(3)]);
    await list.remove(member(2).nodeId);
    await list.replace([member(1)]);
    await list.keepUrl('http://upstream');
    expect(list.formerUrls).to.deep.equal(['http://n2', 'http://n3', 'http://upstream']);
    await list.add(member(4, 'http://n2'));
    const restored = await MemberList.load(disk.crash({ survives: 'nothing' }), '/node');
    expect(restored.formerUrls).to.deep.equal(['http://n3', 'http://upstream']);
    expect(restored.all).to.deep.equal([member(1), member(4, 'http://n2')]);
  });

  it('keeps no address of a member, and of former ones only the latest', async () => {
    const { list } = await emptyList();
    await list.add(member(1));
    await list.keepUrl(member(1).url);
    expect(list.formerUrls).to.deep.equal([]);
    for (let index = 0; index <= LIMITS.formerUrlsMax; index += 1) await list.keepUrl(`http://old${index}`);
    await list.keepUrl('http://old1');
    expect(list.formerUrls).to.have.lengthOf(LIMITS.formerUrlsMax);
    expect(list.formerUrls).to.include('http://old2').and.not.to.include('http://old0');
    expect(list.formerUrls.at(-1)).to.equal('http://old1');
  });

  it('reads lists of version 0.1, which know of no former members', async () => {
    const { disk } = await emptyList();
    await writeDurableJson(disk, '/node', 'members.json', { members: [member(1)] });
    const list = await MemberList.load(disk, '/node');
    expect([list.all, list.formerUrls]).to.deep.equal([[member(1)], []]);
  });

  it('is bounded', async () => {
    const { list } = await emptyList();
    await list.replace(Array.from({ length: LIMITS.membersMax }, (_, index) => member(index)));
    await list.add(member(99_999));
    expect(list.all).to.have.length(LIMITS.membersMax);
  });
});
