import { expect } from 'chai';

import { checkOneHistory, checkPositions, checkReading } from './history-check.ts';
import type { WriteRecord } from './history.ts';

const KEY = 'k';

describe('history check', () => {
  describe('of what is read for one key', () => {
    it('accepts the value of the one acknowledged write', () => {
      expect(judge('a', [put('a', 1, 2)])).to.equal(undefined);
    });

    it('calls an acknowledged write that is not there lost', () => {
      expect(judge(null, [put('a', 1, 2)])).to.equal('lost');
    });

    it('calls an older value stale where a later write was acknowledged', () => {
      const writes = [put('a', 1, 2), put('b', 3, 4)];
      expect(judge('a', writes)).to.equal('stale');
      expect(judge('b', writes)).to.equal(undefined);
    });

    it('calls a value that nobody sent a phantom', () => {
      expect(judge('z', [put('a', 1, 2)])).to.equal('phantom');
      expect(judge('z', [])).to.equal('phantom');
    });

    it('calls a value that was refused a phantom', () => {
      expect(judge('a', [put('a', 1, 2, { outcome: 'refused' })])).to.equal('phantom');
      expect(judge(null, [put('a', 1, 2, { outcome: 'refused' })])).to.equal(undefined);
    });

    it('accepts both fates of an unknown write', () => {
      const writes = [put('a', 1, 2), put('b', 3, Infinity, { outcome: 'unknown' })];
      expect(judge('a', writes)).to.equal(undefined);
      expect(judge('b', writes)).to.equal(undefined);
    });

    it('does not accept another fate of an unknown write than the one that was seen', () => {
      expect(judge(null, [put('a', 1, 5, { outcome: 'unknown', seen: 'present' })])).to.equal('lost');
      expect(judge('a', [put('a', 1, 5, { outcome: 'unknown', seen: 'absent' })])).to.equal('phantom');
    });

    it('accepts either of two writes that overlap, where no positions tell which came last', () => {
      const writes = [put('a', 1, 4), put('b', 2, 3)];
      expect(judge('a', writes)).to.equal(undefined);
      expect(judge('b', writes)).to.equal(undefined);
    });

    it('lets positions decide between two writes that overlap', () => {
      const writes = [put('a', 1, 4, { position: '1.c04d-7' }), put('b', 2, 3, { position: '1.c04d-8' })];
      expect(judge('a', writes)).to.equal('stale');
      expect(judge('b', writes)).to.equal(undefined);
    });

    it('does not compare positions of different epochs', () => {
      const writes = [put('a', 1, 4, { position: '2.aaaa-7' }), put('b', 2, 3, { position: '1.c04d-8' })];
      expect(judge('a', writes)).to.equal(undefined);
    });

    it('accepts absence after an acknowledged or unknown delete, not before one', () => {
      expect(judge(null, [put('a', 1, 2), del(3, 4)])).to.equal(undefined);
      expect(judge(null, [put('a', 1, 2), del(3, Infinity, { outcome: 'unknown' })])).to.equal(undefined);
      expect(judge(null, [del(1, 2), put('a', 3, 4)])).to.equal('lost');
      expect(judge('a', [put('a', 1, 2), del(3, 4)])).to.equal('stale');
    });

    it('does not take a delete that wrote nothing, or was refused, for a reason of absence', () => {
      expect(judge(null, [put('a', 1, 2), del(3, 4, { outcome: 'absent' })])).to.equal('lost');
      expect(judge(null, [put('a', 1, 2), del(3, 4, { outcome: 'refused' })])).to.equal('lost');
    });

    it('does not let an unknown delete of long ago excuse a lost write', () => {
      expect(judge(null, [del(1, 5, { outcome: 'unknown' }), put('a', 6, 7)])).to.equal('lost');
    });

    it('does not miss a write that was set aside, and calls it a phantom where it is all the same', () => {
      const writes = [put('a', 1, 2), put('b', 3, 4, { seen: 'set-aside' })];
      expect(judge('a', writes)).to.equal(undefined);
      expect(judge(null, writes)).to.equal('lost');
      expect(judge('b', writes)).to.equal('phantom');
    });

    it('does not take a delete that was set aside, or is known not to have happened, for a reason of absence', () => {
      expect(judge(null, [put('a', 1, 2), del(3, 4, { seen: 'set-aside' })])).to.equal('lost');
      expect(judge(null, [put('a', 1, 2), del(3, 4, { outcome: 'unknown', seen: 'absent' })])).to.equal('lost');
      expect(judge('a', [put('a', 1, 2), del(3, 4, { seen: 'set-aside' })])).to.equal(undefined);
    });

    it('calls a write misplaced that has another position than the acknowledged one', () => {
      const writes = [put('a', 1, 2, { position: '1.c04d-7' })];
      expect(checkReading({ key: KEY, value: 'a', position: '1.c04d-8' }, writes)?.kind).to.equal('misplaced');
      expect(checkReading({ key: KEY, value: 'a', position: '1.c04d-7' }, writes)).to.equal(undefined);
    });
  });

  describe('of positions', () => {
    it('accepts positions that rise with time, and any order of writes that overlap', () => {
      const writes = [put('a', 1, 2, { position: '1.c04d-7' }), put('b', 3, 6, { position: '1.c04d-9' }), put('c', 4, 5, { position: '1.c04d-8' })];
      expect(checkPositions(writes)).to.deep.equal([]);
    });

    it('finds a position that was given twice: the first write is gone', () => {
      const writes = [put('a', 1, 2, { position: '1.c04d-7' }), put('b', 1, 4, { position: '1.c04d-7' })];
      expect(kindsOf(writes)).to.deep.equal(['misplaced']);
    });

    it('finds a write with a lower position than one that had ended before it began', () => {
      const writes = [put('a', 1, 2, { position: '1.c04d-9' }), put('b', 3, 4, { position: '1.c04d-8' })];
      expect(kindsOf(writes)).to.deep.equal(['misplaced']);
    });

    it('leaves out what was not acknowledged, and keeps epochs apart', () => {
      const writes = [
        put('a', 1, 2, { position: '1.c04d-9' }),
        put('b', 3, 4, { position: '2.aaaa-8' }),
        put('c', 5, 6, { position: '1.c04d-3', outcome: 'unknown' }),
      ];
      expect(kindsOf(writes)).to.deep.equal([]);
    });

    it('finds a position that goes back from one epoch to the next, where both are of one history', () => {
      const rising = [put('a', 1, 2, { position: '1.c04d-7' }), put('b', 3, 4, { position: '2.aaaa-8' })];
      const falling = [put('a', 1, 2, { position: '1.c04d-9' }), put('b', 3, 4, { position: '2.aaaa-8' })];
      expect(checkOneHistory(rising)).to.deep.equal([]);
      expect(checkOneHistory(falling).map(({ kind }) => kind)).to.deep.equal(['misplaced']);
      expect(checkOneHistory([{ ...falling[0]!, seen: 'set-aside' }, falling[1]!])).to.deep.equal([]);
    });
  });
});

function judge(value: string | null, writes: readonly WriteRecord[]): string | undefined {
  return checkReading({ key: KEY, value, position: undefined }, writes)?.kind;
}

function kindsOf(writes: readonly WriteRecord[]): readonly string[] {
  return checkPositions(writes).map(({ kind }) => kind);
}

function put(value: string | null, startMs: number, endMs: number, more: Partial<WriteRecord> = {}): WriteRecord {
  return { round: 1, key: KEY, value, startMs, endMs, outcome: 'acknowledged', position: undefined, seen: undefined, ...more };
}

function del(startMs: number, endMs: number, more: Partial<WriteRecord> = {}): WriteRecord {
  return put(null, startMs, endMs, more);
}
