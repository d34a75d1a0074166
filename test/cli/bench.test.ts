import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect } from 'chai';
import type { BenchDocument } from '../../lib/cli/bench-report.ts';
import { makeTemporaryDirectory } from '../env/temporary-directory.ts';
import { ServeProcess } from '../support/serve-process.ts';
import { shiplog, spawnShiplog } from './shiplog-process.ts';

describe('shiplog bench', function () {
  this.timeout(60_000);
  const nodes: ServeProcess[] = [];
  let directory: { path: string; remove: () => Promise<void> };
  let primary: ServeProcess;

  before(async () => {
    directory = await makeTemporaryDirectory();
    primary = await start('primary');
  });
  after(async () => {
    await Promise.all(nodes.map((node) => node.stop()));
    await directory.remove();
  });

  async function start(name: string, flags: readonly string[] = []): Promise<ServeProcess> {
    const node = await ServeProcess.start({ dataDirectory: join(directory.path, name), flags });
    nodes.push(node);
    return node;
  }

  async function benchJson(...args: readonly string[]): Promise<BenchDocument> {
    const { code, stdout, stderr } = await shiplog(['bench', primary.url, '--json', ...args]);
    expect(stderr).to.equal('');
    expect(code).to.equal(0);
    return JSON.parse(stdout) as BenchDocument;
  }

  async function operationsWritten(): Promise<number> {
    const metrics = await (await fetch(`${primary.url}/metrics`)).text();
    return Number(/^shiplog_batch_operations_sum (\d+)$/m.exec(metrics)![1]);
  }

  it('sends as many requests as asked for, each of which the node has seen', async () => {
    const before = await operationsWritten();
    const document = await benchJson('--requests', '600', '--connections', '7', '--keys', '40', '--reads', '50', '--value-size', '5');
    const load = document.load!;
    expect(load).to.deep.include({ requests: 600, answered: 600, failed: 0, missing: 0, unsent: 0, errors: {} });
    expect(load.reads.answered + load.writes.answered).to.equal(600);
    expect(load.reads.answered).to.be.within(200, 400);
    // All keys once, then the writes of the load.
    expect((await operationsWritten()) - before).to.equal(40 + load.writes.answered);
    const { p50, p90, p99, p999, max } = load.all.latencyMs!;
    expect([p50, p90, p99, p999, max]).to.deep.equal([p50, p90, p99, p999, max].toSorted((a, b) => a - b));
    expect(p50).to.be.above(0);
    expect(document.wrote).to.deep.equal({ firstKey: 'bench:00000000', lastKey: 'bench:00000039', markers: [] });
    expect(await primary.get('bench:00000000')).to.equal('vvvvv');
    expect(await primary.get('bench:00000039')).to.equal('vvvvv');
    expect(await primary.get('bench:00000040')).to.equal(undefined);
  });

  it('deletes its keys where it is told to, and no others', async () => {
    await primary.put('bench', 'mine');
    await primary.put('bench:0', 'mine');
    const { load, cleaned, wrote } = await benchJson('--requests', '0', '--clean', '--keys', '50');
    expect(load).to.equal(null);
    expect(wrote).to.equal(null);
    expect(cleaned).to.deep.equal({ deleted: 40, absent: 10, failed: 0 });
    expect(await primary.get('bench:00000000')).to.equal(undefined);
    expect(await primary.get('bench:00000039')).to.equal(undefined);
    expect([await primary.get('bench'), await primary.get('bench:0')]).to.deep.equal(['mine', 'mine']);
  });

  it('runs for its time at a fixed rate', async () => {
    const { load, rate } = await benchJson('--seconds', '1', '--rate', '150', '--keys', '20', '--reads', '0', '--clean');
    expect(rate).to.equal(150);
    expect(load).to.deep.include({ requests: 150, answered: 150, unsent: 0 });
    expect(load!.elapsedMs).to.be.within(900, 4_000);
  });

  it('sends several requests on a connection at once, with large values, too', async () => {
    const { load, cleaned } = await benchJson('--requests', '60', '--connections', '2', '--pipeline', '8', '--value-size', '20000', '--keys', '10', '--clean');
    expect(load).to.deep.include({ requests: 60, answered: 60, failed: 0, missing: 0 });
    expect(cleaned).to.deep.equal({ deleted: 10, absent: 0, failed: 0 });
  });

  it('measures how far replicas are behind', async () => {
    const replica = await start('replica', ['--follow', primary.url]);
    const { lag, wrote, cleaned } = await benchJson('--seconds', '1', '--connections', '2', '--rate', '50', '--keys', '10', '--replica', replica.url, '--clean');
    expect(lag).to.have.length(1);
    expect(lag[0]).to.deep.include({ replica: replica.url, error: null });
    expect(lag[0]!.samples).to.be.above(5);
    const { p50, p99, max } = lag[0]!.lagMs!;
    expect(p50).to.be.above(0);
    expect(p99).to.be.within(p50, max);
    expect(wrote!.markers).to.deep.equal(['bench:lag:0']);
    expect(await primary.get('bench:lag:0')).to.equal(undefined);
    expect(cleaned!.deleted).to.equal(11);
  });

  it('shows a table, and says what it wrote', async () => {
    const { code, stdout, stderr } = await shiplog(['bench', primary.url, '--requests', '100', '--keys', '10', '--reads', '50']);
    expect(code).to.equal(0);
    const [heading, ...rows] = stdout.trimEnd().split('\n').map((line) => line.split('\t'));
    expect(heading).to.deep.equal(['', 'answered', 'per s', 'p50', 'p90', 'p99', 'p99.9', 'max']);
    expect(rows.map(([name]) => name)).to.deep.equal(['reads', 'writes', 'all']);
    expect(rows[2]![1]).to.equal('100');
    expect(stderr).to.contain('100 requests in ').and.to.contain('100 answered, 0 failed').and.to.contain('wrote keys bench:00000000 to bench:00000009, no others');
  });

  it('ends at Ctrl-C with the figures so far, and still cleans up', async () => {
    const child = spawnShiplog(['bench', primary.url, '--seconds', '60', '--rate', '200', '--reads', '0', '--keys', '60', '--clean', '--json']);
    child.stdin.end();
    const exited = once(child, 'close') as Promise<[number | null]>;
    const output = Promise.all([text(child.stdout), text(child.stderr)]);
    // No other test writes this key: once it is there, the load has begun.
    while ((await primary.get('bench:00000055')) === undefined) await new Promise((wake) => setTimeout(wake, 20));
    child.kill('SIGINT');
    const [stdout, stderr] = await output;
    expect((await exited)[0]).to.equal(0);
    const { load, stoppedBy, cleaned } = JSON.parse(stdout) as BenchDocument;
    expect(stoppedBy).to.equal('SIGINT');
    expect(stderr).to.equal('ended early by SIGINT\n');
    expect(load!.answered).to.be.within(1, 4_000);
    expect(load!.requests).to.equal(load!.answered);
    expect(cleaned!.deleted + cleaned!.absent).to.equal(60);
    expect(await primary.get('bench:00000055')).to.equal(undefined);
  });

  it('exits with 1 where requests failed, and says why', async () => {
    const { code, stdout, stderr } = await shiplog(['bench', primary.url, '--requests', '20', '--reads', '0', '--ack', '9', '--json']);
    expect(code).to.equal(1);
    expect((JSON.parse(stdout) as BenchDocument).load).to.deep.include({ requests: 20, answered: 0, failed: 20, errors: { 'status 400': 20 } });
    expect(stderr).to.equal('20 failed: status 400\n');
  });

  it('says how far it came where the node goes away in the middle, and exits with 4', async () => {
    const node = await start('mortal');
    const child = spawnShiplog(['bench', node.url, '--seconds', '60', '--reads', '0', '--keys', '5', '--connections', '3', '--clean', '--json']);
    child.stdin.end();
    const exited = once(child, 'close') as Promise<[number | null]>;
    const output = Promise.all([text(child.stdout), text(child.stderr)]);
    while ((await node.get('bench:00000004')) === undefined) await new Promise((wake) => setTimeout(wake, 20));
    await node.kill();
    const [stdout, stderr] = await output;
    expect((await exited)[0]).to.equal(4);
    const { load, cleaned } = JSON.parse(stdout) as BenchDocument;
    expect(load!.answered).to.be.above(0);
    expect(load!.requests).to.equal(load!.answered + load!.failed);
    expect(load!.gaveUp).to.contain('ECONNREFUSED');
    expect(cleaned).to.deep.equal({ deleted: 0, absent: 0, failed: 5 });
    expect(stderr).to.contain('gave up: ').and.to.contain('5 keys could not be deleted');
  });

  it('asks for the node by name where only SHIPLOG_URL names it, and exits with 4 where nobody is', async () => {
    const before = await operationsWritten();
    const unnamed = await shiplog(['bench', '--requests', '5'], { variables: { SHIPLOG_URL: primary.url } });
    expect(unnamed.code).to.equal(78);
    expect(unnamed.stderr).to.contain(`shiplog bench ${primary.url}`);
    expect(await operationsWritten()).to.equal(before);
    expect((await shiplog(['bench', 'http://127.0.0.1:1', '--requests', '5'])).code).to.equal(4);
    expect((await shiplog(['bench', primary.url, '--replica', 'http://127.0.0.1:1', '--requests', '5'])).code).to.equal(4);
    expect(await operationsWritten()).to.equal(before);
  });
});
