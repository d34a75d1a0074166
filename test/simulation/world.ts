/** Everything that the actors of one run share: time, network, chance, machines, and the record of what happened. */
import { type ErrorCode, type ShiplogError, isShiplogError, messageOf } from '../../lib/base/errors.ts';
import { MIB } from '../../lib/base/limits.ts';
import { type Position, formatPosition, parsePosition } from '../../lib/base/position.ts';
import { sleep } from '../../lib/env/clock.ts';
import type { NodeStatus } from '../../lib/node/node-api.ts';
import type { LogFields } from '../../lib/observe/logger.ts';
import type { FakeClock } from '../support/fake-clock.ts';
import { MemoryNetwork } from '../support/memory-transport.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import { hasForgotten } from './checkers/durability.ts';
import { Connection } from './connection.ts';
import { type Counters, noCounts } from './counters.ts';
import { heldBuffersBytes } from './held-buffers.ts';
import type { HistoryRecord } from './history-record.ts';
import type { SimulationMutation } from './mutation.ts';
import type { SimulationPlan } from './plan.ts';
import { Reigns } from './reigns.ts';
import { type MachineConfig, SimulatedMachine, isProgramError } from './simulated-machine.ts';
import type { Trace } from './trace.ts';

/** What the target of a promotion wrote to its log when it was about to open the epoch. */
export interface PromotionRecord {
  readonly epochId: string;
  readonly kind: string;
  readonly announcedLsn: number;
  /** The lowest `ack` that it called safe though not everybody could be asked; null where it warned of nothing. */
  readonly safeAck: number | null;
}

/** What a run found wrong, by itself or by a checker. */
export interface SimulationViolation {
  readonly code: string;
  readonly message: string;
  readonly recordIds: readonly number[];
}

/** Far beyond what four nodes take here, beside what clients have written. */
const BUFFERS_BYTES_MAX = 200 * MIB;
/** Disks are memory here: so often they, their older images and archived logs hold what a client has written. */
const DISK_COPIES_MAX = 64;

/** Calm begins so long after the last fault is over: silent peers are dropped after 10 s. */
const CALM_AFTER_MS = 12_000;

export class World {
  readonly clock: FakeClock;
  readonly random: SeededRandom;
  /** What clients decide about batches: without them, all else is drawn as it is with them. */
  readonly batchRandom: SeededRandom;
  readonly plan: SimulationPlan;
  readonly mutation: SimulationMutation;
  readonly trace: Trace;
  readonly network: MemoryNetwork;
  readonly counters: Counters = noCounts();
  readonly machines: SimulatedMachine[] = [];
  readonly records: HistoryRecord[] = [];
  readonly violations: SimulationViolation[] = [];
  readonly #promotions: PromotionRecord[] = [];
  readonly reigns = new Reigns();
  /** Nodes whose disk was lost, damaged or turned back: what they held is not promised any more. */
  readonly ruins = new Map<string, number>();
  /** Everything takes so many times as long on its way. */
  networkSlowness = 1;
  /** Faults that last at this moment. */
  #disturbances = 0;
  #lastDisturbedMs = 0;
  #recordCount = 0;

  constructor(options: { clock: FakeClock; random: SeededRandom; batchRandom: SeededRandom; plan: SimulationPlan; mutation: SimulationMutation; trace: Trace }) {
    this.clock = options.clock;
    this.random = options.random;
    this.batchRandom = options.batchRandom;
    this.plan = options.plan;
    this.mutation = options.mutation;
    this.trace = options.trace;
    this.network = new MemoryNetwork(this.clock);
    const latency = this.random.fork();
    this.network.latencyMs = () => this.plan.networkMs * this.networkSlowness * (0.5 + latency.uniform());
  }

  machine(name: string): SimulatedMachine {
    const found = this.machines.find((machine) => machine.name === name);
    if (found === undefined) throw new Error(`there is no machine ${name}`);
    return found;
  }

  /** Everybody who sends something. */
  get addresses(): readonly string[] {
    return [...this.machines.map((machine) => machine.url), ...Array.from({ length: this.plan.clientCount }, (_, index) => `http://c${index + 1}`), 'http://operator'];
  }

  sleep(ms: number): Promise<void> {
    return sleep(this.clock, ms);
  }

  nextRecordId(): number {
    this.#recordCount += 1;
    return this.#recordCount;
  }

  // ——— faults that last ———

  /** A fault begins; the function that is returned ends it. */
  disturb(): () => void {
    this.#disturbances += 1;
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      this.#disturbances -= 1;
      this.#lastDisturbedMs = this.clock.monotonicMs();
    };
  }

  /** No fault, and none for a while. */
  get isCalm(): boolean {
    return this.#disturbances === 0 && (this.#lastDisturbedMs === 0 || this.clock.monotonicMs() - this.#lastDisturbedMs > CALM_AFTER_MS);
  }

  addMachine(name: string, config: MachineConfig): void {
    this.machines.push(new SimulatedMachine(this, name, config));
  }

  /** What this machine's disk held may be gone: nobody promises anything about it. */
  loseDisk(machine: SimulatedMachine): void {
    const { nodeId } = machine;
    if (nodeId !== undefined) this.ruins.set(nodeId, this.trace.event(machine.name, 'may have lost what was on its disk'));
  }

  /** As after the loss of a machine: a new one of the same name, with an empty disk. */
  async replaceMachine(machine: SimulatedMachine): Promise<void> {
    this.trace.event('operator', `replaces ${machine.name}, which does not start: ${machine.startErrors.at(-1)}`);
    this.loseDisk(machine);
    machine.isHeldDown = true;
    machine.crash('kill');
    await this.sleep(100);
    machine.replaceDisk(undefined);
    machine.startErrors.splice(0);
    machine.release();
  }

  /** No fault is left, and everybody is started. */
  healAll(): void {
    this.networkSlowness = 1;
    this.network.faultOf = () => undefined;
    this.network.heal();
    for (const machine of this.machines) {
      machine.thaw();
      machine.mendDisk();
      machine.release();
    }
  }

  /**
   * Does a write that everybody confirms succeed? A replica behind another one confirms to that one: such a chain is
   * given by an operator, or remains where a full disk kept a replica from noting that it follows the primary.
   */
  async writeAtAll(primary: SimulatedMachine): Promise<boolean> {
    const id = this.nextRecordId();
    const client = `settlement${id}`;
    const key = 'rest';
    const value = String(id);
    const direct = this.machines.filter(({ node }) => node?.status().upstream?.url === primary.url);
    const ack = direct.length === this.machines.length - 1 ? 'all' : direct.length;
    const invokedAt = this.trace.event(client, `write #${id} ${key} ack=${ack} at ${primary.name}`);
    const nodeId = primary.node?.nodeId ?? primary.name;
    const outcome = await new Connection(this, 'http://operator').call(primary, (node) => node.write({ kind: 'put', key, value }, {}, { ack, timeoutMs: 5_000 }), 10_000);
    const result = outcome.kind === 'answered' && outcome.value.outcome === 'written' ? outcome.value : undefined;
    const endedAt = this.trace.event(client, `write #${id} ${outcome.kind}${outcome.kind === 'refused' ? ` ${messageOf(outcome.error)}` : ''}`);
    this.records.push({
      id,
      clientId: client,
      nodeId,
      kind: 'write',
      key,
      value,
      invokedAt,
      endedAt: result === undefined ? null : endedAt,
      minPosition: null,
      outcome: result === undefined ? 'unknown' : 'ok',
      ackAsked: ack,
      ackReached: result?.ack ?? null,
      position: result?.position ?? null,
    });
    return result !== undefined;
  }

  /** What everybody is doing, line by line. */
  describe(): string {
    return this.machines.map((machine) => `  ${machine.describe()}`).join('\n');
  }

  // ——— what is noticed ———

  violate(code: string, message: string): void {
    this.trace.event('judge', `${code}: ${message}`);
    this.violations.push({ code, message, recordIds: [] });
  }

  /** An error that a client was answered with, if it was one. */
  noteAnswer(error: ShiplogError | undefined): void {
    if (error?.status === 410) this.counters.answers410 += 1;
    if (error?.status === 504) this.counters.answers504 += 1;
    if (error !== undefined && isProgramError(error)) this.violate('program-error', `a client was answered: ${error.stack}`);
  }

  /** Whatever peers send, nobody takes a multiple of the largest frame for it. */
  judgeMemory(): void {
    if (this.#isFound('memory-unbounded')) return;
    const bytesMax = BUFFERS_BYTES_MAX + DISK_COPIES_MAX * Math.max(this.plan.operations, this.#recordCount) * this.plan.valueBytes;
    const bytes = heldBuffersBytes(bytesMax);
    if (bytes >= bytesMax) this.violate('memory-unbounded', `the nodes of this run hold ${(bytes / MIB).toFixed(0)} MiB of buffers`);
  }

  /** Whatever befell them, they are nodes of one cluster. */
  judgeClusters(): void {
    const clusterIds = new Set(this.machines.flatMap(({ node }) => node?.status().clusterId ?? []));
    if (clusterIds.size > 1 && !this.#isFound('two-clusters')) this.violate('two-clusters', `there are ${clusterIds.size} clusters where one was founded:\n${this.describe()}`);
  }

  #isFound(code: string): boolean {
    return this.violations.some((violation) => violation.code === code);
  }

  /** Where something was damaged meanwhile a node may refuse to start, but not forget. */
  judgeStart(machine: SimulatedMachine, { history, positions }: NodeStatus, before: Position): void {
    if (hasForgotten(before, { history, durable: parsePosition(positions.durable)! })) this.violate('forgot-durable', `${machine.name} has started at ${positions.durable}, and had called ${formatPosition(before)} durable before`);
  }

  noteStartFailure(machine: SimulatedMachine, error: unknown): void {
    this.trace.event(machine.name, `does not start: ${isShiplogError(error) ? error.code : ''} ${messageOf(error)}`);
    if (isShiplogError(error, 'log-damaged')) {
      this.counters.damageRefusals += 1;
      // Crashes and power cuts tear a log's tail; only what the nemesis does to a disk damages one.
      if (!this.ruins.has(machine.nodeId ?? '')) this.violate('unexpected-damage', `${machine.name} refuses its own log: ${error.message}`);
    }
    this.#judgeError(machine, error, REASONS_NOT_TO_START);
  }

  noteFailure(machine: SimulatedMachine, error: unknown): void {
    this.trace.event(machine.name, `fails: ${isShiplogError(error) ? error.code : ''} ${messageOf(error)}`);
    this.#judgeError(machine, error, REASONS_TO_FAIL);
  }

  #judgeError(machine: SimulatedMachine, error: unknown, expected: ReadonlySet<ErrorCode>): void {
    if (isProgramError(error)) this.violate('program-error', `${machine.name}: ${(error as Error).stack ?? messageOf(error)}`);
    else if (isShiplogError(error) && !expected.has(error.code)) this.violate('unexpected-failure', `${machine.name}: ${error.code}: ${error.message}`);
  }

  noteLog(message: string, fields: LogFields): void {
    const { counters } = this;
    if (message === 'the node changes its state') {
      const to = fields['to'];
      if (to === 'fenced') counters.fencings += 1;
      if (to === 'diverged') counters.divergences += 1;
      if (to === 'bootstrapping' && fields['because'] !== 'recovered-without-data') counters.reseeds += 1;
    } else if (message === 'opening an epoch') {
      this.#notePromotion(fields);
    } else if (message.startsWith('dropping a torn tail')) {
      counters.tornTails += 1;
    } else if (message.startsWith('operations that are in no surviving history')) {
      counters.salvages += 1;
    } else if (message.startsWith("the upstream no longer has this node's position")) {
      counters.answers410 += 1;
    }
  }

  #notePromotion(fields: LogFields): void {
    const unsafe = /writes at ack > (\d+) are safe/.exec(String(fields['warnings']))?.[1];
    this.#promotions.push({ epochId: String(fields['epochId']), kind: String(fields['kind']), announcedLsn: Number(fields['announcedLsn']), safeAck: unsafe === undefined ? null : Number(unsafe) + 1 });
  }

  /** Those that did open their epoch. */
  get promotions(): readonly PromotionRecord[] {
    return this.#promotions.filter(({ epochId }) => this.reigns.get(epochId) !== undefined);
  }

  noteEpochs(machine: SimulatedMachine, data: Buffer): void {
    const nodeId = machine.nodeId ?? machine.name;
    for (const { epochId, opener } of this.reigns.note(nodeId, data, (epoch) => this.trace.event(machine.name, `opens epoch ${epoch.number}.${epoch.id.slice(0, 4)}`))) {
      this.violate('epoch-minted-twice', `${machine.name} writes another record that opens epoch ${epochId} than the one that ${opener} has opened it with`);
    }
  }
}

const REASONS_NOT_TO_START: ReadonlySet<ErrorCode> = new Set(['log-damaged', 'data-directory-invalid', 'no-primary', 'log-poisoned', 'store-failed', 'disk-full', 'stopping']);
const REASONS_TO_FAIL: ReadonlySet<ErrorCode> = new Set(['log-poisoned', 'log-damaged', 'store-failed', 'disk-full', 'data-directory-invalid']);
