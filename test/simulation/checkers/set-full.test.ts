import { expect } from 'chai';

import type { HistoryRecord, HistoryTruth, OpenedEpoch } from '../history-record.ts';
import { Lineages } from './lineages.ts';
import { checkSet } from './set-full.ts';
import { codesOf, del, read, truthOf, write } from './small-history.ts';

const PLAIN = truthOf({ log: '1.aaaa: a=v1 a=v2 -a' });
const KEPT = [write('a', 'v1', [1, 2], '1.aaaa-2'), write('a', 'v2', [3, 4], '1.aaaa-3'), del('a', [5, 6], '1.aaaa-4')] as const;

/** v1 at 1.aaaa-2 survives, 1.aaaa-3 (and -4, -5) were left behind by epoch 2. */
const SET_ASIDE = { operations: { '1.aaaa-3': 'a=v9', '1.aaaa-4': '-a', '1.aaaa-5': 'a=v10' } };
const V1 = write('a', 'v1', [1, 2], '1.aaaa-2');
const LOST = write('a', 'v9', [3, 4], '1.aaaa-3');
const LOST_AT_1 = write('a', 'v9', [3, 4], '1.aaaa-3', { ackAsked: 1, ackReached: 1 });

describe('check of the set of writes', () => {
  it('accepts a log that holds what was answered, and nothing else', () => {
    expect(judge(PLAIN, ...KEPT, write('a', 'v3', [7, 8], null, { outcome: 'failed' }), write('a', 'v4', [9, null], null))).to.deep.equal([]);
  });

  it('accepts a log that holds what nobody was told about', () => {
    expect(judge(PLAIN, KEPT[0], write('a', 'v2', [3, null], null), del('a', [5, 6], null, { outcome: 'unknown' }))).to.deep.equal([]);
  });

  describe('for lost writes', () => {
    it('finds an answered write that is not there', () => {
      expect(judge(PLAIN, ...KEPT, write('b', 'v5', [7, 8], '1.aaaa-5'))).to.deep.equal(['lost']);
      expect(judge(PLAIN, ...KEPT, write('b', 'v5', [7, 8], '1.aaaa-5', { outcome: 'ack-timeout' }))).to.deep.equal(['lost']);
      expect(judge(PLAIN, ...KEPT, del('a', [7, 8], '1.aaaa-5'))).to.deep.equal(['lost']);
    });

    it('finds a value that was never answered, but seen once', () => {
      expect(judge(PLAIN, ...KEPT, write('b', 'v5', [7, null], null), read('b', 'v5', [8, 9], '1.aaaa-5'))).to.deep.equal(['lost']);
    });

    it('expects nothing of a write at ack=memory', () => {
      expect(judge(PLAIN, ...KEPT, write('b', 'v5', [7, 8], null, { ackReached: 'memory' }))).to.deep.equal([]);
    });

    it('counts deletes that were told no position', () => {
      expect(judge(PLAIN, ...KEPT.slice(0, 2), del('a', [5, 6], null))).to.deep.equal([]);
      expect(judge(PLAIN, ...KEPT.slice(0, 2), del('a', [5, 6], null), del('a', [7, 8], null))).to.deep.equal(['lost']);
    });
  });

  describe('after a failover', () => {
    it('accepts a write at ack=local that is found in a salvage file', () => {
      expect(judge(afterFork({}), V1, LOST)).to.deep.equal([]);
      expect(judge(afterFork({}), V1, LOST, del('a', [5, 6], '1.aaaa-4'), write('a', 'v10', [7, null], null), read('a', 'v10', [8, 9], '1.aaaa-5'))).to.deep.equal([]);
    });

    it('finds one that is in none', () => {
      expect(judge(afterFork({}, false), V1, LOST)).to.deep.equal(['lost']);
      expect(judge(afterFork({}, false), V1, del('a', [3, 4], '1.aaaa-3'))).to.deep.equal(['lost']);
    });

    it('expects no salvage of a destroyed disk, nor every operation of an incomplete file', () => {
      expect(judge({ ...afterFork({}, false), ruins: [{ nodeId: 'n1', at: 9 }] }, V1, LOST)).to.deep.equal([]);
      const { salvage, ...rest } = afterFork({});
      expect(judge({ ...rest, salvage: salvage.map((file) => ({ ...file, isComplete: false, operations: file.operations.slice(1) })) }, V1, LOST, write('a', 'v10', [7, null], null), del('a', [5, 6], null))).to.deep.equal([]);
    });

    it('finds a lost write that a replica had confirmed, if the promotion was not forced', () => {
      expect(judge(afterFork({}), V1, LOST_AT_1)).to.deep.equal(['lost']);
    });

    it('accepts its loss only where as many disks were lost after the answer as had confirmed it', () => {
      const ruinedAt = (nodeId: string, at: number): HistoryTruth => ({ ...afterFork({}), ruins: [{ nodeId, at }] });
      expect(judge(ruinedAt('n3', 5), V1, LOST_AT_1)).to.deep.equal([]);
      expect(judge(ruinedAt('n3', 5), V1, { ...LOST_AT_1, ackReached: 2 })).to.deep.equal(['lost']);
      expect(judge(ruinedAt('n3', 2), V1, LOST_AT_1), 'it confirmed afterwards').to.deep.equal(['lost']);
      expect(judge(ruinedAt('n1', 5), V1, LOST_AT_1), 'that was the primary').to.deep.equal(['lost']);
    });

    it('finds any write that a switchover left behind', () => {
      expect(judge(afterFork({ begin: 'switchover' }), V1, LOST)).to.deep.equal(['lost']);
    });
  });

  describe('after a forced promotion', () => {
    it('accepts the loss of a confirmed write within the accepted loss', () => {
      expect(judge(afterFork({ begin: 'forced', acceptedLoss: 1 }), V1, LOST_AT_1)).to.deep.equal([]);
      expect(judge(afterFork({ begin: 'forced', acceptedLoss: null }), V1, LOST_AT_1)).to.deep.equal([]);
    });

    it('finds a loss beyond it', () => {
      expect(judge(afterFork({ begin: 'forced', acceptedLoss: 0 }), V1, LOST_AT_1)).to.deep.equal(['lost']);
      expect(judge(afterFork({ begin: 'forced', acceptedLoss: 2, announcedLsn: 5 }), V1, LOST)).to.deep.equal(['loss-beyond-accepted']);
    });

    it('counts it from what had been announced: beyond, only what was called safe has to be kept', () => {
      const promised = { begin: 'forced', acceptedLoss: 0, announcedLsn: 2, safeAck: 2 } as const;
      expect(judge(afterFork(promised), V1, LOST_AT_1)).to.deep.equal([]);
      expect(judge(afterFork(promised), V1, { ...LOST_AT_1, ackReached: 2 })).to.deep.equal(['lost']);
    });

    it('still wants to see the write in a salvage file', () => {
      expect(judge(afterFork({ begin: 'forced', acceptedLoss: null }, false), V1, LOST_AT_1)).to.deep.equal(['lost']);
    });

    it('does not let it excuse an earlier promotion that was not forced', () => {
      const truth = truthOf({
        log: '1.aaaa: a=v1 | 3.cccc: a=v3',
        epochs: { '3.cccc': { begin: 'forced', acceptedLoss: null }, '2.bbbb': { parent: '1.aaaa', firstLsn: 3 } },
        salvage: [SET_ASIDE],
      });
      expect(judge(truth, V1, write('a', 'v3', [20, 21], '3.cccc-4'), write('a', 'v10', [7, null], null), LOST_AT_1)).to.deep.equal(['lost']);
    });
  });

  describe('of two epochs that began at one point', () => {
    const twoSides = (first: EpochSketch, second: EpochSketch, third: EpochSketch): HistoryTruth =>
      truthOf({
        log: '1.aaaa: a=v1 | 2.bbbb: | 3.cccc:',
        epochs: { '2.bbbb': { begin: 'switchover', openedAt: 10, ...first }, '2.dddd': { parent: '1.aaaa', firstLsn: 3, openedAt: 20, ...second }, '3.cccc': { openedAt: 30, ...third } },
        salvage: [{ operations: { '2.dddd-4': 'a=v9' } }],
      });
    const acknowledged = write('a', 'v9', [21, 22], '2.dddd-4', { ackAsked: 1, ackReached: 1 });

    it('accepts the loss of the later one where it, or what ended it, was forced', () => {
      expect(judge(twoSides({}, { begin: 'forced', acceptedLoss: null }, {}), V1, acknowledged)).to.deep.equal([]);
      expect(judge(twoSides({}, {}, { begin: 'forced', acceptedLoss: null }), V1, acknowledged)).to.deep.equal([]);
    });

    it('accepts the loss of one that was forced while a switchover was under way, which ended later', () => {
      const write0 = write('a', 'v9', [21, 22], '2.dddd-4');
      expect(judge(twoSides({ openedAt: 25 }, { begin: 'forced', acceptedLoss: 0, announcedLsn: 2, safeAck: 1 }, {}), V1, write0)).to.deep.equal([]);
      expect(judge(twoSides({ openedAt: 25 }, { begin: 'forced', acceptedLoss: 0, announcedLsn: 2, safeAck: 1 }, {}), V1, acknowledged), 'called safe').to.deep.equal(['lost']);
      expect(judge(twoSides({ openedAt: 25 }, {}, {}), V1, write0)).to.deep.equal(['lost']);
    });

    it('finds its loss where nothing was forced, or only the earlier one was', () => {
      expect(judge(twoSides({}, {}, {}), V1, acknowledged)).to.deep.equal(['lost']);
      expect(judge(twoSides({ begin: 'forced', acceptedLoss: 0 }, {}, {}), V1, acknowledged)).to.deep.equal(['lost']);
    });
  });

  describe('for phantoms', () => {
    it('finds a value in the log that nobody sent', () => {
      expect(judge(PLAIN, KEPT[0], KEPT[2])).to.deep.equal(['phantom']);
    });

    it('finds a refused write in the log', () => {
      expect(judge(PLAIN, KEPT[0], write('a', 'v2', [3, 4], null, { outcome: 'failed' }), KEPT[2])).to.deep.equal(['phantom']);
    });

    it('finds a value under another key than it was sent for', () => {
      expect(judge(PLAIN, KEPT[0], write('b', 'v2', [3, 4], '1.aaaa-3'), KEPT[2])).to.deep.equal(['phantom']);
    });

    it('finds a delete that nobody asked for, or that was refused or found nothing', () => {
      expect(judge(PLAIN, KEPT[0], KEPT[1])).to.deep.equal(['phantom']);
      expect(judge(PLAIN, KEPT[0], KEPT[1], del('a', [5, 6], null, { outcome: 'failed' }))).to.deep.equal(['phantom']);
      expect(judge(PLAIN, KEPT[0], KEPT[1], del('a', [5, 6], '1.aaaa-3', { outcome: 'not-found' }))).to.deep.equal(['phantom']);
    });

    it('finds a value that was read but never sent, or read before it was sent', () => {
      expect(judge(PLAIN, ...KEPT, read('a', 'v7', [7, 8], '1.aaaa-3'))).to.deep.equal(['phantom']);
      expect(judge(PLAIN, read('a', 'v1', [0, 1], '1.aaaa-2'), write('a', 'v1', [2, 3], '1.aaaa-2'), KEPT[1], KEPT[2])).to.include('phantom');
    });

    it('finds a value in a salvage file that nobody sent, and an operation there that survives', () => {
      expect(judge(truthOf({ log: '1.aaaa: a=v1', salvage: [{ operations: { '1.aaaa-3': 'a=v7' } }] }), V1)).to.deep.equal(['phantom']);
      expect(judge(truthOf({ log: '1.aaaa: a=v1', salvage: [{ operations: { '1.aaaa-2': 'a=v1' } }] }), V1)).to.deep.equal(['wrong-salvage']);
    });
  });

  describe('for duplicates', () => {
    it('finds a value that is in the log twice', () => {
      expect(judge(truthOf({ log: '1.aaaa: a=v1 b=v5 a=v1' }), V1, write('b', 'v5', [3, 4], '1.aaaa-3'))).to.deep.equal(['duplicate']);
    });

    it('finds a write that was set aside and yet survives elsewhere', () => {
      expect(judge(truthOf({ log: '1.aaaa: a=v1 | 2.bbbb: a=v9', salvage: [{ operations: { '1.aaaa-3': 'a=v9' } }] }), V1, LOST)).to.deep.equal(['duplicate']);
    });

    it('finds one delete that was applied twice', () => {
      expect(judge(truthOf({ log: '1.aaaa: a=v1 -a a=v2 -a' }), V1, del('a', [3, 4], '1.aaaa-3'), write('a', 'v2', [5, 6], '1.aaaa-4'))).to.deep.equal(['phantom']);
    });
  });
});

type EpochSketch = Partial<Omit<OpenedEpoch, 'parent'>>;

function afterFork(epoch2: EpochSketch, isSetAside = true): HistoryTruth {
  return truthOf({ log: '1.aaaa: a=v1 | 2.bbbb:', epochs: { '2.bbbb': epoch2 }, salvage: isSetAside ? [SET_ASIDE] : [] });
}

function judge(truth: HistoryTruth, ...records: readonly HistoryRecord[]): readonly string[] {
  // What the salvage files of these tests hold besides was sent, too; nobody was told what became of it.
  const others = [write('a', 'v9', [100, null], null), write('a', 'v10', [101, null], null)].filter(({ value }) => !records.some((record) => record.value === value));
  return codesOf(checkSet([...records, ...others], new Lineages(truth)).violations);
}
