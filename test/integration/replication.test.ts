import { cp, mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { type NodeProcess, TestCluster, eventually, lsnOf, pause } from '../support/cluster.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';

const SMALL_SEGMENTS = { 'segment-bytes': '64KiB', 'checkpoint-operations': 1_000 } as const;

describe('replication between processes', function () {
  this.timeout(60_000);
  let cluster: TestCluster;
  const proxies: TcpProxy[] = [];

  beforeEach(async () => {
    cluster = await TestCluster.create();
  });
  afterEach(async () => {
    for (const proxy of proxies.splice(0)) await proxy.close();
    await cluster.dispose();
  });

  async function proxyTo(node: NodeProcess): Promise<TcpProxy> {
    const proxy = await TcpProxy.to(node.port);
    proxies.push(proxy);
    return proxy;
  }

  async function expectEqual(one: NodeProcess, other: NodeProcess): Promise<void> {
    await other.caughtUpWith(one);
    const lsn = await one.visibleLsn();
    expect(JSON.parse(await other.digest(lsn))).to.deep.equal(JSON.parse(await one.digest(lsn))).and.include({ lsn });
  }

  it('resumes exactly where it stopped when the connection is cut at random bytes or a bit flips on the way', async () => {
    const random = new SeededRandom(7);
    const primary = await cluster.start('primary', SMALL_SEGMENTS);
    await primary.set('first', 'x');
    const proxy = await proxyTo(primary);
    const replica = await cluster.start('replica', { follow: proxy.url, ...SMALL_SEGMENTS });
    const upTo = 60;
    proxy.faultOf = (index) => (index > upTo ? {} : random.chance(0.5) ? { cutAfterBytes: random.below(60_000) } : { flipByte: random.below(40_000) });
    proxy.cutAll();
    const writing = primary.fill(6_000, { value: (index) => `${index}`.padEnd(100, 'v') });
    let lsnBefore = 0;
    while (proxy.connectionCount <= 30) {
      await pause(20);
      const lsn = await replica.visibleLsn();
      expect(lsn, 'never back').to.be.at.least(lsnBefore);
      lsnBefore = lsn;
      if (random.chance(0.2)) proxy.cutAll();
    }
    await writing;
    proxy.faultOf = () => ({});
    proxy.cutAll();
    await expectEqual(primary, replica);
    expect((await replica.status()).state).to.equal('following');
    const { body } = await primary.request('GET', '/status');
    expect((JSON.parse(body) as { followers: unknown[] }).followers, 'one node, however often it came').to.have.length(1);
  });

  it('catches up after 20,000 writes that it was away for, from files, and both end equal (slow)', async () => {
    const primary = await cluster.start('primary', SMALL_SEGMENTS);
    const replica = await cluster.start('replica', { follow: primary.url, ...SMALL_SEGMENTS });
    await primary.fill(100);
    await replica.caughtUpWith(primary);
    expect(await replica.stop()).to.equal(0);
    await primary.fill(20_000, { prefix: 'away', value: (index) => `${index}`.padEnd(60, 'v') });
    expect((await primary.status()).log.segments).to.be.greaterThan(20);
    const databaseBefore = await generationOf(replica);
    await replica.restart();
    await expectEqual(primary, replica);
    expect(await generationOf(replica), 'by the log, not by a snapshot').to.equal(databaseBefore);
    // Byte for byte: what stands in the log is the same on both, but for salts and marks.
    expect(await replica.get('away19999')).to.match(/^19999v/);
  });

  it('bootstraps a replica that starts empty while writes go on, though its snapshot is cut', async () => {
    const primary = await cluster.start('primary', SMALL_SEGMENTS);
    await primary.fill(3_000, { prefix: 'before', value: (index) => `${index}`.padEnd(400, 'v') });
    const load = { isOver: false };
    let written = 0;
    const writing = (async () => {
      while (!load.isOver) {
        await primary.fill(50, { prefix: `during${written}-` });
        written += 50;
      }
    })();
    const proxy = await proxyTo(primary);
    let cuts = 0;
    proxy.faultOf = (index) => {
      if (index >= 12) return {};
      cuts += 1;
      return { cutAfterBytes: 200_000 };
    };
    const replica = await cluster.spawn('replica', { follow: proxy.url, ...SMALL_SEGMENTS });
    const early = await eventuallyAnswered(replica);
    expect([200, 404, 503], 'not ready, or ready').to.include(early);
    await replica.healthy();
    load.isOver = true;
    await writing;
    expect(cuts).to.be.greaterThan(2);
    expect(written).to.be.greaterThan(0);
    await expectEqual(primary, replica);
    expect(replica.stderr).to.contain('the snapshot is complete');
  });

  it('reseeds by itself when its position is gone', async () => {
    const retention = { 'retention-bytes-min': 0, 'retention-bytes-max': '256KiB', 'retention-ms-min': 0, 'retention-ms-max': '1s', 'checkpoint-operations': 200 };
    const primary = await cluster.start('primary', { ...SMALL_SEGMENTS, ...retention });
    const replica = await cluster.start('replica', { follow: primary.url, ...SMALL_SEGMENTS });
    await primary.fill(200, { prefix: 'early' });
    await replica.caughtUpWith(primary);
    const lsn = lsnOf((await replica.status()).positions.durable);
    await replica.stop();
    await primary.fill(6_000, { value: (index) => `${index}`.padEnd(200, 'v') });
    await eventually(async () => (await primary.status()).log.firstLsn > lsn + 1);
    const refused = await primary.request('GET', `/wal?after=${lsn}`);
    expect([refused.status, (JSON.parse(refused.body) as { code: string }).code]).to.deep.equal([410, 'position-gone']);
    await replica.restart();
    await expectEqual(primary, replica);
    expect(await generationOf(replica)).to.equal('gen-000002');
    expect(await replica.get('early7')).to.equal('7');
    expect(await replica.stop()).to.equal(0);
  });

  it('is refused by another cluster (421) and by a log that went another way (409), and loses nothing', async () => {
    const primary = await cluster.start('primary');
    const replica = await cluster.start('replica', { follow: primary.url });
    await primary.fill(50);
    await replica.caughtUpWith(primary);
    const stranger = await cluster.start('stranger');
    await stranger.fill(10);
    const { clusterId, epoch } = await primary.status();
    const other = await stranger.request('GET', `/wal?after=0&cluster=${clusterId}`);
    expect([other.status, (JSON.parse(other.body) as { code: string }).code]).to.deep.equal([421, 'other-cluster']);

    await primary.stop();
    const twin = await spawnOnCopy(primary, 'twin');
    await primary.restart();
    await primary.fill(5, { prefix: 'true' });
    await replica.caughtUpWith(primary);
    await replica.stop();
    await twin.fill(5, { prefix: 'fake' });
    const { durable } = (await twin.status()).positions;
    const diverged = await twin.request('GET', `/wal?after=${lsnOf(durable)}&cluster=${clusterId}&epoch=${epoch!.id}&chain=00000000`);
    expect([diverged.status, (JSON.parse(diverged.body) as { code: string }).code]).to.deep.equal([409, 'chain-mismatch']);

    replica.launch({ follow: twin.url });
    await eventually(async () => (await replica.status().catch(() => undefined))?.state === 'diverged');
    expect((await replica.request('GET', '/healthz')).status).to.equal(503);
    expect((await replica.request('GET', '/get/true0')).status, 'no read from a state that is in doubt').to.equal(503);
    await replica.stop();
    await replica.restart({ follow: primary.url });
    expect(await replica.get('true4')).to.equal('4');
    expect(await replica.get('fake4')).to.equal(undefined);
  });

  it('refuses a copy of a data directory while the original confirms', async () => {
    const primary = await cluster.start('primary');
    const replica = await cluster.start('replica', { follow: primary.url });
    await primary.fill(50);
    await replica.caughtUpWith(primary);
    await replica.stop();
    const clone = await spawnOnCopy(replica, 'clone', { follow: primary.url }, false);
    await replica.restart();
    await eventually(async () => (await replica.status()).upstream?.connected === true);
    clone.launch();
    await clone.healthy();
    await eventually(async () => ((await clone.status()).upstream?.lastError ?? '').includes('is its data directory a copy?'));
    await primary.fill(20, { prefix: 'more' });
    await replica.caughtUpWith(primary);
    expect(await clone.get('more19')).to.equal(undefined);
    expect((await primary.status()).followers).to.have.length(1);
  });

  async function spawnOnCopy(node: NodeProcess, name: string, flags: Record<string, string> = {}, isStarted = true): Promise<NodeProcess> {
    const copy = join(cluster.directory, `${name}-data`);
    await mkdir(copy);
    await cp(node.dataDirectory, copy, { recursive: true });
    const started = await cluster.spawn(name, { 'data-dir': copy, ...flags });
    if (isStarted) await started.healthy();
    else await started.kill();
    return started;
  }
});

/** Status of the first answer to a read. */
async function eventuallyAnswered(node: NodeProcess): Promise<number> {
  let status = 0;
  await eventually(async () => {
    status = (await node.request('GET', '/get/before0').catch(() => undefined))?.status ?? 0;
    return status !== 0;
  });
  return status;
}

async function generationOf(node: NodeProcess): Promise<string> {
  const current = await readFile(join(node.dataDirectory, 'CURRENT'), 'utf8');
  const generation = /"generation": "([^"]+)"/.exec(current)![1]!;
  expect((await readdir(node.dataDirectory)).filter((name) => name.startsWith('gen-'))).to.deep.equal([generation]);
  return generation;
}
