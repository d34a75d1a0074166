import { expect } from 'chai';
import { EpochHistory, forkPoint } from '../../lib/base/epoch-history.ts';
import { type FollowerClaim, type HandshakePlan, planHandshake } from '../../lib/replication/handshake.ts';

const A = { number: 1, id: 'a'.repeat(32) };
const B = { number: 2, id: 'b'.repeat(32) };
const history = EpochHistory.EMPTY.opened(A, { lsn: 0, chain: 0 }).opened(B, { lsn: 10, chain: 77 });
/** LSNs 6 … 20; epoch A ended with 10. */
const log = { clusterId: 'cluster', history, durable: { lsn: 20, chain: 99 }, startLsn: 5 };
const claim: FollowerClaim = { afterLsn: 15, clusterId: 'cluster', epochId: B.id, chain: 1 };

describe('planHandshake', () => {
  const cases: readonly (readonly [string, Partial<FollowerClaim>, HandshakePlan])[] = [
    ['streams from the middle of the current epoch', {}, { verdict: 'stream', afterLsn: 15, chain: 1 }],
    ['streams to one who has everything', { afterLsn: 20 }, { verdict: 'stream', afterLsn: 20, chain: 1 }],
    ['streams across the end of an epoch', { afterLsn: 8, epochId: A.id }, { verdict: 'stream', afterLsn: 8, chain: 1 }],
    ['streams to one who ends exactly where the old epoch ended', { afterLsn: 10, epochId: A.id }, { verdict: 'stream', afterLsn: 10, chain: 1 }],
    ['streams to a watcher who says nothing of itself', { clusterId: undefined, epochId: undefined, chain: undefined }, { verdict: 'stream', afterLsn: 15, chain: undefined }],
    ['streams from the oldest position it has', { afterLsn: 5, epochId: A.id }, { verdict: 'stream', afterLsn: 5, chain: 1 }],
    ['refuses another cluster', { clusterId: 'other' }, { verdict: 'other-cluster' }],
    ['refuses an epoch that it never had', { epochId: 'f'.repeat(32) }, { verdict: 'history-diverged', forkLsn: 0 }],
    ['refuses one who wrote on in an epoch that has ended', { afterLsn: 11, epochId: A.id }, { verdict: 'history-diverged', forkLsn: 10 }],
    ['refuses one who names an epoch for an LSN before it', { afterLsn: 10, epochId: B.id }, { verdict: 'history-diverged', forkLsn: 10 }],
    ['refuses one who holds more of the open epoch', { afterLsn: 21 }, { verdict: 'follower-ahead' }],
    ['refuses a watcher ahead of the log', { afterLsn: 21, epochId: undefined }, { verdict: 'follower-ahead' }],
    ['sends one whose position is gone to the snapshot', { afterLsn: 4, epochId: A.id }, { verdict: 'position-gone' }],
    ['sends one without any data to the snapshot when the beginning is gone', { afterLsn: 0, epochId: undefined }, { verdict: 'position-gone' }],
    // The order of refusals is part of the protocol.
    ['says other-cluster before history-diverged', { clusterId: 'other', epochId: 'f'.repeat(32), afterLsn: 4 }, { verdict: 'other-cluster' }],
    ['says history-diverged before position-gone', { epochId: 'f'.repeat(32), afterLsn: 4 }, { verdict: 'history-diverged', forkLsn: 0 }],
  ];
  for (const [title, changed, expected] of cases) {
    it(title, () => expect(planHandshake({ ...claim, ...changed }, log)).to.deep.equal(expected));
  }

  it('leaves the fork to the follower, which finds it from both histories', () => {
    const own = { history: EpochHistory.EMPTY.opened(A, { lsn: 0, chain: 0 }), endLsn: 14 };
    expect(planHandshake({ ...claim, afterLsn: 14, epochId: A.id }, log)).to.deep.equal({ verdict: 'history-diverged', forkLsn: 10 });
    expect(forkPoint(own.history, own.endLsn, history, 20)).to.equal(10);
  });
});
