import { expect } from 'chai';

import type { HistoryRecord, HistoryTruth } from '../history-record.ts';
import { Lineages } from './lineages.ts';
import { checkReadsAgainstLog } from './reads-against-log.ts';
import { at, codesOf, read, truthOf, write } from './small-history.ts';

const PLAIN = truthOf({ log: '1.aaaa: a=v1 b=v2 -a a=v4' });
const FORKED = truthOf({ log: '1.aaaa: a=v1 | 2.bbbb: a=v2', salvage: [{ operations: { '1.aaaa-3': 'a=v8', '1.aaaa-5': '-a' } }] });
const REPLICA = { role: 'replica', nodeId: 'n2' } as const;

describe('check of reads against the log', () => {
  it('accepts the last write at or below the position of the answer', () => {
    expect(judge(PLAIN, read('a', 'v1', [1, 2], '1.aaaa-3', REPLICA), read('a', null, [3, 4], '1.aaaa-4', REPLICA), read('a', 'v4', [5, 6], '1.aaaa-5', { keyPosition: at('1.aaaa-5') }))).to.deep.equal([]);
  });

  it('accepts that nothing was there before the first write', () => {
    expect(judge(PLAIN, read('a', null, [1, 2], '1.aaaa-1', REPLICA), read('a', null, [3, 4], '0.0000-0', REPLICA))).to.deep.equal([]);
  });

  it('finds an older value than its position promises', () => {
    expect(judge(PLAIN, read('a', 'v1', [1, 2], '1.aaaa-5', REPLICA))).to.deep.equal(['wrong-read']);
  });

  it('finds a newer value than its position admits', () => {
    expect(judge(PLAIN, read('a', 'v4', [1, 2], '1.aaaa-3', REPLICA))).to.deep.equal(['wrong-read']);
  });

  it('finds a deleted value that is still shown, and a value that is not', () => {
    expect(judge(PLAIN, read('a', 'v1', [1, 2], '1.aaaa-4', REPLICA))).to.deep.equal(['wrong-read']);
    expect(judge(PLAIN, read('b', null, [3, 4], '1.aaaa-3', REPLICA))).to.deep.equal(['wrong-read']);
  });

  it('finds a wrong position of the key', () => {
    expect(judge(PLAIN, read('a', 'v1', [1, 2], '1.aaaa-3', { ...REPLICA, keyPosition: at('1.aaaa-3') }))).to.deep.equal(['wrong-read']);
  });

  it('finds an answer without a position, or with one that no history has', () => {
    expect(judge(PLAIN, { ...read('a', 'v1', [1, 2], '1.aaaa-3'), position: null })).to.deep.equal(['unknown-position']);
    expect(judge(PLAIN, read('a', 'v4', [1, 2], '1.aaaa-6'))).to.deep.equal(['unknown-position']);
    expect(judge(PLAIN, read('a', 'v4', [1, 2], '2.cccc-5'))).to.deep.equal(['unknown-position']);
  });

  describe('in a lost history', () => {
    it('judges by the shared part and the salvage file', () => {
      expect(judge(FORKED, read('a', 'v8', [1, 2], '1.aaaa-3'), read('a', 'v8', [3, 4], '1.aaaa-4'), read('a', null, [5, 6], '1.aaaa-5'))).to.deep.equal([]);
      expect(judge(FORKED, read('a', 'v1', [1, 2], '1.aaaa-3'))).to.deep.equal(['wrong-read']);
      expect(judge(FORKED, read('a', 'v8', [1, 2], '1.aaaa-5'))).to.deep.equal(['wrong-read']);
    });

    it('finds a mixture of both histories', () => {
      expect(judge(FORKED, read('a', 'v8', [1, 2], '2.bbbb-4'))).to.deep.equal(['wrong-read']);
      expect(judge(FORKED, read('a', 'v2', [1, 2], '1.aaaa-4'))).to.deep.equal(['wrong-read']);
    });

    it('claims nothing where no complete salvage file covers it', () => {
      expect(judge(FORKED, read('a', 'v9', [1, 2], '1.aaaa-6'))).to.deep.equal([]);
    });

    it('claims nothing where a file holds the end alone: it was written when the history had parted later', () => {
      const later = { operations: { '1.aaaa-5': 'a=v9' } };
      const log = '1.aaaa: a=v1 | 3.cccc: a=v3';
      expect(judge(truthOf({ log, salvage: [later] }), read('b', 'v5', [1, 2], '1.aaaa-5'))).to.deep.equal([]);
      const earlier = { operations: { '1.aaaa-3': 'b=v5', '1.aaaa-4': 'b=v6' } };
      const both = truthOf({ log, salvage: [later, earlier] });
      expect(judge(both, read('b', 'v6', [1, 2], '1.aaaa-5'))).to.deep.equal([]);
      expect(judge(both, read('b', 'v5', [1, 2], '1.aaaa-5'))).to.deep.equal(['wrong-read']);
    });

    it('follows a lost epoch back through its parents', () => {
      const truth = truthOf({
        log: '1.aaaa: a=v1 b=v2 | 3.cccc: a=v3',
        epochs: { '2.bbbb': { parent: '1.aaaa', firstLsn: 3 } },
        salvage: [{ forkLsn: 2, operations: { '2.bbbb-4': 'b=v5' } }],
      });
      expect(judge(truth, read('a', 'v1', [1, 2], '2.bbbb-4'), read('b', 'v5', [3, 4], '2.bbbb-4'), read('b', null, [5, 6], '2.bbbb-3'))).to.deep.equal([]);
      expect(judge(truth, read('b', 'v2', [1, 2], '2.bbbb-3'))).to.deep.equal(['wrong-read']);
    });
  });

  describe('of conditions', () => {
    it('accepts a conditional write right after what it asked for', () => {
      expect(judge(PLAIN, write('a', 'v1', [1, 2], '1.aaaa-2', { onlyIf: 'absent' }), write('a', 'v4', [3, 4], '1.aaaa-5', { onlyIf: 'absent' }))).to.deep.equal([]);
      expect(judge(truthOf({ log: '1.aaaa: a=v1 b=v2 a=v3' }), write('a', 'v3', [1, 2], '1.aaaa-4', { onlyIf: at('1.aaaa-2') }))).to.deep.equal([]);
    });

    it('finds two that both won', () => {
      const truth = truthOf({ log: '1.aaaa: a=v1 a=v2 a=v3' });
      expect(judge(truth, write('a', 'v2', [1, 2], '1.aaaa-3', { onlyIf: at('1.aaaa-2') }), write('a', 'v3', [3, 4], '1.aaaa-4', { onlyIf: at('1.aaaa-2') }))).to.deep.equal(['wrong-condition']);
      expect(judge(truth, write('a', 'v2', [1, 2], '1.aaaa-3', { onlyIf: 'absent' }))).to.deep.equal(['wrong-condition']);
      expect(judge(truth, write('a', 'v1', [1, 2], '1.aaaa-2', { onlyIf: 'present' }), write('a', 'v2', [3, 4], '1.aaaa-3', { onlyIf: 'present' }))).to.deep.equal(['wrong-condition']);
    });
  });
});

function judge(truth: HistoryTruth, ...records: readonly HistoryRecord[]): readonly string[] {
  return codesOf(checkReadsAgainstLog(records, new Lineages(truth)).violations);
}
