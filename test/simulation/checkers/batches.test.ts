import { expect } from 'chai';

import type { HistoryRecord, HistoryTruth, MutationRecord } from '../history-record.ts';
import { checkBatches } from './batches.ts';
import { Lineages } from './lineages.ts';
import { at, batch, codesOf, del, read, truthOf, write } from './small-history.ts';

/** a=v1, then a batch at LSN 3 to 5, then b=v5. */
const PLAIN = truthOf({ log: '1.aaaa: a=v1 b=v2&-a&c=v4 b=v5' });
const B = write('b', 'v2', [11, 21], '1.aaaa-3');
const A = del('a', [12, 22], '1.aaaa-4');
const C = write('c', 'v4', [13, 23], '1.aaaa-5');

/** The log up to LSN 2 survives, the batch of LSN 3 to 5 was left behind by epoch 2. */
const SET_ASIDE = { '1.aaaa-3': 'b=v2', '1.aaaa-4': '-a', '1.aaaa-5': 'c=v4' };

describe('check of batches', () => {
  describe('in the log', () => {
    it('accepts one that is there as it was sent, whatever its client was told', () => {
      expect(judge(PLAIN, ...batch(B, A, C))).to.deep.equal([]);
      expect(judge(PLAIN, ...batch(...unknown(B, A, C)))).to.deep.equal([]);
      expect(judge(PLAIN, ...batch(B, A, C).map((record): MutationRecord => ({ ...record, outcome: 'ok', ackReached: 'memory', position: null })))).to.deep.equal([]);
    });

    it('accepts one that is not there at all: whether it may be missing, others say', () => {
      expect(judge(truthOf({ log: '1.aaaa: a=v1' }), ...batch(...unknown(B, A, C)))).to.deep.equal([]);
      expect(judge(truthOf({ log: '1.aaaa: a=v1' }), ...batch(...failed(B, A, C)))).to.deep.equal([]);
    });

    it('finds one of which a part is missing', () => {
      expect(judge(truthOf({ log: '1.aaaa: a=v1 b=v2&-a' }), ...batch(...unknown(B, A, C)))).to.deep.equal(['torn-batch']);
      expect(judge(truthOf({ log: '1.aaaa: a=v1 -a&c=v4' }), ...batch(...unknown(B, A, C)))).to.deep.equal(['torn-batch']);
      expect(judge(truthOf({ log: '1.aaaa: a=v1 b=v2&c=v4' }), ...batch(...unknown(B, A, C)))).to.deep.equal(['wrong-batch']);
    });

    it('finds one that is not a frame of its own', () => {
      expect(judge(truthOf({ log: '1.aaaa: a=v1 b=v2&-a c=v4' }), ...batch(B, A, C))).to.deep.equal(['wrong-batch']);
      expect(judge(truthOf({ log: '1.aaaa: a=v1 b=v2 d=v6 -a c=v4' }), ...batch(...unknown(B, A, C)))).to.deep.equal(['wrong-batch']);
      expect(judge(truthOf({ log: '1.aaaa: a=v1 b=v2&-a&c=v4&d=v6' }), ...batch(B, A, C))).to.deep.equal(['wrong-batch']);
      expect(judge(truthOf({ log: '1.aaaa: a=v1 d=v6&b=v2&-a&c=v4' }), ...batch(...unknown(B, A, C)))).to.deep.equal(['wrong-batch']);
    });

    it('finds one in another order', () => {
      expect(judge(truthOf({ log: '1.aaaa: a=v1 c=v4&-a&b=v2' }), ...batch(...unknown(B, A, C)))).to.deep.equal(['wrong-batch']);
      expect(judge(truthOf({ log: '1.aaaa: a=v2&a=v1' }), ...batch(...unknown(write('a', 'v1', [11, 21], null), write('a', 'v2', [12, 22], null))))).to.deep.equal(['wrong-batch']);
    });

    it('leaves deletes out that had nothing to delete, and no others', () => {
      const nothing = del('a', [12, 22], '1.aaaa-3', { outcome: 'not-found' });
      const truth = truthOf({ log: '1.aaaa: b=v2&c=v4' });
      expect(judge(truth, ...batch(placedAt(B, '1.aaaa-2'), nothing, placedAt(C, '1.aaaa-3')))).to.deep.equal([]);
      expect(judge(truth, ...batch(placedAt(B, '1.aaaa-2'), del('a', [12, 22], null), placedAt(C, '1.aaaa-3')))).to.deep.equal(['wrong-batch']);
      expect(judge(PLAIN, ...batch(B, nothing, C))).to.include('wrong-batch');
      expect(judge(truthOf({ log: '1.aaaa: b=v2&-a&c=v4' }), ...batch(...unknown(B, A, C)))).to.deep.equal(['wrong-batch']);
    });

    it('knows what the operations of one key do to one another', () => {
      const twice = [write('a', 'v1', [11, 21], '1.aaaa-2'), del('a', [12, 22], '1.aaaa-3'), del('a', [13, 23], '1.aaaa-4', { outcome: 'not-found' }), write('a', 'v2', [14, 24], '1.aaaa-4')];
      expect(judge(truthOf({ log: '1.aaaa: a=v1&-a&a=v2' }), ...batch(...twice))).to.deep.equal([]);
      expect(judge(truthOf({ log: '1.aaaa: a=v1&-a&-a&a=v2' }), ...batch(...unknown(...twice)))).to.deep.equal(['wrong-batch']);
    });

    it('finds deletes alone by the position that was told', () => {
      const deletes = [del('a', [11, 21], '1.aaaa-4'), del('b', [12, 22], '1.aaaa-5')];
      expect(judge(truthOf({ log: '1.aaaa: a=v1 b=v2 -a&-b' }), ...batch(...deletes))).to.deep.equal([]);
      expect(judge(truthOf({ log: '1.aaaa: a=v1 b=v2 -a -b' }), ...batch(...deletes))).to.deep.equal(['wrong-batch']);
      expect(judge(truthOf({ log: '1.aaaa: a=v1 b=v2 -a -b' }), ...batch(...unknown(...deletes)))).to.deep.equal([]);
    });
  });

  it('finds positions that don\'t follow one another, also where they are lost', () => {
    const lost = truthOf({ log: '1.aaaa: a=v1 | 2.bbbb: a=v3' });
    expect(judge(lost, ...batch(B, A, C))).to.deep.equal([]);
    expect(judge(lost, ...batch(B, A, placedAt(C, '1.aaaa-6')))).to.deep.equal(['wrong-batch']);
    expect(judge(lost, ...batch(B, placedAt(A, '2.bbbb-4'), C))).to.include('wrong-batch');
    expect(judge(PLAIN, ...batch(placedAt(B, '1.aaaa-4'), placedAt(A, '1.aaaa-5'), placedAt(C, '1.aaaa-6')))).to.include('wrong-batch');
  });

  describe('in salvage files', () => {
    const setAside = (operations: Readonly<Record<string, string>>, more: object = {}): HistoryTruth => truthOf({ log: '1.aaaa: a=v1 | 2.bbbb: a=v3', salvage: [{ operations, ...more }] });

    it('accepts a whole one', () => {
      expect(judge(setAside(SET_ASIDE), ...batch(B, A, C))).to.deep.equal([]);
      expect(judge(setAside({ ...SET_ASIDE, '1.aaaa-6': 'a=v9' }), ...batch(...unknown(B, A, C)))).to.deep.equal([]);
      expect(judge(setAside({ '1.aaaa-3': 'b=v2', '1.aaaa-4': 'c=v4' }), ...batch(...unknown(B, A, C)))).to.deep.equal([]);
    });

    it('finds one of which a part is missing, where the file should hold all', () => {
      const half = { '1.aaaa-3': 'b=v2', '1.aaaa-4': '-a' };
      expect(judge(setAside(half), ...batch(...unknown(B, A, C)))).to.deep.equal(['torn-batch']);
      expect(judge(setAside(half, { isComplete: false }), ...batch(...unknown(B, A, C)))).to.deep.equal([]);
    });

    it('finds one in another order, with gaps, or with something in between', () => {
      expect(judge(setAside({ '1.aaaa-3': 'c=v4', '1.aaaa-4': '-a', '1.aaaa-5': 'b=v2' }), ...batch(...unknown(B, A, C)))).to.deep.equal(['wrong-batch']);
      expect(judge(setAside({ '1.aaaa-3': 'b=v2', '1.aaaa-4': '-a', '1.aaaa-6': 'c=v4' }), ...batch(...unknown(B, A, C)))).to.deep.equal(['wrong-batch']);
      expect(judge(setAside({ '1.aaaa-3': 'b=v2', '1.aaaa-4': 'd=v7', '1.aaaa-5': 'c=v4' }), ...batch(...unknown(B, A, C)))).to.deep.equal(['wrong-batch']);
    });

    it('finds one that a fork went through', () => {
      const truth = truthOf({ log: '1.aaaa: a=v1 b=v2 | 2.bbbb: a=v3', salvage: [{ operations: { '1.aaaa-4': '-a', '1.aaaa-5': 'c=v4' } }] });
      expect(judge(truth, ...batch(...unknown(B, A, C)))).to.deep.equal(['torn-batch', 'torn-batch']);
    });
  });

  describe('with conditions', () => {
    it('accepts those that held in the state before the batch', () => {
      expect(judge(PLAIN, ...batch({ ...B, onlyIf: 'absent' }, { ...A, onlyIf: at('1.aaaa-2') }, { ...C, onlyIf: 'absent' }))).to.deep.equal([]);
    });

    it('finds each that did not hold, also where no answer came', () => {
      expect(judge(PLAIN, ...batch({ ...B, onlyIf: 'present' }, A, C))).to.deep.equal(['wrong-condition']);
      expect(judge(PLAIN, ...batch(...unknown(B, A, { ...C, onlyIf: 'present' })))).to.deep.equal(['wrong-condition']);
      expect(judge(PLAIN, ...batch(B, { ...A, onlyIf: at('1.aaaa-1') }, { ...C, onlyIf: at('1.aaaa-2') }))).to.deep.equal(['wrong-condition', 'wrong-condition']);
    });

    it('does not judge them by what the batch itself did before', () => {
      const twice = (onlyIf: 'present' | 'absent'): readonly HistoryRecord[] => batch(write('a', 'v1', [11, 21], '1.aaaa-2'), write('a', 'v2', [12, 22], '1.aaaa-3', { onlyIf }));
      expect(judge(truthOf({ log: '1.aaaa: a=v1&a=v2' }), ...twice('absent'))).to.deep.equal([]);
      expect(judge(truthOf({ log: '1.aaaa: a=v1&a=v2' }), ...twice('present'))).to.deep.equal(['wrong-condition']);
    });
  });

  describe('that are read', () => {
    it('accepts the states before and after, on any node', () => {
      expect(judge(PLAIN, ...batch(B, A, C), read('b', null, [31, 32], '1.aaaa-2'), read('b', 'v2', [33, 34], '1.aaaa-5', { role: 'replica' }))).to.deep.equal([]);
    });

    it('finds a state in which half of it has happened', () => {
      expect(judge(PLAIN, ...batch(B, A, C), read('b', 'v2', [31, 32], '1.aaaa-3'))).to.deep.equal(['torn-batch']);
      expect(judge(PLAIN, ...batch(...unknown(B, A, C)), read('d', null, [31, 32], '1.aaaa-4', { role: 'replica' }))).to.deep.equal(['torn-batch']);
    });

    it('finds it in lost histories too, where answers or salvage files tell', () => {
      const lost = truthOf({ log: '1.aaaa: a=v1 | 2.bbbb: a=v3' });
      expect(judge(lost, ...batch(B, A, C), read('b', 'v2', [31, 32], '1.aaaa-3'))).to.deep.equal(['torn-batch']);
      expect(judge(lost, ...batch(B, A, C), read('b', 'v2', [31, 32], '1.aaaa-5'))).to.deep.equal([]);
      const setAside = truthOf({ log: '1.aaaa: a=v1 | 2.bbbb: a=v3', salvage: [{ operations: SET_ASIDE }] });
      expect(judge(setAside, ...batch(...unknown(B, A, C)), read('b', 'v2', [31, 32], '1.aaaa-4'))).to.deep.equal(['torn-batch']);
    });
  });

  it('knows that an incomplete file holds rows, which may lie between those of a batch', () => {
    const rows = { isComplete: false, forkLsn: 2, operations: { '1.aaaa-3': 'b=v2', '1.aaaa-7': 'd=v9', '1.aaaa-5': 'c=v4' } };
    const truth = truthOf({ log: '1.aaaa: a=v1 | 2.bbbb: a=v3', salvage: [rows] });
    expect(judge(truth, ...batch(B, A, C), read('d', 'v9', [31, 32], '1.aaaa-7'))).to.deep.equal([]);
  });

  it('counts the batches that it judged', () => {
    expect(checkBatches([...batch(B, A, C), write('d', 'v9', [31, 32], null)], new Lineages(PLAIN)).checkedCount).to.equal(1);
  });
});

function judge(truth: HistoryTruth, ...records: readonly HistoryRecord[]): readonly string[] {
  return codesOf(checkBatches(records, new Lineages(truth)).violations);
}

function unknown(...records: readonly MutationRecord[]): readonly MutationRecord[] {
  return records.map((record) => ({ ...record, outcome: 'unknown', endedAt: null, ackReached: null, position: null }));
}

function failed(...records: readonly MutationRecord[]): readonly MutationRecord[] {
  return records.map((record) => ({ ...record, outcome: 'failed', ackReached: null, position: null }));
}

function placedAt(record: MutationRecord, position: string): MutationRecord {
  return { ...record, position: at(position) };
}
