import { expect } from 'chai';

import type { HistoryRecord, HistoryTruth, ReadRecord } from '../history-record.ts';
import { Lineages } from './lineages.ts';
import { checkSessions } from './sessions.ts';
import { at, codesOf, read, truthOf, write } from './small-history.ts';

const PLAIN = truthOf({ log: '1.aaaa: a=v1 a=v2 -a b=v3' });
const FORKED = truthOf({ log: '1.aaaa: a=v1 | 2.bbbb: a=v2', salvage: [{ operations: { '1.aaaa-3': 'a=v8' } }] });
const SESSION = { clientId: 'c', role: 'replica', nodeId: 'n2' } as const;

describe('check of sessions', () => {
  it('accepts what was there at min, and anything newer', () => {
    expect(judge(PLAIN, readMin('a', 'v1', '1.aaaa-2', [1, 2]), readMin('a', 'v2', '1.aaaa-2', [3, 4]), readMin('a', null, '1.aaaa-3', [5, 6]))).to.deep.equal([]);
  });

  it('finds a client that does not read its own write', () => {
    const own = write('a', 'v2', [1, 2], '1.aaaa-3', { clientId: 'c' });
    expect(judge(PLAIN, own, readMin('a', 'v1', '1.aaaa-3', [3, 4]))).to.deep.equal(['session-went-back']);
  });

  it('finds an older value even where the answer claims a newer position', () => {
    expect(judge(PLAIN, readMin('a', 'v1', '1.aaaa-3', [3, 4], { position: at('1.aaaa-4') }))).to.deep.equal(['session-went-back']);
  });

  it('finds a value that is gone although nothing deleted it', () => {
    expect(judge(PLAIN, readMin('b', null, '1.aaaa-5', [1, 2]))).to.deep.equal(['session-went-back']);
  });

  it('finds a deleted value that comes back', () => {
    expect(judge(PLAIN, readMin('a', 'v2', '1.aaaa-4', [1, 2]))).to.deep.equal(['session-went-back']);
  });

  it('finds that a later read of the same client is older than one whose position it passed', () => {
    // The first shows more than its position says; the second is right by the log, but time ran backwards.
    const first = { ...read('a', 'v2', [1, 2], '1.aaaa-2', SESSION) };
    expect(judge(PLAIN, first, readMin('a', 'v1', '1.aaaa-2', [3, 4]))).to.deep.equal(['session-went-back']);
    expect(judge(PLAIN, first, readMin('a', 'v1', '1.aaaa-2', [3, 4], { clientId: 'd' }))).to.deep.equal([]);
  });

  it('expects nothing of reads without min', () => {
    expect(judge(PLAIN, read('a', 'v2', [1, 2], '1.aaaa-3', SESSION), read('a', 'v1', [3, 4], '1.aaaa-2', SESSION))).to.deep.equal([]);
  });

  describe('when a position is lost', () => {
    it('accepts 410, and an answer of a node that is in that history still', () => {
      expect(judge(FORKED, gone('a', '1.aaaa-3', [1, 2]), readMin('a', 'v8', '1.aaaa-3', [3, 4]))).to.deep.equal([]);
    });

    it('finds an answer from the other history, older or newer', () => {
      expect(judge(FORKED, readMin('a', 'v1', '1.aaaa-3', [1, 2]))).to.deep.equal(['session-went-back']);
      expect(judge(FORKED, readMin('a', 'v2', '1.aaaa-3', [1, 2]))).to.deep.equal(['session-went-back']);
    });

    it('finds a 410 for a position that survives', () => {
      expect(judge(FORKED, gone('a', '1.aaaa-2', [1, 2]))).to.deep.equal(['wrong-410']);
      expect(judge(FORKED, gone('a', '2.bbbb-4', [1, 2]))).to.deep.equal(['wrong-410']);
    });

    it('excuses a 410 by an epoch that was given up later', () => {
      const epochs = { '2.bbbb': { parent: '1.aaaa', firstLsn: 3, openedAt: 10 }, '3.cccc': { begin: 'forced', openedAt: 20 } } as const;
      const truth = truthOf({ log: '1.aaaa: a=v1 a=v2 | 3.cccc:', epochs });
      expect(judge(truth, gone('a', '1.aaaa-3', [11, 12]))).to.deep.equal([]);
      expect(judge(truth, gone('a', '1.aaaa-3', [8, 9])), 'too early').to.deep.equal(['wrong-410']);
      expect(judge(truth, gone('a', '1.aaaa-2', [11, 12])), 'it had that one').to.deep.equal(['wrong-410']);
    });

    it('finds a write that was called lost but survives', () => {
      expect(judge(FORKED, write('a', 'v2', [1, 2], null, { outcome: 'position-lost' }))).to.deep.equal(['wrong-410']);
      expect(judge(FORKED, write('a', 'v8', [1, 2], '1.aaaa-3', { outcome: 'position-lost' }))).to.deep.equal([]);
    });
  });
});

/** Shows the history up to its min, unless told otherwise. */
function readMin(key: string, value: string | null, minText: string, span: readonly [number, number], more: Partial<ReadRecord> = {}): ReadRecord {
  return read(key, value, span, minText, { ...SESSION, minPosition: at(minText), ...more });
}

function gone(key: string, minText: string, span: readonly [number, number]): ReadRecord {
  return { ...readMin(key, null, minText, span), outcome: 'position-lost' };
}

function judge(truth: HistoryTruth, ...records: readonly HistoryRecord[]): readonly string[] {
  return codesOf(checkSessions(records, new Lineages(truth)).violations);
}
