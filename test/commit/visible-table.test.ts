import { expect } from 'chai';
import * as fc from 'fast-check';
import { ShiplogError } from '../../lib/base/errors.ts';
import { LIMITS } from '../../lib/base/limits.ts';
import { DiskFullError } from '../../lib/env/disk.ts';
import { rejectionOf } from '../env/rejection.ts';
import { digestOf } from '../support/memory-store.ts';
import { CommitUnderTest, Gate, watch } from './commit-under-test.ts';

describe('VisibleTable', () => {
  it('shows from memory what the store has not applied, deletes too', async () => {
    const applies = new Gate();
    const test = await CommitUnderTest.create();
    await test.clock.until(test.put('gone', 'was here'));
    test.gate.beforeApply = () => applies.pass();
    await test.clock.until(Promise.all([test.put('key', 'a'), test.delete('gone')]));
    await test.clock.until(test.put('key', 'b'));
    expect(test.table.get('key')).to.deep.equal({ value: 'b', lsn: 5 });
    expect(test.table.get('gone')).to.equal(undefined);
    expect(test.gate.store.get('gone'), 'the store is behind').to.not.equal(undefined);
    expect([test.table.visible.lsn, test.table.applied.lsn]).to.deep.equal([5, 2]);
    applies.open();
    await test.clock.settle();
    expect(test.table.applied.lsn).to.equal(5);
    expect(test.table.unappliedBytes).to.equal(0);
    expect(test.gate.store.get('key')).to.deep.equal({ value: 'b', lsn: 5 });
    expect(test.table.get('gone')).to.equal(undefined);
  });

  it('keeps a row that was read in reach of its bytes, as it is visible now, and no row that was deleted', async () => {
    const test = await CommitUnderTest.create();
    const key = Buffer.from('key');
    const valueInMemory = (): string | undefined => {
      const { cachedRows } = test.table;
      const place = cachedRows.find(key, 0, key.length);
      return place === undefined ? undefined : cachedRows.bytes.toString('utf8', cachedRows.valueStartAt(place), cachedRows.valueEndAt(place));
    };
    await test.clock.until(test.put('key', 'a'));
    await test.clock.settle();
    expect(valueInMemory(), 'nobody has read it').to.equal(undefined);
    expect(test.table.get('key')?.value).to.equal('a');
    expect(valueInMemory()).to.equal('a');
    const applies = new Gate();
    test.gate.beforeApply = () => applies.pass();
    await test.clock.until(test.put('key', 'new'));
    expect(valueInMemory(), 'before the store has it').to.equal('new');
    await test.clock.until(test.delete('key'));
    expect(valueInMemory()).to.equal(undefined);
    applies.open();
    await test.clock.settle();
    expect(test.table.get('key')).to.equal(undefined);
    expect(valueInMemory()).to.equal(undefined);
  });

  it('keeps the later write of a key in memory when an earlier one is applied', async () => {
    const applies = new Gate();
    const test = await CommitUnderTest.create();
    test.gate.beforeApply = () => applies.pass();
    await test.clock.until(test.put('key', 'a'));
    await test.clock.settle();
    await test.clock.until(test.put('key', 'b'));
    applies.open();
    applies.close();
    await test.clock.settle();
    expect(test.gate.store.get('key'), 'the first transaction').to.deep.equal({ value: 'a', lsn: 2 });
    expect(test.table.get('key')).to.deep.equal({ value: 'b', lsn: 3 });
    applies.open();
    await test.clock.settle();
    expect(test.table.get('key')).to.deep.equal({ value: 'b', lsn: 3 });
  });

  it('always shows the newest durable write of every key, whenever transactions come and go', async () => {
    const steps = fc.array(fc.record({ key: fc.constantFrom('a', 'b', 'c'), kind: fc.constantFrom('put', 'delete', 'apply') }), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(steps, async (steps) => {
        const test = await CommitUnderTest.create();
        const applies: (() => void)[] = [];
        test.gate.beforeApply = () => new Promise<void>((resolve) => applies.push(resolve));
        const model = new Map<string, string>();
        for (const [index, { key, kind }] of steps.entries()) {
          if (kind === 'put') {
            await test.clock.until(test.put(key, `${index}`));
            model.set(key, `${index}`);
          } else if (kind === 'delete') {
            expect((await test.clock.until(test.delete(key))).outcome).to.equal(model.delete(key) ? 'written' : 'absent');
          } else {
            applies.shift()?.();
            await test.clock.settle();
          }
          for (const each of ['a', 'b', 'c']) expect(test.table.get(each)?.value).to.equal(model.get(each));
        }
      }),
      { numRuns: 40 },
    );
  });

  it('gathers what became durable during one transaction into the next', async () => {
    const applies = new Gate();
    const test = await CommitUnderTest.create();
    test.gate.beforeApply = () => applies.pass();
    for (let index = 0; index < 30; index += 1) await test.clock.until(test.put(`k${index}`, 'v'));
    applies.open();
    await test.clock.settle();
    expect(test.gate.applies).to.deep.equal([2, 31]);
  });

  it('pauses while the store has no space, goes on by itself, and loses nothing', async () => {
    const test = await CommitUnderTest.create();
    let isFull = true;
    let tries = 0;
    test.gate.beforeApply = () => {
      tries += 1;
      return isFull ? Promise.reject(new DiskFullError('SQLite found no space')) : Promise.resolve();
    };
    await test.clock.until(test.put('key', 'value'));
    await test.clock.advance(10_000);
    expect(test.table.get('key')?.value).to.equal('value');
    expect(test.table.applied.lsn).to.equal(1);
    expect(tries).to.be.within(5, 15);
    isFull = false;
    await test.clock.advance(2_000);
    expect(test.table.applied.lsn).to.equal(2);
    expect(test.failures).to.deep.equal([]);
  });

  it('can be stopped while the store has no space, and turns away who waits for room', async () => {
    const test = await CommitUnderTest.create();
    test.gate.beforeApply = () => Promise.reject(new DiskFullError('SQLite found no space'));
    const value = 'x'.repeat(LIMITS.valueBytesMax);
    for (let count = 0; count < 4; count += 1) await test.clock.until(test.put(`k${count}`, value));
    const waiting = watch(test.put('more', 'x'));
    await test.clock.settle();
    expect(waiting.isSettled, 'above the bound, writes wait for the store').to.be.false;
    const stopped = watch(test.table.stop());
    await test.clock.settle();
    expect(stopped.isSettled).to.be.true;
    expect(waiting.error).to.include({ code: 'stopping' });
    expect(test.clock.timerCount).to.equal(0);
  });

  it('reports a store that failed, once, and keeps nobody waiting for it', async () => {
    const applies = new Gate();
    const test = await CommitUnderTest.create();
    test.gate.beforeApply = () => applies.pass().then(() => Promise.reject(new ShiplogError('store-failed', 'disk I/O error')));
    const value = 'x'.repeat(LIMITS.valueBytesMax);
    for (let count = 0; count < 4; count += 1) await test.clock.until(test.put(`k${count}`, value));
    const waiting = watch(test.put('more', 'x'));
    await test.clock.settle();
    expect(waiting.isSettled).to.be.false;
    applies.open();
    await test.clock.settle();
    expect(test.failures).to.have.length(1);
    expect(test.failures[0]).to.include({ code: 'store-failed' });
    expect(waiting.error).to.include({ code: 'outcome-unknown' });
    const stopped = watch(test.table.stop());
    await test.clock.settle();
    expect(stopped.isSettled).to.be.true;
  });

  describe('digestAt', () => {
    it('gives the digest at the first end of a batch at or after the LSN, though more is durable', async () => {
      const applies = new Gate();
      const test = await CommitUnderTest.create();
      test.gate.beforeApply = () => applies.pass();
      // One batch holds LSNs 2 … 4, the next 5 … 7.
      for (const round of [1, 2]) await test.clock.until(Promise.all(['a', 'b', 'c'].map((key) => test.put(key, `${round}`))));
      const digest = test.table.digestAt(3);
      applies.open();
      const { lsn, rowCount, sha256 } = await test.clock.until(digest);
      expect({ lsn, rowCount }).to.deep.equal({ lsn: 4, rowCount: 3 });
      expect(sha256).to.equal(digestOf(new Map(['a', 'b', 'c'].map((key, index) => [key, { value: '1', lsn: 2 + index }]))).sha256);
    });

    it('gives it at once where the LSN is applied, and waits where it is still to come', async () => {
      const test = await CommitUnderTest.create();
      await test.clock.until(test.put('key', 'a'));
      await test.clock.settle();
      expect((await test.clock.until(test.table.digestAt(0))).lsn).to.equal(2);
      const later = watch(test.table.digestAt(4));
      await test.clock.until(test.put('key', 'b'));
      await test.clock.settle();
      expect(later.isSettled).to.be.false;
      await test.clock.until(test.put('key', 'c'));
      await test.clock.settle();
      expect(later.value?.lsn).to.equal(4);
    });

    it('forgets who gave up', async () => {
      const test = await CommitUnderTest.create();
      const giving = new AbortController();
      const digests = Array.from({ length: 100 }, () => rejectionOf(test.table.digestAt(1_000, giving.signal)));
      expect(test.table.waitingDigests).to.equal(100);
      giving.abort(new Error('no more time'));
      for (const error of await Promise.all(digests)) expect(error).to.have.property('message', 'no more time');
      expect(test.table.waitingDigests).to.equal(0);
    });
  });
});
