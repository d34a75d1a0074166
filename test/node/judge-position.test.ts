import { expect } from 'chai';
import { EpochHistory } from '../../lib/base/epoch-history.ts';
import { parsePosition } from '../../lib/base/position.ts';
import { judgePosition } from '../../lib/node/judge-position.ts';

const id = (tag: string): string => tag.padEnd(32, '0');
const history = EpochHistory.EMPTY.opened({ number: 1, id: id('aaaa') }, { lsn: 0, chain: 0 })
  .opened({ number: 3, id: id('cccc') }, { lsn: 50, chain: 1 });

describe('judgePosition', () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ['0.0000-0', 'reached', 'the position before everything'],
    ['1.aaaa-50', 'reached', 'the end of an earlier epoch'],
    ['1.aaaa-51', 'lost', 'beyond the end of an earlier epoch: a failover left it behind'],
    ['1.bbbb-10', 'lost', 'another epoch of that number'],
    ['2.bbbb-60', 'lost', 'an epoch that history went past'],
    ['3.cccc-50', 'lost', 'before the epoch began: no answer ever carried it'],
    ['3.cccc-70', 'reached', 'what is visible'],
    ['3.cccc-71', 'possible', 'what may still come in this epoch'],
    ['3.dddd-60', 'possible', 'another epoch of the present number: one of the two will be given up'],
    ['4.dddd-60', 'possible', 'an epoch that is not known here yet, with an LSN that is'],
    ['4.dddd-99', 'possible', 'an epoch that is not known here yet'],
  ];
  for (const [position, verdict, what] of cases) {
    it(`says ${verdict} of ${position}: ${what}`, () => {
      expect(judgePosition(parsePosition(position)!, { history, visibleLsn: 70 })).to.equal(verdict);
    });
  }

  it('waits for everything on a node without history', () => {
    expect(judgePosition(parsePosition('1.aaaa-1')!, { history: EpochHistory.EMPTY, visibleLsn: 0 })).to.equal('possible');
  });
});
