import { expect } from 'chai';

import type { WriteRecord } from './history.ts';
import { checkSessionReads } from './session-check.ts';
import type { ReadAnswer } from './write-client.ts';

const OLDER = write('a', '1.c04d-7');
const OWN = write('b', '1.c04d-8');
const LATER = write('c', '2.aaaa-9');
const REFUSED = write('d', undefined, 'refused');
const UNKNOWN = write('e', undefined, 'unknown');

describe('session check', () => {
  it('accepts the own write and a later one, also of a later epoch and of one whose client heard nothing', () => {
    expect(judge({ status: 200, value: 'b', position: '1.c04d-8' })).to.deep.equal([]);
    expect(judge({ status: 200, value: 'c', position: '2.aaaa-9' })).to.deep.equal([]);
    expect(judge({ status: 200, value: 'e', position: '2.aaaa-11' })).to.deep.equal([]);
  });

  it('calls an older value stale', () => {
    expect(judge({ status: 200, value: 'a', position: '1.c04d-7' })).to.deep.equal(['stale']);
  });

  it('calls the write lost where the node says that there is no such key or position', () => {
    expect(judge({ status: 404, value: undefined, position: undefined })).to.deep.equal(['lost']);
    expect(judge({ status: 410, value: undefined, position: undefined })).to.deep.equal(['lost']);
  });

  it('calls a value that nobody wrote, or that was refused, a phantom', () => {
    expect(judge({ status: 200, value: 'z', position: '1.c04d-9' })).to.deep.equal(['phantom']);
    expect(judge({ status: 200, value: 'd', position: '1.c04d-9' })).to.deep.equal(['phantom']);
  });

  it('finds a write that is shown at another position than it was acknowledged at, or at none', () => {
    expect(judge({ status: 200, value: 'c', position: '2.aaaa-12' })).to.deep.equal(['misplaced']);
    expect(judge({ status: 200, value: 'b', position: undefined })).to.deep.equal(['misplaced']);
  });

  it('does not take another status for an answer', () => {
    expect(judge({ status: 400, value: undefined, position: undefined })).to.deep.equal(['different']);
    expect(judge({ status: 500, value: undefined, position: undefined })).to.deep.equal(['different']);
  });

  it('counts reads without an answer apart: they are not wrong, and prove nothing', () => {
    const reads = [0, 503, 504].map((status) => ({ own: OWN, url: 'u', answer: { status, value: undefined, position: undefined } }));
    const shown = { own: OWN, url: 'u', answer: { status: 200, value: 'b', position: '1.c04d-8' } };
    expect(checkSessionReads([...reads, shown], () => [OWN])).to.deep.equal({ findings: [], answered: 1, unanswered: 3 });
  });
});

function judge(answer: ReadAnswer): readonly string[] {
  return checkSessionReads([{ own: OWN, url: 'u', answer }], () => [OLDER, OWN, LATER, REFUSED, UNKNOWN]).findings.map(({ kind }) => kind);
}

function write(value: string, position: string | undefined, outcome: WriteRecord['outcome'] = 'acknowledged'): WriteRecord {
  return { round: 1, key: 'k', value, startMs: 1, endMs: 2, outcome, position, seen: undefined };
}
