import { expect } from 'chai';

import { checkFates } from './fate-check.ts';
import type { WriteRecord } from './history.ts';
import type { LoggedOperation } from './logged-operation.ts';

const ACKNOWLEDGED = write('k', 'v', { position: '1.c04d-7' });
const THERE = logged('1.c04d-7', 'k', 'v');

describe('fate check', () => {
  it('accepts an acknowledged write that is in the history at its position', () => {
    expect(judge({ writes: [ACKNOWLEDGED], surviving: [THERE] })).to.deep.equal([]);
  });

  it('calls an acknowledged write lost that is nowhere', () => {
    expect(judge({ writes: [ACKNOWLEDGED] })).to.deep.equal(['lost']);
    expect(judge({ writes: [ACKNOWLEDGED], mayBeSetAside: true })).to.deep.equal(['lost']);
  });

  it('takes a salvage file as an excuse only where acknowledged writes may be left behind', () => {
    expect(judge({ writes: [ACKNOWLEDGED], setAside: [THERE], mayBeSetAside: true })).to.deep.equal([]);
    expect(judge({ writes: [ACKNOWLEDGED], setAside: [THERE] })).to.deep.equal(['lost']);
  });

  it('does not take another value of the key, or the value of another key, for the write', () => {
    const other = write('k', 'w', { position: '1.c04d-8' });
    expect(judge({ writes: [ACKNOWLEDGED, other], surviving: [logged('1.c04d-8', 'k', 'w')] })).to.deep.equal(['lost']);
    expect(judge({ writes: [ACKNOWLEDGED], surviving: [logged('1.c04d-7', 'j', 'v')] })).to.deep.equal(['phantom', 'lost']);
  });

  it('calls a write misplaced that is at another position than the acknowledged one, also in a salvage file', () => {
    const elsewhere = logged('2.aaaa-9', 'k', 'v');
    expect(judge({ writes: [ACKNOWLEDGED], surviving: [elsewhere] })).to.deep.equal(['misplaced']);
    expect(judge({ writes: [ACKNOWLEDGED], setAside: [elsewhere], mayBeSetAside: true })).to.deep.equal(['misplaced']);
  });

  it('finds a write that was carried out twice, whatever its client was told', () => {
    const twice = [THERE, logged('2.aaaa-9', 'k', 'v')];
    expect(judge({ writes: [ACKNOWLEDGED], surviving: twice })).to.deep.equal(['phantom']);
    expect(judge({ writes: [write('k', 'v', { outcome: 'unknown' })], surviving: twice })).to.deep.equal(['phantom']);
  });

  it('finds a write that was set aside and survived all the same', () => {
    expect(judge({ writes: [ACKNOWLEDGED], surviving: [THERE], setAside: [THERE], mayBeSetAside: true })).to.deep.equal(['phantom']);
  });

  it('calls a refused write a phantom wherever it is', () => {
    const refused = write('k', 'v', { outcome: 'refused' });
    expect(judge({ writes: [refused] })).to.deep.equal([]);
    expect(judge({ writes: [refused], surviving: [THERE] })).to.deep.equal(['phantom']);
    expect(judge({ writes: [refused], setAside: [THERE], mayBeSetAside: true })).to.deep.equal(['phantom']);
  });

  it('wants a write that was left behind to be in a salvage file, where that may be, and nowhere else', () => {
    const leftBehind = write('k', 'v', { outcome: 'left-behind' });
    expect(judge({ writes: [leftBehind], setAside: [THERE], mayBeSetAside: true })).to.deep.equal([]);
    expect(judge({ writes: [leftBehind], setAside: [THERE] })).to.deep.equal(['lost']);
    expect(judge({ writes: [leftBehind], mayBeSetAside: true })).to.deep.equal(['lost']);
    expect(judge({ writes: [leftBehind], surviving: [THERE], mayBeSetAside: true })).to.deep.equal(['phantom']);
  });

  it('accepts every single fate of an unknown write, and tells it', () => {
    const unknown = write('k', 'v', { outcome: 'unknown' });
    expect(judge({ writes: [unknown] })).to.deep.equal([]);
    expect(checkFates({ writes: [unknown], surviving: [], setAside: [], mayBeSetAside: false }).fateOf(unknown)).to.deep.equal({ kind: 'gone' });
    expect(checkFates({ writes: [unknown], surviving: [THERE], setAside: [], mayBeSetAside: false }).fateOf(unknown)).to.deep.equal({ kind: 'survived', position: '1.c04d-7' });
    const { findings, fateOf, setAside, acknowledgedSetAside } = checkFates({ writes: [unknown], surviving: [], setAside: [THERE], mayBeSetAside: false });
    expect(findings).to.deep.equal([]);
    expect(fateOf(unknown)).to.deep.equal({ kind: 'set-aside', position: '1.c04d-7' });
    expect({ setAside, acknowledgedSetAside }).to.deep.equal({ setAside: 1, acknowledgedSetAside: 0 });
  });

  it('judges deletes by their key', () => {
    const deleted = write('k', null);
    expect(judge({ writes: [deleted] })).to.deep.equal(['lost']);
    expect(judge({ writes: [deleted], surviving: [logged('1.c04d-8', 'k', null)] })).to.deep.equal([]);
    expect(judge({ writes: [write('k', null, { outcome: 'absent' })], surviving: [logged('1.c04d-8', 'k', null)] })).to.deep.equal(['phantom']);
  });

  it('calls an operation of the history that nobody asked for a phantom', () => {
    expect(judge({ writes: [], surviving: [THERE] })).to.deep.equal(['phantom']);
  });

  it('does not judge what it can not tell apart', () => {
    expect(() => judge({ writes: [ACKNOWLEDGED, write('k', 'v')] })).to.throw('two writes');
    expect(() => judge({ writes: [write('k', null), write('k', null)] })).to.throw('two writes');
  });
});

function judge(evidence: { writes: readonly WriteRecord[]; surviving?: readonly LoggedOperation[]; setAside?: readonly LoggedOperation[]; mayBeSetAside?: boolean }): readonly string[] {
  return checkFates({ surviving: [], setAside: [], mayBeSetAside: false, ...evidence }).findings.map(({ kind }) => kind);
}

function write(key: string, value: string | null, more: Partial<WriteRecord> = {}): WriteRecord {
  return { round: 1, key, value, startMs: 1, endMs: 2, outcome: 'acknowledged', position: undefined, seen: undefined, ...more };
}

function logged(position: string, key: string, value: string | null): LoggedOperation {
  return { position, key, value };
}
