/**
 * One run of a whole cluster in one process, everything drawn from one seed:
 *
 *   found and join ▶ calm work ▶ faults, operators, clients ▶ everything heals ▶ rest ▶ calm work ▶ judgement
 *
 * What runs is the class that `serve` starts. Only clock, disk, transport, random and the store are
 * others; see simulated-machine.
 */
import { epochTagOf } from '../../lib/base/position.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { AbandonedSignals } from './abandoned-signals.ts';
import { judgeHistory } from './checkers/judge-history.ts';
import type { Counters } from './counters.ts';
import type { HistoryTruth } from './history-record.ts';
import { type SimulationMutation, NO_MUTATION } from './mutation.ts';
import { Nemesis } from './nemesis.ts';
import { Operators } from './operators.ts';
import { type ProfileName, type SimulationPlan, drawPlan } from './plan.ts';
import { Settlement } from './settlement.ts';
import { SimulatedClient } from './simulated-client.ts';
import { Trace } from './trace.ts';
import { TruthFinder } from './truth.ts';
import { type SimulationViolation, World } from './world.ts';

export interface SimulationOptions {
  readonly seed: number;
  /** Client operations while faults happen. */
  readonly steps?: number;
  readonly profile?: ProfileName;
  /** In place of what the seed drew. */
  readonly plan?: Partial<SimulationPlan>;
  readonly mutation?: SimulationMutation;
  /** Takes the readable trace, line by line. */
  readonly onLine?: (line: string) => void;
}

export interface SimulationResult {
  readonly seed: number;
  readonly verdict: 'passed' | 'failed';
  readonly violations: readonly SimulationViolation[];
  readonly counters: Counters;
  readonly traceHash: string;
  readonly simulatedMs: number;
}

export const STEPS_DEFAULT = 300;

/** No run takes so long: nobody would ever see its end. */
const SIMULATED_MS_MAX = 3_600_000;

export async function runSimulation(options: SimulationOptions): Promise<SimulationResult> {
  const random = new SeededRandom(options.seed);
  const clock = new FakeClock();
  const trace = new Trace({ nowMs: () => clock.monotonicMs(), onLine: options.onLine });
  const plan = { ...drawPlan(random.fork(), options.profile ?? 'default', options.steps ?? STEPS_DEFAULT), ...options.plan };
  const world = new World({ clock, random, batchRandom: new SeededRandom(~options.seed), plan, mutation: options.mutation ?? NO_MUTATION, trace });
  trace.event('world', JSON.stringify({ ...plan, faults: plan.faults.map(([name]) => name), actions: plan.actions.map(([name]) => name) }));

  // A promise that nobody waits for is a mistake of the product, or of the simulation.
  const onRejection = (reason: unknown): void => world.violate('program-error', `nobody took care of a rejection: ${reason instanceof Error ? (reason.stack ?? reason.message) : String(reason)}`);
  process.on('unhandledRejection', onRejection);
  const abandoned = new AbandonedSignals();
  try {
    await clock.until(new Run(world).run(), SIMULATED_MS_MAX);
  } catch (error) {
    world.violate('unfinished', `the run did not come to its end: ${(error as Error).stack}\n${world.describe()}`);
  } finally {
    await clock.settle();
    process.off('unhandledRejection', onRejection);
    abandoned.release();
  }
  world.counters.clusters += 1;
  return {
    seed: options.seed,
    verdict: world.violations.length === 0 ? 'passed' : 'failed',
    violations: world.violations,
    counters: world.counters,
    traceHash: trace.hash,
    simulatedMs: clock.monotonicMs(),
  };
}

class Run {
  readonly #world: World;
  readonly #nemesis: Nemesis;
  readonly #operators: Operators;
  readonly #clients: readonly SimulatedClient[];

  constructor(world: World) {
    this.#world = world;
    this.#addMachines();
    this.#nemesis = new Nemesis(world);
    this.#operators = new Operators(world);
    this.#clients = Array.from({ length: world.plan.clientCount }, (_, index) => new SimulatedClient(world, `c${index + 1}`));
  }

  #addMachines(): void {
    const { nodeCount, hasCascade } = this.#world.plan;
    const urls = Array.from({ length: nodeCount }, (_, index) => `http://n${index + 1}`);
    for (const [index, url] of urls.entries()) {
      const upstream = hasCascade && index >= 2 ? urls[1] : urls[0];
      const config = index === 0 ? { follow: undefined, peers: urls.filter((each) => each !== url) } : { follow: upstream, peers: [] };
      this.#world.addMachine(`n${index + 1}`, config);
    }
  }

  async run(): Promise<void> {
    const { plan, machines, counters } = this.#world;
    await this.#begin();
    await this.#work(plan.calmOperations);

    let isOver = false;
    const mayGoOn = (): boolean => !isOver;
    const troubles = Promise.all([this.#nemesis.run(mayGoOn), this.#operators.run(mayGoOn)]);
    await this.#work(plan.operations);
    isOver = true;
    await troubles;

    const primary = await new Settlement(this.#world, this.#operators).run();
    if (primary === undefined) return;
    await this.#work(plan.calmOperations);
    await this.#judge(machines.find((machine) => machine.node?.status().state === 'primary') ?? primary);
    for (const promotion of this.#world.promotions) {
      if (promotion.kind === 'switchover') counters.switchovers += 1;
      if (promotion.kind === 'failover') counters.promotions += 1;
      if (promotion.kind === 'forced') counters.forcedPromotions += 1;
    }
  }

  /** The first node founds the cluster, the others join it. */
  async #begin(): Promise<void> {
    const { machines } = this.#world;
    for (const machine of machines) {
      void machine.supervise();
      await this.#until(`${machine.name} is ready`, () => machine.node?.health().ok === true);
    }
    // Those who follow a replica are not members: the primary hears nothing of them.
    const members = this.#world.plan.hasCascade ? 2 : machines.length;
    await this.#until('all know each other', () => machines.every((machine) => machine.node?.status().members.length === members));
  }

  async #until(what: string, condition: () => boolean): Promise<void> {
    for (let tries = 0; !condition(); tries += 1) {
      if (tries > 600) throw new Error(`it did not come about that ${what}`);
      await this.#world.sleep(100);
    }
  }

  async #work(operations: number): Promise<void> {
    let left = operations;
    await Promise.all(
      this.#clients.map((client) =>
        client.run(() => {
          left -= 1;
          return left >= 0;
        }),
      ),
    );
  }

  /**
   * What was set aside can come back where whoever made it obsolete was itself given up, by force or with
   * a disk: then the file holds what survives as well. Nothing is lost by that.
   */
  #isDoneTwice(code: string): boolean {
    return code === 'wrong-salvage' && (this.#world.ruins.size > 0 || this.#world.promotions.some(({ kind }) => kind === 'forced'));
  }

  /** What a primary had taken may be gone with its disk, whoever takes over and however. */
  #isExcused(code: string, recordIds: readonly number[], truth: HistoryTruth): boolean {
    if (code !== 'lost') return false;
    return recordIds.every((id) => {
      const position = this.#world.records.find((record) => record.id === id)?.position;
      const opened = truth.epochs.find(({ epoch }) => epoch.number === position?.epochNumber && epochTagOf(epoch.id) === position.epochTag);
      return opened !== undefined && this.#world.ruins.has(opened.nodeId);
    });
  }

  async #judge(primary: Parameters<TruthFinder['find']>[0]): Promise<void> {
    const world = this.#world;
    await this.#until('all hold the same', () => {
      const ends = world.machines.map(({ node }) => node?.status().positions);
      return ends.every((end) => end !== undefined && end.applied === ends[0]!.durable && end.durable === ends[0]!.durable);
    });
    const truth = await new TruthFinder(world).find(primary);
    world.violations.push(...judgeHistory(world.records, truth, { successShareMin: 0, mayBeEmpty: world.plan.batchShare === 0 ? ['batches'] : [] }).filter((each) => !this.#isDoneTwice(each.code) && !this.#isExcused(each.code, each.recordIds, truth)));
  }
}
