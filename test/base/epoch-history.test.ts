import { expect } from 'chai';
import * as fc from 'fast-check';
import { EpochHistory, forkPoint } from '../../lib/base/epoch-history.ts';

const A = { number: 1, id: 'a'.repeat(32) };
const B = { number: 2, id: 'b'.repeat(32) };
const C = { number: 2, id: 'c'.repeat(32) };
const history = EpochHistory.EMPTY.opened(A, { lsn: 0, chain: 0 }).opened(B, { lsn: 10, chain: 77 });

describe('EpochHistory', () => {
  it('closes the epoch before when it opens one', () => {
    expect(history.epochs).to.deep.equal([
      { ...A, firstLsn: 1, lastLsn: 10, endChain: 77 },
      { ...B, firstLsn: 11, lastLsn: null, endChain: null },
    ]);
  });

  it('knows the epoch of every LSN, and positions at both sides of a border', () => {
    expect(history.epochAt(0)).to.equal(undefined);
    expect([1, 10, 11, 999].map((lsn) => history.epochAt(lsn)?.number)).to.deep.equal([1, 1, 2, 2]);
    expect(history.positionOf(10)).to.deep.equal({ epochNumber: 1, epochTag: 'aaaa', lsn: 10 });
    expect(history.positionOf(11)).to.deep.equal({ epochNumber: 2, epochTag: 'bbbb', lsn: 11 });
    expect(EpochHistory.EMPTY.positionOf(5)).to.deep.equal({ epochNumber: 0, epochTag: '0000', lsn: 5 });
  });

  it('contains a position only where number, tag and LSN agree', () => {
    expect(history.contains({ epochNumber: 1, epochTag: 'aaaa', lsn: 10 })).to.be.true;
    expect(history.contains({ epochNumber: 1, epochTag: 'aaaa', lsn: 11 }), 'beyond the end of that epoch').to.be.false;
    expect(history.contains({ epochNumber: 2, epochTag: 'cccc', lsn: 11 }), 'another epoch of that number').to.be.false;
    expect(history.contains({ epochNumber: 0, epochTag: '0000', lsn: 0 })).to.be.true;
  });

  it('refuses gaps, falling numbers, open epochs in the middle and malformed ids', () => {
    const first = { ...A, firstLsn: 1, lastLsn: 10, endChain: 7 };
    const open = { firstLsn: 11, lastLsn: null, endChain: null };
    expect(() => new EpochHistory([first, { ...B, ...open, firstLsn: 12 }])).to.throw('without a gap');
    expect(() => new EpochHistory([{ ...first, number: 2 }, { ...B, ...open }])).to.throw('numbers rise');
    expect(() => new EpochHistory([{ ...first, lastLsn: null }, { ...B, ...open }])).to.throw('the last epoch is open');
    expect(() => new EpochHistory([first])).to.throw('the last epoch is open');
    expect(() => new EpochHistory([{ ...open, number: 1, id: 'short' }])).to.throw('32 hex digits');
  });

  it('survives JSON', () => {
    const parsed = JSON.parse(JSON.stringify(history)) as typeof history.epochs;
    expect(new EpochHistory(parsed)).to.deep.equal(history);
  });
});

describe('forkPoint', () => {
  const shared = EpochHistory.EMPTY.opened(A, { lsn: 0, chain: 0 });

  it('is the smaller of both ends while one open epoch is shared', () => {
    expect(forkPoint(shared, 8, shared, 5)).to.equal(5);
    expect(forkPoint(shared, 5, shared, 8)).to.equal(5);
  });

  it('is where the other one closed the shared epoch, if that is below our end', () => {
    expect(forkPoint(shared, 15, shared.opened(B, { lsn: 10, chain: 1 }), 30)).to.equal(10);
    expect(forkPoint(shared, 7, shared.opened(B, { lsn: 10, chain: 1 }), 30)).to.equal(7);
  });

  it('is the end of the shared parent where two opened epochs of one number', () => {
    expect(forkPoint(shared.opened(B, { lsn: 10, chain: 1 }), 20, shared.opened(C, { lsn: 10, chain: 1 }), 20)).to.equal(10);
    expect(forkPoint(shared.opened(B, { lsn: 12, chain: 1 }), 20, shared.opened(C, { lsn: 10, chain: 1 }), 20)).to.equal(10);
  });

  it('is 0 where nothing is shared', () => {
    expect(forkPoint(shared, 10, EpochHistory.EMPTY.opened(B, { lsn: 0, chain: 0 }), 10)).to.equal(0);
    expect(forkPoint(EpochHistory.EMPTY, 0, shared, 10)).to.equal(0);
  });

  it('is symmetric, and finds the place at which two histories were really parted', () => {
    const ends = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 });
    const build = (start: EpochHistory, startLsn: number, lengths: readonly number[], tag: string): { history: EpochHistory; endLsn: number } => {
      let { history, lsn } = { history: start, lsn: startLsn };
      for (const length of lengths) {
        const number = (history.current?.number ?? 0) + 1;
        history = history.opened({ number, id: `${tag}${number}`.padEnd(32, '0') }, { lsn, chain: lsn });
        lsn += length;
      }
      return { history, endLsn: lsn };
    };
    fc.assert(
      fc.property(ends, ends, ends, fc.integer({ min: 0, max: 5 }), (common, left, right, more) => {
        const trunk = build(EpochHistory.EMPTY, 0, common, 'a');
        // One side may have written more in the last shared epoch before it was left.
        const one = build(trunk.history, trunk.endLsn + more, left, 'b');
        const other = build(trunk.history, trunk.endLsn, right, 'c');
        expect(forkPoint(one.history, one.endLsn, other.history, other.endLsn)).to.equal(trunk.endLsn);
        expect(forkPoint(other.history, other.endLsn, one.history, one.endLsn)).to.equal(trunk.endLsn);
      }),
    );
  });
});
