import { expect } from 'chai';
import { EpochHistory } from '../../../lib/base/epoch-history.ts';
import { parsePosition } from '../../../lib/base/position.ts';
import { hasForgotten } from './durability.ts';

const [FIRST, SECOND, OTHER] = ['aaaa', 'bbbb', 'cccc'].map((tag) => tag.padEnd(32, '0')) as [string, string, string];
const ONE_EPOCH = EpochHistory.EMPTY.opened({ number: 1, id: FIRST }, { lsn: 0, chain: 0 });
const TWO_EPOCHS = ONE_EPOCH.opened({ number: 2, id: SECOND }, { lsn: 10, chain: 7 });

describe('check of what was durable', () => {
  it('accepts a node that has what it had, or more', () => {
    expect(forgets('1.aaaa-8', ONE_EPOCH, '1.aaaa-8')).to.equal(false);
    expect(forgets('1.aaaa-8', TWO_EPOCHS, '2.bbbb-12')).to.equal(false);
  });

  it('finds a node that has less of the same epoch', () => {
    expect(forgets('1.aaaa-8', ONE_EPOCH, '1.aaaa-7')).to.equal(true);
  });

  it('finds a node that has forgotten the epoch in which it was', () => {
    expect(forgets('2.bbbb-12', ONE_EPOCH, '1.aaaa-10')).to.equal(true);
  });

  it('accepts a node that was cut at a fork: what it had is not in the history that it continues', () => {
    expect(forgets('1.aaaa-15', TWO_EPOCHS, '2.bbbb-11')).to.equal(false);
    expect(forgets('2.cccc-15', TWO_EPOCHS, '2.bbbb-11')).to.equal(false);
    const later = ONE_EPOCH.opened({ number: 3, id: OTHER }, { lsn: 10, chain: 7 });
    expect(forgets('2.bbbb-15', later, '3.cccc-11')).to.equal(false);
  });

  it('finds a node that has lost what lies before the fork', () => {
    expect(forgets('1.aaaa-9', TWO_EPOCHS, '1.aaaa-8')).to.equal(true);
  });

  it('leaves a node alone that begins anew', () => {
    expect(forgets('1.aaaa-9', EpochHistory.EMPTY, '0.0000-0')).to.equal(false);
  });
});

function forgets(before: string, history: EpochHistory, durable: string): boolean {
  return hasForgotten(parsePosition(before)!, { history, durable: parsePosition(durable)! });
}
