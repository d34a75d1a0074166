import { expect } from 'chai';

import type { HistoryRecord, HistoryTruth } from '../history-record.ts';
import { Lineages } from './lineages.ts';
import { checkRegister } from './register.ts';
import { at, codesOf, del, read, truthOf, write } from './small-history.ts';

const PLAIN = truthOf({ log: '1.aaaa: a=v1 a=v2 -a a=v4' });
const TWO_EPOCHS = truthOf({ log: '1.aaaa: a=v1 | 2.bbbb: a=v2', epochs: { '2.bbbb': { openedAt: 20 } } });
const V1 = write('a', 'v1', [1, 2], '1.aaaa-2');
const V2 = write('a', 'v2', [3, 4], '1.aaaa-3');

describe('check of registers', () => {
  it('accepts reads by the primary that follow the writes', () => {
    expect(judge(PLAIN, V1, read('a', 'v1', [5, 9], '1.aaaa-2'), write('a', 'v2', [6, 8], '1.aaaa-3'), read('a', 'v2', [10, 11], '1.aaaa-3'))).to.deep.equal([]);
  });

  it('finds a stale read even where its position claims to be new', () => {
    expect(judge(PLAIN, V1, V2, read('a', 'v1', [5, 6], '1.aaaa-5'))).to.deep.equal(['not-linearizable']);
  });

  it('finds an acknowledged write that is gone although nothing deleted it', () => {
    expect(judge(PLAIN, V1, read('a', null, [5, 6], '1.aaaa-2'))).to.deep.equal(['not-linearizable']);
  });

  it('finds a deleted value that comes back', () => {
    expect(judge(PLAIN, V1, V2, del('a', [5, 6], '1.aaaa-4'), read('a', 'v2', [7, 8], '1.aaaa-4'))).to.deep.equal(['not-linearizable']);
  });

  it('finds a delete that found nothing where there was something', () => {
    expect(judge(PLAIN, V1, del('a', [5, 6], '1.aaaa-2', { outcome: 'not-found' }))).to.deep.equal(['not-linearizable']);
    expect(judge(PLAIN, V1, del('a', [5, 6], '1.aaaa-4'), del('a', [7, 8], '1.aaaa-4', { outcome: 'not-found' }))).to.deep.equal([]);
  });

  it('finds a value that was seen once and then not, while its write is still unanswered', () => {
    const unknown = write('a', 'v2', [3, null], null);
    expect(judge(PLAIN, V1, unknown, read('a', 'v1', [5, 6], '1.aaaa-2'), read('a', 'v2', [7, 8], '1.aaaa-3'))).to.deep.equal([]);
    expect(judge(PLAIN, V1, unknown, read('a', 'v2', [5, 6], '1.aaaa-3'), read('a', 'v1', [7, 8], '1.aaaa-3'))).to.deep.equal(['not-linearizable']);
  });

  it('believes an answer at ack-timeout, but not one from memory, about when the write took effect', () => {
    const stale = read('a', 'v1', [7, 8], '1.aaaa-2');
    expect(judge(PLAIN, V1, { ...V2, outcome: 'ack-timeout' }, stale)).to.deep.equal(['not-linearizable']);
    expect(judge(PLAIN, V1, { ...V2, ackReached: 'memory', position: null }, stale)).to.deep.equal([]);
  });

  it('takes reads of replicas only with a min that was fresh', () => {
    const stale = (minText: string | null): HistoryRecord => read('a', 'v1', [7, 8], '1.aaaa-3', { role: 'replica', minPosition: minText === null ? null : at(minText) });
    expect(judge(PLAIN, V1, V2, stale(null))).to.deep.equal([]);
    expect(judge(PLAIN, V1, V2, stale('1.aaaa-2'))).to.deep.equal([]);
    expect(judge(PLAIN, V1, V2, stale('1.aaaa-3'))).to.deep.equal(['not-linearizable']);
  });

  it('leaves out writes that a failover left behind, and whoever read them', () => {
    const lost = write('a', 'v9', [5, 6], '1.aaaa-3');
    expect(judge(TWO_EPOCHS, V1, lost, read('a', 'v9', [7, 8], '1.aaaa-3'), read('a', 'v1', [21, 22], '2.bbbb-3', { nodeId: 'n2' }))).to.deep.equal([]);
  });

  it('lets an old primary answer what was true when its successor began, if it was asked before', () => {
    const v2 = write('a', 'v2', [21, 22], '2.bbbb-4');
    expect(judge(TWO_EPOCHS, V1, v2, read('a', 'v1', [23, 24], '1.aaaa-2'))).to.deep.equal([]);
    expect(judge(TWO_EPOCHS, V1, v2, read('a', 'v1', [19, 24], '1.aaaa-2'))).to.deep.equal([]);
    expect(judge(TWO_EPOCHS, V1, v2, read('a', 'v1', [23, 24], '2.bbbb-4', { nodeId: 'n2' }))).to.deep.equal(['not-linearizable']);
  });

  it('says how many reads it could judge', () => {
    expect(checkRegister([V1, read('a', 'v1', [3, 4], '1.aaaa-2'), read('a', 'v1', [5, 6], '1.aaaa-2', { role: 'replica' })], new Lineages(PLAIN)).checkedCount).to.equal(1);
  });
});

function judge(truth: HistoryTruth, ...records: readonly HistoryRecord[]): readonly string[] {
  return codesOf(checkRegister(records, new Lineages(truth)).violations);
}
