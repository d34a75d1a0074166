import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { sectionOf, withSection } from '../markdown.ts';
import { chooseGenerator } from '../load.ts';
import { measureBootstrap, renderBootstrap } from './bootstrap.ts';
import { measureCatchUp, renderCatchUp } from './catch-up.ts';
import { assertRateKept, loadConstantly } from './constant-load.ts';
import { endReaders, startReaders } from './followers.ts';
import { measureFollowerCost, renderFollowerCost } from './follower-cost.ts';
import { measureHugeTable, renderHugeTable } from './get-10m.ts';
import { UNCACHED_SERVERS, type UncachedRound, measureUncached, renderUncached } from './get-uncached.ts';
import { measureImport, renderImport } from './import.ts';
import { measureMemory, renderMemory } from './memory.ts';
import { cpuSeconds, memoryOf } from './process-figures.ts';
import { type ReplicaGetRound, measureReplicaGet, renderReplicaGet } from './replica-get.ts';
import { Rig } from './rig.ts';
import { type RowReport, type RowsOptions, atLeast, atMost } from './row.ts';
import { mergeRows } from './rows-section.ts';
import { type MeasuredRow, ROWS, rowsNamed, runRows } from './rows.ts';
import { measureStart, renderStart } from './start.ts';

const MIB = 1024 * 1024;

describe('npm run bench -- --rows', function () {
  // Nodes and generators share two cores with each other here.
  this.timeout(60_000);

  let directory: string;
  let options: RowsOptions;
  let byWrk: Promise<{ readonly uncached: readonly UncachedRound[]; readonly replica: readonly ReplicaGetRound[] }>;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'shiplog-rows-'));
    options = {
      runs: 1,
      warmUp: false,
      seconds: 0.2,
      connections: 8,
      keys: 50,
      valueBytes: 32,
      generator: chooseGenerator(),
      directory,
      writesPerS: 200,
      followers: 2,
      streams: 3,
      clients: 5,
      onStep: () => {},
    };
  });
  after(() => {
    expect(readdirSync(directory)).to.deep.equal([]);
    rmSync(directory, { recursive: true, force: true });
  });

  /** Measures with a rig of its own. */
  async function withRig<Result>(own: Partial<RowsOptions>, measure: (rig: Rig) => Promise<Result>): Promise<Result> {
    const rig = new Rig({ ...options, ...own });
    try {
      return await measure(rig);
    } finally {
      await rig.close();
    }
  }

  /** wrk takes no less than a second, in which others can be measured. */
  async function measureByWrk(): Promise<Awaited<typeof byWrk>> {
    return { uncached: await withRig({ seconds: 1 }, measureUncached), replica: await withRig({ seconds: 1 }, measureReplicaGet) };
  }

  function expectReport({ findings, text }: RowReport, ...parts: readonly string[]): void {
    expect(findings).to.not.be.empty;
    const all = JSON.stringify(findings) + text;
    for (const part of parts) expect(all).to.contain(part);
    expect(all).to.not.match(/NaN|Infinity|undefined/);
  }

  describe('its rows', () => {
    before(() => {
      byWrk = measureByWrk();
      byWrk.catch(() => {});
    });
    // Also where none of the tests asked for it.
    after(() => byWrk.catch(() => {}));

    it('get-10m: reads from a large and from a small table', async () => {
      const [round] = await withRig({}, measureHugeTable);
      for (const { load } of [round!.small, round!.huge]) {
        expect(load.reads.answered).to.be.above(0);
        expect(load.missing).to.equal(0);
      }
      expectReport(renderHugeTable([round!], options), '5,000 keys', '× 5 keys');
    });

    it('import: imports and upserts', async () => {
      const [round] = await withRig({}, measureImport);
      expect(round!.importedPerS).to.be.above(0);
      expect(round!.upsertedPerS).to.be.above(0);
      expectReport(renderImport([round!], options), '500 rows', 'rows/s');
    });

    it('catch-up: a replica comes back and shows all that was written meanwhile', async () => {
      const rounds = await withRig({}, measureCatchUp);
      expect(rounds).to.have.length(1);
      for (const { operations, livePerS, caughtUpPerS, fromSpawnMs } of rounds) {
        expect(operations).to.be.above(0);
        expect(livePerS).to.be.above(0);
        expect(fromSpawnMs).to.be.above(50);
        // No more than the whole time since the start of the process.
        expect(caughtUpPerS).to.be.at.least((operations * 1_000) / fromSpawnMs);
      }
      expectReport(renderCatchUp(rounds, options), 'live SETs', '10.0 × live SETs');
    });

    it('bootstrap: a new replica takes a snapshot, and the disk writes as much', async () => {
      const [round] = await withRig({}, measureBootstrap);
      // A thousand keys with their values.
      expect(round!.snapshotBytes).to.be.within(50_000, 1_000_000);
      expect(round!.bootstrapMs).to.be.above(50);
      expect(round!.diskMs).to.be.above(0);
      expectReport(renderBootstrap([round!], options), 'MB/s', '1,000 keys');
      const slowDisk = renderBootstrap([{ snapshotBytes: 100e6, bootstrapMs: 2_000, diskMs: 1_000 }], options);
      expect(slowDisk.findings[0]).to.deep.include({ measured: '50.00 [50.00–50.00] MB/s', atLeast: { text: '50 MB/s', isReached: true } });
      const fastDisk = renderBootstrap([{ snapshotBytes: 100e6, bootstrapMs: 2_000, diskMs: 100 }], options);
      expect(fastDisk.findings[0]!.atLeast).to.deep.equal({ text: '100 MB/s', isReached: false });
    });

    it('follower-cost: compares the same load with followers and without', async () => {
      const [round] = await withRig({}, measureFollowerCost);
      for (const { cpuShare, writesPerS } of [round!.alone, round!.followed]) {
        expect(cpuShare).to.be.at.least(0);
        expect(writesPerS).to.be.within(50, 250);
      }
      expect(round!.followed.framesPerS).to.be.within(1, 250);
      expectReport(renderFollowerCost([round!], options), '2 followers', 'µs');
      const made = { alone: { cpuShare: 0.2, writesPerS: 1 }, followed: { cpuShare: 0.4, writesPerS: 1, framesPerS: 1_000 }, perFrameAndFollowerUs: 100 };
      expect(renderFollowerCost([made], options).findings[0]!.measured).to.equal('100.00 [100.00–100.00] µs; 20.0 % of the core for 2 followers');
    });

    it('memory: every stream and every client takes part', async () => {
      const result = await withRig({}, measureMemory);
      expect(result.streamedOperations).to.be.above(0);
      expect(result.clientReads).to.have.length(5);
      // One before the load, at least one while it lasts.
      for (const reads of result.clientReads) expect(reads).to.be.at.least(2);
      expect(result.atEnd.residentBytesPeak).to.be.at.least(result.atEnd.residentBytes);
      expect(result.anonymousBytesPeak).to.be.within(20 * MIB, result.atEnd.residentBytesPeak);
      expectReport(renderMemory(result, options), '5,000 keys', '3 streams', '≤ 512 MiB');
    });

    it('start: after a clean stop, and after a kill under load', async () => {
      const [round] = await withRig({}, measureStart);
      expect(round!.operations).to.be.above(0);
      expect(round!.afterStopMs).to.be.above(50);
      expect(round!.afterKillMs).to.be.above(50);
      expectReport(renderStart([round!], options), '≤ 1 s', '≤ 0.3 s', '≤ 3 s');
    });

    it('get-uncached: reads from both nodes and both bare servers', async () => {
      const rounds = (await byWrk).uncached;
      expect(rounds).to.have.length(1);
      for (const name of UNCACHED_SERVERS) expect(rounds[0]![name].requestsPerS, name).to.be.above(0);
      expectReport(renderUncached(rounds, options), '50 keys', '1,000 keys', '1.0 × bare node:http', '0.6 × bare socket');
    });

    it('replica-get: reads from a replica at rest, and while it applies what is written', async () => {
      const [round] = (await byWrk).replica;
      expect(round!.idle.load.requestsPerS).to.be.above(0);
      expect(round!.idle.appliedPerS).to.equal(0);
      expect(round!.idle.cpuShare).to.be.above(0);
      expect(round!.applying.load.requestsPerS).to.be.above(0);
      expect(round!.applying.appliedPerS).to.be.within(20, 400);
      expect(round!.writesPerS).to.be.within(50, 210);
      expectReport(renderReplicaGet([round!], options), '200 writes/s', 'at rest');
    });
  });

  it('ends a run whose rate was not kept, or whose followers did not read all', async () => {
    expect(() => assertRateKept({ unsent: 0, elapsedMs: 3_900, requestsPerS: 90 }, 3_000, '100/s')).not.to.throw();
    expect(() => assertRateKept({ unsent: 1, elapsedMs: 3_000, requestsPerS: 99.9 }, 3_000, '100/s')).to.throw('100/s were not kept: 100/s, and 1 never sent');
    expect(() => assertRateKept({ unsent: 0, elapsedMs: 4_100, requestsPerS: 73 }, 3_000, '100/s')).to.throw('100/s were not kept: 73/s');
    await withRig({}, async (rig) => {
      const node = await rig.serve({ dataDirectory: rig.newPath('node') });
      const readers = await startReaders(rig, node.url, 1);
      const written = await loadConstantly({ url: node.url, what: 'set', keys: 5, durationMs: 40 }, rig.options);
      const error: unknown = await endReaders(rig, readers, written.answered + 1).catch((reason: unknown) => reason);
      expect(String(error)).to.contain(`a stream brought ${written.answered} operations, ${written.answered + 1} were answered`);
    });
  });

  it('ends what it started, also where a row fails, and keeps the rows before it', async () => {
    const report = { findings: [], text: '' };
    const measured: string[] = [];
    let pid = 0;
    const rows = [
      { name: 'good', run: async () => report },
      {
        name: 'bad',
        run: async (rig: Rig) => {
          pid = (await rig.serve({ dataDirectory: rig.newPath('node') })).process.pid;
          throw new Error('a request failed');
        },
      },
      { name: 'never', run: async () => report },
    ];
    const error: unknown = await runRows(rows, options, ({ name }) => measured.push(name)).catch((reason: unknown) => reason);
    expect(String(error)).to.contain('a request failed');
    expect(measured).to.deep.equal(['good']);
    expect(() => process.kill(pid, 0)).to.throw('ESRCH');
    expect(readdirSync(directory)).to.deep.equal([]);
  });

  it('reads processor time and memory of a process', () => {
    const before = cpuSeconds(process.pid);
    const endMs = performance.now() + 100;
    while (performance.now() < endMs);
    expect(cpuSeconds(process.pid) - before).to.be.within(0.01, 1);
    const { rss } = process.memoryUsage();
    expect(memoryOf(process.pid).residentBytes).to.be.closeTo(rss, 50 * MIB);
    expect(() => cpuSeconds(-1)).to.throw('ENOENT');
  });

  describe('its section', () => {
    const order = ['a', 'b', 'c'];
    const measuredRow = (name: string, figure: string, own: Partial<RowsOptions> = {}): MeasuredRow => ({
      name,
      report: {
        findings: [{ what: `what ${name} is`, measured: figure, atLeast: atLeast([0.9], 0.8, '× x'), aim: atMost([2], 1, 's') }],
        text: ['a method', '', '| of | its own |', '| -- | ------: |', `| ${name} | ${figure} |`].join('\n'),
      },
      options: { ...options, runs: 5, seconds: 3, keys: 100_000, ...own },
      machine: { description: `machine of ${name}`, commit: 'c0ffee' },
      loadAverageAtEnd: 0.5,
    });

    it('replaces the rows that were measured and keeps the others, each with its machine and commit', () => {
      const first = mergeRows('', [measuredRow('c', 'three'), measuredRow('a', 'one')], order);
      expect(first.split('\n').slice(2, 4).join('')).to.match(/^\| a +\| +what a is +\| +one +\| +0\.8 × x +\| +≤ 1 s +\| +at least +\|\| c .* three /);
      const second = mergeRows(first, [measuredRow('b', 'two'), measuredRow('a', 'once more')], order);
      expect([...second.matchAll(/^### (.*)$/gm)].map(([, name]) => name)).to.deep.equal(order);
      expect(second.slice(second.indexOf('### c'))).to.equal(first.slice(first.indexOf('### c')));
      expect(second).to.contain('once more').and.to.contain('machine of c').and.not.to.contain('one |');
      expect(second.slice(0, second.indexOf('###')).trim().split('\n')).to.have.length(5);
    });

    it('is what it was after a way through the document, with what stands around it', () => {
      const section = mergeRows('', [measuredRow('a', 'one')], order);
      const document = withSection(withSection('# Title\n\n## Before\n\nx\n\n## The other rows\n\nold\n\n## After\n\ny\n', 'The other rows', section), 'The other rows', section);
      expect(sectionOf(document, 'The other rows')).to.equal(section);
      expect(document).to.contain('## Before\n\nx\n').and.to.contain('## After\n\ny\n').and.not.to.contain('old');
      expect(mergeRows(section, [], order)).to.equal(section);
      expect(sectionOf(document, 'Nothing')).to.equal(undefined);
    });

    it('says which bound is reached, and that a short run says little', () => {
      const cells = (atLeastReached: boolean, aimReached: boolean): string => {
        const row = measuredRow('a', 'x');
        const finding = { what: 'w', measured: 'm', atLeast: { text: 'l', isReached: atLeastReached }, aim: { text: 'i', isReached: aimReached } };
        return mergeRows('', [{ ...row, report: { ...row.report, findings: [finding] } }], order).split('\n')[2]!;
      };
      expect(cells(true, true)).to.match(/ aim \|$/);
      expect(cells(true, false)).to.match(/ at least \|$/);
      expect(cells(false, true)).to.match(/ no \|$/);
      expect(mergeRows('', [measuredRow('a', 'x')], order)).not.to.contain('short run');
      for (const own of [{ runs: 4 }, { seconds: 2 }, { keys: 99_999 }]) expect(mergeRows('', [measuredRow('a', 'x', own)], order)).to.contain('short run');
    });
  });

  it('takes names with commas between them, and refuses others with exit code 2', () => {
    expect(rowsNamed(undefined)).to.equal(ROWS);
    expect(rowsNamed('memory,get-10m').map(({ name }) => name)).to.deep.equal(['get-10m', 'memory']);
    const run = (...args: readonly string[]): ReturnType<typeof spawnSync> => spawnSync(process.execPath, [join(import.meta.dirname, '../main.ts'), ...args], { encoding: 'utf8' });
    const { status, stderr } = run('--rows', 'memory,disk');
    expect(stderr).to.equal("npm run bench: there is no row 'disk', expected some of get-uncached,replica-get,get-10m,import,catch-up,bootstrap,follower-cost,memory,start\n");
    expect(status).to.equal(2);
    expect(run('memory').status).to.equal(2);
    expect(run('--help').stdout).to.contain('--rows [A,B]');
  });
});
