import { expect } from 'chai';

import { type SyncOrder, checkSyncOrder, parseTrace } from './strace.ts';

const LOG = '39</data/gen-000001/wal/00000000000000000001.wal>';
const SOCKET = '42<TCP:[127.0.0.1:4455->127.0.0.1:50000]>';
const LOG_WRITE = `11 1.000001 pwrite64(${LOG}, "MARK\\1FRAM\\f key-1:value", 100, 304) = 100`;
const SYNC = `12 1.000002 fdatasync(${LOG}) = 0`;
const ANSWER = `10 1.000003 write(${SOCKET}, "HTTP/1.1 200 OK\\r\\nETag: \\"1.c04d-2\\"\\r\\n\\r\\nOK", 60) = 60`;

describe('sync order in a trace of strace', () => {
  it('accepts an answer after the sync that came after the frame', () => {
    expect(judge([LOG_WRITE, SYNC, ANSWER])).to.deep.equal({ findings: [], logSyncs: 1 });
  });

  it('finds an answer that left before the sync', () => {
    expect(detailOf([LOG_WRITE, ANSWER, SYNC])).to.match(/before the sync had returned/);
  });

  it('finds an answer that left while the sync was still under way', () => {
    const begun = `12 1.000002 fdatasync(${LOG} <unfinished ...>`;
    const returned = '12 1.000004 <... fdatasync resumed>) = 0';
    expect(detailOf([LOG_WRITE, begun, ANSWER, returned])).to.match(/before the sync had returned/);
    expect(judge([LOG_WRITE, begun, returned, ANSWER]).findings).to.deep.equal([]);
  });

  it('does not count a sync that had begun before the frame was written', () => {
    const begun = `12 1.000000 fdatasync(${LOG} <unfinished ...>`;
    const returned = '12 1.000002 <... fdatasync resumed>) = 0';
    expect(detailOf([begun, LOG_WRITE, returned, ANSWER])).to.match(/no sync came after its frame/);
  });

  it('does not count a sync that failed, or one of another file', () => {
    const failed = `12 1.000002 fdatasync(${LOG}) = -1 EIO (Input/output error)`;
    const other = '12 1.000002 fdatasync(33</data/gen-000001/store.sqlite-wal>) = 0';
    expect(detailOf([LOG_WRITE, failed, ANSWER])).to.match(/no sync came after its frame/);
    expect(judge([LOG_WRITE, other, ANSWER])).to.have.property('logSyncs', 0);
  });

  it('does not take a write to the database for one to the log', () => {
    const toDatabase = LOG_WRITE.replace(LOG, '33</data/gen-000001/store.sqlite-wal>');
    expect(detailOf([toDatabase, SYNC, ANSWER])).to.match(/never seen on its way into the log/);
  });

  it('finds nothing proven where the frame, the answer or everything is missing', () => {
    expect(detailOf([SYNC, ANSWER])).to.match(/never seen on its way into the log/);
    expect(detailOf([LOG_WRITE, SYNC])).to.match(/no 200 with the position 1.c04d-2/);
    expect(detailOf([])).to.be.a('string');
  });

  it('puts a frame that was written in two halves of a line together', () => {
    const begun = LOG_WRITE.replace(', 100, 304) = 100', ', 100, 304 <unfinished ...>');
    const returned = '11 1.000002 <... pwrite64 resumed>) = 100';
    expect(judge([begun, returned, SYNC, ANSWER]).findings).to.deep.equal([]);
  });

  it('ignores signals, exits and calls whose beginning was not seen', () => {
    const noise = ['10 1.0 --- SIGTERM {si_signo=SIGTERM} ---', '10 1.0 +++ exited with 0 +++', '13 1.0 <... fdatasync resumed>) = 0', ''];
    expect(parseTrace(noise.join('\n'))).to.deep.equal([]);
  });
});

function judge(lines: readonly string[]): SyncOrder {
  return checkSyncOrder(parseTrace(lines.join('\n')), [{ key: 'key-1:', position: '1.c04d-2' }]);
}

function detailOf(lines: readonly string[]): string | undefined {
  return judge(lines).findings[0]?.detail;
}
