import { expect } from 'chai';
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
});
