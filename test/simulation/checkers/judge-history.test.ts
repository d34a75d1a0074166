import { expect } from 'chai';

import type { HistoryRecord, HistoryTruth } from '../history-record.ts';
import { type JudgeOptions, judgeHistory } from './judge-history.ts';
import { at, batch, codesOf, del, read, truthOf, write } from './small-history.ts';

const TRUTH = truthOf({ log: '1.aaaa: a=v1' });
const V1 = write('a', 'v1', [1, 2], '1.aaaa-2');
const GOOD = [V1, read('a', 'v1', [3, 4], '1.aaaa-2', { minPosition: at('1.aaaa-2') }), ...batch(del('b', [21, 22], '1.aaaa-2', { outcome: 'not-found' }))];

describe('verdict on a history', () => {
  it('finds nothing where everything was checked and right', () => {
    expect(judge(GOOD)).to.deep.equal([]);
  });

  it('calls a run without an end, or without operations, a failure', () => {
    expect(judge(GOOD, null)).to.deep.equal(['empty-check']);
    expect(judge([])).to.include('empty-check');
  });

  it('names each check that found nothing to check', () => {
    const messages = judgeHistory([V1], TRUTH).map(({ message }) => message);
    expect(messages.filter((message) => /"(register|reads against the log|sessions|batches)" found nothing/.test(message))).to.have.length(4);
    expect(judge([V1], TRUTH, { mayBeEmpty: ['register', 'reads against the log', 'sessions', 'batches'] })).to.deep.equal([]);
    expect(judge(GOOD, { ...TRUTH, nodes: [] })).to.deep.equal(['empty-check']);
  });

  it('wants four of five operations to succeed', () => {
    const failed = (event: number): HistoryRecord => write('a', `v${event}`, [event, event + 1], null, { outcome: 'failed', clientId: 'c' });
    const fine = [...GOOD, read('a', 'v1', [5, 6], '1.aaaa-2'), read('a', 'v1', [7, 8], '1.aaaa-2')];
    expect(judge([...fine, failed(9)])).to.deep.equal([]);
    expect(judge([...fine, failed(9), failed(11)])).to.deep.equal(['too-many-failures']);
    expect(judge([...fine, failed(9), failed(11)], TRUTH, { successShareMin: 0.5 })).to.deep.equal([]);
  });

  it('reports the violations of all checks', () => {
    const codes = judge([...GOOD, write('a', 'v2', [5, 6], '1.aaaa-3'), read('a', 'v3', [7, 8], '1.aaaa-2')]);
    expect(codes).to.include.members(['lost', 'phantom', 'wrong-read', 'stale-read']);
  });

  it('refuses a history that breaks what the checks rest on', () => {
    const breaks: readonly HistoryRecord[][] = [
      [V1, { ...GOOD[1]!, id: V1.id }],
      [V1, { ...GOOD[1]!, invokedAt: 2 }],
      [V1, { ...GOOD[1]!, endedAt: 2.5 }],
      [V1, write('a', 'v1', [5, 6], '1.aaaa-3')],
      [{ ...V1, endedAt: null }],
      [{ ...V1, clientId: 'c', endedAt: 9 }, { ...GOOD[1]!, clientId: 'c' }],
    ];
    for (const records of breaks) expect(judge(records), JSON.stringify(records)).to.deep.equal(['malformed-history']);
    expect(judge(GOOD, { ...TRUTH, epochs: [] })).to.deep.equal(['malformed-history']);
  });

  it('lets one client have several operations under way where they are one batch', () => {
    const truth = truthOf({ log: '1.aaaa: a=v1 c=v2&d=v3' });
    const together = batch(write('c', 'v2', [5, 11], '1.aaaa-3'), write('d', 'v3', [6, 12], '1.aaaa-4'));
    expect(judge([...GOOD, ...together], truth)).to.deep.equal([]);
    expect(judge([...GOOD, ...together.map((record) => ({ ...record, batch: { id: record.id, index: 0 } }))], truth)).to.deep.equal(['malformed-history']);
  });

  it('names the operations in its sentences', () => {
    const [found] = judgeHistory([...GOOD, write('a', 'v2', [5, 6], '1.aaaa-3', { ackReached: 1 })], TRUTH).filter(({ code }) => code === 'lost');
    expect(found).to.deep.equal({
      code: 'lost',
      message: 'it is not in the log: no promotion left it behind: write #5 of a = "v2" by c5 on n1 (5–6, ok at 1.aaaa-3, ack 1)',
      recordIds: [5],
    });
  });
});

function judge(records: readonly HistoryRecord[], truth: HistoryTruth | null = TRUTH, options: JudgeOptions = {}): readonly string[] {
  return codesOf(judgeHistory(records, truth, options));
}
