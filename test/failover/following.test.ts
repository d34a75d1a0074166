import { expect } from 'chai';
import { promote, stateOf, threeNodes, untilEqual } from './three-nodes.ts';

const upstreamOf = (machine: Parameters<typeof stateOf>[0]): string | undefined => machine.node.status().upstream?.url;

describe('a replica', () => {
  it('that follows the primary leaves one that has become a replica', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    // Nobody can tell c: it gets the new epoch through its old upstream.
    cluster.network.partition(b.url, c.url);
    expect(await promote(cluster, b)).to.include({ type: 'promoted', kind: 'switchover' });
    await untilEqual(cluster, a, b, c);
    expect(upstreamOf(c)).to.equal(a.url);
    await cluster.clock.advance(15_000);
    expect(upstreamOf(c), 'the primary can not be reached').to.equal(a.url);
    cluster.network.heal();
    await cluster.clock.untilTrue(() => upstreamOf(c) === b.url);
    // It knows it after a restart too.
    await c.stop();
    cluster.network.partition(a.url, c.url);
    expect(await promote(cluster, a)).to.include({ type: 'promoted', kind: 'switchover' });
    await c.start();
    await untilEqual(cluster, a, b, c);
    expect(upstreamOf(c)).to.equal(b.url);
    cluster.network.heal();
    await cluster.clock.untilTrue(() => upstreamOf(c) === a.url);
    await cluster.stopAll();
  });

  it('that was given another replica to follow stays with it while the primary changes', async () => {
    const { cluster, a, b, c } = await threeNodes();
    const d = cluster.machine('d', { follow: b.url });
    await d.start();
    await a.fill(10);
    await untilEqual(cluster, a, b, c, d);
    expect(await promote(cluster, c)).to.include({ type: 'promoted', kind: 'switchover' });
    await cluster.clock.until(c.put('after', 'y'));
    await cluster.clock.advance(30_000);
    await untilEqual(cluster, a, b, c, d);
    expect(upstreamOf(d)).to.equal(b.url);
    await d.stop();
    await d.start();
    await cluster.clock.advance(30_000);
    expect(upstreamOf(d)).to.equal(b.url);
    // Once its upstream was the primary it is a member, and follows the primary from then on.
    expect(await promote(cluster, b)).to.include({ type: 'promoted', kind: 'switchover' });
    await cluster.clock.advance(2_000);
    expect(await promote(cluster, c)).to.include({ type: 'promoted', kind: 'switchover' });
    await cluster.clock.untilTrue(() => upstreamOf(d) === c.url);
    await cluster.stopAll();
  });

  it('knows its new upstream after a restart, also where that could not be written down at once', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    c.disk.setCapacity(0);
    expect(await promote(cluster, b)).to.include({ type: 'promoted', kind: 'switchover' });
    await cluster.clock.advance(5_000);
    c.disk.setCapacity(1 << 30);
    await untilEqual(cluster, a, b, c);
    await cluster.clock.untilTrue(() => upstreamOf(c) === b.url);
    c.crash();
    cluster.network.partition(a.url, c.url);
    await c.start();
    expect(upstreamOf(c)).to.equal(b.url);
    await cluster.stopAll();
  });

  it('that was given another replica to follow is a member however short that one was the primary, and follows the primary then', async () => {
    const { cluster, a, b, c } = await threeNodes();
    const d = cluster.machine('d', { follow: b.url });
    await d.start();
    await a.fill(10);
    await untilEqual(cluster, a, b, c, d);
    expect(await promote(cluster, b)).to.include({ type: 'promoted', kind: 'switchover' });
    await cluster.clock.untilTrue(() => c.node.status().upstream?.url === b.url && c.node.status().upstream?.connected === true);
    expect(d.node.status().members.map(({ name }) => name)).not.to.include('d');
    // Before a heartbeat tells d what its upstream is.
    expect(await promote(cluster, c)).to.include({ type: 'promoted', kind: 'switchover' });
    await cluster.clock.untilTrue(() => upstreamOf(d) === c.url);
    await cluster.clock.untilTrue(() => c.node.status().members.filter(({ isSettled }) => isSettled === true).length === 4);
    expect(await cluster.clock.until(c.node.write({ kind: 'put', key: 'all', value: 'v' }, {}, { ack: 'all', timeoutMs: 5_000 }))).to.include({ ack: 3 });
    await cluster.stopAll();
  });

  it('leaves a given upstream that follows nobody itself, and never took that one for the primary', async () => {
    const { cluster, a, b, c } = await threeNodes();
    const d = cluster.machine('d', { follow: b.url });
    await d.start();
    await a.fill(10);
    await untilEqual(cluster, a, b, c, d);
    await d.stop();
    // b has promised itself to c, which is gone: it waits for c.
    for (const each of [b, c]) cluster.network.partition(a.url, each.url);
    await cluster.clock.advance(15_000);
    let isAsked = false;
    cluster.network.faultOf = ({ target, to }) => {
      if (target !== '/peer/promise' || to !== b.url) return undefined;
      isAsked = true;
      return { loseAnswer: true };
    };
    promote(cluster, c, { force: true, acceptLoss: 'unknown' }).catch(() => {});
    await cluster.clock.untilTrue(() => isAsked && stateOf(b) === 'promised');
    c.crash();
    cluster.network.heal();
    await d.start();
    await cluster.clock.until(a.put('after', 'y'));
    await cluster.clock.untilTrue(() => d.get('after') === 'y');
    expect(upstreamOf(d)).to.equal(a.url);
    expect(stateOf(b)).to.equal('promised');
    const told = JSON.parse(d.disk.contents('/data/node').get('promises.json')!.toString('utf8').replace(/crc32:.*\n$/, '')) as { heard: { primaryNodeId: string } };
    expect(told.heard.primaryNodeId).to.equal(a.node.nodeId);
    await cluster.stopAll();
  });

  it('that fetches a snapshot of a node that is gone takes that of the next primary', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    cluster.network.partition(a.url, b.url);
    cluster.network.partition(a.url, c.url);
    await cluster.clock.advance(15_000);
    await cluster.clock.until(a.put('alone', 'only here'));
    expect(await promote(cluster, b)).to.include({ type: 'promoted', kind: 'failover' });
    await cluster.clock.until(b.put('after', 'y'));
    await untilEqual(cluster, b, c);
    cluster.network.faultOf = ({ from, to, target }) => (from === a.url && to === b.url && target === '/snapshot' ? { responseBody: { stallAfterBytes: 10 } } : undefined);
    cluster.network.heal();
    await cluster.clock.untilTrue(() => stateOf(a) === 'bootstrapping');
    await cluster.clock.advance(2_000);
    b.crash();
    expect(await promote(cluster, c)).to.include({ type: 'promoted', kind: 'failover' });
    await untilEqual(cluster, a, c);
    expect(upstreamOf(a)).to.equal(c.url);
    expect(a.get('after')).to.equal('y');
    await cluster.stopAll();
  });

  it('that was told to follow the primary knows so from its bootstrap on, however long that takes', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    const fresh = cluster.machine('fresh', { follow: a.url });
    let isHeld = true;
    cluster.network.faultOf = ({ from, target }) => (from === fresh.url && target === '/snapshot' && isHeld ? { responseBody: { stallAfterBytes: 10 } } : undefined);
    await fresh.start();
    await cluster.clock.advance(3_000);
    expect(await promote(cluster, b)).to.include({ type: 'promoted', kind: 'switchover' });
    await cluster.clock.advance(3_000);
    isHeld = false;
    await cluster.clock.untilTrue(() => upstreamOf(fresh) === b.url);
    await untilEqual(cluster, a, b, c, fresh);
    await cluster.stopAll();
  });
});
