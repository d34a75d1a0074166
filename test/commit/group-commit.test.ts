import { expect } from 'chai';
import { LIMITS } from '../../lib/base/limits.ts';
import { ShiplogError } from '../../lib/base/errors.ts';
import { rejectionOf } from '../env/rejection.ts';
import { CommitUnderTest, Gate, watch } from './commit-under-test.ts';

describe('group commit', () => {
  it('writes and syncs once per group, and the next group gathers meanwhile', async () => {
    const syncs = new Gate();
    const test = await CommitUnderTest.create({ delay: (call) => (call.name === 'sync' ? syncs.pass() : Promise.resolve()) });
    const first = watch(Promise.all([test.put('a', '1'), test.put('b', '2')]));
    await test.clock.settle();
    const second = watch(Promise.all(Array.from({ length: 50 }, (_, index) => test.put(`k${index}`, 'v'))));
    await test.clock.settle();
    expect([test.count('writeAt'), test.count('sync')], 'one group is on its way').to.deep.equal([1, 1]);
    expect(test.groupCommit.queueOperations).to.equal(50);
    expect([first.isSettled, second.isSettled], 'no answer before the sync').to.deep.equal([false, false]);
    syncs.open();
    await test.clock.settle();
    expect([test.count('writeAt'), test.count('sync')], 'all fifty went together').to.deep.equal([2, 2]);
    expect(first.value).to.deep.equal([{ outcome: 'written', lsn: 2 }, { outcome: 'written', lsn: 3 }]);
    expect(second.value?.map((outcome) => outcome.outcome === 'written' && outcome.lsn)).to.deep.equal(Array.from({ length: 50 }, (_, index) => 4 + index));
    expect([test.groupCommit.queueOperations, test.groupCommit.queueBytes]).to.deep.equal([0, 0]);
  });

  it('shows nothing before the sync', async () => {
    const syncs = new Gate();
    const test = await CommitUnderTest.create({ delay: (call) => (call.name === 'sync' ? syncs.pass() : Promise.resolve()) });
    const write = test.put('key', 'value');
    await test.clock.settle();
    expect(syncs.arrivals).to.equal(1);
    expect(test.table.get('key')).to.equal(undefined);
    expect([test.wal.end.lsn, test.table.visible.lsn]).to.deep.equal([1, 1]);
    syncs.open();
    await test.clock.until(write);
    expect(test.table.get('key')).to.deep.equal({ value: 'value', lsn: 2 });
  });

  it('closes a frame at its most operations, and a group at its most bytes', async () => {
    const test = await CommitUnderTest.create();
    await test.clock.until(Promise.all(Array.from({ length: LIMITS.batchOperationsMax + 10 }, (_, index) => test.put(`k${index}`, 'v'))));
    expect(test.count('sync'), 'two frames, one group').to.equal(1);
    const value = 'x'.repeat(LIMITS.batchBytesMax / 2 - 100);
    await test.clock.until(Promise.all(['a', 'b', 'c'].map((key) => test.put(key, value))));
    expect(test.count('sync'), 'two values fit, the third does not').to.equal(3);
  });

  it('takes one operation that is larger than a group', async () => {
    const test = await CommitUnderTest.create();
    await test.clock.until(Promise.all([test.put('small', 'v'), test.put('large', 'x'.repeat(LIMITS.valueBytesMax)), test.put('small2', 'v')]));
    expect(test.table.get('large')?.value.length).to.equal(LIMITS.valueBytesMax);
    expect(test.count('sync')).to.equal(3);
  });

  describe('decides conditions when a batch is closed', () => {
    it('so that of two writes with one condition only one happens', async () => {
      const test = await CommitUnderTest.create();
      const isNew = (lsn: number | null): boolean => lsn === null;
      const outcomes = await test.clock.until(Promise.all([test.put('key', 'a', isNew), test.put('key', 'b', isNew), test.put('other', 'c', isNew)]));
      expect(outcomes).to.deep.equal([{ outcome: 'written', lsn: 2 }, { outcome: 'precondition-failed', currentLsn: 2, restsOnLsn: 2 }, { outcome: 'written', lsn: 3 }]);
      expect(test.table.get('key')?.value).to.equal('a');
    });

    it('against the position that the write before it in the queue gets', async () => {
      const test = await CommitUnderTest.create();
      const seen: (number | null)[] = [];
      const outcomes = test.clock.until(
        Promise.all([
          test.put('key', 'a'),
          test.put('key', 'b', (lsn) => {
            seen.push(lsn);
            return lsn === 2;
          }),
        ]),
      );
      expect((await outcomes).map(({ outcome }) => outcome)).to.deep.equal(['written', 'written']);
      expect(seen).to.deep.equal([2]);
    });

    it('and a delete finds what was put earlier in its own batch, and misses what was deleted there', async () => {
      const test = await CommitUnderTest.create();
      const outcomes = await test.clock.until(Promise.all([test.put('key', 'a'), test.delete('key'), test.delete('key'), test.put('key', 'b'), test.delete('never')]));
      expect(outcomes.map(({ outcome }) => outcome)).to.deep.equal(['written', 'written', 'absent', 'written', 'absent']);
      expect(test.count('sync')).to.equal(1);
      expect(test.table.get('key')?.value).to.equal('b');
    });
  });

  it('answers a write that waits for no sync as soon as it is certain to be tried', async () => {
    const syncs = new Gate();
    const test = await CommitUnderTest.create({ delay: (call) => (call.name === 'sync' ? syncs.pass() : Promise.resolve()) });
    syncs.open();
    await test.clock.until(test.put('key', 'value'));
    syncs.close();
    const plain = watch(test.groupCommit.submit({ kind: 'put', key: 'key', value: 'next' }, undefined, { awaitsSync: false }));
    await Promise.resolve();
    expect(plain.value).to.deep.equal({ outcome: 'taken' });
    const refused = watch(test.groupCommit.submit({ kind: 'put', key: 'other', value: 'x' }, () => false, { awaitsSync: false }));
    const deleted = watch(test.groupCommit.submit({ kind: 'delete', key: 'key' }, undefined, { awaitsSync: false }));
    await test.clock.settle();
    expect([refused.value?.outcome, deleted.value]).to.deep.equal(['precondition-failed', { outcome: 'taken' }]);
    expect(test.table.get('key')?.value, 'nothing that is not durable can be read').to.equal('value');
    syncs.open();
    await test.clock.settle();
    expect(test.table.get('key')).to.equal(undefined);
  });

  it('lets the 404 of a delete that rests on an earlier delete of its batch wait for the sync', async () => {
    const syncs = new Gate();
    const test = await CommitUnderTest.create({ delay: (call) => (call.name === 'sync' ? syncs.pass() : Promise.resolve()) });
    syncs.open();
    await test.clock.until(test.put('key', 'value'));
    syncs.close();
    const deleted = watch(test.delete('key'));
    const absent = watch(test.delete('key'));
    const unrelated = watch(test.delete('never was'));
    await test.clock.settle();
    expect(unrelated.value, 'rests on what is durable').to.deep.equal({ outcome: 'absent', restsOnLsn: 2 });
    expect([deleted.isSettled, absent.isSettled]).to.deep.equal([false, false]);
    syncs.open();
    await test.clock.settle();
    expect([deleted.value, absent.value]).to.deep.equal([{ outcome: 'written', lsn: 3 }, { outcome: 'absent', restsOnLsn: 3 }]);
  });

  it('and does not say 404 where that earlier delete is not certain to be durable', async () => {
    let isFailing = false;
    const test = await CommitUnderTest.create({ onCall: (call) => (isFailing && call.name === 'sync' ? { kind: 'error', code: 'EIO' } : undefined) });
    await test.clock.until(test.put('key', 'value'));
    isFailing = true;
    const errors = await test.clock.until(Promise.all([rejectionOf(test.delete('key')), rejectionOf(test.delete('key'))]));
    for (const error of errors) expect(error).to.include({ code: 'outcome-unknown' });
  });

  it('refuses what does not fit its queue, and takes writes again when it has room', async () => {
    const syncs = new Gate();
    const test = await CommitUnderTest.create({ delay: (call) => (call.name === 'sync' ? syncs.pass() : Promise.resolve()) });
    test.queueBytesMax = 1_000;
    const onItsWay = test.put('a', 'x'.repeat(400));
    await test.clock.settle();
    const queued = test.put('b', 'x'.repeat(900));
    expect(await rejectionOf(test.put('c', 'x'.repeat(200)))).to.include({ code: 'overloaded', retryAfterS: 1 });
    expect(test.groupCommit.queueBytes).to.be.at.most(1_000);
    syncs.open();
    await test.clock.until(Promise.all([onItsWay, queued]));
    await test.clock.until(test.put('c', 'x'.repeat(200)));
    expect(test.table.get('c')).to.not.equal(undefined);
  });

  it('answers disk-full where nothing was written, and the same write succeeds when there is room', async () => {
    const test = await CommitUnderTest.create();
    test.disk.setCapacity(0);
    expect(await rejectionOf(test.clock.until(test.put('key', 'x'.repeat(2 << 20))))).to.include({ code: 'disk-full' });
    expect(test.table.get('key')).to.equal(undefined);
    test.disk.setCapacity(1 << 30);
    expect(await test.clock.until(test.put('key', 'value'))).to.deep.equal({ outcome: 'written', lsn: 2 });
    expect(test.poisons).to.deep.equal([]);
  });

  it('answers outcome-unknown when a sync fails, says so once, and writes nothing any more', async () => {
    const test = await CommitUnderTest.create({ onCall: (call) => (call.name === 'sync' ? { kind: 'error', code: 'EIO' } : undefined) });
    const errors = await test.clock.until(Promise.all([rejectionOf(test.put('a', '1')), rejectionOf(test.put('b', '2'))]));
    for (const error of errors) expect(error).to.include({ code: 'outcome-unknown' });
    expect(await rejectionOf(test.clock.until(test.put('c', '3')))).to.include({ code: 'outcome-unknown' });
    expect(test.poisons[0]).to.include({ code: 'log-poisoned' });
    expect([test.table.get('a'), test.table.get('c')]).to.deep.equal([undefined, undefined]);
    expect(test.count('sync'), 'that descriptor is never synced again').to.equal(1);
  });

  it('answers outcome-unknown where the role was lost during the sync', async () => {
    const syncs = new Gate();
    const test = await CommitUnderTest.create({ delay: (call) => (call.name === 'sync' ? syncs.pass() : Promise.resolve()) });
    const write = rejectionOf(test.put('key', 'value'));
    await test.clock.settle();
    const queued = rejectionOf(test.put('later', 'value'));
    test.epoch = { number: 2, id: '2e'.repeat(16) };
    syncs.open();
    expect(await test.clock.until(write)).to.include({ code: 'outcome-unknown' });
    test.epoch = undefined;
    expect(await test.clock.until(rejectionOf(test.put('more', 'value')))).to.include({ code: 'not-primary' });
    await test.clock.until(queued);
  });

  it('rejects the one write that the store can not judge, and no other', async () => {
    const test = await CommitUnderTest.create();
    test.gate.beforeGet = () => {
      throw new ShiplogError('store-failed', 'disk I/O error');
    };
    const put = test.put('a', '1');
    const judged = rejectionOf(test.delete('b'));
    const after = test.put('c', '3');
    expect(await test.clock.until(judged)).to.include({ code: 'store-failed' });
    await test.clock.until(Promise.all([put, after]));
    expect(await test.clock.until(rejectionOf(test.put('d', '4', () => true)))).to.include({ code: 'store-failed' });
    await test.clock.until(test.put('e', '5'));
  });

  it('closes when all that it took is answered, and takes no more', async () => {
    const syncs = new Gate();
    const test = await CommitUnderTest.create({ delay: (call) => (call.name === 'sync' ? syncs.pass() : Promise.resolve()) });
    const write = watch(test.put('a', '1'));
    await test.clock.settle();
    const queued = watch(test.put('b', '2'));
    const closed = watch(test.groupCommit.close());
    expect(await rejectionOf(test.put('c', '3'))).to.include({ code: 'stopping' });
    await test.clock.settle();
    expect(closed.isSettled).to.be.false;
    syncs.open();
    await test.clock.settle();
    expect([write.value?.outcome, queued.value?.outcome, closed.isSettled]).to.deep.equal(['written', 'written', true]);
  });

  it('turns away, as not written, a group that waits for room when the table stops', async () => {
    const test = await CommitUnderTest.create();
    test.checkpointRoom = () => Promise.reject(new ShiplogError('stopping', 'this node is stopping'));
    expect(await test.clock.until(rejectionOf(test.put('a', '1')))).to.include({ code: 'stopping' });
    expect(test.count('writeAt')).to.equal(0);
  });
});

describe('Committer', () => {
  it('lets no two commits overlap', async () => {
    const syncs = new Gate();
    const test = await CommitUnderTest.create({ delay: (call) => (call.name === 'sync' ? syncs.pass() : Promise.resolve()) });
    const write = test.put('a', '1');
    await test.clock.settle();
    expect(await rejectionOf(test.committer.commit([]))).to.have.property('message', 'commits must not overlap');
    syncs.open();
    await test.clock.until(write);
  });

  it('waits for the checkpoint before it writes', async () => {
    const room = new Gate();
    const test = await CommitUnderTest.create();
    test.checkpointRoom = () => room.pass();
    const write = watch(test.put('a', '1'));
    await test.clock.settle();
    expect([room.arrivals, test.count('writeAt'), write.isSettled]).to.deep.equal([1, 0, false]);
    room.open();
    await test.clock.settle();
    expect(write.value?.outcome).to.equal('written');
  });
});
