import { expect } from 'chai';
import { formatPosition } from '../../lib/base/position.ts';
import type { BatchResult, BatchWrite, WriteDurability } from '../../lib/node/node-api.ts';
import { rejectionOf } from '../env/rejection.ts';
import { type Machine, MemoryCluster } from '../support/memory-cluster.ts';

const KEYS = 8;

/** All keys to one value. */
function round(value: string): BatchWrite[] {
  return Array.from({ length: KEYS }, (_, index) => ({ operation: { kind: 'put', key: `k${index}`, value: `${value} ${'.'.repeat(index * 40)}` }, condition: {} }));
}

function write(machine: Machine, writes: readonly BatchWrite[], durability: WriteDurability = {}): Promise<BatchResult> {
  return machine.node.writeBatch(writes, durability);
}

/** The value that all keys have. @throws where a part of a batch is to be seen. */
function seen(machine: Machine): string | undefined {
  const values = new Set(machine.node.readAll(Array.from({ length: KEYS }, (_, index) => `k${index}`)).map((row) => row?.value.split(' ')[0]));
  expect([...values], `a part of a batch on ${machine.name}`).to.have.length(1);
  return [...values][0];
}

describe('a batch', () => {
  it('is answered with the position of its last operation, at the level that was asked for', async () => {
    const { cluster, primary, replica } = await MemoryCluster.pair();
    await cluster.clock.untilTrue(() => primary.node.status().members.every((member) => member.isSettled === true));
    const result = await cluster.clock.until(write(primary, [...round('1'), { operation: { kind: 'delete', key: 'none' }, condition: {} }], { ack: 1 }));
    if (result.outcome !== 'written') throw new Error(result.outcome);
    expect([result.ack, result.position]).to.deep.equal([1, primary.node.visiblePosition()]);
    expect(result.results.at(-1)).to.deep.equal({ outcome: 'absent' });
    const lsns = result.results.slice(0, -1).map((each) => each.outcome === 'written' && each.position!.lsn);
    expect(lsns).to.deep.equal(Array.from({ length: KEYS }, (_, index) => result.position!.lsn - KEYS + 1 + index));
    expect(seen(replica)).to.equal('1');
    const failed = await cluster.clock.until(write(primary, [{ operation: { kind: 'put', key: 'new', value: 'v' }, condition: {} }, { operation: { kind: 'put', key: 'k1', value: 'v' }, condition: { ifNoneMatch: '*' } }]));
    expect(failed).to.deep.equal({ outcome: 'precondition-failed', index: 1, current: { ...result.position!, lsn: lsns[1] } });
    expect(primary.get('new')).to.equal(undefined);
    expect(await rejectionOf(write(replica, round('2')))).to.include({ code: 'not-primary' });
    await cluster.stopAll();
  });

  it('that too few replicas confirm says that it is stored, and where', async () => {
    const { cluster, primary, replica } = await MemoryCluster.pair();
    await cluster.clock.untilTrue(() => primary.node.status().members.every((member) => member.isSettled === true));
    cluster.network.partition(primary.url, replica.url);
    const error = await rejectionOf(cluster.clock.until(write(primary, round('1'), { ack: 1, timeoutMs: 100 })));
    expect(error).to.deep.include({ code: 'ack-timeout', extra: { position: formatPosition(primary.node.visiblePosition()), outcome: 'written' } });
    expect(seen(primary)).to.equal('1');
    await cluster.stopAll();
  });

  it('is synced before it is answered where that is asked for, whatever the default is', async () => {
    const cluster = new MemoryCluster();
    const machine = cluster.machine('a', { live: { readyLagMs: 5_000, forwardTimeoutMs: 5_000, queueBytesMax: 1 << 26, ackDefault: 'memory', ackMinimum: 'memory' } });
    await machine.start();
    expect(await cluster.clock.until(machine.node.writeBatch(round('1')))).to.include({ ack: 'memory', position: null });
    const synced = await cluster.clock.until(machine.node.writeBatch(round('2'), {}, { awaitsSync: true }));
    expect(synced).to.include({ ack: 'local' });
    machine.crash({ survives: 'nothing' });
    await machine.start();
    expect(seen(machine)).to.equal('2');
    await cluster.stopAll();
  });

  for (const kind of ['kill', 'power cut'] as const) {
    it(`is there as a whole or not at all after a ${kind} at any call to the disk, on the primary and on a replica`, async function () {
      this.timeout(60_000);
      const outcomes = { old: 0, new: 0 };
      for (let run = 0; run < 40; run += 1) {
        const haltAtCall = 1 + Math.floor(run / 4);
        const isPrimary = run % 2 === 0;
        const halt = { isArmed: false, calls: 0, isReached: false };
        const intercept = (): { kind: 'halt'; effect: boolean } | undefined => {
          if (!halt.isArmed || (halt.calls += 1) !== haltAtCall) return undefined;
          halt.isReached = true;
          return { kind: 'halt', effect: run % 4 < 2 };
        };
        const cluster = new MemoryCluster(run + 1);
        const primary = cluster.machine('primary', {}, isPrimary ? { intercept } : {});
        await primary.start();
        const replica = cluster.machine('replica', { follow: primary.url }, isPrimary ? {} : { intercept });
        await replica.start();
        await cluster.clock.untilTrue(() => replica.node.health().ok);
        await cluster.clock.until(write(primary, round('0')));
        await cluster.clock.untilTrue(() => seen(replica) === '0');

        halt.isArmed = true;
        const answered = ['0'];
        for (let value = 1; !halt.isReached; value += 1) {
          expect(value).to.be.below(100);
          void write(primary, round(String(value))).then(() => answered.push(String(value)));
          await cluster.clock.advance(5);
          seen(primary);
          seen(replica);
        }
        const victim = isPrimary ? primary : replica;
        if (kind === 'kill') victim.kill();
        else victim.crash();
        await victim.start();
        if (isPrimary) {
          const survived = Number(seen(primary));
          expect(survived, 'an answered batch survives').to.be.at.least(Number(answered.at(-1)));
          outcomes[survived === Number(answered.at(-1)) ? 'old' : 'new'] += 1;
        }
        await cluster.clock.untilTrue(() => replica.node.visiblePosition().lsn === primary.node.visiblePosition().lsn);
        expect(seen(replica)).to.equal(seen(primary));
        await cluster.stopAll();
      }
      expect(outcomes.old, 'crashes that took a batch with them').to.be.greaterThan(0);
      expect(outcomes.new, 'crashes that a batch survived unanswered').to.be.greaterThan(0);
    });
  }
});
