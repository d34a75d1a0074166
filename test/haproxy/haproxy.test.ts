import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { type NodeProcess, TestCluster, eventually, freePort } from '../support/cluster.ts';
import { requires } from '../support/requires.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { checkFates } from '../torture/fate-check.ts';
import { verifyNodes } from '../torture/final-check.ts';
import { History } from '../torture/history.ts';
import { readLog, readSalvage } from '../torture/logged-operation.ts';
import { promoteFurthest, runPromote } from '../torture/promotion.ts';
import { RovingWorkload } from '../torture/roving-workload.ts';
import type { Load } from '../torture/workload.ts';
import { CONFIG, HAPROXY_ENVIRONMENT, HaproxyProcess } from './haproxy-process.ts';

const ROUND = 1;
const WRITES_BETWEEN = 300;
const LOAD_TIMEOUT_MS = 60_000;

describe('HAProxy with config/haproxy.cfg', function () {
  this.timeout(180_000);
  let cluster: TestCluster;
  let one: NodeProcess;
  let two: NodeProcess;
  let haproxy: HaproxyProcess;

  before(function () {
    requires(this, 'haproxy');
  });

  beforeEach(async () => {
    cluster = await TestCluster.create();
    one = await cluster.start('one');
    two = await cluster.start('two', { follow: one.url });
    await two.caughtUpWith(one);
    haproxy = await HaproxyProcess.start({ directory: cluster.directory, port: await freePort(), nodePorts: [one.port, two.port] });
  });

  afterEach(async () => {
    await haproxy?.stop();
    await cluster.dispose();
  });

  it('finds nothing wrong with the file as it is shipped', () => {
    const output = execFileSync('haproxy', ['-c', '-f', CONFIG], { encoding: 'utf8', env: HAPROXY_ENVIRONMENT, stdio: ['ignore', 'pipe', 'pipe'] });
    expect(output.trim()).to.equal('Configuration file is valid');
  });

  it('loses no acknowledged write and carries none out twice across a switchover and a failover, and finds each new primary', async () => {
    const history = new History(() => performance.now());
    const workload = new RovingWorkload({ urls: [haproxy.url], ack: '1', history, random: new SeededRandom(1) });
    const load = workload.start(ROUND);
    try {
      await moreWrites(load);
      expect(await primarySeen()).to.equal('node1');

      expect(await runPromote(two.url, process.env)).to.include({ type: 'promoted', kind: 'switchover' });
      await moreWrites(load);
      expect(await primarySeen()).to.equal('node2');
      await expectWritesOnlyAt('node2', load);

      await two.kill();
      expect((await promoteFurthest(one.url, process.env)).end.kind).to.equal('failover');
      await two.restart();
      await moreWrites(load);
      expect(await primarySeen()).to.equal('node1');
      await expectWritesOnlyAt('node1', load);
    } finally {
      await load.stop();
    }

    await two.caughtUpWith(one);
    const { history: epochs, positions } = await one.status();
    const { findings } = checkFates({
      writes: history.records,
      surviving: readLog(one.dataDirectory, {
        afterLsn: 0,
        throughLsn: Number(positions.visible.split('-')[1]),
        epochTags: new Map((epochs as unknown as { number: number; id: string }[]).map(({ number, id }) => [number, `${number}.${id.slice(0, 4)}`])),
      }),
      setAside: [one, two].flatMap(({ dataDirectory }) => (existsSync(join(dataDirectory, 'salvage')) ? readSalvage(dataDirectory) : [])),
      mayBeSetAside: false,
    });
    expect(findings).to.deep.equal([]);
    expect(load.counts.acknowledged).to.be.at.least(5 * WRITES_BETWEEN);
    expect(await verifyNodes([one.url, two.url])).to.deep.equal([]);
  });

  it('lets replicas answer reads, and the primary where no replica can', async () => {
    await one.set('key', 'value');
    await two.caughtUpWith(one);
    for (let reads = 0; reads < 10; reads += 1) expect(await (await fetch(`${haproxy.url}/get/key`)).text()).to.equal('value');
    const counts = await haproxy.countsOf('replicas');
    expect(counts['node2']).to.include({ isUp: true, succeeded: 10 });
    expect(counts['node1']).to.include({ isUp: false, succeeded: 0 });

    await two.kill();
    await eventually(async () => !(await haproxy.countsOf('replicas'))['node2']!.isUp);
    expect(await (await fetch(`${haproxy.url}/get/key`)).text()).to.equal('value');
  });

  it('sends batches and imports to the primary, and reads of many keys to replicas', async () => {
    const ask = async (path: string, body?: string): Promise<string> => (await fetch(`${haproxy.url}${path}`, body === undefined ? {} : { method: 'POST', body })).text();
    expect(await ask('/batch', '{"operations":[{"set":"a","value":"1"},{"set":"b","value":"2"}]}')).to.match(/"outcome":"written"/);
    expect(await ask('/import?id=x', '{"key":"c","value":"3"}\n')).to.match(/"type":"done","lines":1/);
    await two.caughtUpWith(one);
    const before = (await haproxy.countsOf('replicas'))['node2']!.succeeded;
    expect(await ask('/mget', '{"keys":["a","c"]}')).to.match(/"value":"1".*"value":"3"/);
    expect(await ask('/export')).to.match(/"count":3/);
    expect(await ask('/import?id=x')).to.match(/"state":"done","lines":1/);
    expect((await haproxy.countsOf('replicas'))['node2']!.succeeded - before, 'mget and export').to.equal(2);
  });

  it('answers 503 to a write while there is no primary, which was carried out nowhere', async () => {
    await one.kill();
    await eventually(async () => !(await haproxy.countsOf('primary'))['node1']!.isUp);
    const answer = await fetch(`${haproxy.url}/set/key`, { method: 'POST', body: 'value' });
    await answer.text();
    expect(answer.status).to.equal(503);
    expect(await two.get('key')).to.equal(undefined);
  });

  it('lets nobody promote, forget, fetch logs or ask peers through it', async () => {
    for (const [method, path] of [['POST', '/promote'], ['POST', '/forget?node=two'], ['POST', '/rejoin'], ['POST', '/peer/state'], ['GET', '/wal'], ['GET', '/snapshot'], ['GET', '/status']] as const) {
      const answer = await fetch(`${haproxy.url}${path}`, { method });
      await answer.text();
      expect(answer.status, path).to.equal(404);
    }
    expect((await one.status()).members.length).to.equal(2);
    expect((await one.status()).state).to.equal('primary');
  });

  function moreWrites(load: Load): Promise<void> {
    return load.acknowledged(load.counts.acknowledged + WRITES_BETWEEN, LOAD_TIMEOUT_MS);
  }

  /** The one server that is up in the backend for writes. */
  async function primarySeen(): Promise<string> {
    let up: readonly string[] = [];
    await eventually(async () => {
      const counts = Object.entries(await haproxy.countsOf('primary'));
      up = counts.filter(([, { isUp }]) => isUp).map(([name]) => name);
      return up.length === 1;
    });
    return up[0]!;
  }

  async function expectWritesOnlyAt(name: string, load: Load): Promise<void> {
    const before = await haproxy.countsOf('primary');
    await moreWrites(load);
    const after = await haproxy.countsOf('primary');
    for (const [server, { succeeded }] of Object.entries(after)) {
      const more = succeeded - before[server]!.succeeded;
      if (server === name) expect(more, server).to.be.at.least(WRITES_BETWEEN / 2);
      else expect(more, server).to.equal(0);
    }
  }
});
