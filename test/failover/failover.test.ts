import { expect } from 'chai';
import type { SalvageHeader } from '../../lib/failover/salvage-file.ts';
import { end, promote, threeNodes, untilEqual } from './three-nodes.ts';

describe('a change of the primary', () => {
  it('switches over without losing a write, and all others follow the new primary', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(100);
    const late = Array.from({ length: 20 }, (_, index) => a.put(`late${index}`, 'x'));
    const roles = new Set<string>();
    cluster.network.faultOf = () => {
      roles.add(`${a.node.status().state} ${a.node.status().role}`);
      return undefined;
    };
    const outcome = await promote(cluster, b);
    expect([...roles]).to.include.members(['primary primary', 'handed-over replica']).and.not.include('handed-over primary');
    cluster.network.faultOf = () => undefined;
    expect(outcome).to.include({ type: 'promoted', kind: 'switchover', url: b.url });
    const settled = await cluster.clock.until(Promise.allSettled(late));
    await cluster.clock.untilTrue(() => a.node.status().state === 'following' && c.node.status().upstream?.url === b.url);
    await cluster.clock.until(b.put('after', 'y'));
    await untilEqual(cluster, a, b, c);
    for (const [index, each] of settled.entries()) if (each.status === 'fulfilled') expect(a.get(`late${index}`)).to.equal('x');
    expect([a, b, c].map((machine) => machine.get('after'))).to.deep.equal(['y', 'y', 'y']);
    expect(b.node.status().epoch!.number).to.equal(2);
    await cluster.stopAll();
  });

  it('fails over to a replica when the primary is gone, and refuses while its stream is alive', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(50);
    await untilEqual(cluster, a, b, c);
    cluster.network.partition(a.url, b.url);
    const refused = await promote(cluster, b);
    expect(refused).to.include({ type: 'refused', code: 'promotion-refused' });
    cluster.network.heal();
    a.crash();
    await cluster.clock.advance(5_000);
    expect(await promote(cluster, b)).to.include({ type: 'promoted', kind: 'failover' });
    await cluster.clock.until(b.put('after', 'y'));
    await untilEqual(cluster, b, c);
    expect(c.get('after')).to.equal('y');
    await cluster.stopAll();
  });

  it('fences an old primary that comes back, sets its own writes aside, and lets it follow', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    cluster.network.partition(a.url, b.url);
    cluster.network.partition(a.url, c.url);
    await cluster.clock.advance(15_000);
    await cluster.clock.until(a.put('alone', 'only here'));
    expect(await promote(cluster, b)).to.include({ type: 'promoted', kind: 'failover' });
    await cluster.clock.until(b.put('alone', 'there'));
    cluster.network.heal();
    await cluster.clock.untilTrue(() => a.node.status().state === 'following');
    await untilEqual(cluster, a, b, c);
    expect(a.get('alone')).to.equal('there');
    const [name] = a.node.status().salvage;
    const text = a.disk.contents('/data/node/salvage').get(name!)!.toString('utf8');
    expect(text).to.contain('"key":"alone","value":"only here"');
    const header = JSON.parse(text.split('\n')[0]!) as SalvageHeader;
    const { id, number } = b.node.status().epoch!;
    expect(header.openedEpoch).to.deep.equal({ number, id });
    expect(header.reason).to.match(/^. \(http:\/\/.\) (holds|has opened) epoch 2/);
    await a.disk.makeDirectory('/data/node/salvage/done');
    await a.disk.rename(`/data/node/salvage/${name}`, `/data/node/salvage/done/${name}`);
    expect((await cluster.clock.until(a.node.freshStatus())).salvage).to.deep.equal([]);
    await cluster.stopAll();
  });

  it('is fenced after a restart with its old configuration before it takes a write', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    a.crash();
    await cluster.clock.advance(5_000);
    await promote(cluster, b);
    const states: string[] = [];
    const starting = a.starting();
    await cluster.clock.until(starting);
    states.push(a.node.status().state);
    await cluster.clock.untilTrue(() => a.node.status().state === 'following');
    expect(states).to.not.include('primary');
    await untilEqual(cluster, a, b, c);
    expect(a.node.status().upstream!.url).to.equal(b.url);
    await cluster.stopAll();
  });

  it('names the better node where a replica that is behind is asked', async () => {
    const { cluster, a, b, c } = await threeNodes();
    cluster.network.partition(a.url, b.url);
    await a.fill(30);
    await cluster.clock.untilTrue(() => end(c) === end(a));
    a.crash();
    cluster.network.heal();
    await cluster.clock.advance(15_000);
    const refused = await promote(cluster, b);
    expect(refused).to.include({ type: 'refused', betterUrl: c.url, command: `bin/promote ${c.url}` });
    expect(await promote(cluster, c)).to.include({ type: 'promoted' });
    await untilEqual(cluster, b, c);
    await cluster.stopAll();
  });

  it('needs all promises: a replica that can not be asked may be further', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(5);
    a.crash();
    c.crash();
    await cluster.clock.advance(5_000);
    expect(await promote(cluster, b)).to.include({ type: 'refused', code: 'promotion-refused' });
    expect(b.node.status().promise).to.equal(null);
    expect(await promote(cluster, b, { force: true, acceptLoss: 0 })).to.include({ type: 'promoted', kind: 'forced' });
    await cluster.stopAll();
  });

  it('takes writes again when the target gave the switchover up', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(5);
    await untilEqual(cluster, a, b, c);
    // The target is asked for its state, and hears nothing of the log any more.
    cluster.network.faultOf = ({ target, to }) => (to === a.url && target === '/peer/handover' ? { loseAnswer: true } : undefined);
    const promoting = promote(cluster, b);
    await cluster.clock.untilTrue(() => a.node.status().state !== 'primary');
    b.crash();
    promoting.catch(() => {});
    cluster.network.faultOf = () => undefined;
    await b.start();
    await cluster.clock.untilTrue(() => [a, b].some((machine) => machine.node.status().state === 'primary'));
    const primary = a.node.status().state === 'primary' ? a : b;
    await cluster.clock.until(primary.put('again', 'z'));
    await untilEqual(cluster, a, b, c);
    expect(c.get('again')).to.equal('z');
    await cluster.stopAll();
  });

  it('stops a replica that holds what a forced promotion gave up, also after a restart, until an operator allows it', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(5);
    await untilEqual(cluster, a, b, c);
    cluster.network.partition(a.url, b.url);
    cluster.network.partition(b.url, c.url);
    await a.fill(3, 'more');
    await cluster.clock.untilTrue(() => c.get('more2') !== undefined);
    await cluster.clock.advance(15_000);
    a.crash();
    expect(await promote(cluster, b, { force: true, acceptLoss: 'unknown' })).to.include({ type: 'promoted', kind: 'forced' });
    cluster.network.heal();
    await cluster.clock.untilTrue(() => c.node.status().state === 'diverged');
    expect(() => c.get('more2')).to.throw('did not write them itself').with.property('code', 'not-ready');
    await c.stop();
    await c.start();
    await cluster.clock.advance(5_000);
    expect(c.node.status().state).to.equal('diverged');
    await cluster.clock.until(c.node.rejoin());
    await untilEqual(cluster, b, c);
    expect(c.get('more2')).to.equal(undefined);
    expect(c.node.status().salvage).to.have.lengthOf(1);
    await cluster.stopAll();
  });

  it('takes no write after the end of its epoch, whatever happens next', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(5);
    await untilEqual(cluster, a, b, c);
    cluster.network.faultOf = ({ target, to }) => (to === a.url && target === '/peer/handover' ? { loseAnswer: true } : undefined);
    promote(cluster, b).catch(() => {});
    await cluster.clock.untilTrue(() => a.node.status().state === 'handed-over');
    b.crash();
    c.crash();
    a.crash({ survives: 'nothing' });
    await a.start();
    await cluster.clock.advance(30_000);
    expect(a.node.status().state).to.equal('handed-over');
    // Whoever asks for the primary must not be sent here.
    expect(a.node.status().role).to.equal('replica');
    expect(a.metrics.gauges().isPrimary).to.equal(false);
    expect(a.node.health().ok).to.equal(true);
    expect(a.node.readiness().ok).to.equal(false);
    const refused = await cluster.clock.until(a.put('late', 'x').then(() => 'written', (error: { code: string }) => error.code));
    expect(refused).to.equal('not-primary');
    await cluster.stopAll();
  });

  it('keeps a promoted replica primary after a restart with its old configuration', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(5);
    await promote(cluster, b);
    await cluster.clock.untilTrue(() => a.node.status().state === 'following' && c.node.status().upstream?.url === b.url);
    await b.stop();
    await b.start();
    await cluster.clock.untilTrue(() => b.node.status().state === 'primary');
    await cluster.clock.until(b.put('still', '1'));
    await untilEqual(cluster, a, b, c);
    await cluster.stopAll();
  });
});
