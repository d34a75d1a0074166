/** What befalls machines, disks and the network, drawn from the seed. Every fault has an end of its own. */
import { unreachable } from '../../lib/base/errors.ts';
import type { ExchangeInfo, Fault } from '../support/memory-transport.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import { type FaultName, pickWeighted } from './plan.ts';
import { type CrashKind, DATA_DIRECTORY, type SimulatedMachine, roleOn } from './simulated-machine.ts';
import type { World } from './world.ts';

/** Some end before anybody has noticed, some after silent peers were dropped. */
const PARTITION_MS = [1_000, 4_000, 15_000] as const;

export class Nemesis {
  readonly #world: World;
  readonly #random: SeededRandom;
  readonly #exchangeRandom: SeededRandom;
  #badness = 0;
  #victim: SimulatedMachine | undefined;

  constructor(world: World) {
    this.#world = world;
    this.#random = world.random.fork();
    this.#exchangeRandom = world.random.fork();
    world.network.faultOf = (exchange) => this.#exchangeFault(exchange);
  }

  /** One fault after the other, as long as `mayGoOn` says so. Resolves when the last one has had its time. */
  async run(mayGoOn: () => boolean): Promise<void> {
    const { faultMs, faults, faultsMin } = this.#world.plan;
    if (faults.length === 0) return;
    const lasting: Promise<void>[] = [];
    while (mayGoOn() || this.#world.counters.faults < faultsMin) {
      await this.#world.sleep(-faultMs * Math.log(1 - this.#random.uniform()));
      lasting.push(this.#befall(pickWeighted(this.#random, faults)));
    }
    await Promise.all(lasting);
  }

  async #befall(fault: FaultName): Promise<void> {
    const { world } = this;
    const machine = this.#random.pick(world.machines);
    const end = world.disturb();
    world.counters.faults += 1;
    try {
      await this.#carryOut(fault, machine);
    } finally {
      end();
    }
  }

  get world(): World {
    return this.#world;
  }

  async #carryOut(fault: FaultName, machine: SimulatedMachine): Promise<void> {
    const { network, trace } = this.#world;
    trace.event('nemesis', `${fault} ${machine.name}`);
    switch (fault) {
      case 'kill':
        machine.crash('kill');
        return await this.#untilUp(machine);
      case 'power-cut':
        machine.crash('power-cut', { garble: this.#random.pick([0, 0.3]) });
        return await this.#untilUp(machine);
      case 'crash-at-disk-call':
        machine.crashAtDiskCall(1 + this.#random.below(60), this.#random.chance(0.5), this.#crashKind());
        return await this.#pause(3_000);
      case 'long-outage':
        return await this.#whileDown(machine, () => this.#pause(this.#random.pick([2_000, 12_000])));
      case 'clean-restart':
        await machine.stop();
        return await this.#untilUp(machine);
      case 'isolate':
        return await this.#partition(this.#world.addresses.filter((url) => url !== machine.url && (url.startsWith('http://n') || this.#random.chance(0.5))).map((url) => [machine.url, url]));
      case 'partition':
        return await this.#partition(this.#otherUrls(machine).map((url) => [machine.url, url] as const).slice(0, 1));
      case 'one-way': {
        const other = this.#random.pick(this.#otherUrls(machine));
        network.partitionOneWay(machine.url, other);
        await this.#pause(this.#random.pick(PARTITION_MS));
        network.join(machine.url, other);
        return;
      }
      case 'cut':
        trace.event('nemesis', `cuts ${network.cut(() => this.#random.chance(0.7))} exchanges`);
        return;
      case 'slow-network':
        this.#world.networkSlowness *= 30;
        await this.#pause(4_000);
        this.#world.networkSlowness /= 30;
        return;
      case 'bad-network':
        this.#badness += 1;
        await this.#pause(5_000);
        this.#badness -= 1;
        return;
      case 'freeze':
        machine.freeze();
        await this.#pause(this.#random.pick([300, 2_000, 15_000]));
        return machine.thaw();
      case 'wall-jump':
        machine.wallOffsetMs += Math.round((this.#random.uniform() - 0.5) * 20 * 86_400_000);
        return;
      case 'disk-full': {
        const { disk } = machine;
        disk.setCapacity(disk.usedBytes + this.#random.below(3_000));
        await this.#pause(5_000);
        machine.disk.setCapacity(Number.POSITIVE_INFINITY);
        return;
      }
      case 'write-error':
        machine.arm({ names: this.#random.pick([['writeAt'], ['writeAt', 'open', 'rename', 'truncate'], ['readAt']] as const), countdown: 1 + this.#random.below(10), fault: { kind: 'error', code: 'EIO' } });
        return await this.#pause(3_000);
      case 'sync-error':
        machine.arm({ names: ['sync'], countdown: 1 + this.#random.below(10), fault: { kind: 'error', code: 'EIO' } });
        return await this.#pause(3_000);
      case 'slow-disk':
        machine.diskSlowness = this.#random.pick([20, 200]);
        await this.#pause(4_000);
        machine.diskSlowness = 1;
        return;
      case 'unmounted-disk':
        return await this.#unmountedDisk(machine);
      case 'rolled-back-disk':
        return await this.#rolledBackDisk(machine);
      case 'bit-rot':
        return await this.#bitRot(machine);
      default:
        return unreachable(fault);
    }
  }

  #crashKind(): CrashKind {
    return this.#random.pick(['kill', 'power-cut'] as const);
  }

  /** Exponential, so that short and very long ones both come about. */
  #pause(meanMs: number): Promise<void> {
    return this.#world.sleep(-meanMs * Math.log(1 - this.#random.uniform() * 0.98));
  }

  async #untilUp(machine: SimulatedMachine): Promise<void> {
    for (let tries = 0; tries < 20 && machine.node === undefined; tries += 1) await this.#world.sleep(250);
  }

  #otherUrls(machine: SimulatedMachine): string[] {
    const others = this.#world.machines.filter((each) => each !== machine).map((each) => each.url);
    // Which of them is first is left to chance.
    return others.length < 2 || this.#random.chance(0.5) ? others : others.reverse();
  }

  async #partition(links: readonly (readonly [string, string])[]): Promise<void> {
    const { network } = this.#world;
    for (const [one, other] of links) network.partition(one, other);
    this.#world.trace.event('nemesis', `nothing passes: ${links.map(([one, other]) => `${one.slice(7)}–${other.slice(7)}`).join(' ')}`);
    await this.#pause(this.#random.pick(PARTITION_MS));
    for (const [one, other] of links) network.join(one, other);
    this.#world.trace.event('nemesis', 'passes again');
    // What broke meanwhile may be noticed at once, or only by silence.
    if (this.#random.chance(0.4)) network.cut((exchange) => links.some(([one, other]) => (exchange.from === one && exchange.to === other) || (exchange.from === other && exchange.to === one)));
  }

  async #whileDown(machine: SimulatedMachine, work: () => Promise<void>): Promise<void> {
    if (machine.isHeldDown) return;
    machine.isHeldDown = true;
    machine.crash(this.#crashKind());
    await work();
    machine.release();
    await this.#untilUp(machine);
  }

  /** Only one machine of a run loses its disk, and only while another one has what counts. */
  #mayLoseDisk(machine: SimulatedMachine): boolean {
    if (machine.isHeldDown || (this.#victim ?? machine) !== machine) return false;
    const isSafe = this.#world.machines.some((each) => each !== machine && each.node?.health().ok === true && !each.isHeldDown);
    if (isSafe) this.#victim = machine;
    return isSafe;
  }

  /** The directory is empty at one start, and is back at a later one. */
  async #unmountedDisk(machine: SimulatedMachine): Promise<void> {
    if (!this.#mayLoseDisk(machine)) return;
    let own: ReturnType<SimulatedMachine['replaceDisk']> | undefined;
    await this.#whileDown(machine, async () => {
      await this.#world.sleep(100);
      this.#world.loseDisk(machine);
      own = machine.replaceDisk(undefined);
      this.#world.trace.event('nemesis', `${machine.name} starts on an empty disk`);
    });
    await this.#pause(6_000);
    // Mostly for good: the machine was replaced.
    if (own === undefined || this.#random.chance(0.6) || !this.#mayLoseDisk(machine)) return;
    await this.#whileDown(machine, async () => {
      await this.#world.sleep(100);
      this.#world.loseDisk(machine);
      machine.replaceDisk(own);
      this.#world.trace.event('nemesis', `${machine.name} has its own disk again`);
    });
  }

  async #rolledBackDisk(machine: SimulatedMachine): Promise<void> {
    if (!this.#mayLoseDisk(machine)) return;
    const index = machine.images.findIndex((image) => roleOn(image) === 'replica');
    const [image] = index === -1 ? [] : machine.images.splice(index, 1);
    // A primary that nobody can tell what it has lost would write other operations at the same positions:
    // no design with two nodes can help that. Scenarios show where it can be noticed.
    const isWatched = this.#world.machines.every((each) => each === machine || each.node?.status().state === 'following');
    if (image === undefined || (machine.node?.role === 'primary' && !isWatched)) return;
    await this.#whileDown(machine, async () => {
      await this.#world.sleep(100);
      this.#world.loseDisk(machine);
      machine.replaceDisk(image);
      this.#world.trace.event('nemesis', `${machine.name} starts on an older copy of its disk`);
    });
  }

  /** Some byte of a segment is not what it was. */
  async #bitRot(machine: SimulatedMachine): Promise<void> {
    if (!this.#mayLoseDisk(machine)) return;
    await this.#whileDown(machine, async () => {
      await this.#world.sleep(100);
      const directory = machine.walDirectories().at(-1);
      if (directory === undefined) return;
      const files = [...machine.disk.contents(directory)].filter(([name, content]) => name.endsWith('.wal') && content.length > 200);
      if (files.length === 0) return;
      this.#world.loseDisk(machine);
      machine.archive.noteLogs(machine.disk);
      const [name, content] = this.#random.pick(files);
      // In the very last write group it could not be told from a torn write.
      const end = name === files.at(-1)![0] ? content.lastIndexOf('MARK') : content.length;
      if (end <= 0) return;
      const offset = this.#random.below(end);
      machine.archive.noteRot(name, offset, content[offset]!);
      content[offset]! ^= 1 << this.#random.below(8);
      machine.disk.place(`${directory}/${name}`, content);
      this.#world.trace.event('nemesis', `a bit of ${machine.name} ${directory.slice(DATA_DIRECTORY.length + 1)}/${name} flips at ${offset}`);
    });
  }

  #exchangeFault(exchange: ExchangeInfo): Fault | undefined {
    const fault = this.#badness > 0 && this.#exchangeRandom.chance(0.35) ? this.#drawExchangeFault(exchange) : undefined;
    this.#world.trace.event(exchange.from.slice(7), `${exchange.method} ${exchange.to.slice(7)}${exchange.target.split('?')[0]}${fault === undefined ? '' : ` ${JSON.stringify(fault)}`}`);
    return fault;
  }

  #drawExchangeFault(exchange: ExchangeInfo): Fault {
    const random = this.#exchangeRandom;
    const { flippedLogs } = this.#world.plan;
    // Asked only where it is wanted: otherwise all seeds would draw something else.
    if (flippedLogs > 0 && exchange.target.startsWith('/wal') && random.chance(flippedLogs)) return { responseBody: { flipByte: 300 + random.below(1_500) } };
    const isWrite = ['/set/', '/del/', '/batch?'].some((route) => exchange.target.startsWith(route));
    const offset = random.below(random.pick([50, 500, 5_000]));
    // A bit that flips in a client's own value is nothing that a node could notice.
    switch (random.below(isWrite ? 4 : 8)) {
      case 0:
        return { refuse: true };
      case 1:
        return { loseAnswer: true };
      case 2:
        return { delayMs: random.below(3_000) };
      case 3:
        return { responseBody: { cutAfterBytes: offset } };
      case 4:
        return { responseBody: { stallAfterBytes: offset } };
      case 5:
        return { responseBody: { flipByte: offset } };
      case 6:
        return { requestBody: random.pick([{ flipByte: offset }, { cutAfterBytes: offset }, { stallAfterBytes: offset }]) };
      default:
        return exchange.target.startsWith('/peer/') ? { repeatAfterMs: random.below(5_000) } : { responseBody: { pieceBytes: 1 + random.below(100) } };
    }
  }
}
