import { expect } from 'chai';
import { end, promote, stateOf, threeNodes, untilEqual } from './three-nodes.ts';

describe('a promotion', () => {
  it('is refused on a node that has no list of members from the primary: it would ask nobody', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(20);
    await untilEqual(cluster, a, b, c);
    const fresh = cluster.machine('fresh', { follow: a.url });
    // Its snapshot arrives, the stream that would bring the members never does.
    cluster.network.faultOf = ({ from, target }) => (from === fresh.url && target.startsWith('/wal') ? { refuse: true } : undefined);
    await fresh.start();
    await cluster.clock.untilTrue(() => stateOf(fresh) === 'following');
    await a.fill(20, 'later');
    await cluster.clock.untilTrue(() => end(b) === end(a));
    a.crash();
    await cluster.clock.advance(15_000);
    expect(fresh.node.status().members).to.deep.equal([]);
    const refused = await promote(cluster, fresh);
    expect(refused).to.include({ type: 'refused', code: 'promotion-refused', command: `bin/promote ${fresh.url} --force --accept-loss unknown` });
    expect(refused).to.have.property('message').that.contains('no list of the members');
    expect(await promote(cluster, b)).to.include({ type: 'promoted', kind: 'failover' });
    expect(b.get('later19')).to.be.a('string');
    await cluster.stopAll();
  });
});
