import { expect } from 'chai';
import { type EpochPromise, PromiseBook } from '../../lib/failover/promise-book.ts';
import { MemoryDisk } from '../support/memory-disk.ts';

const OWN = '0'.repeat(32);

function promiseTo(target: string, number: number): EpochPromise {
  return { kind: 'failover', epoch: { number, id: String(number).repeat(32) }, targetNodeId: target, targetUrl: 'http://target' };
}

describe('the promise book', () => {
  it('keeps earlier promises, also to the same target: an epoch may have begun with each', async () => {
    const disk = new MemoryDisk({ seed: 1 });
    await disk.makeDirectory('/data');
    const book = await PromiseBook.load(disk, '/data', OWN);
    const [first, second, third] = [promiseTo('a'.repeat(32), 2), promiseTo('b'.repeat(32), 3), promiseTo('a'.repeat(32), 4)];
    for (const promise of [first, second, third]) await book.make(promise);
    await book.withdraw(third.epoch.id);
    expect(book.promises).to.deep.equal([first, second]);
    expect((await PromiseBook.load(disk, '/data', OWN)).promises).to.deep.equal([first, second]);
  });

  it('ends what the node had promised to itself with its next promise', async () => {
    const disk = new MemoryDisk({ seed: 1 });
    await disk.makeDirectory('/data');
    const book = await PromiseBook.load(disk, '/data', OWN);
    const [own, other] = [promiseTo(OWN, 2), promiseTo('b'.repeat(32), 3)];
    for (const promise of [own, other]) await book.make(promise);
    expect(book.promises).to.deep.equal([other]);
    expect(book.own).to.equal(undefined);
  });
});
