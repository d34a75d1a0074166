import { expect } from 'chai';
import { ShiplogError } from '../../lib/base/errors.ts';
import { sleep } from '../../lib/env/clock.ts';
import type { PromoteEvent } from '../../lib/failover/promote-events.ts';
import { handlerOf } from '../support/memory-cluster.ts';
import { FaultyFile, end, promote, promotionEvents, stateOf, threeNodes, untilEqual, untilMembers } from './three-nodes.ts';

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

  it('that was broken off in the middle gives its promise back, and follows again', async () => {
    const file = new FaultyFile();
    const { cluster, a, b, c } = await threeNodes({}, file.disk);
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    cluster.network.partition(a.url, b.url);
    cluster.network.partition(a.url, c.url);
    await cluster.clock.advance(15_000);
    cluster.network.faultOf = ({ target, to }) => {
      if (to !== c.url || target !== '/peer/promise') return undefined;
      // From here on nothing can be given up durably.
      file.failing = 'promises.json';
      return { refuse: true };
    };
    expect(await promote(cluster, b)).to.include({ type: 'refused' });
    expect(b.node.status().promise).to.include({ targetNodeId: b.node.nodeId });
    await cluster.clock.advance(5_000);
    file.failing = undefined;
    cluster.network.faultOf = () => undefined;
    await cluster.clock.untilTrue(() => b.node.status().promise === null);
    cluster.network.heal();
    await cluster.clock.until(a.put('after', 'y'));
    await untilEqual(cluster, a, b, c);
    expect(b.get('after')).to.equal('y');
    await cluster.stopAll();
  });

  it('that a crash broke off on the primary itself does not keep it from following a lower number', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    // Somebody promised beyond this epoch, to a target that is gone.
    cluster.network.partition(a.url, b.url);
    cluster.network.partition(a.url, c.url);
    await cluster.clock.advance(15_000);
    let hasPromised = false;
    cluster.network.faultOf = ({ target, to }) => {
      if (to !== c.url || target !== '/peer/promise') return undefined;
      hasPromised = true;
      return { loseAnswer: true };
    };
    promote(cluster, b).catch(() => {});
    await cluster.clock.untilTrue(() => hasPromised && c.node.status().promise !== null);
    b.crash();
    cluster.network.heal();
    // Now the primary promises itself to an epoch that nobody else hears of, and crashes too.
    let isAsked = false;
    cluster.network.faultOf = ({ from, target }) => {
      if (from !== a.url || target !== '/peer/promise') return undefined;
      isAsked = true;
      return { delayMs: 30_000 };
    };
    promotionEvents(a, { force: true, acceptLoss: 'unknown' }).catch(() => {});
    await cluster.clock.untilTrue(() => isAsked);
    a.crash();
    cluster.network.faultOf = () => undefined;
    await b.start();
    await cluster.clock.advance(5_000);
    const promoted = await promote(cluster, b);
    expect(promoted).to.include({ type: 'promoted', kind: 'failover' });
    // The very number that the old primary has promised itself to.
    expect(promoted).to.have.nested.property('epoch.number', a.disk.contents('/data/node').get('promises.json')!.toString('utf8').includes('"number": 3') ? 3 : 0);
    await a.start();
    await cluster.clock.untilTrue(() => stateOf(a) === 'following' && a.node.status().promise === null);
    await cluster.clock.until(b.put('after', 'y'));
    await untilEqual(cluster, a, b, c);
    await cluster.stopAll();
  });

  it('of a replica that is promised to a target that is away says who settles that: it would wait for its stream for ever', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    for (const each of [b, c]) cluster.network.partition(a.url, each.url);
    await cluster.clock.advance(15_000);
    expect(await promote(cluster, b)).to.include({ type: 'promoted', kind: 'failover' });
    expect(stateOf(c)).to.equal('promised');
    b.crash();
    cluster.network.heal();
    await cluster.clock.advance(5_000);
    expect([stateOf(a), stateOf(c)]).to.deep.equal(['primary', 'promised']);
    const refused = await promote(cluster, c);
    expect(refused).to.include({ type: 'refused', code: 'promotion-refused', command: `bin/promote ${a.url}` });
    expect(refused).to.have.property('message').that.contains(`promised itself to ${b.url} for epoch 2`);
    expect(await promote(cluster, a)).to.include({ type: 'refused', command: `bin/promote ${a.url} --force --accept-loss 0` });
    await b.start();
    await untilEqual(cluster, a, b, c);
    expect(stateOf(b)).to.equal('primary');
    await cluster.stopAll();
  });

  it('that a handed-over primary was promised to, and that came to nothing, lets it wait for its target again', async () => {
    const file = new FaultyFile();
    const { cluster, a, b, c } = await threeNodes({}, file.disk);
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    // The epoch ends for b, which hears nothing of it and goes.
    cluster.network.faultOf = ({ from, target }) => {
      const isHandover = from === b.url && target === '/peer/handover';
      if (isHandover) cluster.network.cut((exchange) => exchange.from === b.url && exchange.target.startsWith('/wal'));
      return isHandover || (from === b.url && target.startsWith('/wal')) ? { loseAnswer: true } : undefined;
    };
    promote(cluster, b).catch(() => {});
    await cluster.clock.untilTrue(() => stateOf(a) === 'handed-over');
    b.crash();
    cluster.network.faultOf = ({ from, target }) => {
      if (from === c.url && target === '/peer/promise') file.failing = '/wal/';
      return undefined;
    };
    await cluster.clock.advance(2_000);
    expect(await promote(cluster, c, { force: true, acceptLoss: 'unknown' })).to.include({ type: 'refused' });
    expect(stateOf(a)).to.equal('promised');
    file.failing = undefined;
    await cluster.clock.untilTrue(() => a.node.status().promise === null && c.node.status().promise === null);
    expect(stateOf(a)).to.equal('handed-over');
    cluster.network.faultOf = () => undefined;
    await b.start();
    await cluster.clock.untilTrue(() => stateOf(a) === 'primary');
    await cluster.clock.until(a.put('after', 'y'));
    await untilEqual(cluster, a, b, c);
    await cluster.stopAll();
  });

  it('of a node that was fenced is refused, though nobody whom it knows can say anything against it', async () => {
    const file = new FaultyFile();
    const { cluster, a, b, c } = await threeNodes({}, file.disk);
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    cluster.network.partition(a.url, b.url);
    cluster.network.partition(a.url, c.url);
    await cluster.clock.advance(12_000);
    for (const away of ['b', 'c']) await cluster.clock.until(a.node.forget(away));
    await cluster.clock.until(a.put('alone', 'only here'));
    expect(await promote(cluster, b)).to.include({ type: 'promoted', kind: 'failover' });
    await cluster.clock.until(b.node.write({ kind: 'put', key: 'confirmed', value: 'y' }, {}, { ack: 1, timeoutMs: 5_000 }));
    // It learns of the new epoch, and gets no further before the others are gone.
    file.failing = 'salvage/';
    cluster.network.heal();
    await cluster.clock.untilTrue(() => stateOf(a) === 'fenced');
    b.crash();
    c.crash();
    file.failing = undefined;
    const end = await promote(cluster, a);
    expect(end).to.include({ type: 'refused', code: 'promotion-refused', command: `bin/promote ${a.url} --force --accept-loss unknown` });
    expect(end).to.have.property('message').that.matches(/^a is fenced: b \(http:..b\) (holds|has opened) epoch 2/);
    expect(await promote(cluster, a, { force: true, acceptLoss: 20 })).to.include({ type: 'refused' });
    expect(await promote(cluster, a, { force: true, acceptLoss: 'unknown' })).to.include({ type: 'promoted', kind: 'forced' });
    await cluster.stopAll();
  });

  it('of the primary itself settles a later promise of one of its replicas: those that follow it are no obstacle', async () => {
    const file = new FaultyFile();
    const { cluster, a, b, c } = await threeNodes({}, file.disk);
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    // c promises itself to b, which crashes before anything comes of it, and can not tell c afterwards.
    for (const each of [b, c]) cluster.network.partition(a.url, each.url);
    await cluster.clock.advance(15_000);
    let isAsked = false;
    cluster.network.faultOf = ({ target, to }) => {
      if (target !== '/peer/promise' || to !== c.url) return undefined;
      isAsked = true;
      return { loseAnswer: true };
    };
    promote(cluster, b).catch(() => {});
    await cluster.clock.untilTrue(() => isAsked && c.node.status().promise !== null);
    b.crash();
    cluster.network.faultOf = () => undefined;
    cluster.network.heal();
    cluster.network.partition(b.url, c.url);
    await b.start();
    await untilEqual(cluster, a, b);
    await cluster.clock.untilTrue(() => b.node.status().upstream?.connected === true);
    expect(stateOf(c)).to.equal('promised');
    file.failing = '/wal/';
    expect(await promote(cluster, a)).to.include({ type: 'refused', code: 'disk-full' });
    expect(stateOf(a)).to.equal('primary');
    file.failing = undefined;
    expect(await promote(cluster, a)).to.include({ type: 'promoted', kind: 'failover' });
    await cluster.clock.until(a.put('after', 'y'));
    await untilEqual(cluster, a, b, c);
    expect(a.node.status().epoch!.number).to.be.greaterThan(2);
    await cluster.stopAll();
  });

  it('says disk-full where its promise finds no room, and goes on as before', async () => {
    const file = new FaultyFile();
    const { cluster, a, b, c } = await threeNodes({}, file.disk);
    await untilEqual(cluster, a, b, c);
    file.failing = 'promises.json';
    expect(await promote(cluster, b)).to.include({ type: 'refused', code: 'disk-full' });
    file.failing = undefined;
    expect(stateOf(a)).to.equal('primary');
    expect(await promote(cluster, b)).to.include({ type: 'promoted', kind: 'switchover' });
    await cluster.stopAll();
  });

  it('that can not write down its role after the epoch has begun says that the outcome is unknown, and ends the node', async () => {
    for (const code of ['ENOSPC', 'EIO']) {
      const file = new FaultyFile();
      file.code = code;
      const { cluster, a, b, c } = await threeNodes({}, file.disk);
      await a.fill(10);
      await untilEqual(cluster, a, b, c);
      a.crash();
      await cluster.clock.advance(5_000);
      cluster.network.faultOf = ({ target }) => {
        if (target === '/peer/promise') file.failing = 'node.json';
        return undefined;
      };
      expect(await promote(cluster, b)).to.include({ type: 'refused', code: 'outcome-unknown' });
      expect(stateOf(b)).to.equal('failed');
      file.failing = undefined;
      b.crash();
      await b.start();
      await cluster.clock.untilTrue(() => stateOf(b) === 'primary' && c.node.status().upstream?.url === b.url);
      expect(b.node.status().epoch!.number).to.equal(2);
      await cluster.stopAll();
    }
  });

  it('whose record may be in the log after all says that the outcome is unknown', async () => {
    const file = new FaultyFile();
    file.code = 'EIO';
    const { cluster, a, b, c } = await threeNodes({}, file.disk);
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    a.crash();
    await cluster.clock.advance(5_000);
    cluster.network.faultOf = ({ target }) => {
      if (target === '/peer/promise') file.failing = '/wal/';
      return undefined;
    };
    expect(await promote(cluster, b)).to.include({ type: 'refused', code: 'outcome-unknown' });
    expect(stateOf(b)).to.equal('failed');
    file.failing = undefined;
    await cluster.stopAll();
  });

  it('that an error broke off is looked after at once', async () => {
    const file = new FaultyFile();
    const { cluster, a, b, c } = await threeNodes({}, file.disk);
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    a.crash();
    await cluster.clock.advance(5_000);
    cluster.network.faultOf = ({ target }) => {
      if (target === '/peer/promise') file.failing = '/wal/';
      return undefined;
    };
    expect(await promote(cluster, b)).to.include({ type: 'refused', code: 'disk-full' });
    await cluster.clock.advance(100);
    expect(b.node.status().promise).to.equal(null);
    expect(stateOf(b)).to.equal('following');
    file.failing = undefined;
    cluster.network.faultOf = () => undefined;
    await cluster.clock.advance(3_000);
    expect(await promote(cluster, b)).to.include({ type: 'promoted' });
    await cluster.stopAll();
  });

  it('is not broken by a refusal that tells no state, or that of another node', async () => {
    for (const kind of ['rubbish', 'nothing', 'half a state', 'a state of another node']) {
      const { cluster, a, b, c } = await threeNodes();
      await a.fill(10);
      await untilEqual(cluster, a, b, c);
      const { clusterId, history } = a.node.status();
      const other = { nodeId: 'e'.repeat(32), name: 'other', url: 'http://other', state: 'following', clusterId, history, end: { lsn: 1_000, chain: 0 }, promises: [], heard: null, members: [] };
      const told = { rubbish: 'rubbish', nothing: null, 'half a state': { ...other, nodeId: c.node.nodeId, history: 7 }, 'a state of another node': other }[kind];
      a.crash();
      await cluster.clock.advance(5_000);
      cluster.network.unlisten(c.url);
      cluster.network.listen(c.url, (request) => {
        if (request.target === '/peer/promise') throw new ShiplogError('promotion-refused', 'c does not want to', { extra: { state: told } });
        return handlerOf(c.node)(request);
      });
      const refused = await promote(cluster, b);
      expect(refused, kind).to.include({ type: 'refused', code: 'promotion-refused', betterUrl: null });
      expect(refused, kind).to.have.property('message').that.contains('c does not want to');
      expect(b.node.status().promise).to.equal(null);
      await cluster.stopAll();
    }
  });

  it('keeps the promise of a node that hears late what its target said before', async () => {
    const { cluster, a, b, c } = await threeNodes();
    const d = cluster.machine('d', { follow: a.url });
    await d.start();
    await untilMembers(cluster, 4, a, b, c, d);
    await a.fill(10);
    await untilEqual(cluster, a, b, c, d);
    a.crash();
    await cluster.clock.advance(5_000);
    // b answers c at once, but the answer, which knows of no promise, takes its time.
    let answered = 0;
    cluster.network.unlisten(b.url);
    cluster.network.listen(b.url, async (request) => {
      const answer = await handlerOf(b.node)(request);
      if (request.target !== '/peer/state' || !Buffer.from(request.body as Uint8Array).includes(`"nodeId":"${c.node.nodeId}","name":"c"`)) return answer;
      answered += 1;
      await sleep(cluster.clock, 1_200);
      return answer;
    });
    // d holds the promotion open for longer than that.
    cluster.network.faultOf = ({ to, target }) => (to === d.url && target === '/peer/promise' ? { delayMs: 5_000 } : undefined);
    await cluster.clock.untilTrue(() => answered > 0);
    expect(c.node.status().promise).to.equal(null);
    const promoting = promote(cluster, b);
    await cluster.clock.untilTrue(() => stateOf(c) === 'promised');
    expect(answered, 'no later question was answered').to.equal(1);
    await cluster.clock.advance(3_000);
    expect(answered).to.be.greaterThan(1);
    expect(stateOf(c)).to.equal('promised');
    expect(c.node.status().promise).to.include({ targetNodeId: b.node.nodeId });
    expect(await promoting).to.include({ type: 'promoted', kind: 'failover' });
    await untilEqual(cluster, b, c, d);
    await cluster.stopAll();
  });

  it('does nothing riskier than what was agreed to', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    expect(await promote(cluster, b, { expectKind: 'none' })).to.include({ type: 'refused', code: 'promotion-refused' });
    a.crash();
    await cluster.clock.advance(5_000);
    const refused = await promote(cluster, b, { expectKind: 'switchover' });
    expect(refused).to.include({ type: 'refused', code: 'promotion-refused', command: `bin/promote ${b.url}` });
    expect(refused).to.have.property('message').that.contains('a switchover was agreed to').and.contains('a failover');
    expect(b.node.status().promise).to.equal(null);
    expect(await promote(cluster, b, { expectKind: 'failover' })).to.include({ type: 'promoted', kind: 'failover' });
    await cluster.clock.untilTrue(() => c.node.status().upstream?.url === b.url);
    // Less risk than agreed to is welcome.
    expect(await promote(cluster, c, { expectKind: 'failover' })).to.include({ type: 'promoted', kind: 'switchover' });
    await cluster.stopAll();
  });

  it('does not become a forced one after all where a failover was agreed to', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    a.crash();
    await cluster.clock.advance(5_000);
    const wish = { force: true, acceptLoss: 0 } as const;
    const { clusterId, history } = c.node.status();
    const told = { nodeId: c.node.nodeId, name: 'c', url: c.url, state: 'following', clusterId, history, end: { lsn: 1, chain: 0 }, promises: [], heard: null, members: [] };
    cluster.network.unlisten(c.url);
    cluster.network.listen(c.url, (request) => {
      if (request.target === '/peer/promise') throw new ShiplogError('promotion-refused', 'c does not want to', { extra: { state: told } });
      return handlerOf(c.node)(request);
    });
    expect(await promote(cluster, b, { ...wish, expectKind: 'failover' })).to.include({ type: 'refused', command: `bin/promote ${b.url} --force --accept-loss 0` });
    cluster.network.faultOf = ({ to, target }) => (to === c.url && target === '/peer/promise' ? { refuse: true } : undefined);
    expect(await promote(cluster, b, { ...wish, expectKind: 'failover' })).to.include({ type: 'refused', command: `bin/promote ${b.url} --force --accept-loss 0` });
    expect(b.node.status().promise).to.equal(null);
    expect(await promote(cluster, b, { ...wish, expectKind: 'forced' })).to.include({ type: 'promoted', kind: 'forced' });
    await cluster.stopAll();
  });

  it('that meets another one says so, and how to go on', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    cluster.network.faultOf = ({ target }) => (target === '/peer/handover' ? { delayMs: 2_000 } : undefined);
    const first = promote(cluster, b);
    await cluster.clock.untilTrue(() => b.node.status().promise !== null);
    const second = await promote(cluster, b);
    expect(second).to.include({ type: 'refused', code: 'promotion-under-way', command: `bin/promote ${b.url}` });
    expect(second).to.have.property('message').that.contains('busy promoting itself');
    expect(await first).to.include({ type: 'promoted', kind: 'switchover' });
    await cluster.stopAll();
  });

  it('that is run again in its middle says that it is under way, not what it looks like from there', async () => {
    for (const step of ['stopping-writes', 'catching-up', 'opening']) {
      let syncMs = 0;
      const { cluster, a, b, c } = await threeNodes({}, { delay: async ({ name }) => (name === 'sync' && syncMs > 0 ? sleep(cluster.clock, syncMs) : undefined) });
      await a.fill(10);
      await untilEqual(cluster, a, b, c);
      syncMs = 1;
      let second: Promise<PromoteEvent[]> | undefined;
      const first = (async () => {
        let last: PromoteEvent | undefined;
        for await (const event of b.node.promote({ force: false, acceptLoss: null, isDryRun: false })) {
          if (event.type === 'step' && event.step === step) second = promotionEvents(b);
          last = event;
        }
        return last;
      })();
      expect(await cluster.clock.until(first), step).to.include({ type: 'promoted', kind: 'switchover' });
      const last = (await cluster.clock.until(second!)).at(-1)!;
      if (last.type === 'promoted') expect(last.kind, step).to.equal('none');
      else expect(last, step).to.include({ type: 'refused', code: 'promotion-under-way', betterUrl: null, command: `bin/promote ${b.url}` });
      await untilEqual(cluster, a, b, c);
      await cluster.stopAll();
    }
  });

  it('that asks a node which promotes itself says so, and does not advise to force it', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    a.crash();
    await cluster.clock.advance(5_000);
    cluster.network.faultOf = ({ target }) => (target === '/peer/promise' ? { delayMs: 100 } : undefined);
    const ends = await cluster.clock.until(Promise.all([promotionEvents(b), promotionEvents(c)]));
    expect(ends[0].at(-1)).to.include({ type: 'refused', code: 'promotion-under-way', message: 'c (http://c) is busy promoting itself; try again in a moment', command: 'bin/promote http://b' });
    // By then the other one has given its promise up, but not the number.
    expect(ends[1].at(-1)).to.include({ type: 'refused', code: 'promotion-under-way', message: 'b (http://b) has promised itself to epoch 2 already, asked for 2: try again', command: 'bin/promote http://c' });
    expect(await promote(cluster, b)).to.include({ type: 'promoted', kind: 'failover' });
    await cluster.stopAll();
  });

  it('that is given up does not end what its target had promised to another one before', async () => {
    const { cluster, a, b, c } = await threeNodes();
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    for (const replica of [b, c]) cluster.network.partition(a.url, replica.url);
    await cluster.clock.advance(15_000);
    // c waits long for a's answer, with b's promise in its hand.
    const promoting = promotionEvents(c);
    await cluster.clock.untilTrue(() => stateOf(b) === 'promised' && stateOf(c) === 'promised');
    cluster.network.faultOf = ({ from, to }) => (from === b.url && to === a.url ? { refuse: true } : undefined);
    expect(await promote(cluster, b)).to.include({ type: 'refused' });
    expect(b.node.status().promise).to.include({ targetNodeId: c.node.nodeId });
    expect(stateOf(b), 'confirms nothing to a').to.equal('promised');
    cluster.network.faultOf = () => undefined;
    cluster.network.join(a.url, b.url);
    const alone = cluster.clock.until(a.node.write({ kind: 'put', key: 'alone', value: 'x' }, {}, { ack: 1, timeoutMs: 60_000 })).catch((error: unknown) => error);
    expect((await cluster.clock.until(promoting)).at(-1)).to.include({ type: 'promoted', url: c.url });
    cluster.network.heal();
    expect(await alone).to.include({ code: 'outcome-unknown' });
    await untilEqual(cluster, a, b, c);
    await cluster.stopAll();
  });

  it('that is given up gives the promise back that it took over: that one may have been kept', async () => {
    const file = new FaultyFile();
    const { cluster, a, b, c } = await threeNodes({}, file.disk);
    await a.fill(10);
    await untilEqual(cluster, a, b, c);
    for (const each of [b, c]) cluster.network.partition(a.url, each.url);
    await cluster.clock.advance(15_000);
    // b opens its epoch with c's promise, and is cut off before anybody hears of it.
    cluster.network.faultOf = ({ from }) => (from === b.url && stateOf(b) === 'primary' ? { refuse: true } : undefined);
    expect(await promote(cluster, b)).to.include({ type: 'promoted', kind: 'failover' });
    for (const each of [a, c]) cluster.network.partition(b.url, each.url);
    cluster.network.join(a.url, c.url);
    expect(c.node.status().promise).to.include({ targetNodeId: b.node.nodeId });
    // The old primary gets a later promise of c, and has to give that up.
    cluster.network.faultOf = ({ from, target }) => {
      if (from === a.url && target === '/peer/promise') file.failing = '/wal/';
      return undefined;
    };
    expect(await promote(cluster, a, { force: true, acceptLoss: 0 })).to.include({ type: 'refused', code: 'disk-full' });
    expect(c.node.status().promise).to.include({ targetNodeId: a.node.nodeId });
    file.failing = undefined;
    await cluster.clock.advance(10_000);
    expect(c.node.status().promise, 'c confirms nothing to the old primary').to.include({ targetNodeId: b.node.nodeId });
    await c.stop();
    await c.start();
    await cluster.clock.advance(10_000);
    expect(stateOf(c)).to.equal('promised');
    cluster.network.heal();
    await cluster.clock.untilTrue(() => c.node.status().upstream?.url === b.url && c.node.status().promise === null);
    await cluster.clock.until(b.put('after', 'y'));
    await untilEqual(cluster, a, b, c);
    await cluster.stopAll();
  });
});
