import { expect } from 'chai';
import { Watermark } from '../../lib/base/watermark.ts';
import { rejectionOf } from '../env/rejection.ts';

describe('Watermark', () => {
  it('wakes those whose LSN is reached, and only them', async () => {
    const mark = new Watermark('durable', 5);
    const woken: number[] = [];
    for (const lsn of [8, 6, 7, 20]) void mark.reached(lsn).then(() => woken.push(lsn));
    mark.advance(7);
    await Promise.resolve();
    expect(woken).to.have.members([6, 7]);
    expect(mark.waiterCount).to.equal(2);
    mark.advance(100);
    await Promise.resolve();
    expect(woken).to.have.members([6, 7, 8, 20]);
  });

  it('does not let anybody wait for what is there', async () => {
    await new Watermark('durable', 5).reached(5);
  });

  it('never falls', () => {
    expect(() => new Watermark('durable', 5).advance(4)).to.throw('durable would fall from 5 to 4');
  });

  it('forgets who gave up, and the listener on the signal of who did not', async () => {
    const mark = new Watermark('durable', 5);
    const giving = new AbortController();
    const gaveUp = rejectionOf(mark.reached(6, giving.signal));
    giving.abort(new Error('no more time'));
    expect(await gaveUp).to.have.property('message', 'no more time');
    expect(mark.waiterCount).to.equal(0);
    expect(await rejectionOf(mark.reached(6, giving.signal))).to.have.property('message', 'no more time');

    const late = new AbortController();
    const reached = mark.reached(6, late.signal);
    mark.advance(6);
    await reached;
    late.abort(new Error('too late to matter'));
    expect(mark.lsn).to.equal(6);
  });
});
