/**
 * After the faults: everything heals, everybody is started again, an operator does what the runbooks
 * say, and then the cluster has to come to rest with one primary, and to go on.
 */
import { type Operators, PLAIN } from './operators.ts';
import type { SimulatedMachine } from './simulated-machine.ts';
import type { World } from './world.ts';

/** Far beyond any time-out of the product. */
const PATIENCE_MS = 300_000;
const LOOK_MS = 500;
/** So long an operator watches before doing something about it. */
const HESITATION_MS = 8_000;

export class Settlement {
  readonly #world: World;
  readonly #operators: Operators;
  #withoutPrimarySinceMs: number | undefined;
  #refusals = 0;
  readonly #stuckSinceMs = new Map<SimulatedMachine, number>();
  readonly #rejoins = new Map<SimulatedMachine, number>();
  readonly #brokenSinceMs = new Map<SimulatedMachine, number>();

  constructor(world: World, operators: Operators) {
    this.#world = world;
    this.#operators = operators;
  }

  /** @returns the primary; undefined, with a violation noted, where the cluster did not come to rest. */
  async run(): Promise<SimulatedMachine | undefined> {
    const { world } = this;
    world.trace.event('settlement', 'everything heals');
    world.healAll();
    const endMs = world.clock.monotonicMs() + PATIENCE_MS;
    for (;;) {
      world.judgeClusters();
      const primary = this.#primaryOfAll();
      // One that began before may be forced, and leave somebody behind who then waits for an operator.
      if (primary !== undefined && !this.#operators.isPromoting && (await this.#goesOn(primary))) return primary;
      if (world.clock.monotonicMs() > endMs) {
        world.violate('no-rest', `the cluster did not come to rest within ${PATIENCE_MS / 1000} s after everything had healed:\n${this.#world.describe()}`);
        return undefined;
      }
      await this.#tend();
      await world.sleep(LOOK_MS);
    }
  }

  get world(): World {
    return this.#world;
  }

  /** One primary, and everybody else follows it. */
  #primaryOfAll(): SimulatedMachine | undefined {
    const { machines } = this.#world;
    const statuses = machines.map((machine) => machine.node?.status());
    const primary = machines.find((_, index) => statuses[index]?.state === 'primary');
    const epochId = primary?.node?.status().epoch?.id;
    const isAtRest = statuses.every((status) => status !== undefined && status.epoch?.id === epochId && (status.state === 'primary' || (status.state === 'following' && status.upstream?.connected === true)));
    return isAtRest && statuses.filter((status) => status?.state === 'primary').length === 1 ? primary : undefined;
  }

  /** A write that everybody confirms, and then everybody holds the same. */
  async #goesOn(primary: SimulatedMachine): Promise<boolean> {
    const { world } = this;
    const written = await world.writeAtAll(primary);
    if (!written) return false;
    for (let tries = 0; tries < 20; tries += 1) {
      const ends = world.machines.map(({ node }) => {
        const status = node?.status();
        return status?.positions.applied === status?.positions.durable ? status?.positions.durable : undefined;
      });
      if (ends.every((end) => end !== undefined && end === ends[0])) return true;
      await world.sleep(LOOK_MS);
    }
    return false;
  }

  /** What the runbooks say for what an operator sees. */
  async #tend(): Promise<void> {
    const { world } = this;
    const nowMs = world.clock.monotonicMs();
    for (const machine of world.machines) {
      const isBroken = machine.node === undefined && machine.startErrors.length >= 3;
      if (!isBroken) this.#brokenSinceMs.delete(machine);
      else if (!this.#brokenSinceMs.has(machine)) this.#brokenSinceMs.set(machine, nowMs);
      else if (nowMs - this.#brokenSinceMs.get(machine)! > HESITATION_MS) {
        this.#brokenSinceMs.delete(machine);
        await world.replaceMachine(machine);
      }
    }
    const primaries = world.machines.filter((machine) => machine.node?.status().state === 'primary');
    if (primaries.length > 0) this.#withoutPrimarySinceMs = undefined;
    else this.#withoutPrimarySinceMs ??= nowMs;
    const hasPrimary = primaries.length === 1;
    for (const machine of world.machines) {
      if (hasPrimary && machine.node?.status().state === 'diverged') await this.#allow(machine);
    }
    if (hasPrimary) await this.#forgetStrangers(primaries[0]!);
    if (hasPrimary) await this.#freeStuck(primaries[0]!, nowMs);
    if (this.#withoutPrimarySinceMs !== undefined && nowMs - this.#withoutPrimarySinceMs > HESITATION_MS) await this.#promoteSomebody();
  }

  /** Where a log is damaged, nothing of it can be set aside: then the machine begins anew. */
  async #allow(machine: SimulatedMachine): Promise<void> {
    const tries = (this.#rejoins.get(machine) ?? 0) + 1;
    this.#rejoins.set(machine, tries);
    const isDamaged = this.#world.ruins.has(machine.node!.nodeId);
    if (tries > 3 && isDamaged) await this.#world.replaceMachine(machine);
    else await this.#operators.rejoin(machine);
  }

  /** Members that are no machine's any more: their disks were replaced. */
  async #forgetStrangers(primary: SimulatedMachine): Promise<void> {
    const living = new Set(this.#world.machines.map((machine) => machine.node?.nodeId));
    if (living.has(undefined)) return;
    for (const member of primary.node?.status().members ?? []) {
      if (!living.has(member.nodeId)) await this.#operators.forget(primary, member.nodeId);
    }
  }

  /**
   * Nodes that take no part though there is a primary. A promise whose target is gone for good is settled by
   * another promotion; a log that can't be read can't be set aside, and says so: then the machine begins anew.
   */
  async #freeStuck(primary: SimulatedMachine, nowMs: number): Promise<void> {
    for (const machine of this.#world.machines) {
      const state = machine.node?.status().state;
      const isStuck = state === 'promised' || state === 'fenced';
      if (!isStuck) this.#stuckSinceMs.delete(machine);
      else if (!this.#stuckSinceMs.has(machine)) this.#stuckSinceMs.set(machine, nowMs);
      if (!isStuck || nowMs - this.#stuckSinceMs.get(machine)! < 3 * HESITATION_MS) continue;
      this.#stuckSinceMs.delete(machine);
      const other = this.#world.machines.find((each) => each !== primary && each.node?.status().state === 'following');
      if (state === 'promised') {
        this.#judgePromise(machine);
        await this.#operators.promote(other ?? primary, PLAIN);
      } else if (this.#world.ruins.has(machine.node!.nodeId)) await this.#world.replaceMachine(machine);
    }
  }

  /** A target that lives, and promotes itself no longer, has to give its promise up by itself. */
  #judgePromise(machine: SimulatedMachine): void {
    const promise = machine.node?.status().promise;
    const target = this.#world.machines.find((each) => each.node !== undefined && each.node.nodeId === promise?.targetNodeId);
    if (promise == null || target === undefined) return;
    this.#world.violate('orphaned-promise', `${machine.name} is still promised to epoch ${promise.epoch.number} of ${target.name}, which is ${target.node!.status().state} and promotes itself no longer`);
  }

  async #promoteSomebody(): Promise<void> {
    const candidates = this.#world.machines
      .filter((machine) => machine.node !== undefined)
      .map((machine) => ({ machine, status: machine.node!.status() }))
      .sort((a, b) => (b.status.epoch?.number ?? 0) - (a.status.epoch?.number ?? 0) || lsnOf(b.status.positions.durable) - lsnOf(a.status.positions.durable));
    let [candidate] = candidates;
    if (candidate === undefined) return;
    const end = await this.#operators.promote(candidate.machine, PLAIN);
    if (end?.type !== 'refused') return;
    this.#refusals += 1;
    if (end.betterUrl !== null) {
      candidate = candidates.find(({ machine }) => machine.url === end.betterUrl) ?? candidate;
      await this.#operators.promote(candidate.machine, PLAIN);
      return;
    }
    // Patience first: a promise may be withdrawn, a node may come back.
    if (this.#refusals > 3) await this.#operators.promote(candidates[(this.#refusals - 4) % candidates.length]!.machine, { ...PLAIN, force: true, acceptLoss: 'unknown' });
  }
}

function lsnOf(position: string): number {
  return Number(position.slice(position.indexOf('-') + 1));
}
