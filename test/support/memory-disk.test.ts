import { expect } from 'chai';
import { type Disk, DiskFullError, readWhole, writeFully } from '../../lib/env/disk.ts';
import { diskSuite } from '../env/disk-suite.ts';
import { rejectionOf } from '../env/rejection.ts';
import { MemoryDisk, SECTOR_BYTES } from './memory-disk.ts';

diskSuite('the memory disk', async () => {
  const disk = new MemoryDisk({ seed: 1 });
  await disk.makeDirectory('/root');
  return { disk, root: '/root', dispose: () => Promise.resolve() };
});

describe('the memory disk in a crash', () => {
  const seeds = Array.from({ length: 600 }, (_, index) => index);

  async function diskWithSyncedName(): Promise<MemoryDisk> {
    const disk = new MemoryDisk({ seed: 1 });
    await disk.makeDirectory('/d');
    await disk.syncDirectory('/');
    await writeFile(disk, '/d/f', Buffer.alloc(4 * SECTOR_BYTES, 'a'));
    await disk.syncDirectory('/d');
    return disk;
  }

  it('keeps what was synced, and the synced name of it, whatever the seed', async () => {
    const disk = await diskWithSyncedName();
    for (const seed of seeds) {
      expect((await readWhole(disk.crash({ seed }), '/d/f')).equals(Buffer.alloc(4 * SECTOR_BYTES, 'a'))).to.be.true;
    }
  });

  it('finds any subset of unsynced sectors, the old or the new of each, and never a mixture within one', async () => {
    const disk = await diskWithSyncedName();
    const file = await disk.open('/d/f', { mode: 'write' });
    await file.writeAt(0, [Buffer.alloc(4 * SECTOR_BYTES, 'b')]);
    const outcomes = new Set<string>();
    for (const seed of seeds) {
      const content = await readWhole(disk.crash({ seed }), '/d/f');
      const sectors = [0, 1, 2, 3].map((index) => content.toString('latin1', index * SECTOR_BYTES, (index + 1) * SECTOR_BYTES));
      for (const sector of sectors) expect(['a', 'b']).to.deep.include(sector[0]).and.satisfy(() => new Set(sector).size === 1);
      outcomes.add(sectors.map((sector) => sector[0]).join(''));
    }
    expect(outcomes.size).to.equal(16);
  });

  it('finds a grown file at its old size, at its new one and at sizes between, holes filled with zeros', async () => {
    const disk = await diskWithSyncedName();
    const file = await disk.open('/d/f', { mode: 'write' });
    await file.writeAt(4 * SECTOR_BYTES, [Buffer.alloc(3 * SECTOR_BYTES, 'b')]);
    const sizes = new Set<number>();
    let hasHole = false;
    for (const seed of seeds) {
      const content = await readWhole(disk.crash({ seed }), '/d/f');
      sizes.add(content.length / SECTOR_BYTES);
      hasHole ||= content.indexOf(0) !== -1;
    }
    expect([...sizes].sort((a, b) => a - b)).to.deep.equal([4, 5, 6, 7]);
    expect(hasHole).to.be.true;
  });

  it('loses or keeps an unsynced name, and a rename moves it or leaves it', async () => {
    const disk = await diskWithSyncedName();
    await writeFile(disk, '/d/new', Buffer.from('x'));
    await disk.rename('/d/f', '/d/g');
    const outcomes = new Set<string>();
    for (const seed of seeds) outcomes.add((await disk.crash({ seed }).list('/d')).join());
    expect([...outcomes].sort()).to.deep.equal(['f', 'f,new', 'g', 'g,new']);
  });

  it('brings a removed file back where the removal was not synced, and only there', async () => {
    const disk = await diskWithSyncedName();
    await disk.remove('/d/f');
    expect(await disk.crash({ survives: 'nothing' }).list('/d')).to.deep.equal(['f']);
    const second = await diskWithSyncedName();
    await second.remove('/d/f');
    await second.syncDirectory('/d');
    expect(await second.crash({ survives: 'nothing' }).list('/d')).to.deep.equal([]);
  });

  it('keeps the write of a data-synchronous file', async () => {
    const disk = await diskWithSyncedName();
    const file = await disk.open('/d/f', { mode: 'write', dataSync: true });
    await writeFully(file, 4 * SECTOR_BYTES, Buffer.from('tail'));
    const content = await readWhole(disk.crash({ survives: 'nothing' }), '/d/f');
    expect(content.toString('latin1', 4 * SECTOR_BYTES)).to.equal('tail');
  });

  it('lets no promise of the old incarnation settle', async () => {
    const disk = await diskWithSyncedName();
    const file = await disk.open('/d/f', { mode: 'write' });
    const pending = file.sync().then(() => 'settled');
    const restarted = disk.crash();
    const late = disk.list('/d').then(() => 'settled');
    await restarted.list('/d');
    expect(await Promise.race([pending, late, new Promise((resolve) => setImmediate(resolve, 'silent'))])).to.equal('silent');
  });

  it('shows a killed process the cache, which the next power cut still takes', async () => {
    const disk = await diskWithSyncedName();
    const file = await disk.open('/d/f', { mode: 'write' });
    await file.writeAt(0, [Buffer.from('unsynced')]);
    const restarted = disk.kill();
    expect((await readWhole(restarted, '/d/f')).toString('latin1', 0, 8)).to.equal('unsynced');
    expect((await readWhole(restarted.crash({ survives: 'nothing' }), '/d/f')).toString('latin1', 0, 8)).to.equal('aaaaaaaa');
  });

  it('calls pages clean after a failed sync: the next sync succeeds and saves nothing', async () => {
    const lost = new Set<boolean>();
    for (const seed of seeds.slice(0, 20)) {
      let syncs = 0;
      const disk = new MemoryDisk({ seed, intercept: (call) => (call.name === 'sync' && ++syncs === 2 ? { kind: 'error', code: 'EIO' } : undefined) });
      await disk.makeDirectory('/d');
      await disk.syncDirectory('/');
      await writeFile(disk, '/d/f', Buffer.from('old'));
      await disk.syncDirectory('/d');
      const file = await disk.open('/d/f', { mode: 'write' });
      await file.writeAt(0, [Buffer.from('new')]);
      expect(await rejectionOf(file.sync())).to.include({ code: 'EIO' });
      await file.sync();
      expect((await readWhole(disk, '/d/f')).toString()).to.equal('new');
      lost.add((await readWhole(disk.crash({ survives: 'everything' }), '/d/f')).toString() === 'old');
    }
    expect([...lost]).to.have.members([true, false]);
  });

  it('gives the same outcome for the same seed', async () => {
    const outcome = async (): Promise<string> => {
      const disk = new MemoryDisk({ seed: 7, shortWrites: 0.5 });
      await disk.makeDirectory('/d');
      const file = await disk.open('/d/f', { mode: 'create' });
      await writeFully(file, 0, Buffer.alloc(20 * SECTOR_BYTES, 'x'));
      const restarted = disk.crash({ garble: 0.3 });
      return [...restarted.contents('/d')].map(([name, content]) => `${name}:${content.toString('hex')}`).join();
    };
    expect(await outcome()).to.equal(await outcome());
  });

  it('takes what fits on a full disk, then says that it is full', async () => {
    const disk = new MemoryDisk({ seed: 1, capacityBytes: 100 });
    const file = await disk.open('/f', { mode: 'create' });
    expect(await file.writeAt(0, [Buffer.alloc(150)])).to.equal(100);
    expect(await rejectionOf(file.writeAt(100, [Buffer.alloc(1)]))).to.be.instanceOf(DiskFullError);
    expect(await disk.freeBytes('/')).to.equal(0);
    disk.setCapacity(101);
    expect(await file.writeAt(100, [Buffer.alloc(1)])).to.equal(1);
  });
});

async function writeFile(disk: Disk, path: string, content: Buffer): Promise<void> {
  const file = await disk.open(path, { mode: 'create' });
  await writeFully(file, 0, content);
  await file.sync();
  await file.close();
}
