import { expect } from 'chai';
import { ShiplogError } from '../../lib/base/errors.ts';
import { type Machine, MemoryCluster, handlerOf } from '../support/memory-cluster.ts';
import { promote, stateOf, threeNodes, untilEqual } from './three-nodes.ts';

describe('a node that rejoins', () => {
  it('asks again where the snapshot is from before the fork, until a newer one comes', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    await cluster.clock.advance(2_000);
    // The file that b makes now is what it hands out for the next five seconds.
    const cached = await cluster.clock.until(b.node.serveSnapshot({ method: 'HEAD', target: '/snapshot', headers: {} }));
    await a.fill(10, 'shared');
    await untilEqual(cluster, a, b, c);
    cluster.network.partition(a.url, b.url);
    cluster.network.partition(a.url, c.url);
    await cluster.clock.until(a.put('alone', 'only here'));
    a.crash();
    cluster.network.heal();
    expect(await promote(cluster, b)).to.include({ type: 'promoted', kind: 'failover' });
    const handedOut: string[] = [];
    cluster.network.faultOf = ({ from, target }) => {
      if (from === a.url && target === '/snapshot') handedOut.push(target);
      return undefined;
    };
    await a.start();
    await cluster.clock.untilTrue(() => handedOut.length > 0);
    await cluster.clock.advance(500);
    const { headers } = await cluster.clock.until(b.node.serveSnapshot({ method: 'HEAD', target: '/snapshot', headers: {} }));
    expect(headers['etag'], 'the cached file is handed out').to.equal(cached.headers['etag']);
    expect(stateOf(a)).to.equal('bootstrapping');
    await cluster.clock.untilTrue(() => stateOf(a) !== 'bootstrapping');
    expect(stateOf(a)).to.equal('following');
    await untilEqual(cluster, a, b, c);
    expect(a.get('alone')).to.equal(undefined);
    expect(a.node.status().salvage).to.have.lengthOf(1);
    expect(handedOut.length).to.be.greaterThan(1);
    await cluster.stopAll();
  });

  it('is told of the new primary though each of the two was told to forget the other', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    b.crash();
    c.crash();
    await cluster.clock.advance(12_000);
    for (const away of ['b', 'c']) await cluster.clock.until(a.node.forget(away));
    await cluster.clock.until(a.put('alone', 'only here'));
    a.crash();
    await b.start();
    await c.start();
    await cluster.clock.advance(2_000);
    expect(await promote(cluster, b)).to.include({ type: 'promoted', kind: 'failover' });
    await cluster.clock.until(b.node.forget('a'));
    await cluster.clock.until(b.put('new', 'value'));
    await a.start();
    await cluster.clock.untilTrue(() => stateOf(a) === 'following');
    await untilEqual(cluster, a, b, c);
    expect(a.get('alone')).to.equal(undefined);
    expect(a.node.status().salvage).to.have.lengthOf(1);
    expect(b.node.status().members.map(({ name }) => name)).to.have.members(['a', 'b', 'c']);
    await cluster.stopAll();
  });

  it('finds the new primary where only its configuration names an address', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    a.crash();
    await cluster.clock.advance(2_000);
    expect(await promote(cluster, b)).to.include({ type: 'promoted', kind: 'failover' });
    await b.stop();
    await c.stop();
    for (const { disk } of [a, b]) await disk.remove('/data/node/members.json');
    await b.start();
    await a.start({ peers: [b.url] });
    expect(stateOf(a), 'it asks before it takes a write').not.to.equal('primary');
    await cluster.clock.untilTrue(() => stateOf(a) === 'following');
    await untilEqual(cluster, a, b);
    await cluster.stopAll();
  });

  it('stops following the upstream that it had', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    await cluster.clock.advance(2_000);
    cluster.network.partition(c.url, a.url);
    cluster.network.partition(c.url, b.url);
    await a.fill(5, 'without-c');
    await untilEqual(cluster, a, b);
    // a ends its epoch for b, and gets nothing of the new one.
    cluster.network.faultOf = ({ from, target }) => (from === a.url && target.startsWith('/wal') ? { loseAnswer: true } : undefined);
    expect(await promote(cluster, b)).to.include({ type: 'promoted', kind: 'switchover' });
    await cluster.clock.untilTrue(() => stateOf(a) === 'following');
    expect(a.node.status().upstream).to.include({ url: b.url, connected: false });
    expect(await promote(cluster, c, { force: true, acceptLoss: 'unknown' })).to.include({ type: 'promoted', kind: 'forced' });
    b.crash();
    cluster.network.heal();
    let asked = 0;
    cluster.network.faultOf = ({ from, to, target }) => {
      if (from === a.url && to === b.url && target.startsWith('/wal') && stateOf(a) === 'following' && a.node.status().upstream?.url === c.url) asked += 1;
      return undefined;
    };
    await untilEqual(cluster, a, c);
    await cluster.clock.advance(10_000);
    expect(a.node.status().upstream).to.include({ url: c.url, connected: true });
    expect(asked, 'streams from b').to.equal(0);
    await cluster.stopAll();
  });

  it('begins its bootstrap anew where the upstream does not continue the snapshot it gave', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    const fresh = cluster.machine('fresh', { follow: a.url });
    let refusals = 0;
    cluster.network.unlisten(a.url);
    cluster.network.listen(a.url, (request) => {
      // As when the upstream has changed its history between the two.
      if (request.target.includes('advertise=http%3A%2F%2Ffresh') && refusals === 0) {
        refusals += 1;
        throw new ShiplogError('history-diverged', 'the histories part after LSN 0');
      }
      return handlerOf(a.node)(request);
    });
    // Slow enough for the stream to be refused before the file is whole.
    cluster.network.faultOf = ({ from, target }) => (from === fresh.url && target === '/snapshot' && refusals === 0 ? { responseBody: { stallAfterBytes: 10 } } : undefined);
    await fresh.start();
    await cluster.clock.untilTrue(() => stateOf(fresh) !== 'bootstrapping');
    expect(refusals).to.equal(1);
    await untilEqual(cluster, a, fresh);
    await cluster.stopAll();
  });

  it('with another checksum than the primary replaces its data, and keeps what it had', async () => {
    const { cluster, primary, replica } = await MemoryCluster.pair();
    await primary.fill(10);
    await untilEqual(cluster, primary, replica);
    await replica.stop();
    await primary.stop();
    // A twin of the primary goes on from the same point with other operations: no history shows that.
    const twin = cluster.machine('twin');
    const copied = primary.disk;
    primary.disk = copied.crash({ survives: 'everything' });
    twin.disk = copied.crash({ survives: 'everything' });
    twin.stores.copyFrom(primary.stores);
    await primary.start();
    await twin.start();
    await primary.fill(5, 'true');
    await twin.fill(5, 'fake');
    await replica.start();
    await cluster.clock.untilTrue(() => replica.get('true4') !== undefined);
    await replica.stop();
    await primary.stop();
    await replica.start({ follow: twin.url });
    await cluster.clock.untilTrue(() => stateOf(replica) === 'diverged');
    // It waits for somebody to look at it, also after a restart.
    await replica.stop();
    await replica.start({ follow: twin.url });
    await cluster.clock.advance(10_000);
    expect(stateOf(replica)).to.equal('diverged');
    const generation = replica.disk.directories('/data/node').find((path) => /gen-\d{6}$/.test(path));
    await cluster.clock.until(replica.node.rejoin());
    await cluster.clock.advance(10_000);
    await untilEqual(cluster, twin, replica);
    expect(replica.get('fake4')).to.be.a('string');
    expect(replica.get('true4')).to.equal(undefined);
    expect(replica.disk.directories('/data/node')).to.include(generation);
    expect(replica.node.status().fence).to.equal(null);
    await cluster.stopAll();
  });

  it('because an operator allowed it was allowed it once', async () => {
    const { cluster, a, b, c } = await threeNodes();
    /** Promotes `target` by force, while `replica` alone holds what the primary wrote last. */
    const leaveBehind = async (primary: Machine, target: Machine, replica: Machine, key: string): Promise<void> => {
      await untilEqual(cluster, primary, target, replica);
      cluster.network.partition(primary.url, target.url);
      cluster.network.partition(target.url, replica.url);
      await cluster.clock.until(primary.put(key, 'x'));
      await cluster.clock.untilTrue(() => replica.get(key) !== undefined);
      await cluster.clock.advance(15_000);
      primary.crash();
      expect(await promote(cluster, target, { force: true, acceptLoss: 'unknown' })).to.include({ type: 'promoted', kind: 'forced' });
      cluster.network.heal();
      await primary.start();
      await cluster.clock.untilTrue(() => stateOf(primary) === 'following');
      await cluster.clock.untilTrue(() => replica.node.status().fence !== null || replica.get(key) === undefined);
    };
    await a.fill(5);
    await leaveBehind(a, b, c, 'first');
    expect(stateOf(c)).to.equal('diverged');
    await cluster.clock.until(c.node.rejoin());
    await untilEqual(cluster, a, b, c);
    await leaveBehind(b, a, c, 'second');
    expect(stateOf(c)).to.equal('diverged');
    await cluster.stopAll();
  });
});
