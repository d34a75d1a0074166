/** One session: writes, deletes, batches of them, and reads, one at a time, at nodes of its choice, written down as it saw them. */
import { type AckLevel, parseAckLevel } from '../../lib/base/ack-level.ts';
import { ShiplogError, isShiplogError, unreachable } from '../../lib/base/errors.ts';
import type { DataOperation } from '../../lib/base/operation.ts';
import { type Position, formatPosition, parsePosition } from '../../lib/base/position.ts';
import { errorFromProblem } from '../../lib/base/problem.ts';
import type { Node } from '../../lib/node/node.ts';
import type { WriteCondition } from '../../lib/node/node-api.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import { sendBatch } from './batch-exchange.ts';
import { Connection, type Outcome } from './connection.ts';
import type { BatchPlace, MutationRecord, ReadOutcome, ReadRecord } from './history-record.ts';
import { pickWeighted } from './plan.ts';
import type { SimulatedMachine } from './simulated-machine.ts';
import type { World } from './world.ts';
import { type WriteAnswer, batchAnswersOf, writeAnswerOf } from './write-answer.ts';

/** Some clients give up before the node does, some wait for its own time-outs. */
const PATIENCES_MS = [1_000, 2_500, 7_000] as const;

/** A write or delete, on its own or one of a batch. */
interface SentWrite {
  readonly id: number;
  readonly operation: DataOperation;
  readonly condition: WriteCondition;
}

interface Durability {
  readonly ack: AckLevel;
  readonly timeoutMs: number;
}

/** All that a record says of a write, but for its answer. */
interface NotedWrite {
  readonly sent: SentWrite;
  readonly nodeId: string;
  readonly invokedAt: number;
  readonly endedAt: number;
  readonly ackAsked: AckLevel;
  readonly batch?: BatchPlace;
}

interface ReadAnswer {
  readonly value: string | null;
  readonly role: 'primary' | 'replica';
  readonly position: Position;
  readonly keyPosition: Position | null;
}

export class SimulatedClient {
  readonly #world: World;
  readonly #name: string;
  readonly #random: SeededRandom;
  readonly #batchRandom: SeededRandom;
  readonly #connection: Connection;
  readonly #patienceMs: number;
  #session = 1;
  /** The newest position that this session has seen. */
  #position: Position | null = null;
  /** Positions of keys, for conditional writes. */
  readonly #keyPositions = new Map<string, Position>();
  #favourite: SimulatedMachine | undefined;

  constructor(world: World, name: string) {
    this.#world = world;
    this.#name = name;
    this.#random = world.random.fork();
    this.#batchRandom = world.batchRandom.fork();
    this.#patienceMs = this.#random.pick(PATIENCES_MS);
    this.#connection = new Connection(world, `http://${name}`);
  }

  get #clientId(): string {
    return `${this.#name}.${this.#session}`;
  }

  /** One operation after the other, as long as `mayGoOn` says so. */
  async run(mayGoOn: () => boolean): Promise<void> {
    const { thinkMs } = this.#world.plan;
    while (mayGoOn()) {
      const isFine = await this.#once();
      await this.#world.sleep(thinkMs * (isFine ? 0.2 + 1.6 * this.#random.uniform() : 1 + 2 * this.#random.uniform()));
    }
  }

  async #once(): Promise<boolean> {
    const { world } = this;
    const wasCalm = world.isCalm;
    const machine = this.#machine();
    const key = `k${this.#random.below(world.plan.keyCount)}`;
    const dice = this.#random.uniform();
    const isFine = dice < 0.5 ? await this.#mutate(machine, key, 'write') : dice < 0.5 + world.plan.deleteShare ? await this.#mutate(machine, key, 'delete') : await this.#read(machine, key);
    world.counters.operations += 1;
    world.judgeMemory();
    if (wasCalm && world.isCalm) {
      world.counters.calmOperations += 1;
      if (isFine) world.counters.calmSuccesses += 1;
    }
    this.#favourite = isFine ? machine : undefined;
    return isFine;
  }

  get world(): World {
    return this.#world;
  }

  #machine(): SimulatedMachine {
    if (this.#favourite !== undefined && this.#random.chance(0.6)) return this.#favourite;
    return this.#random.pick(this.#world.machines);
  }

  // ——— writes ———

  /** Alone, or as the first operation of a batch. */
  async #mutate(machine: SimulatedMachine, key: string, kind: 'write' | 'delete'): Promise<boolean> {
    const { plan } = this.#world;
    const first = this.#sentWrite(this.#random, key, kind);
    const ack = pickWeighted(this.#random, plan.acks);
    const durability = { ack, timeoutMs: this.#random.pick([300, 1_500, 5_000]) };
    return this.#batchRandom.chance(plan.batchShare) ? await this.#writeBatch(machine, [first, ...this.#moreOf(first)], durability) : await this.#write(machine, first, durability);
  }

  async #write(machine: SimulatedMachine, sent: SentWrite, durability: Durability): Promise<boolean> {
    const { world } = this;
    const { id, operation, condition } = sent;
    const invokedAt = world.trace.event(this.#clientId, `${textOf(sent)} ack=${durability.ack}${describeCondition(condition)} at ${machine.name}`);
    const nodeId = nodeIdOf(machine);
    const outcome = await this.#connection.call(machine, (node) => write(node, operation, condition, durability), this.#patienceMs);
    const answer = writeAnswerOf(outcome, isPlain(sent));
    const endedAt = world.trace.event(this.#clientId, `${kindOf(operation)} #${id} ${describeAnswer(answer)}${reasonOf(outcome)}`);
    world.noteAnswer(errorOf(outcome));
    world.records.push(this.#recordOf({ sent, nodeId, invokedAt, endedAt, ackAsked: durability.ack }, answer, outcome));
    this.#learn([sent], [answer]);
    return answer.outcome === 'ok' || answer.outcome === 'not-found' || (outcome.kind === 'answered' && answer.outcome === 'failed');
  }

  async #writeBatch(machine: SimulatedMachine, batch: readonly SentWrite[], durability: Durability): Promise<boolean> {
    const { world } = this;
    const [{ id }] = batch as readonly [SentWrite];
    const name = (index: number): string => `batch #${id} (${index + 1} of ${batch.length})`;
    // Each operation has a beginning and an end of its own, as if all were sent and answered one behind the other.
    const begins = batch.map((sent, index) => world.trace.event(this.#clientId, `${name(index)} ${textOf(sent)} ack=${durability.ack}${describeCondition(sent.condition)} at ${machine.name}`));
    const nodeId = nodeIdOf(machine);
    const outcome = await this.#connection.call(machine, (node) => sendBatch(node, batch, durability), this.#patienceMs);
    const answers = batchAnswersOf(outcome, batch.length, batch.every(isPlain));
    world.noteAnswer(errorOf(outcome));
    for (const [index, sent] of batch.entries()) {
      const answer = answers[index]!;
      const endedAt = world.trace.event(this.#clientId, `${name(index)} ${kindOf(sent.operation)} #${sent.id} ${describeAnswer(answer)}${reasonOf(outcome)}`);
      world.records.push(this.#recordOf({ sent, nodeId, invokedAt: begins[index]!, endedAt, ackAsked: durability.ack, batch: { id, index } }, answer, outcome));
    }
    this.#learn(batch, answers);
    this.#countBatch(outcome, answers);
    return outcome.kind === 'answered';
  }

  #countBatch(outcome: Outcome<unknown>, answers: readonly WriteAnswer[]): void {
    const { counters } = this.#world;
    if (outcome.kind !== 'not-sent') counters.batches += 1;
    if (answers.some((answer) => answer.outcome === 'unknown')) counters.batchesUnknown += 1;
    if (outcome.kind !== 'answered') return;
    if (answers.some((answer) => answer.outcome === 'failed')) counters.batchesRefused += 1;
    else counters.batchesAcknowledged += 1;
  }

  #recordOf({ sent: { id, operation, condition }, ...more }: NotedWrite, answer: WriteAnswer, outcome: Outcome<unknown>): MutationRecord {
    const onlyIf = onlyIfOf(condition);
    return {
      ...more,
      ...answer,
      id,
      clientId: this.#clientId,
      kind: kindOf(operation),
      key: operation.key,
      value: operation.kind === 'put' ? operation.value : null,
      endedAt: answer.outcome === 'unknown' && outcome.kind !== 'refused' ? null : more.endedAt,
      minPosition: null,
      ...(onlyIf !== undefined && { onlyIf }),
    };
  }

  #learn(sent: readonly SentWrite[], answers: readonly WriteAnswer[]): void {
    for (const [index, { operation }] of sent.entries()) {
      const { outcome, position } = answers[index]!;
      if (outcome !== 'ok') continue;
      this.#saw(position);
      if (operation.kind === 'put' && position !== null) this.#keyPositions.set(operation.key, position);
    }
    if (answers.some(({ outcome }) => outcome === 'position-lost')) this.#beginSession();
  }

  #sentWrite(random: SeededRandom, key: string, kind: 'write' | 'delete'): SentWrite {
    const id = this.#world.nextRecordId();
    const operation: DataOperation = kind === 'write' ? { kind: 'put', key, value: `${id}`.padEnd(this.#world.plan.valueBytes, '.') } : { kind: 'delete', key };
    return { id, operation, condition: this.#condition(random, key, kind) };
  }

  /** The other operations of a batch. */
  #moreOf(first: SentWrite): readonly SentWrite[] {
    const random = this.#batchRandom;
    const keys = [first.operation.key];
    return Array.from({ length: 1 + random.below(4) }, () => {
      // Some keys come more than once.
      const key = random.chance(0.25) ? random.pick(keys) : `k${random.below(this.#world.plan.keyCount)}`;
      keys.push(key);
      return this.#sentWrite(random, key, random.chance(0.25) ? 'delete' : 'write');
    });
  }

  #condition(random: SeededRandom, key: string, kind: 'write' | 'delete'): WriteCondition {
    const dice = random.uniform();
    const known = this.#keyPositions.get(key);
    if (dice < 0.1 && known !== undefined) return { ifMatch: [known] };
    if (dice < 0.15) return { ifMatch: '*' };
    if (dice < 0.2 && kind === 'write') return { ifNoneMatch: '*' };
    return {};
  }

  // ——— reads ———

  async #read(machine: SimulatedMachine, key: string): Promise<boolean> {
    const { world } = this;
    const id = world.nextRecordId();
    const min = this.#random.chance(0.7) ? this.#position : null;
    const waitMs = this.#random.pick([100, 1_000, 3_000]);
    const invokedAt = world.trace.event(this.#clientId, `read #${id} ${key}${min === null ? '' : ` min=${formatPosition(min)}`} at ${machine.name}`);
    const nodeId = nodeIdOf(machine);
    const outcome = await this.#connection.call(machine, (node) => read(node, key, min, waitMs), this.#patienceMs);
    const value = outcome.kind === 'answered' ? outcome.value : null;
    const readOutcome = readOutcomeOf(outcome);
    const endedAt = world.trace.event(this.#clientId, `read #${id} ${readOutcome}${value === null ? '' : ` ${value.value?.replace(/\.+$/, '') ?? 'nothing'} at ${formatPosition(value.position)} as ${value.role}`}${reasonOf(outcome)}`);
    world.noteAnswer(errorOf(outcome));
    const record: ReadRecord = {
      id,
      clientId: this.#clientId,
      nodeId,
      kind: 'read',
      key,
      invokedAt,
      endedAt: readOutcome === 'unknown' && outcome.kind !== 'refused' ? null : endedAt,
      minPosition: min,
      outcome: readOutcome,
      value: value?.value ?? null,
      role: value?.role ?? null,
      position: value?.position ?? null,
      keyPosition: value?.keyPosition ?? null,
    };
    world.records.push(record);
    if (value !== null) this.#saw(value.position);
    if (value?.keyPosition != null) this.#keyPositions.set(key, value.keyPosition);
    if (readOutcome === 'position-lost') this.#beginSession();
    return readOutcome === 'ok' || readOutcome === 'not-found';
  }

  /** What a client does that keeps the newest position: of two epochs the later one counts. */
  #saw(position: Position | null): void {
    const known = this.#position;
    if (position === null || position.lsn === 0) return;
    if (known === null || position.epochNumber > known.epochNumber || (position.epochNumber === known.epochNumber && position.lsn > known.lsn)) this.#position = position;
  }

  /** Its position is in no surviving history: it forgets it, and has seen nothing. */
  #beginSession(): void {
    this.#session += 1;
    this.#position = null;
    this.#keyPositions.clear();
  }
}

// ——— what http/ does ———

async function write(node: Node, operation: DataOperation, condition: WriteCondition, durability: Durability): Promise<WriteAnswer> {
  const route = await node.writeRoute();
  switch (route.kind) {
    case 'local':
      return await writeHere(node, operation, condition, durability);
    case 'forward':
      return await passOn(node, route.primaryUrl, operation, condition, durability);
    case 'redirect':
      throw new ShiplogError('no-primary', 'no client follows redirects here');
    default:
      return unreachable(route);
  }
}

async function writeHere(node: Node, operation: DataOperation, condition: WriteCondition, durability: Durability): Promise<WriteAnswer> {
  const result = await node.write(operation, condition, durability);
  switch (result.outcome) {
    case 'written':
      return { outcome: 'ok', ackReached: result.ack ?? 'local', position: result.position };
    case 'absent':
      return { outcome: 'not-found', ackReached: null, position: node.visiblePosition() };
    case 'precondition-failed':
      return { outcome: 'failed', ackReached: null, position: null };
    default:
      return unreachable(result);
  }
}

async function passOn(node: Node, primaryUrl: string, operation: DataOperation, condition: WriteCondition, durability: Durability): Promise<WriteAnswer> {
  const { kind, key } = operation;
  const response = await node.forward(primaryUrl, {
    method: kind === 'put' ? 'POST' : 'DELETE',
    target: `/${kind === 'put' ? 'set' : 'del'}/${encodeURIComponent(key)}?ack=${durability.ack}&timeout=${durability.timeoutMs}ms`,
    headers: {
      ...(condition.ifMatch !== undefined && { 'if-match': conditionText(condition.ifMatch) }),
      ...(condition.ifNoneMatch !== undefined && { 'if-none-match': conditionText(condition.ifNoneMatch) }),
    },
    ...(kind === 'put' && { body: Buffer.from(operation.value) }),
  });
  const shown = parsePosition(response.headers['shiplog-position'] ?? '') ?? null;
  switch (response.status) {
    case 200: {
      const ack = response.headers['shiplog-ack'];
      const level = ack === undefined ? 'local' : parseAckLevel(ack);
      return { outcome: 'ok', ackReached: level === undefined || level === 'all' ? null : level, position: parsePosition((response.headers['etag'] ?? '').replaceAll('"', '')) ?? null };
    }
    case 404:
      return { outcome: 'not-found', ackReached: null, position: shown };
    case 412:
      return { outcome: 'failed', ackReached: null, position: null };
    default:
      throw errorFromProblem(response.status, response.body);
  }
}

async function read(node: Node, key: string, min: Position | null, waitMs: number): Promise<ReadAnswer> {
  if (min !== null) await node.waitFor(min, waitMs);
  // From here to the end in one turn: position and value belong together.
  const found = node.read(key);
  return {
    value: found?.value ?? null,
    role: node.status().state === 'primary' ? 'primary' : 'replica',
    position: node.visiblePosition(),
    keyPosition: found?.position ?? null,
  };
}

function nodeIdOf(machine: SimulatedMachine): string {
  return machine.node?.nodeId ?? machine.name;
}

// ——— what an answer means ———

function readOutcomeOf(outcome: Outcome<ReadAnswer>): ReadOutcome {
  switch (outcome.kind) {
    case 'answered':
      return outcome.value.value === null ? 'not-found' : 'ok';
    case 'not-sent':
      return 'failed';
    case 'no-answer':
      return 'unknown';
    case 'refused':
      if (isShiplogError(outcome.error, 'position-lost')) return 'position-lost';
      return isShiplogError(outcome.error, 'position-not-reached') ? 'not-reached' : 'failed';
    default:
      return unreachable(outcome);
  }
}

function errorOf(outcome: Outcome<unknown>): ShiplogError | undefined {
  return outcome.kind === 'refused' && isShiplogError(outcome.error) ? outcome.error : undefined;
}

function reasonOf(outcome: Outcome<unknown>): string {
  if (outcome.kind === 'refused') return `, ${isShiplogError(outcome.error) ? `${outcome.error.code}: ${outcome.error.message}` : String(outcome.error)}`;
  return outcome.kind === 'answered' ? '' : `, ${outcome.kind}`;
}

function kindOf(operation: DataOperation): 'write' | 'delete' {
  return operation.kind === 'put' ? 'write' : 'delete';
}

function textOf({ id, operation }: SentWrite): string {
  return `${kindOf(operation)} #${id} ${operation.key}`;
}

/** It writes, whatever it finds. */
function isPlain({ operation, condition }: SentWrite): boolean {
  return operation.kind === 'put' && Object.keys(condition).length === 0;
}

function describeAnswer({ outcome, position, ackReached }: WriteAnswer): string {
  return `${outcome}${position === null ? '' : ` ${formatPosition(position)}`}${ackReached === null ? '' : ` ack=${ackReached}`}`;
}

function conditionText(names: '*' | readonly Position[]): string {
  return names === '*' ? '*' : names.map((position) => `"${formatPosition(position)}"`).join(', ');
}

function describeCondition({ ifMatch, ifNoneMatch }: WriteCondition): string {
  return `${ifMatch === undefined ? '' : ` if-match ${conditionText(ifMatch)}`}${ifNoneMatch === undefined ? '' : ` if-none-match ${conditionText(ifNoneMatch)}`}`;
}

/** A condition names one position at most here. */
function onlyIfOf({ ifMatch, ifNoneMatch }: WriteCondition): Position | 'present' | 'absent' | undefined {
  if (ifNoneMatch !== undefined) return 'absent';
  return ifMatch === '*' ? 'present' : ifMatch?.[0];
}
