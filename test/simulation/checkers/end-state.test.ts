import { expect } from 'chai';

import { TableDigester } from '../../../lib/store/table-digest.ts';
import type { HistoryTruth, LoggedOperation, NodeEnd } from '../history-record.ts';
import { checkEndState, digestOf } from './end-state.ts';
import { Lineages } from './lineages.ts';
import { codesOf, truthOf } from './small-history.ts';

const TRUTH = truthOf({ log: '1.aaaa: a=v1 b=v2 -a | 2.bbbb: b=v3' });

describe('check of the end state', () => {
  it('accepts nodes that hold the log, and what it comes out to', () => {
    expect(judge(TRUTH)).to.deep.equal([]);
  });

  it('accepts a log that begins later, and one that holds nothing after a reseed', () => {
    expect(judge(withNode(({ log }) => ({ log: log.slice(3) })))).to.deep.equal([]);
    expect(judge(withNode(() => ({ log: [] })))).to.deep.equal([]);
  });

  it('finds a log that ends too early or too late', () => {
    expect(judge(withNode(({ log }) => ({ log: log.slice(0, -1) })))).to.deep.equal(['logs-differ']);
    expect(judge(withNode(({ log }) => ({ log: [...log, { ...log.at(-1)!, lsn: log.length + 1 }] })))).to.deep.equal(['logs-differ']);
  });

  it('finds a log with a gap, another operation, or another epoch', () => {
    expect(judge(withNode(({ log }) => ({ log: log.toSpliced(2, 1) })))).to.deep.equal(['logs-differ']);
    expect(judge(withNode(({ log }) => ({ log: log.with(1, { ...log[1]!, operation: { kind: 'put', key: 'a', value: 'v9' } }) })))).to.deep.equal(['logs-differ']);
    expect(judge(withNode(({ log }) => ({ log: log.with(5, { ...log[5]!, epochId: log[0]!.epochId }) })))).to.deep.equal(['logs-differ']);
  });

  it('finds a row that is missing, left over, wrong, or of another LSN', () => {
    const tables = [new Map(), new Map([['b', { value: 'v3', lsn: 6 }], ['a', { value: 'v1', lsn: 2 }]]), new Map([['b', { value: 'v2', lsn: 6 }]]), new Map([['b', { value: 'v3', lsn: 3 }]])];
    for (const table of tables) expect(judge(withNode(() => ({ table }))), JSON.stringify([...table])).to.deep.equal(['table-differs']);
  });

  it('finds a digest of other rows, or at another position', () => {
    expect(judge(withNode(({ digest }) => ({ digest: { ...digest, sha256: digestOf(new Map()) } })))).to.deep.equal(['digests-differ']);
    expect(judge(withNode(({ digest }) => ({ digest: { ...digest, lsn: 5 } })))).to.deep.equal(['digests-differ']);
  });

  it('finds chains that differ though the operations are the same', () => {
    expect(judge(withNode(({ digest }) => ({ digest: { ...digest, chain: 1 } })))).to.deep.equal(['digests-differ']);
  });

  it('finds a history with a gap, an epoch that nobody began, and a delete of nothing', () => {
    expect(judge(withLog((log) => log.toSpliced(2, 1)))).to.include('log-broken');
    expect(judge(withLog((log) => log.with(4, { ...log[4]!, operation: { kind: 'put', key: 'c', value: 'v9' } })))).to.include('log-broken');
    expect(judge(truthOf({ log: '1.aaaa: a=v1 -a -a' }))).to.deep.equal(['log-broken']);
  });

  it('knows the digest that the nodes make', () => {
    const digester = new TableDigester();
    digester.add(Buffer.from('Z'), Buffer.from('größer'), 2 ** 33);
    digester.add(Buffer.from('ä'), Buffer.from(''), 7);
    expect(digestOf(new Map([['ä', { value: '', lsn: 7 }], ['Z', { value: 'größer', lsn: 2 ** 33 }]]))).to.equal(digester.finish().sha256);
  });
});

function withNode(change: (node: NodeEnd) => Partial<NodeEnd>): HistoryTruth {
  const [one, other] = TRUTH.nodes as [NodeEnd, NodeEnd];
  return { ...TRUTH, nodes: [one, { ...other, ...change(other) }] };
}

function withLog(change: (log: readonly LoggedOperation[]) => readonly LoggedOperation[]): HistoryTruth {
  return { ...TRUTH, log: change(TRUTH.log) };
}

function judge(truth: HistoryTruth): readonly string[] {
  return codesOf(checkEndState([], new Lineages(truth)).violations);
}
