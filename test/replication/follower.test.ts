import { expect } from 'chai';
import { type Confirmation, type Follower, confirmed, connected, disconnected, lagMs } from '../../lib/replication/follower.ts';

const claim = { nodeId: 'n', name: 'replica', url: 'http://replica', streamId: 's1', afterLsn: 10, ownDurableLsn: 10, nowMs: 1_000 };
const confirmation: Confirmation = { epochId: 'e', durableLsn: 10, appliedLsn: 10, isReady: true, membersDigest: '' };
const at = (nowMs: number, ownDurableLsn = 100) => ({ nowMs, ownDurableLsn });

describe('a follower', () => {
  it('is known to have what it claimed at the handshake, durable but not yet applied', () => {
    expect(connected(undefined, claim)).to.include({ sentLsn: 10, durableLsn: 10, appliedLsn: 0, isReady: false });
  });

  it('is never believed to have more than was sent', () => {
    const follower = confirmed({ ...connected(undefined, claim), sentLsn: 15 }, { ...confirmation, durableLsn: 99, appliedLsn: 99 }, at(2_000));
    expect(follower).to.include({ durableLsn: 15, appliedLsn: 15 });
  });

  it('is never believed to show more than it has', () => {
    const follower = confirmed({ ...connected(undefined, claim), sentLsn: 50 }, { ...confirmation, durableLsn: 20, appliedLsn: 40 }, at(2_000));
    expect(follower).to.include({ durableLsn: 20, appliedLsn: 20 });
  });

  it('takes back nothing that it confirmed on the same stream', () => {
    const sent: Follower = { ...connected(undefined, claim), sentLsn: 50 };
    const once = confirmed(sent, { ...confirmation, durableLsn: 40, appliedLsn: 30 }, at(2_000));
    expect(confirmed(once, { ...confirmation, durableLsn: 20, appliedLsn: 20 }, at(3_000))).to.include({ durableLsn: 40, appliedLsn: 30 });
  });

  it('may come back with less, and is believed then', () => {
    const before = confirmed({ ...connected(undefined, claim), sentLsn: 50 }, { ...confirmation, durableLsn: 50, appliedLsn: 50 }, at(2_000));
    expect(connected(disconnected(before), { ...claim, streamId: 's2', afterLsn: 20 })).to.include({ durableLsn: 20, appliedLsn: 20, sentLsn: 20, streamId: 's2' });
  });

  it('counts for nothing once it is disconnected', () => {
    const ready = confirmed(connected(undefined, claim), confirmation, at(2_000));
    expect(ready.isReady).to.be.true;
    expect(disconnected(ready)).to.include({ streamId: null, isReady: false });
  });

  it('that lacks nothing has no lag, however long ago it was heard', () => {
    const follower = confirmed({ ...connected(undefined, claim), sentLsn: 100 }, { ...confirmation, durableLsn: 100, appliedLsn: 100 }, at(2_000));
    expect(lagMs(follower, at(99_000))).to.equal(0);
  });

  it('that went away while it lacked nothing lags from then on', () => {
    const follower = disconnected(confirmed({ ...connected(undefined, claim), sentLsn: 100 }, { ...confirmation, durableLsn: 100, appliedLsn: 100 }, at(2_000)));
    expect(lagMs(follower, at(62_000, 101))).to.equal(60_000);
  });

  it('a little behind under steady writes has a little lag, not a growing one', () => {
    let follower: Follower = connected(undefined, claim);
    for (let step = 1; step <= 1_000; step += 1) {
      const [nowMs, ownDurableLsn] = [1_000 + step * 10, 10 + step * 5];
      follower = { ...follower, sentLsn: ownDurableLsn };
      // It always confirms what was the end two steps ago.
      follower = confirmed(follower, { ...confirmation, durableLsn: ownDurableLsn - 10, appliedLsn: ownDurableLsn - 10 }, { nowMs, ownDurableLsn });
      expect(lagMs(follower, { nowMs, ownDurableLsn })).to.be.at.most(30);
    }
  });
});
