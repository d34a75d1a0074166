/** What every Disk has to do; run on the real one here and on any fake that wants to stand in for it. */
import { expect } from 'chai';
import { AssertionError } from 'node:assert';
import { type Disk, readWhole, writeFully } from '../../lib/env/disk.ts';
import { rejectionOf } from './rejection.ts';

export interface DiskUnderTest {
  readonly disk: Disk;
  /** An empty directory that exists. */
  readonly root: string;
  dispose(): Promise<void>;
}

export function diskSuite(name: string, make: () => Promise<DiskUnderTest>): void {
  describe(`${name} as a Disk`, () => {
    let under: DiskUnderTest;
    let disk: Disk;
    let root: string;

    beforeEach(async () => {
      under = await make();
      ({ disk, root } = under);
    });

    afterEach(() => under.dispose());

    it('reads back several buffers that were written at an offset', async () => {
      const file = await disk.open(`${root}/a`, { mode: 'create' });
      expect(await file.writeAt(0, [Buffer.from('abc'), Buffer.from('defg'), Buffer.from('h')])).to.equal(8);
      expect(await file.writeAt(2, [Buffer.from('XY')])).to.equal(2);
      await file.sync();
      const into = Buffer.alloc(5);
      expect(await file.readAt(1, into)).to.equal(5);
      expect(into.toString()).to.equal('bXYef');
      expect(await file.size()).to.equal(8);
      await file.close();
    });

    it('fills a gap between the end and a later write with zeros', async () => {
      const file = await disk.open(`${root}/a`, { mode: 'create' });
      await file.writeAt(3, [Buffer.from('x')]);
      await file.close();
      expect([...(await readWhole(disk, `${root}/a`))]).to.deep.equal([0, 0, 0, 'x'.charCodeAt(0)]);
    });

    it('reads less than asked for only at the end of the file, and nothing beyond it', async () => {
      const file = await disk.open(`${root}/a`, { mode: 'create' });
      await file.writeAt(0, [Buffer.from('abc')]);
      expect(await file.readAt(1, Buffer.alloc(10))).to.equal(2);
      expect(await file.readAt(3, Buffer.alloc(10))).to.equal(0);
      expect(await file.readAt(100, Buffer.alloc(10))).to.equal(0);
      await file.close();
    });

    it('cuts a file short and makes it longer', async () => {
      const file = await disk.open(`${root}/a`, { mode: 'create' });
      await file.writeAt(0, [Buffer.from('abcdef')]);
      await file.truncate(2);
      expect(await file.size()).to.equal(2);
      await file.truncate(4);
      await file.close();
      expect([...(await readWhole(disk, `${root}/a`))]).to.deep.equal([97, 98, 0, 0]);
    });

    it('keeps the content of a file that is opened to be created once more', async () => {
      await put('a', 'content');
      await (await disk.open(`${root}/a`, { mode: 'create' })).close();
      expect(await get('a')).to.equal('content');
    });

    it('refuses to open for reading or writing what is not there', async () => {
      for (const mode of ['read', 'write'] as const) {
        const error = await rejectionOf(disk.open(`${root}/missing`, { mode }));
        expect(error).to.include({ code: 'ENOENT' });
        expect(error.message).to.contain(`${root}/missing`);
      }
    });

    it('refuses to write to a file that was opened for reading', async () => {
      await put('a', 'content');
      const file = await disk.open(`${root}/a`, { mode: 'read' });
      await rejectionOf(file.writeAt(0, [Buffer.from('x')]));
      await file.close();
      expect(await get('a')).to.equal('content');
    });

    it('writes and reads back with data-synchronous writes', async () => {
      const file = await disk.open(`${root}/a`, { mode: 'create', dataSync: true });
      await writeFully(file, 0, Buffer.from('synced'));
      await file.close();
      expect(await get('a')).to.equal('synced');
    });

    it('asserts that a closed file is not used again', async () => {
      const file = await disk.open(`${root}/a`, { mode: 'create' });
      await file.close();
      const calls = [
        async () => file.writeAt(0, [Buffer.from('x')]),
        async () => file.readAt(0, Buffer.alloc(1)),
        async () => file.size(),
        async () => file.truncate(0),
        async () => file.sync(),
      ];
      for (const call of calls) expect(await rejectionOf(call())).to.be.instanceOf(AssertionError);
    });

    it('lists names in order, and none where there is no directory', async () => {
      for (const name of ['b', 'a', 'B', '10', '9']) await put(name, '');
      expect(await disk.list(root)).to.deep.equal(['10', '9', 'B', 'a', 'b']);
      expect(await disk.list(`${root}/missing`)).to.deep.equal([]);
    });

    it('makes a directory with its parents, also where it exists already', async () => {
      await disk.makeDirectory(`${root}/x/y/z`);
      await disk.makeDirectory(`${root}/x/y/z`);
      await disk.syncDirectory(`${root}/x/y`);
      expect(await disk.list(`${root}/x/y`)).to.deep.equal(['z']);
    });

    it('knows what exists', async () => {
      await put('a', '');
      expect(await disk.exists(`${root}/a`)).to.equal(true);
      expect(await disk.exists(root)).to.equal(true);
      expect(await disk.exists(`${root}/b`)).to.equal(false);
      expect(await disk.exists(`${root}/b/c`)).to.equal(false);
    });

    it('replaces the target of a rename', async () => {
      await put('from', 'new');
      await put('to', 'old');
      await disk.rename(`${root}/from`, `${root}/to`);
      await disk.syncDirectory(root);
      expect(await disk.list(root)).to.deep.equal(['to']);
      expect(await get('to')).to.equal('new');
    });

    it('goes on reading an open file that was removed', async () => {
      await put('a', 'still here');
      const file = await disk.open(`${root}/a`, { mode: 'read' });
      await disk.remove(`${root}/a`);
      expect(await disk.exists(`${root}/a`)).to.equal(false);
      const into = Buffer.alloc(10);
      await file.readAt(0, into);
      expect(into.toString()).to.equal('still here');
      await file.close();
    });

    it('removes whole directories, and is quiet about what is not there', async () => {
      await disk.makeDirectory(`${root}/x/y`);
      await put('x/y/a', 'content');
      await disk.remove(`${root}/x`);
      await disk.remove(`${root}/x`);
      expect(await disk.list(root)).to.deep.equal([]);
    });

    it('reports free space', async () => {
      expect(await disk.freeBytes(root)).to.be.greaterThan(0);
    });

    it('gives a lock to one holder at a time', async () => {
      const lock = await disk.lock(`${root}/lock`);
      const error = await rejectionOf(disk.lock(`${root}/lock`));
      expect(error).to.include({ code: 'data-directory-in-use' });
      expect(error.message).to.contain(`${root}/lock`);
      await lock.release();
      await (await disk.lock(`${root}/lock`)).release();
    });

    async function put(name: string, content: string): Promise<void> {
      const file = await disk.open(`${root}/${name}`, { mode: 'create' });
      await writeFully(file, 0, Buffer.from(content));
      await file.close();
    }

    async function get(name: string): Promise<string> {
      return (await readWhole(disk, `${root}/${name}`)).toString();
    }
  });
}
