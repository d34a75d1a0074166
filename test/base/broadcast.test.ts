import { expect } from 'chai';
import { Broadcast } from '../../lib/base/broadcast.ts';

describe('Broadcast', () => {
  it('wakes those who wait, and those who come later only the next time', async () => {
    const broadcast = new Broadcast();
    const woken: string[] = [];
    const first = broadcast.next().then(() => {
      woken.push('first');
      return broadcast.next().then(() => woken.push('again'));
    });
    broadcast.fire();
    await Promise.resolve();
    expect(woken).to.deep.equal(['first']);
    expect(broadcast.waiterCount).to.equal(1);
    broadcast.fire();
    await first;
    expect(woken).to.deep.equal(['first', 'again']);
  });

  it('forgets who was aborted', async () => {
    const broadcast = new Broadcast();
    const leaving = new AbortController();
    const waiting = broadcast.next(leaving.signal);
    const reason = new Error('left');
    leaving.abort(reason);
    expect(await waiting.catch((error: unknown) => error)).to.equal(reason);
    expect(broadcast.waiterCount).to.equal(0);
    expect(await broadcast.next(leaving.signal).catch((error: unknown) => error)).to.equal(reason);
    expect(broadcast.waiterCount).to.equal(0);
  });
});
