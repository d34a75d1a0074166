/**
 * Three nodes, and whatever can happen to them in any order: crashes with power cuts, half-open
 * links, switchovers, failovers, forced ones. Afterwards there is one primary, all nodes are equal,
 * and every acknowledged write is in the table or in a salvage file.
 */
import { expect } from 'chai';
import { formatPosition } from '../../lib/base/position.ts';
import type { PromoteOptions } from '../../lib/failover/promote-events.ts';
import { type Machine, MemoryCluster } from '../support/memory-cluster.ts';
import { SeededRandom } from '../support/seeded-random.ts';

const SEEDS = Array.from({ length: 60 }, (_, index) => index + 1);
const STEPS = 30;

class Turmoil {
  readonly cluster: MemoryCluster;
  readonly random: SeededRandom;
  readonly machines: Machine[] = [];
  readonly acknowledged = new Map<string, string>();
  readonly story: string[] = [];
  promotions = 0;
  #count = 0;

  constructor(seed: number) {
    this.cluster = new MemoryCluster(seed);
    this.random = new SeededRandom(seed);
  }

  async begin(): Promise<void> {
    const { cluster } = this;
    const a = cluster.machine('a');
    await a.start();
    this.machines.push(a);
    for (const name of ['b', 'c']) {
      const machine = cluster.machine(name, { follow: a.url });
      await machine.start();
      this.machines.push(machine);
    }
    await cluster.clock.untilTrue(() => this.machines.every((machine) => machine.node.health().ok && machine.node.status().members.length === 3));
  }

  async step(): Promise<void> {
    const { cluster, random } = this;
    const machine = this.machines[random.below(3)]!;
    const other = this.machines[random.below(3)]!;
    const action = random.below(10);
    switch (action) {
      case 0:
        if (machine.isRunning) {
          this.#tell(`${machine.name} loses its power`);
          machine.crash();
        }
        return;
      case 1:
      case 2:
        await this.#startAll();
        return;
      case 3:
        if (machine !== other) {
          this.#tell(`nothing passes between ${machine.name} and ${other.name}`);
          cluster.network.partition(machine.url, other.url);
        }
        return;
      case 4:
        this.#tell('everything passes');
        cluster.network.heal();
        return;
      case 5:
      case 6:
        if (machine.isRunning) this.#promote(machine, { force: random.chance(0.3), acceptLoss: 'unknown', isDryRun: false });
        break;
      default:
        for (const each of this.machines) if (each.isRunning) this.#write(each);
    }
    await cluster.clock.advance(random.below(3) === 0 ? 12_000 : random.below(1_500));
  }

  #write(machine: Machine): void {
    if (machine.node.status().state !== 'primary') return;
    for (let index = 0; index < 5; index += 1) {
      this.#count += 1;
      const key = `key${this.#count}`;
      const value = `${machine.name} ${this.#count}`;
      machine.put(key, value).then(
        () => this.acknowledged.set(key, value),
        () => {},
      );
    }
  }

  #promote(machine: Machine, options: PromoteOptions): void {
    void (async () => {
      try {
        for await (const event of machine.node.promote(options)) {
          if (event.type === 'plan' || event.type === 'step') continue;
          this.#tell(`${machine.name}: ${event.type} ${event.type === 'promoted' ? event.kind : event.message}`);
          if (event.type === 'promoted' && event.kind !== 'none') this.promotions += 1;
        }
      } catch (error) {
        this.#tell(`${machine.name}: ${String(error)}`);
      }
    })();
  }

  async #startAll(): Promise<void> {
    for (const machine of this.machines) {
      if (machine.isRunning) continue;
      this.#tell(`${machine.name} starts`);
      await machine.start();
    }
  }

  /** Everything works again, and an operator does what is left to do. */
  async settle(): Promise<void> {
    const { clock, network } = this.cluster;
    network.heal();
    await this.#startAll();
    for (let attempt = 0; attempt < 30; attempt += 1) {
      await clock.advance(15_000);
      if (this.machines.every((machine) => machine.node.health().ok) && this.machines.filter((machine) => machine.node.status().state === 'primary').length === 1 && this.#areEqual()) return;
      for (const machine of this.machines) if (machine.node.status().state === 'diverged') await machine.node.rejoin().catch(() => {});
      if (!this.machines.some((machine) => machine.node.status().state === 'primary')) this.#promote(this.machines[attempt % 3]!, { force: attempt >= 3, acceptLoss: 'unknown', isDryRun: false });
    }
    throw new Error(`does not come to rest: ${this.machines.map((machine) => `${machine.name} ${machine.node.status().state} ${machine.node.status().positions.durable} ${machine.node.status().fence?.reason ?? ''} promise ${machine.node.status().promise?.epoch.number ?? '-'} lastError ${machine.node.status().upstream?.lastError ?? ''}`).join('; ')}`);
  }

  #areEqual(): boolean {
    return new Set(this.machines.map((machine) => formatPosition(machine.node.visiblePosition()))).size === 1;
  }

  /** Acknowledged writes that are neither in the table nor set aside. */
  lost(): string[] {
    const salvaged = this.machines.flatMap((machine) => [...machine.disk.contents('/data/node/salvage').values()].map((content) => content.toString('utf8'))).join('');
    return [...this.acknowledged].filter(([key, value]) => this.machines[0]!.get(key) !== value && !salvaged.includes(`"key":${JSON.stringify(key)},"value":${JSON.stringify(value)}`)).map(([key]) => key);
  }

  #tell(what: string): void {
    this.story.push(`${Math.round(this.cluster.clock.monotonicMs())} ms: ${what}`);
  }
}

describe('random failovers', function () {
  this.timeout(120_000);
  let promotions = 0;
  let acknowledged = 0;

  for (const seed of SEEDS) {
    it(`end with one primary, equal nodes, and nothing lost in silence (seed ${seed})`, async () => {
      const turmoil = new Turmoil(seed);
      try {
        await turmoil.begin();
        for (let step = 0; step < STEPS; step += 1) await turmoil.step();
        await turmoil.settle();
        expect(turmoil.lost()).to.deep.equal([]);
        const [first, ...others] = turmoil.machines;
        for (const key of turmoil.acknowledged.keys()) for (const other of others) expect(other.get(key), key).to.equal(first!.get(key));
      } catch (error) {
        throw new Error(`${(error as Error).message}\n${turmoil.story.join('\n')}`, { cause: error });
      }
      promotions += turmoil.promotions;
      acknowledged += turmoil.acknowledged.size;
      await turmoil.cluster.stopAll();
    });
  }

  after(() => {
    // Turmoil in which nothing happens shows nothing.
    expect(promotions).to.be.greaterThan(SEEDS.length);
    expect(acknowledged).to.be.greaterThan(SEEDS.length * 10);
  });
});
