import { expect } from 'chai';

import type { HistoryRecord, HistoryTruth } from '../history-record.ts';
import { Lineages } from './lineages.ts';
import { checkRealTimeOrder } from './real-time-order.ts';
import { at, codesOf, del, read, truthOf, write } from './small-history.ts';

const PLAIN = truthOf({ log: '1.aaaa: a=v1 a=v2 b=v3 -a' });

describe('check of real-time order', () => {
  it('accepts writes in the order of their positions, and any order of writes that overlap', () => {
    expect(judge(PLAIN, write('a', 'v1', [1, 2], '1.aaaa-2'), write('a', 'v2', [3, 6], '1.aaaa-3'), write('b', 'v3', [4, 5], '1.aaaa-4'), del('a', [7, 8], '1.aaaa-5'))).to.deep.equal([]);
    expect(judge(PLAIN, write('a', 'v2', [1, 6], '1.aaaa-3'), write('a', 'v1', [2, 5], '1.aaaa-2'))).to.deep.equal([]);
  });

  it('finds a write with a lower position than one that had ended before it began', () => {
    expect(judge(PLAIN, write('a', 'v2', [1, 2], '1.aaaa-3'), write('a', 'v1', [3, 4], '1.aaaa-2'))).to.deep.equal(['reordered-writes']);
  });

  it('finds that also for a write whose position only the log tells', () => {
    expect(judge(PLAIN, write('a', 'v2', [1, 2], '1.aaaa-3'), write('a', 'v1', [3, null], null))).to.deep.equal(['reordered-writes']);
  });

  it('claims nothing about the end of a write that was answered with unknown, or from memory', () => {
    expect(judge(PLAIN, write('a', 'v2', [1, 2], null, { outcome: 'unknown' }), write('a', 'v1', [3, 4], '1.aaaa-2'))).to.deep.equal([]);
    expect(judge(PLAIN, write('a', 'v2', [1, 2], null, { ackReached: 'memory' }), write('a', 'v1', [3, 4], '1.aaaa-2'))).to.deep.equal([]);
  });

  it('finds that an old epoch took a surviving write after the next one had answered', () => {
    const truth = truthOf({ log: '1.aaaa: a=v1 | 2.bbbb: a=v2' });
    expect(judge(truth, write('a', 'v2', [1, 2], '2.bbbb-4'), write('a', 'v1', [3, 4], '1.aaaa-2'))).to.deep.equal(['reordered-writes']);
  });

  it('judges a lost epoch for itself, not against the surviving history', () => {
    const truth = truthOf({ log: '1.aaaa: a=v1 | 2.bbbb: a=v2' });
    const late = write('a', 'v8', [5, 6], '1.aaaa-3');
    expect(judge(truth, write('a', 'v2', [1, 2], '2.bbbb-4'), late)).to.deep.equal([]);
    expect(judge(truth, write('a', 'v9', [1, 2], '1.aaaa-4'), late)).to.deep.equal(['reordered-writes']);
  });

  it('finds a position that two writes were told', () => {
    expect(judge(PLAIN, write('a', 'v1', [1, 2], '1.aaaa-2'), write('a', 'v8', [3, 4], '1.aaaa-2'))).to.include('reused-position');
  });

  it('finds a write that the log has elsewhere, or has replaced by another', () => {
    expect(judge(PLAIN, write('a', 'v1', [1, 2], '1.aaaa-5'))).to.deep.equal(['misplaced-write']);
    expect(judge(PLAIN, write('a', 'v9', [1, 2], '1.aaaa-2'))).to.deep.equal(['misplaced-write']);
    expect(judge(PLAIN, del('a', [1, 2], '1.aaaa-4'))).to.deep.equal(['misplaced-write']);
    expect(judge(PLAIN, write('a', 'v1', [1, 2], '7.eeee-2'))).to.deep.equal(['misplaced-write']);
  });

  describe('of reads', () => {
    const v2 = write('a', 'v2', [3, 6], '1.aaaa-3');

    it('demands of the primary what had ended before, not what was under way', () => {
      expect(judge(PLAIN, v2, read('a', 'v1', [4, 5], '1.aaaa-2'))).to.deep.equal([]);
      expect(judge(PLAIN, v2, read('a', 'v2', [7, 8], '1.aaaa-3'))).to.deep.equal([]);
      expect(judge(PLAIN, v2, read('a', 'v1', [7, 8], '1.aaaa-2'))).to.deep.equal(['stale-read']);
    });

    it('demands it on other keys, too', () => {
      expect(judge(PLAIN, v2, read('b', null, [7, 8], '1.aaaa-2'))).to.deep.equal(['stale-read']);
    });

    it('lets a replica be behind, but not below min', () => {
      expect(judge(PLAIN, v2, read('a', 'v1', [7, 8], '1.aaaa-2', { role: 'replica' }))).to.deep.equal([]);
      expect(judge(PLAIN, v2, read('a', 'v1', [7, 8], '1.aaaa-2', { role: 'replica', minPosition: at('1.aaaa-3') }))).to.deep.equal(['stale-read']);
    });

    it('does not take the higher LSN of another history for min', () => {
      const truth = truthOf({ log: '1.aaaa: a=v1 | 2.bbbb: a=v2 a=v3' });
      expect(judge(truth, read('a', 'v3', [1, 2], '2.bbbb-5', { role: 'replica', minPosition: at('1.aaaa-3') }))).to.deep.equal(['stale-read']);
      expect(judge(truth, read('a', 'v3', [1, 2], '2.bbbb-5', { role: 'replica', minPosition: at('1.aaaa-2') }))).to.deep.equal([]);
    });

    it('does not demand the writes of its successor from a primary that was cut off', () => {
      const truth = truthOf({ log: '1.aaaa: a=v1 | 2.bbbb: a=v2', epochs: { '2.bbbb': { openedAt: 5 } } });
      expect(judge(truth, write('a', 'v1', [1, 2], '1.aaaa-2'), write('a', 'v2', [6, 7], '2.bbbb-4'), read('a', 'v1', [8, 9], '1.aaaa-2'))).to.deep.equal([]);
    });

    it('finds a primary that shows less than the epoch it has opened', () => {
      const truth = truthOf({ log: '1.aaaa: a=v1 | 2.bbbb: a=v2', epochs: { '2.bbbb': { openedAt: 5, nodeId: 'n1' } } });
      expect(judge(truth, write('a', 'v2', [6, 7], '2.bbbb-4'), read('a', 'v1', [8, 9], '1.aaaa-2'))).to.deep.equal(['stale-read']);
    });
  });
});

function judge(truth: HistoryTruth, ...records: readonly HistoryRecord[]): readonly string[] {
  return codesOf(checkRealTimeOrder(records, new Lineages(truth)).violations);
}
