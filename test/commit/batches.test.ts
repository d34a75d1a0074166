import { expect } from 'chai';
import { LIMITS } from '../../lib/base/limits.ts';
import type { BatchedOperation, BatchOutcome } from '../../lib/commit/group-commit.ts';
import { rejectionOf } from '../env/rejection.ts';
import { CommitUnderTest, Gate, watch } from './commit-under-test.ts';

const put = (key: string, value = 'v', condition?: BatchedOperation['condition']): BatchedOperation => ({ operation: { kind: 'put', key, value }, condition });
const del = (key: string, condition?: BatchedOperation['condition']): BatchedOperation => ({ operation: { kind: 'delete', key }, condition });

async function framesOf(test: CommitUnderTest): Promise<string[][]> {
  const frames: string[][] = [];
  for await (const { operations } of test.wal.readBatches(1)) frames.push(operations.map((operation) => ('key' in operation ? operation.key : operation.kind)));
  return frames;
}

describe('a batch in group commit', () => {
  it('is one frame of its own with consecutive LSNs, whoever else is in its group', async () => {
    const test = await CommitUnderTest.create();
    const single = test.put('before', 'v');
    const batch = test.groupCommit.submitBatch([put('a'), put('b'), del('a')]);
    const second = test.groupCommit.submitBatch([put('c')]);
    const after = test.put('after', 'v');
    expect(await test.clock.until(batch)).to.deep.equal({ outcome: 'written', lsns: [3, 4, 5], endLsn: 5 });
    expect(await Promise.all([single, second, after])).to.deep.equal([{ outcome: 'written', lsn: 2 }, { outcome: 'written', lsns: [6], endLsn: 6 }, { outcome: 'written', lsn: 7 }]);
    expect(await framesOf(test)).to.deep.equal([['before'], ['a', 'b', 'a'], ['c'], ['after']]);
    expect(test.count('sync'), 'one group').to.equal(1);
    expect([test.table.get('a'), test.table.get('b')?.lsn]).to.deep.equal([undefined, 4]);
  });

  it('takes a key several times, in order, and leaves deletes of nothing out', async () => {
    const test = await CommitUnderTest.create();
    const outcome = await test.clock.until(test.groupCommit.submitBatch([del('k'), put('k', '1'), del('k'), del('k'), put('k', '2')]));
    expect(outcome).to.deep.equal({ outcome: 'written', lsns: [null, 2, 3, null, 4], endLsn: 4 });
    expect(test.table.get('k')).to.deep.equal({ value: '2', lsn: 4 });
    expect(await framesOf(test)).to.deep.equal([['k', 'k', 'k']]);
  });

  it('of which nothing is left says what that rests on, after the sync where it rests on its own group', async () => {
    const syncs = new Gate();
    const test = await CommitUnderTest.create({ delay: (call) => (call.name === 'sync' ? syncs.pass() : Promise.resolve()) });
    syncs.open();
    expect(await test.clock.until(test.groupCommit.submitBatch([del('x'), del('y')]))).to.deep.equal({ outcome: 'written', lsns: [null, null], endLsn: 1 });
    await test.clock.until(test.put('k', 'v'));
    syncs.close();
    const deleted = watch(test.delete('k'));
    const batch = watch(test.groupCommit.submitBatch([del('k')]));
    await test.clock.settle();
    expect([deleted.isSettled, batch.isSettled]).to.deep.equal([false, false]);
    syncs.open();
    await test.clock.settle();
    expect(batch.value).to.deep.equal({ outcome: 'written', lsns: [null], endLsn: 3 });
  });

  it('writes nothing where one condition fails, and says which', async () => {
    const test = await CommitUnderTest.create();
    await test.clock.until(test.put('there', 'v'));
    const outcome = await test.clock.until(test.groupCommit.submitBatch([put('new', 'v', (lsn) => lsn === null), put('there', 'w', (lsn) => lsn === 1), put('more')]));
    expect(outcome).to.deep.equal({ outcome: 'precondition-failed', index: 1, currentLsn: 2, restsOnLsn: 2 });
    expect([test.table.get('new'), test.table.get('there')?.value, test.table.get('more'), test.wal.end.lsn]).to.deep.equal([undefined, 'v', undefined, 2]);
  });

  it('judges its conditions by the state before it, with what came earlier in the queue', async () => {
    const test = await CommitUnderTest.create();
    const seen: (number | null)[] = [];
    const see = (lsn: number | null): boolean => seen.push(lsn) > 0;
    const first = test.put('k', '1');
    const second = test.groupCommit.submitBatch([put('k', '2', see), put('k', '3', see)]);
    expect(await test.clock.until(second)).to.deep.equal({ outcome: 'written', lsns: [3, 4], endLsn: 4 });
    expect([await first, seen]).to.deep.equal([{ outcome: 'written', lsn: 2 }, [2, 2]]);
    const both = await test.clock.until(Promise.all([1, 2].map(() => test.groupCommit.submitBatch([put('once', 'v', (lsn) => lsn === null)]))));
    expect(both.map(({ outcome }) => outcome)).to.deep.equal(['written', 'precondition-failed']);
  });

  it('is never split, and shares a group only as far as the group has room', async () => {
    const test = await CommitUnderTest.create();
    const half = 'x'.repeat(LIMITS.batchBytesMax / 2 - 100);
    const outcomes = await test.clock.until(Promise.all([test.put('a', half), test.groupCommit.submitBatch([put('b', half), put('c', 'v')]), test.groupCommit.submitBatch([put('d', half), put('e', 'v')])]));
    expect((outcomes.slice(1) as BatchOutcome[]).map((each) => each.outcome === 'written' && each.lsns)).to.deep.equal([[3, 4], [5, 6]]);
    expect(test.count('sync')).to.equal(2);
    expect((await framesOf(test)).map((frame) => frame.join(''))).to.deep.equal(['a', 'bc', 'de']);
  });

  it('is refused beyond the bounds of a frame, but for a single operation', async () => {
    const test = await CommitUnderTest.create();
    const half = 'x'.repeat(LIMITS.batchBytesMax / 2);
    expect(await rejectionOf(test.groupCommit.submitBatch([put('a', half), put('b', half)]))).to.include({ code: 'batch-too-large', status: 413 });
    const many = Array.from({ length: LIMITS.batchOperationsMax + 1 }, (_, index) => put(`k${index}`));
    expect(await rejectionOf(test.groupCommit.submitBatch(many))).to.include({ code: 'batch-too-large' });
    expect(test.groupCommit.queueBytes).to.equal(0);
    expect((await test.clock.until(test.groupCommit.submitBatch(many.slice(1)))).outcome).to.equal('written');
    expect((await framesOf(test)).map((frame) => frame.length)).to.deep.equal([LIMITS.batchOperationsMax]);
    expect((await test.clock.until(test.groupCommit.submitBatch([put('large', half + half)]))).outcome).to.equal('written');
  });

  it('counts in the queue by its operations and bytes, and gives both back', async () => {
    const syncs = new Gate();
    const test = await CommitUnderTest.create({ delay: (call) => (call.name === 'sync' ? syncs.pass() : Promise.resolve()) });
    void test.put('a', 'v');
    await test.clock.settle();
    const batch = test.groupCommit.submitBatch([put('b'), put('c'), del('none')]);
    expect(test.groupCommit.queueOperations).to.equal(3);
    test.queueBytesMax = test.groupCommit.queueBytes;
    expect(await rejectionOf(test.groupCommit.submitBatch([put('d')]))).to.include({ code: 'overloaded' });
    syncs.open();
    await test.clock.until(batch);
    expect([test.groupCommit.queueOperations, test.groupCommit.queueBytes]).to.deep.equal([0, 0]);
  });

  it('hears of a disk without space, and of a role that was lost while it synced', async () => {
    let isFull = true;
    const test = await CommitUnderTest.create({ onCall: (call) => (isFull && call.name === 'writeAt' ? { kind: 'error', code: 'ENOSPC' } : undefined) });
    const full = await rejectionOf(test.clock.until(test.groupCommit.submitBatch([put('a'), put('b')])));
    expect(full).to.have.property('code', 'disk-full');
    isFull = false;
    const lost = test.groupCommit.submitBatch([put('a'), put('b')]);
    test.epoch = undefined;
    expect(await rejectionOf(test.clock.until(lost))).to.include({ code: 'not-primary' });
    expect(test.wal.end.lsn).to.equal(1);
  });

  it('that waits for no sync is answered when it is taken', async () => {
    const syncs = new Gate();
    const test = await CommitUnderTest.create({ delay: (call) => (call.name === 'sync' ? syncs.pass() : Promise.resolve()) });
    const batch = watch(test.groupCommit.submitBatch([put('a'), del('none')], { awaitsSync: false }));
    await test.clock.settle();
    expect(batch.value).to.deep.equal({ outcome: 'taken', isWritten: [true, false] });
    expect(test.table.get('a')).to.equal(undefined);
    syncs.open();
    await test.clock.settle();
    expect(test.table.get('a')?.value).to.equal('v');
  });
});
