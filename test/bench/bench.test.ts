import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { runBench } from './bench.ts';
import { BenchProcess, SERVER_CORE } from './bench-process.ts';
import { chooseGenerator, runLoad } from './load.ts';
import { assertRealDisk } from './machine.ts';
import { renderReport } from './report.ts';
import { median, percentile } from './statistics.ts';

describe('npm run bench', () => {
  it('measures everything it promises, and leaves nothing behind', async function () {
    this.timeout(90_000);
    const directory = mkdtempSync(join(tmpdir(), 'shiplog-bench-'));
    try {
      const steps: string[] = [];
      const result = await runBench({
        runs: 1,
        warmUp: false,
        seconds: 1,
        connections: 8,
        keys: 200,
        valueBytes: 32,
        generator: chooseGenerator(),
        directory,
        onStep: (step) => steps.push(step),
      });

      const [round, ...others] = result.rounds;
      expect(others).to.deep.equal([]);
      const { get, set, oneConnection, syncGrown, syncOverwritten, log } = round!;
      for (const figures of [...Object.values(get), ...Object.values(set), oneConnection, syncGrown, syncOverwritten]) {
        expect(figures.requestsPerS).to.be.above(0);
        expect(figures.p99Ms).to.be.at.least(figures.p50Ms);
        expect(figures.p50Ms).to.be.above(0);
      }
      expect(log.operations).to.be.at.least(log.batches);
      expect(log.batches).to.be.at.least(log.syncs);
      expect(log.syncs).to.be.above(0);
      // One mark, one frame header, the operation.
      expect(round!.groupBytes).to.be.within(64, 1_024);
      expect(result.lag.lagsMs).to.not.be.empty;
      expect(result.lag.writesPerS).to.be.above(0);
      expect(steps.filter((step) => step.startsWith('round 1 of 1'))).to.have.length(9);

      const report = renderReport(result);
      for (const part of ['bare net socket', 'bare node:http', 'shiplog', '× http', 'syncs/s', 'fdatasync', 'Replication lag', 'Machine', 'Commit']) {
        expect(report).to.contain(part);
      }
      expect(report).to.not.match(/NaN|Infinity|undefined/);
      expect(readdirSync(directory)).to.deep.equal([]);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it('also works with autocannon, and refuses figures with failed requests in them', async () => {
    const server = new BenchProcess([process.execPath, join(import.meta.dirname, 'bare-http.ts')], SERVER_CORE);
    const url = await server.readyUrl();
    const load = { url, method: 'set', connections: 2, keys: 10, valueBytes: 32, seconds: 1 } as const;
    try {
      expect((await runLoad('autocannon', load)).requestsPerS).to.be.above(0);
    } finally {
      await server.stop();
    }

    const error: unknown = await runLoad('autocannon', load).catch((reason: unknown) => reason);
    expect(String(error)).to.match(/requests to http:\S+ failed/);
  });

  it('refuses a file system in memory, and says where', function () {
    let shm: string;
    try {
      shm = mkdtempSync('/dev/shm/shiplog-bench-');
    } catch {
      this.skip();
    }
    try {
      expect(() => assertRealDisk(shm)).to.throw(`${shm} is on tmpfs`);
    } finally {
      rmSync(shm, { recursive: true, force: true });
    }
  });

  it('takes medians and percentiles by rank', () => {
    expect(median([3, 1, 2])).to.equal(2);
    expect(median([4, 1, 2, 3])).to.equal(2.5);
    expect(percentile([5, 1, 4, 2, 3], 50)).to.equal(3);
    expect(percentile([5, 1, 4, 2, 3], 99)).to.equal(5);
    expect(percentile([7], 50)).to.equal(7);
    expect(() => percentile([], 50)).to.throw('no values');
  });
});
