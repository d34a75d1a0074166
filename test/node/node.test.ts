import { expect } from 'chai';
import { ShiplogError } from '../../lib/base/errors.ts';
import { readBody } from '../../lib/env/transport.ts';
import type { Store } from '../../lib/store/store.ts';
import { rejectionOf } from '../env/rejection.ts';
import { MemoryCluster } from '../support/memory-cluster.ts';
import type { DiskCall } from '../support/memory-disk.ts';

describe('Node', () => {
  it('founds a cluster, serves reads of its writes, and has them after a restart', async () => {
    const cluster = new MemoryCluster();
    const machine = cluster.machine('primary');
    await machine.start();
    await machine.fill(120);
    expect(machine.get('key119')).to.match(/^119 /);
    const { clusterId } = machine.node.status();
    await machine.stop();
    await machine.start();
    expect(machine.node.status().clusterId).to.equal(clusterId);
    expect(machine.get('key119')).to.match(/^119 /);
    expect(machine.node.status().epoch?.number, 'a restart opens no epoch').to.equal(1);
    await machine.stop();
  });

  it('ships what is written to a replica, which shows it', async () => {
    const { cluster, primary, replica } = await MemoryCluster.pair();
    await primary.fill(200);
    await cluster.clock.untilTrue(() => replica.get('key199') !== undefined);
    expect(replica.node.visiblePosition()).to.deep.equal(primary.node.visiblePosition());
    await cluster.stopAll();
  });

  it('leaves no timer, file or connection behind when it stops', async () => {
    const { cluster, primary, replica } = await MemoryCluster.pair();
    await primary.fill(200);
    await cluster.stopAll();
    await cluster.clock.settle();
    expect(cluster.clock.timerCount, 'timers').to.equal(0);
    expect(cluster.network.live, 'connections').to.deep.equal([]);
    expect(primary.disk.openFiles).to.deep.equal([]);
    expect(replica.disk.openFiles).to.deep.equal([]);
  });

  it('keeps every acknowledged write through a power cut at any call to the disk of a first start', async function () {
    this.timeout(60_000);
    let calls = 0;
    for (let halt = 1; calls === 0; halt += 1) {
      const cluster = new MemoryCluster(halt);
      let isOver = false;
      const intercept = (call: DiskCall) => (call.index === halt ? { kind: 'halt' as const, effect: halt % 2 === 0 } : undefined);
      const machine = cluster.machine('primary', {}, { intercept });
      const acknowledged: string[] = [];
      const life = (async () => {
        await machine.starting();
        for (let index = 0; index < 4; index += 1) {
          await machine.put(`k${index}`, `v${index}`);
          acknowledged.push(`k${index}`);
        }
        isOver = true;
      })();
      void machine.disk.halted.then(() => {
        isOver = true;
      });
      await cluster.clock.untilTrue(() => isOver);
      if (acknowledged.length === 4) calls = halt;
      machine.crash({ survives: 'nothing' }, { intercept: () => undefined });
      await machine.start();
      for (const key of acknowledged) expect(machine.get(key), `${key} after a halt at call ${halt}`).to.equal(`v${key.slice(1)}`);
      await cluster.clock.until(machine.put('after', 'the crash'));
      expect(machine.get('after')).to.equal('the crash');
      await machine.stop();
      void life;
    }
    expect(calls).to.be.greaterThan(40);
  });

  it('opens its first epoch where a crash left a first segment without a frame', async () => {
    const cluster = new MemoryCluster();
    let writes = 0;
    // The first write is the segment's header, under the name that it bears until the rotation; the second, its first frame.
    const intercept = (call: DiskCall) => (call.name === 'writeAt' && call.path.endsWith('next.spare') && ++writes === 2 ? { kind: 'halt' as const, effect: false } : undefined);
    const machine = cluster.machine('primary', {}, { intercept });
    void machine.starting();
    let isHalted = false;
    void machine.disk.halted.then(() => {
      isHalted = true;
    });
    await cluster.clock.untilTrue(() => isHalted);
    machine.crash({ survives: 'everything' }, { intercept: () => undefined });
    await machine.start();
    expect(machine.node.status().epoch?.number).to.equal(1);
    await cluster.clock.until(machine.put('key', 'value'));
    await machine.stop();
  });

  it('goes on from a crash of both nodes, again and again, with everything that was acknowledged', async function () {
    this.timeout(60_000);
    for (let seed = 1; seed <= 12; seed += 1) {
      const cluster = new MemoryCluster(seed);
      const primary = cluster.machine('primary', { checkpointOperations: 20 }, { shortWrites: 0.2 });
      await primary.start();
      const replica = cluster.machine('replica', { follow: primary.url, checkpointOperations: 20 }, { shortWrites: 0.2 });
      await replica.start();
      const acknowledged = new Map<string, string>();
      for (let round = 0; round < 4; round += 1) {
        const writes = Array.from({ length: 60 }, (_, index) => {
          const [key, value] = [`k${cluster.random.below(40)}`, `${round}/${index}`];
          return primary.put(key, value).then(() => acknowledged.set(key, value));
        });
        for (const write of writes) write.catch(() => {});
        await cluster.clock.until(Promise.all(writes.slice(0, cluster.random.below(60))));
        const crashed = cluster.random.pick([primary, replica]);
        crashed.crash({ garble: 0.2 });
        await crashed.start();
        if (crashed === replica) await cluster.clock.until(Promise.allSettled(writes));
      }
      await cluster.clock.until(primary.put('last', 'write'));
      await cluster.clock.untilTrue(() => replica.node.health().ok && replica.get('last') === 'write');
      for (const key of acknowledged.keys()) expect(replica.get(key), `seed ${seed}, ${key}`).to.equal(primary.get(key));
      // Written before each other's answer, so only the last of each key is certain to be there, or a later one of its round.
      for (const [key, value] of acknowledged) expect(Number(primary.get(key)!.split('/')[0])).to.be.at.least(Number(value.split('/')[0]), `seed ${seed}, ${key}`);
      const digests = await Promise.all([primary, replica].map((machine) => cluster.clock.until(machine.node.servePeer({ method: 'GET', target: `/peer/digest?at=${primary.node.visiblePosition().lsn}`, headers: {} }))));
      const [one, other] = await Promise.all(digests.map(async (digest) => (await readBody(digest.body, 1_000)).toString()));
      expect(one).to.equal(other);
      await cluster.stopAll();
    }
  });

  it('answers a write 503 and keeps serving while the disk is full, and takes writes again when there is room', async () => {
    const cluster = new MemoryCluster();
    const machine = cluster.machine('primary');
    await machine.start();
    await machine.fill(10);
    machine.disk.setCapacity(0);
    expect(await rejectionOf(cluster.clock.until(machine.put('more', 'x'.repeat(10_000))))).to.include({ code: 'disk-full' });
    expect(machine.get('key9')).to.match(/^9 /);
    machine.disk.setCapacity(1 << 30);
    await cluster.clock.until(machine.put('more', 'fits'));
    expect(machine.get('more')).to.equal('fits');
    await machine.stop();
  });

  it('stops cleanly on a full disk, and gives its lock back', async () => {
    const cluster = new MemoryCluster();
    const machine = cluster.machine('primary');
    await machine.start();
    await machine.fill(10);
    machine.disk.setCapacity(0);
    await machine.stop();
    expect(machine.disk.openFiles).to.deep.equal([]);
    machine.disk.setCapacity(1 << 30);
    await machine.start();
    expect(machine.get('key9')).to.match(/^9 /);
    await machine.stop();
  });

  it('answers outcome-unknown and fails for good when a sync fails', async () => {
    const cluster = new MemoryCluster();
    let isFailing = false;
    const machine = cluster.machine('primary', {}, { intercept: (call) => (isFailing && call.name === 'sync' && call.path.includes('/wal/') ? { kind: 'error', code: 'EIO' } : undefined) });
    const node = await machine.start();
    await machine.fill(10);
    isFailing = true;
    expect(await rejectionOf(cluster.clock.until(machine.put('key', 'value')))).to.include({ code: 'outcome-unknown' });
    expect(await cluster.clock.until(node.failed)).to.include({ code: 'log-poisoned' });
    expect(node.health().ok).to.be.false;
    expect(() => node.read('key1')).to.throw(ShiplogError).with.property('code', 'not-ready');
    isFailing = false;
    expect(await rejectionOf(cluster.clock.until(machine.put('key', 'value'))), 'never 200 after that').to.include({ code: 'not-primary' });
    await machine.stop();
  });

  describe('whose store fails', () => {
    const failingStore = (store: Store, failsFrom: number): Store => {
      let applies = 0;
      return new Proxy(store, {
        get: (target, name) => {
          if (name === 'apply') {
            return (batches: Parameters<Store['apply']>[0]) => {
              applies += 1;
              return applies >= failsFrom ? Promise.reject(new ShiplogError('store-failed', 'disk I/O error')) : target.apply(batches);
            };
          }
          const value = Reflect.get(target, name, target) as unknown;
          return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value;
        },
      });
    };

    it('says so and can be stopped, without waiting for what will never be applied', async () => {
      const cluster = new MemoryCluster();
      const machine = cluster.machine('primary');
      machine.stores.wrap = (store) => failingStore(store, 2);
      const node = await machine.start();
      await machine.fill(10).catch(() => {});
      await machine.fill(10, 'more').catch(() => {});
      expect(await cluster.clock.until(node.failed)).to.include({ code: 'store-failed' });
      await machine.stop();
      expect(machine.disk.openFiles).to.deep.equal([]);
    });

    it('ends when a read fails: another node has the data', async () => {
      const cluster = new MemoryCluster();
      const machine = cluster.machine('primary');
      let isBroken = false;
      machine.stores.wrap = (store) =>
        new Proxy(store, {
          get: (target, name) => {
            if (name === 'get' && isBroken) {
              return () => {
                throw new ShiplogError('store-failed', 'database disk image is malformed');
              };
            }
            const value = Reflect.get(target, name, target) as unknown;
            return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value;
          },
        });
      const node = await machine.start();
      isBroken = true;
      expect(() => node.read('key')).to.throw('malformed');
      expect(await cluster.clock.until(node.failed)).to.include({ code: 'store-failed' });
      expect(node.health().ok).to.equal(false);
      await machine.stop();
    });

    it('does not start, says why, and leaves nothing open', async () => {
      const cluster = new MemoryCluster();
      const machine = cluster.machine('primary');
      machine.stores.wrap = (store) => failingStore(store, 1);
      expect(await rejectionOf(machine.start())).to.include({ code: 'store-failed' });
      await cluster.clock.settle();
      expect(cluster.clock.timerCount).to.equal(0);
      expect(machine.disk.openFiles).to.deep.equal([]);
      machine.stores.wrap = (store) => store;
      await machine.start();
      await machine.stop();
    });

    it('does not start where replay fails, and starts when it no longer does', async () => {
      const cluster = new MemoryCluster();
      const machine = cluster.machine('primary', { checkpointOperations: 1_000_000, checkpointIntervalMs: 86_400_000 });
      await machine.start();
      await machine.fill(100);
      machine.crash({ survives: 'everything' }, {}, () => 0);
      machine.stores.wrap = (store) => failingStore(store, 1);
      const outcome = await machine.start().then((node) => node.failed, (error: unknown) => error);
      expect(outcome).to.include({ code: 'store-failed' });
      if (machine.isRunning) await machine.stop();
      machine.stores.wrap = (store) => store;
      await machine.start();
      expect(machine.get('key99')).to.match(/^99 /);
      await machine.stop();
    });
  });

  it('refuses a directory that another process uses', async () => {
    const cluster = new MemoryCluster();
    const machine = cluster.machine('primary');
    await machine.start();
    expect(await rejectionOf(machine.starting())).to.include({ code: 'data-directory-in-use' });
    await cluster.stopAll();
  });

  it('accepts conditions on positions, of which only one of two competing writes holds', async () => {
    const cluster = new MemoryCluster();
    const machine = cluster.machine('primary');
    await machine.start();
    await cluster.clock.until(machine.put('key', 'first'));
    const { position } = machine.node.read('key')!;
    const both = ['a', 'b'].map((value) => machine.node.write({ kind: 'put', key: 'key', value }, { ifMatch: [position] }));
    const outcomes = await cluster.clock.until(Promise.all(both));
    expect(outcomes.map(({ outcome }) => outcome)).to.deep.equal(['written', 'precondition-failed']);
    expect(machine.get('key')).to.equal('a');
    const created = await cluster.clock.until(machine.node.write({ kind: 'put', key: 'key', value: 'c' }, { ifNoneMatch: '*' }));
    expect(created).to.deep.include({ outcome: 'precondition-failed' });
    await machine.stop();
  });
});

describe('a replica', () => {
  it('resumes from exactly where it stopped when its stream is cut at any byte', async function () {
    this.timeout(60_000);
    const { cluster, primary, replica } = await MemoryCluster.pair();
    let cuts = 0;
    const seen: number[] = [];
    cluster.network.faultOf = ({ target }) => {
      if (!target.startsWith('/wal')) return undefined;
      seen.push(Number(new URLSearchParams(target.split('?')[1]).get('after')));
      cuts += 1;
      return cuts > 60 ? undefined : { responseBody: { cutAfterBytes: 100 + cluster.random.below(3_000), pieceBytes: 1 + cluster.random.below(700) } };
    };
    cluster.network.cut();
    await primary.fill(600);
    await cluster.clock.untilTrue(() => replica.node.visiblePosition().lsn === primary.node.visiblePosition().lsn, 3_600_000);
    expect(cuts).to.be.greaterThan(10);
    expect(seen, 'never back').to.deep.equal([...seen].sort((a, b) => a - b));
    for (let index = 0; index < 600; index += 1) expect(replica.get(`key${index}`)).to.equal(primary.get(`key${index}`));
    await cluster.stopAll();
  });

  it('believes no byte that was changed on the way', async function () {
    this.timeout(60_000);
    const { cluster, primary, replica } = await MemoryCluster.pair();
    let flips = 0;
    cluster.network.faultOf = ({ target }) => {
      if (!target.startsWith('/wal') || flips >= 80) return undefined;
      flips += 1;
      return { responseBody: { flipByte: cluster.random.below(8_000) } };
    };
    for (let round = 0; round < 20; round += 1) {
      cluster.network.cut();
      await primary.fill(30, `round${round}-`);
      await cluster.clock.advance(500);
    }
    await cluster.clock.untilTrue(() => replica.node.visiblePosition().lsn === primary.node.visiblePosition().lsn, 3_600_000);
    expect(flips).to.be.greaterThan(15);
    for (let round = 0; round < 20; round += 1) {
      for (let index = 0; index < 30; index += 1) expect(replica.get(`round${round}-${index}`)).to.equal(primary.get(`round${round}-${index}`));
    }
    expect(replica.node.status().state).to.equal('following');
    await cluster.stopAll();
  });

  it('notices a half-open link within the time of silence, and comes back when the link does', async () => {
    const { cluster, primary, replica } = await MemoryCluster.pair();
    await primary.fill(10);
    cluster.network.partition(primary.url, replica.url);
    await cluster.clock.advance(12_000);
    expect(replica.node.status().upstream?.connected).to.be.false;
    expect(primary.node.status().followers[0]?.connected).to.be.false;
    await primary.fill(10, 'meanwhile');
    await cluster.clock.advance(30_000);
    expect(primary.node.status().followers[0]).to.include({ lagOperations: 10 });
    expect(primary.node.status().followers[0]!.lagMs, 'a follower that went while it had everything').to.be.greaterThan(30_000);
    expect(replica.node.readiness().ok).to.be.false;
    cluster.network.heal();
    await cluster.clock.untilTrue(() => replica.get('meanwhile9') !== undefined);
    await cluster.clock.untilTrue(() => primary.node.status().followers[0]?.lagMs === 0);
    expect(replica.node.readiness().ok).to.be.true;
    await cluster.stopAll();
  });

  it('forwards a write and shows it before it answers', async () => {
    const { cluster, replica } = await MemoryCluster.pair();
    for (let index = 0; index < 20; index += 1) {
      const route = replica.node.writeRoute();
      expect(route).to.deep.equal({ kind: 'forward', primaryUrl: 'http://primary' });
      const answer = await cluster.clock.until(replica.node.forward('http://primary', { method: 'POST', target: `/set/f${index}`, headers: {}, body: Buffer.from(`${index}`) }));
      expect(answer.status).to.equal(200);
      expect(replica.get(`f${index}`)).to.equal(`${index}`);
    }
    await cluster.stopAll();
  });

  it('says no-primary for a forwarded write that did not leave, and outcome-unknown for one whose answer was lost', async () => {
    const { cluster, primary, replica } = await MemoryCluster.pair();
    const forward = () => cluster.clock.until(replica.node.forward(primary.url, { method: 'POST', target: '/set/key', headers: {}, body: Buffer.from('x') }));
    cluster.network.faultOf = ({ target }) => (target === '/set/key' ? { refuse: true } : undefined);
    expect(await rejectionOf(forward())).to.include({ code: 'no-primary' });
    expect(primary.get('key')).to.equal(undefined);
    cluster.network.faultOf = ({ target }) => (target === '/set/key' ? { loseAnswer: true } : undefined);
    expect(await rejectionOf(forward())).to.include({ code: 'outcome-unknown' });
    expect(primary.get('key')).to.equal('x');
    await cluster.stopAll();
  });

  it('never calls a forwarded write refused once the primary has carried it out', async () => {
    const { cluster, primary, replica } = await MemoryCluster.pair();
    // The answer comes at the very moment at which this replica no longer has a state to show it in.
    cluster.network.faultOf = ({ target }) => (target === '/set/key' ? { delayMs: 50 } : target.startsWith('/wal') ? { refuse: true } : undefined);
    const node = replica.node;
    const forwarded = node.forward(primary.url, { method: 'POST', target: '/set/key', headers: {}, body: Buffer.from('x') });
    forwarded.catch(() => {});
    node.beginStop();
    const stopped = node.stop();
    const error = await rejectionOf(cluster.clock.until(forwarded));
    await cluster.clock.until(stopped);
    expect(primary.get('key')).to.equal('x');
    expect(error).to.be.instanceOf(ShiplogError);
    expect((error as ShiplogError).status, error.message).to.equal(504);
    cluster.network.unlisten(replica.url);
    await primary.stop();
  });

  it('bootstraps from a snapshot that is cut again and again while writes go on', async () => {
    const cluster = new MemoryCluster();
    const primary = cluster.machine('primary');
    await primary.start();
    await primary.fill(400, 'before', 200);
    // Applied and checkpointed: the log does not reach back any more.
    await cluster.clock.advance(1_000);
    let cuts = 0;
    cluster.network.faultOf = ({ target }) => {
      if (target !== '/snapshot' || cuts >= 5) return undefined;
      cuts += 1;
      return { responseBody: { cutAfterBytes: 10_000, pieceBytes: 1_500 } };
    };
    const replica = cluster.machine('replica', { follow: primary.url });
    await replica.start();
    expect(replica.node.status().state).to.equal('bootstrapping');
    expect(() => replica.node.read('before1'), 'never a 404 before there is a state').to.throw(ShiplogError).with.property('code', 'not-ready');
    for (let round = 0; round < 10; round += 1) {
      await primary.fill(20, `during${round}-`);
      await cluster.clock.advance(50);
    }
    await cluster.clock.untilTrue(() => replica.node.health().ok);
    await cluster.clock.untilTrue(() => replica.get('during9-19') !== undefined);
    expect(cuts).to.equal(5);
    for (const key of ['before0', 'before399', 'during0-0', 'during9-19']) expect(replica.get(key)).to.equal(primary.get(key));
    expect(replica.disk.openFiles.filter((path) => path.endsWith('.part'))).to.deep.equal([]);
    await cluster.stopAll();
  });

  it('takes a snapshot when its position is gone, and has everything again', async () => {
    const retention = { bytesMin: 0, msMin: 0, bytesMax: 8_192, msMax: 1_000 };
    const { cluster, primary, replica } = await MemoryCluster.pair({ retention });
    await primary.fill(20, 'early');
    await cluster.clock.untilTrue(() => replica.get('early19') !== undefined);
    await replica.stop();
    for (let round = 0; round < 10; round += 1) {
      await primary.fill(100, `away${round}-`);
      await cluster.clock.advance(5_000);
    }
    expect(primary.node.status().log.firstLsn).to.be.greaterThan(200);
    await replica.start();
    await cluster.clock.untilTrue(() => replica.node.health().ok && replica.node.visiblePosition().lsn === primary.node.visiblePosition().lsn);
    expect(replica.get('early0')).to.equal(primary.get('early0'));
    expect(replica.get('away9-99')).to.equal(primary.get('away9-99'));
    expect((await replica.disk.list('/data/node')).filter((name) => name.startsWith('gen-'))).to.deep.equal(['gen-000002']);
    await cluster.stopAll();
  });

  it('can be stopped at any moment of a bootstrap, and starts again as if nothing had been', async function () {
    this.timeout(60_000);
    let isThrough = false;
    for (let stopAtCall = 1; !isThrough; stopAtCall += 3) {
      const cluster = new MemoryCluster(stopAtCall);
      const primary = cluster.machine('primary');
      await primary.start();
      await primary.fill(30);
      let reach!: () => void;
      const reached = new Promise<void>((resolve) => {
        reach = resolve;
      });
      const replica = cluster.machine('replica', { follow: primary.url }, {
        intercept: (call) => {
          if (call.index === stopAtCall) reach();
          return undefined;
        },
      });
      const node = await replica.start();
      let isReached = false;
      void reached.then(() => {
        isReached = true;
      });
      await cluster.clock.untilTrue(() => isReached || node.health().ok);
      isThrough = node.health().ok;
      await replica.stop();
      const callsAtStop = replica.disk.callCount;
      await cluster.clock.advance(10_000);
      expect(replica.disk.callCount, `nothing is done after the stop (call ${stopAtCall})`).to.equal(callsAtStop);
      expect(replica.disk.openFiles).to.deep.equal([]);
      await replica.start();
      await cluster.clock.untilTrue(() => replica.node.health().ok && replica.get('key29') !== undefined);
      await cluster.stopAll();
    }
  });

  it('refuses the log of another cluster, keeps its data and answers no reads from it', async () => {
    const { cluster, primary, replica } = await MemoryCluster.pair();
    await primary.fill(10);
    await cluster.clock.untilTrue(() => replica.get('key9') !== undefined);
    await replica.stop();
    const stranger = cluster.machine('stranger');
    await stranger.start();
    await stranger.fill(50);
    await replica.start({ follow: stranger.url });
    await cluster.clock.advance(2_000);
    expect(replica.node.status().state).to.equal('diverged');
    expect(replica.node.health().reason).to.contain('belongs to cluster');
    await replica.stop();
    await replica.start({ follow: primary.url });
    await cluster.clock.untilTrue(() => replica.get('key9') !== undefined);
    await cluster.stopAll();
  });

  describe('whose primary has a twin, made by copying its data directory,', () => {
    async function twins() {
      const { cluster, primary, replica } = await MemoryCluster.pair();
      await primary.fill(10);
      await cluster.clock.untilTrue(() => replica.get('key9') !== undefined);
      await replica.stop();
      await primary.stop();
      const twin = cluster.machine('twin');
      const copied = primary.disk;
      primary.disk = copied.crash({ survives: 'everything' });
      twin.disk = copied.crash({ survives: 'everything' });
      twin.stores.copyFrom(primary.stores);
      await primary.start();
      await twin.start();
      return { cluster, primary, twin, replica };
    }

    it('stops following the twin where both went on, and keeps everything', async () => {
      const { cluster, primary, twin, replica } = await twins();
      await primary.fill(5, 'true');
      await twin.fill(5, 'fake');
      await replica.start();
      await cluster.clock.untilTrue(() => replica.get('true4') !== undefined);
      await replica.stop();
      await replica.start({ follow: twin.url });
      await cluster.clock.advance(1_000);
      expect(replica.node.status()).to.include({ state: 'diverged' });
      expect(replica.node.status().upstream?.lastError).to.contain('one of the logs is damaged');
      expect(() => replica.node.read('true4')).to.throw(ShiplogError).with.property('code', 'not-ready');
      await replica.stop();
      await replica.start({ follow: primary.url });
      await cluster.clock.untilTrue(() => replica.get('true4') !== undefined);
      expect(replica.get('fake4')).to.equal(undefined);
      await cluster.stopAll();
    });

    it('has the twin fenced where that has less of their epoch than it holds itself', async () => {
      const { cluster, primary, twin, replica } = await twins();
      await primary.fill(5, 'true');
      await replica.start();
      await cluster.clock.untilTrue(() => replica.get('true4') !== undefined);
      await replica.stop();
      await replica.start({ follow: twin.url });
      await cluster.clock.untilTrue(() => twin.node.status().state === 'fenced');
      expect(twin.node.status().fence).to.include({ kind: 'lost-data' });
      expect(() => twin.node.read('key1')).to.throw(ShiplogError).with.property('code', 'not-ready');
      expect(replica.get('true4')).to.not.equal(undefined);
      expect(primary.node.status().state).to.equal('primary');
      await cluster.stopAll();
    });
  });

  it('and a copy of its data directory are not served both: the one that confirms stays', async () => {
    const { cluster, primary, replica } = await MemoryCluster.pair();
    await primary.fill(10);
    await cluster.clock.untilTrue(() => replica.get('key9') !== undefined);
    await replica.stop();
    const clone = cluster.machine('clone', { follow: primary.url });
    const copied = replica.disk;
    replica.disk = copied.crash({ survives: 'everything' });
    clone.disk = copied.crash({ survives: 'everything' });
    clone.stores.copyFrom(replica.stores);
    await replica.start();
    await cluster.clock.untilTrue(() => replica.node.status().upstream?.connected === true);
    await clone.start();
    await primary.fill(10, 'more');
    await cluster.clock.advance(60_000);
    expect(replica.get('more9')).to.not.equal(undefined);
    expect(clone.get('more9')).to.equal(undefined);
    expect(clone.node.status().upstream?.lastError).to.contain('is its data directory a copy?');
    expect(primary.node.status().followers).to.have.length(1);
    expect(primary.node.status().members.map((member) => member.name)).to.have.members(['primary', 'replica']);
    await cluster.stopAll();
  });
});
