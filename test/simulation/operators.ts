/** People and their scripts: they switch over, promote, force, forget and allow, at good moments and at bad ones. */
import { isShiplogError, messageOf } from '../../lib/base/errors.ts';
import type { PromoteEvent, PromoteOptions } from '../../lib/failover/promote-events.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import { Connection } from './connection.ts';
import { type ActionName, pickWeighted } from './plan.ts';
import type { SimulatedMachine } from './simulated-machine.ts';
import type { World } from './world.ts';

const PATIENCE_MS = 40_000;

export type PromotionEnd = Extract<PromoteEvent, { type: 'promoted' } | { type: 'refused' }>;

export class Operators {
  readonly #world: World;
  readonly #random: SeededRandom;
  readonly #connection: Connection;
  #promotions = 0;

  constructor(world: World) {
    this.#world = world;
    this.#random = world.random.fork();
    this.#connection = new Connection(world, 'http://operator');
  }

  /** Somebody waits for a promotion to end. */
  get isPromoting(): boolean {
    return this.#promotions > 0;
  }

  /** One thing after the other, as long as `mayGoOn` says so; what takes long goes on beside the next. */
  async run(mayGoOn: () => boolean): Promise<void> {
    const { actionMs, actions } = this.#world.plan;
    while (mayGoOn()) {
      await this.#world.sleep(-actionMs * Math.log(1 - this.#random.uniform()));
      if (!mayGoOn()) return;
      void this.#act(pickWeighted(this.#random, actions));
    }
  }

  async #act(action: ActionName): Promise<void> {
    const machines = this.#world.machines;
    const machine = this.#random.pick(machines);
    switch (action) {
      case 'promote':
        await this.#promoteOrBetter(machine, PLAIN);
        return;
      case 'promote-two':
        await Promise.all([this.promote(machine, PLAIN), this.promote(this.#random.pick(machines), PLAIN)]);
        return;
      case 'promote-when-dead':
        // Somebody looks at the cluster, and sees no primary.
        if (machines.some((each) => each.node?.status().state === 'primary' && !each.isFrozen)) return;
        await this.#promoteOrBetter(machine, PLAIN);
        return;
      case 'force': {
        await this.promote(machine, { ...PLAIN, force: true, acceptLoss: this.#random.pick([0, 3, 20, 'unknown'] as const) });
        return;
      }
      case 'forget': {
        const primary = machines.find((each) => each.node?.status().state === 'primary');
        if (primary === undefined) return;
        // Of nodes that live and are only away, nobody says that they are gone for good.
        const living = new Set(machines.filter((each) => !each.isHeldDown).map((each) => each.nodeId));
        const gone = primary.node!.status().members.filter((member) => !living.has(member.nodeId));
        if (gone.length > 0) await this.forget(primary, this.#random.pick(gone).nodeId);
        return;
      }
      case 'rejoin': {
        const diverged = machines.filter((each) => each.node?.status().state === 'diverged');
        if (diverged.length > 0) await this.rejoin(this.#random.pick(diverged));
        return;
      }
    }
  }

  async #promoteOrBetter(machine: SimulatedMachine, options: PromoteOptions): Promise<void> {
    const end = await this.promote(machine, options);
    if (end?.type !== 'refused' || end.betterUrl === null) return;
    const better = this.#world.machines.find((each) => each.url === end.betterUrl);
    if (better !== undefined && this.#random.chance(0.7)) await this.promote(better, options);
  }

  /** As `bin/promote` does. @returns how it ended, undefined where nobody learned it. */
  async promote(machine: SimulatedMachine, options: PromoteOptions): Promise<PromotionEnd | undefined> {
    this.#promotions += 1;
    try {
      return await this.#promoteAt(machine, options);
    } finally {
      this.#promotions -= 1;
    }
  }

  async #promoteAt(machine: SimulatedMachine, options: PromoteOptions): Promise<PromotionEnd | undefined> {
    const { trace, counters } = this.#world;
    trace.event('operator', `promote ${machine.name}${options.force ? ` --force --accept-loss ${options.acceptLoss}` : ''}`);
    // The command may die at any moment.
    const patienceMs = this.#random.chance(0.1) ? this.#random.below(2_000) : PATIENCE_MS;
    const outcome = await this.#connection.call(
      machine,
      async (node) => {
        let end: PromotionEnd | undefined;
        for await (const event of node.promote(options)) {
          if (event.type === 'plan') trace.note('operator', () => `plan of ${machine.name}: ${event.plan.kind}, ${event.plan.members.map(({ nodeId, name, state, position }) => `${name}/${nodeId.slice(0, 4)} ${state ?? 'silent'} ${position ?? ''}`).join(', ')}`);
          if (event.type === 'promoted' || event.type === 'refused') end = event;
        }
        return end;
      },
      patienceMs,
    );
    if (outcome.kind !== 'answered') {
      trace.event('operator', `promote ${machine.name}: ${outcome.kind === 'refused' ? messageOf(outcome.error) : outcome.kind}`);
      if (outcome.kind === 'refused' && !isShiplogError(outcome.error)) this.#world.violate('program-error', `promote on ${machine.name}: ${(outcome.error as Error).stack}`);
      return undefined;
    }
    const end = outcome.value;
    if (end?.type === 'refused') counters.refusedPromotions += 1;
    trace.event('operator', `promote ${machine.name}: ${describeEnd(end)}`);
    return end;
  }

  async forget(machine: SimulatedMachine, nodeId: string): Promise<boolean> {
    this.#world.trace.event('operator', `forget ${nodeId.slice(0, 6)} at ${machine.name}`);
    const outcome = await this.#connection.call(machine, (node) => node.forget(nodeId), PATIENCE_MS);
    this.#world.trace.event('operator', `forget: ${outcome.kind}`);
    return outcome.kind === 'answered';
  }

  async rejoin(machine: SimulatedMachine): Promise<boolean> {
    this.#world.trace.event('operator', `rejoin ${machine.name}`);
    const outcome = await this.#connection.call(machine, (node) => node.rejoin(), PATIENCE_MS);
    this.#world.trace.event('operator', `rejoin: ${outcome.kind}`);
    return outcome.kind === 'answered';
  }
}

export const PLAIN: PromoteOptions = { force: false, acceptLoss: null, isDryRun: false };

function describeEnd(end: PromotionEnd | undefined): string {
  if (end === undefined) return 'ended without a word';
  return end.type === 'promoted' ? `${end.kind} to epoch ${end.epoch.number} at ${end.position}` : `refused, ${end.code}: ${end.message}`;
}
