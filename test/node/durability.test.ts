import { expect } from 'chai';
import { formatPosition } from '../../lib/base/position.ts';
import type { NodeOptions } from '../../lib/node/node-options.ts';
import type { WriteDurability, WriteResult } from '../../lib/node/node-api.ts';
import { rejectionOf } from '../env/rejection.ts';
import { type Machine, MemoryCluster } from '../support/memory-cluster.ts';

const LIVE = { readyLagMs: 5_000, forwardTimeoutMs: 5_000, queueBytesMax: 1 << 26, ackDefault: 'local', ackMinimum: 'memory' } as const;

function put(machine: Machine, key: string, durability: WriteDurability, value = 'v'): Promise<WriteResult> {
  return machine.node.write({ kind: 'put', key, value }, {}, durability);
}

/** Members that know each other; with `count` nodes, the first is the primary. */
async function clusterOf(count: number, options: Partial<NodeOptions> = {}): Promise<{ cluster: MemoryCluster; machines: Machine[] }> {
  const cluster = new MemoryCluster();
  const machines: Machine[] = [];
  for (let index = 0; index < count; index += 1) {
    const machine = cluster.machine('abcd'[index]!, { ...options, ...(index > 0 && { follow: machines[0]!.url }) });
    await machine.start();
    machines.push(machine);
  }
  await cluster.clock.untilTrue(() => machines.every((machine) => machine.node.health().ok && machine.node.status().members.filter((member) => count === 1 || member.isSettled === true).length === count));
  return { cluster, machines };
}

describe('a write', () => {
  it('is answered once as many replicas have it on disk as it asks for', async () => {
    const { cluster, machines: [a, b, c] } = await clusterOf(3);
    const result = await cluster.clock.until(put(a!, 'one', { ack: 2 }));
    expect(result).to.include({ outcome: 'written', ack: 2 });
    for (const replica of [b!, c!]) {
      replica.crash({ survives: 'nothing' });
      await replica.start();
      expect(replica.get('one'), 'survives a power cut of each').to.equal('v');
    }
    await cluster.stopAll();
  });

  it('that too few confirm in time is stored, and says so with its position', async () => {
    const { cluster, machines: [a, b, c] } = await clusterOf(3);
    cluster.network.partition(a!.url, c!.url);
    const error = await rejectionOf(cluster.clock.until(put(a!, 'k', { ack: 'all', timeoutMs: 300 })));
    expect(error).to.include({ code: 'ack-timeout', status: 504 });
    const { position } = (error as unknown as { extra: { position: string } }).extra;
    expect(position).to.equal(formatPosition(a!.node.visiblePosition()));
    expect(a!.get('k')).to.equal('v');
    expect(await cluster.clock.until(put(a!, 'k', { ack: 1, timeoutMs: 300 }))).to.include({ ack: 1 });
    cluster.network.heal();
    expect(await cluster.clock.until(put(a!, 'k', { ack: 'all', timeoutMs: 20_000 }))).to.include({ ack: 2 });
    expect(b!.get('k')).to.equal('v');
    await cluster.stopAll();
  });

  it('that did not happen is said only when what that rests on is as durable', async () => {
    const { cluster, machines: [a, b] } = await clusterOf(2);
    await cluster.clock.until(a!.put('k', 'v'));
    cluster.network.partition(a!.url, b!.url);
    await cluster.clock.until(a!.node.write({ kind: 'delete', key: 'k' }, {}));
    const missing = await rejectionOf(cluster.clock.until(a!.node.write({ kind: 'delete', key: 'k' }, {}, { ack: 1, timeoutMs: 100 })));
    expect(missing).to.deep.include({ code: 'ack-timeout' });
    expect((missing as unknown as { extra: { outcome: string } }).extra.outcome).to.equal('not-written');
    const failed = await rejectionOf(cluster.clock.until(a!.node.write({ kind: 'put', key: 'k', value: 'x' }, { ifMatch: '*' }, { ack: 1, timeoutMs: 100 })));
    expect(failed).to.include({ code: 'ack-timeout' });
    cluster.network.heal();
    expect(await cluster.clock.until(a!.node.write({ kind: 'delete', key: 'k' }, {}, { ack: 1, timeoutMs: 20_000 }))).to.deep.equal({ outcome: 'absent' });
    await cluster.stopAll();
  });

  it('at ack=memory is answered before the sync, without a position', async () => {
    const { cluster, machines: [a] } = await clusterOf(1, { live: LIVE });
    const before = a!.disk.callCount;
    const result = await put(a!, 'k', { ack: 'memory' });
    expect(result).to.deep.equal({ outcome: 'written', position: null, ack: 'memory' });
    expect(a!.disk.callCount, 'nothing was asked of the disk yet').to.equal(before);
    await cluster.clock.untilTrue(() => a!.get('k') === 'v');
    await cluster.stopAll();
  });

  it('is refused by a primary that requires replicas and has none, and stored nowhere', async () => {
    const { cluster, machines: [a, b] } = await clusterOf(2, { live: { ...LIVE, ackMinimum: 1 } });
    expect(await cluster.clock.until(put(a!, 'k', {}))).to.include({ ack: 1 });
    cluster.network.partition(a!.url, b!.url);
    await cluster.clock.advance(11_000);
    expect(await rejectionOf(put(a!, 'k', { ack: 'local' }, 'later'))).to.include({ code: 'too-few-replicas', status: 503 });
    expect(a!.get('k')).to.equal('v');
    await cluster.stopAll();
  });

  it('at ack=1 is answered across a switchover: the new primary has it', async () => {
    const { cluster, machines: [a, b, c] } = await clusterOf(3);
    const writes = Array.from({ length: 50 }, (_, index) => put(a!, `k${index}`, { ack: 1 }));
    const promoting = (async () => {
      for await (const event of b!.node.promote({ force: false, acceptLoss: null, isDryRun: false })) if (event.type === 'refused') throw new Error(event.message);
    })();
    await cluster.clock.until(promoting);
    const outcomes = await cluster.clock.until(Promise.allSettled(writes));
    await cluster.clock.untilTrue(() => [a!, c!].every((machine) => machine.node.health().ok && machine.node.status().upstream?.url === b!.url));
    const answered = outcomes.flatMap((outcome, index) => (outcome.status === 'fulfilled' ? [index] : []));
    expect(answered).to.have.length(50);
    for (const index of answered) expect(b!.get(`k${index}`)).to.equal('v');
    await cluster.stopAll();
  });

  it('that waits on a primary which is fenced meanwhile has an unknown outcome', async () => {
    const { cluster, machines: [a, b, c] } = await clusterOf(3);
    cluster.network.partition(a!.url, b!.url);
    cluster.network.partition(a!.url, c!.url);
    await cluster.clock.advance(15_000);
    const waiting = rejectionOf(put(a!, 'alone', { ack: 1, timeoutMs: 60_000 }));
    await cluster.clock.until(
      (async () => {
        for await (const event of b!.node.promote({ force: false, acceptLoss: null, isDryRun: false })) if (event.type === 'refused') throw new Error(event.message);
      })(),
    );
    cluster.network.heal();
    expect(await cluster.clock.until(waiting)).to.include({ code: 'outcome-unknown' });
    await cluster.stopAll();
  });
});

describe('a replica', () => {
  it('counts only when every other replica has stored that it is there', async () => {
    const { cluster, machines: [a, b] } = await clusterOf(2);
    cluster.network.partition(a!.url, b!.url);
    const d = cluster.machine('d', { follow: a!.url });
    await d.start();
    await cluster.clock.untilTrue(() => d.node.health().ok && d.node.status().members.length === 3);
    const early = await rejectionOf(cluster.clock.until(put(a!, 'early', { ack: 1, timeoutMs: 3_000 })));
    expect(early, 'b could be promoted without asking d').to.include({ code: 'ack-timeout' });
    cluster.network.heal();
    await cluster.clock.untilTrue(() => a!.node.status().members.every((member) => member.isSettled === true));
    expect(b!.node.status().members).to.have.length(3);
    expect(await cluster.clock.until(put(a!, 'late', { ack: 2, timeoutMs: 10_000 }))).to.include({ ack: 2 });
    await cluster.stopAll();
  });

  it('stores who is there as soon as its disk has room for it again', async () => {
    const { cluster, machines: [a, b] } = await clusterOf(2);
    const stored = b!.disk.contents('/data/node').get('members.json');
    b!.disk.setCapacity(0);
    const d = cluster.machine('d', { follow: a!.url });
    await d.start();
    await cluster.clock.untilTrue(() => d.node.health().ok && b!.node.status().members.length === 3);
    await cluster.clock.advance(5_000);
    expect(b!.disk.contents('/data/node').get('members.json')).to.deep.equal(stored);
    b!.disk.setCapacity(1 << 30);
    await cluster.clock.untilTrue(() => a!.node.status().members.every((member) => member.isSettled === true));
    expect(await cluster.clock.until(put(a!, 'late', { ack: 'all', timeoutMs: 3_000 }))).to.include({ ack: 2 });
    await cluster.stopAll();
  });
});

describe('a position that a client hands back', () => {
  const written = async (cluster: MemoryCluster, machine: Machine, key: string) => {
    const result = await cluster.clock.until(put(machine, key, {}));
    if (result.outcome !== 'written') throw new Error(result.outcome);
    return result.position!;
  };

  it('is waited for, without asking again and again', async () => {
    const { cluster, machines: [a, b] } = await clusterOf(2);
    cluster.network.partition(a!.url, b!.url);
    const position = await written(cluster, a!, 'k');
    expect(await rejectionOf(cluster.clock.until(b!.node.waitFor(position, 100)))).to.include({ code: 'position-not-reached', status: 503 });
    expect(b!.get('k')).to.equal(undefined);
    const waiting = b!.node.waitFor(position, 60_000);
    cluster.network.heal();
    await cluster.clock.until(waiting);
    expect(b!.get('k')).to.equal('v');
    await cluster.stopAll();
  });

  it('holds across a change of the primary, also of an epoch that the node has not heard of', async () => {
    const { cluster, machines: [a, b, c] } = await clusterOf(3);
    cluster.network.partition(a!.url, c!.url);
    cluster.network.partition(b!.url, c!.url);
    await cluster.clock.until((async () => {
      for await (const event of b!.node.promote({ force: false, acceptLoss: null, isDryRun: false })) if (event.type === 'refused') throw new Error(event.message);
    })());
    const position = await written(cluster, b!, 'k');
    expect(position.epochNumber).to.equal(2);
    const waiting = c!.node.waitFor(position, 60_000);
    cluster.network.heal();
    await cluster.clock.until(waiting);
    expect(c!.get('k')).to.equal('v');
    await cluster.stopAll();
  });

  it('is told to be lost where the cluster went on without it, also to who waits already', async () => {
    const { cluster, machines: [a, b, c] } = await clusterOf(3);
    cluster.network.partition(a!.url, b!.url);
    cluster.network.partition(a!.url, c!.url);
    await cluster.clock.advance(15_000);
    const position = await written(cluster, a!, 'alone');
    const waiting = rejectionOf(c!.node.waitFor(position, 60_000));
    await cluster.clock.until((async () => {
      for await (const event of b!.node.promote({ force: false, acceptLoss: null, isDryRun: false })) if (event.type === 'refused') throw new Error(event.message);
    })());
    expect(await cluster.clock.until(waiting)).to.include({ code: 'position-lost', status: 410 });
    expect(await rejectionOf(b!.node.waitFor(position, 1_000))).to.include({ code: 'position-lost' });
    cluster.network.heal();
    await cluster.clock.untilTrue(() => a!.node.status().state === 'following');
    expect(await rejectionOf(a!.node.waitFor(position, 1_000))).to.include({ code: 'position-lost' });
    await cluster.stopAll();
  });
});
