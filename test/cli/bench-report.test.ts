import { expect } from 'chai';
import { PassThrough } from 'node:stream';
import { LatencyHistogram } from '../../lib/bench/latency-histogram.ts';
import { LoadRecord } from '../../lib/bench/load-figures.ts';
import { type BenchDocument, lagRow, latencyRows, remarksOnBench } from '../../lib/cli/bench-report.ts';
import { LoadBar } from '../../lib/cli/load-bar.ts';

describe('the report of a bench', () => {
  function documentOf(record: LoadRecord, others: Partial<BenchDocument> = {}): BenchDocument {
    const options = { url: 'http://node', connections: 1, pipeline: 1, valueBytes: 1, keys: 10, readPercent: 50, rate: null };
    return { ...options, load: record.figures(2_000), lag: [], wrote: null, cleaned: null, stoppedBy: null, ...others };
  }

  function answered(reads: number, writes: number): LoadRecord {
    const record = new LoadRecord();
    for (let count = 1; count <= reads; count += 1) record.answer('get', count, false);
    for (let count = 1; count <= writes; count += 1) record.answer('set', count * 10, false);
    return record;
  }

  it('has a row for reads, one for writes, and one for both', () => {
    expect(latencyRows(answered(1_000, 100).figures(2_000))).to.deep.equal([
      ['reads', '1,000', '500', '500 ms', '900 ms', '990 ms', '999 ms', '1,000 ms'],
      ['writes', '100', '50', '500 ms', '900 ms', '990 ms', '1,000 ms', '1,000 ms'],
      ['all', '1,100', '550', '500 ms', '900 ms', '990 ms', '1,000 ms', '1,000 ms'],
    ]);
    expect(latencyRows(answered(0, 4).figures(1_000)).map(([name]) => name)).to.deep.equal(['writes']);
  });

  it('has a row for lag, also where there is none', () => {
    const histogram = new LatencyHistogram();
    histogram.record(1.234);
    expect(lagRow({ replica: 'http://r', samples: 1, lagMs: histogram.figures, error: null })).to.deep.equal(['http://r', '1', '1.23 ms', '1.23 ms', '1.23 ms', '1.23 ms', '1.23 ms']);
    expect(lagRow({ replica: 'http://r', samples: 0, lagMs: null, error: 'x' })).to.deep.equal(['http://r', '0', '–', '–', '–', '–', '–']);
  });

  it('adds up: every request is answered or failed, whatever the reason', () => {
    const record = answered(3, 2);
    record.fail('status 503');
    record.fail('status 503');
    record.abandon('set', 5_000);
    record.neverSent('get', 7_000);
    const figures = record.figures(1_000);
    expect(figures).to.deep.include({ requests: 8, answered: 5, failed: 3, unsent: 1, requestsPerS: 5, errors: { 'status 503': 2, 'no answer': 1 } });
    // What was never answered or sent has waited, and shows.
    expect(figures.writes.latencyMs!.max).to.equal(5_000);
    expect(figures.reads.latencyMs!.max).to.equal(7_000);
    expect(figures.all.latencyMs!.max).to.equal(7_000);
  });

  it('warns of everything that makes figures mean less', () => {
    const record = answered(1, 1);
    record.fail('status 503');
    record.neverSent('get', 1);
    record.giveUp('ECONNREFUSED');
    const lag = [{ replica: 'http://r', samples: 0, lagMs: null, error: 'gone' }];
    const warnings = remarksOnBench(documentOf(record, { lag, stoppedBy: 'SIGINT', cleaned: { deleted: 1, absent: 0, failed: 2 } }), 0.97)
      .filter(({ kind }) => kind === 'warning')
      .map(({ text }) => text);
    expect(warnings).to.deep.equal([
      '1 failed: status 503',
      'gave up: ECONNREFUSED',
      '1 requests were due but never sent: the connections could not take this rate',
      'the bench itself took 97 % of a core: the node may be faster than this',
      'no more lag of http://r: gone',
      '2 keys could not be deleted: run it again with --clean --requests 0',
      'ended early by SIGINT',
    ]);
    expect(remarksOnBench(documentOf(answered(1, 1)), 0.5).filter(({ kind }) => kind === 'warning')).to.deep.equal([]);
    // At a fixed rate it looks at the clock all the time.
    expect(remarksOnBench(documentOf(answered(1, 1), { rate: 5 }), 1).filter(({ kind }) => kind === 'warning')).to.deep.equal([]);
  });

  it('shows a bar on a terminal, with the rate of the last moment, and nothing elsewhere', async () => {
    for (const isTTY of [true, false]) {
      let shown = '';
      const bar = new LoadBar('load', Object.assign(new PassThrough().on('data', (chunk) => (shown += String(chunk))), { isTTY, columns: 120, cursorTo: () => {}, clearLine: () => {} }));
      let elapsedMs = 0;
      bar.start(() => ({ answered: (elapsedMs += 200) * 5, failed: 2, elapsedMs, fraction: 0.5 }));
      await new Promise((done) => setTimeout(done, 700));
      bar.stop();
      if (isTTY) expect(shown).to.contain('50%').and.to.contain('5,000/s, 2 failed');
      else expect(shown).to.equal('');
    }
  });
});
