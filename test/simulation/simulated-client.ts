/** One session: writes, deletes and reads, one at a time, at nodes of its choice, written down as it saw them. */
import { type AckLevel, parseAckLevel } from '../../lib/base/ack-level.ts';
import { type ErrorCode, ShiplogError, isShiplogError, unreachable } from '../../lib/base/errors.ts';
import type { DataOperation } from '../../lib/base/operation.ts';
import { type Position, formatPosition, parsePosition } from '../../lib/base/position.ts';
import { errorFromProblem } from '../../lib/base/problem.ts';
import type { Node } from '../../lib/node/node.ts';
import type { ReachedAck, WriteCondition } from '../../lib/node/node-api.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import { Connection, type Outcome } from './connection.ts';
import type { MutationOutcome, MutationRecord, ReadOutcome, ReadRecord } from './history-record.ts';
import { pickWeighted } from './plan.ts';
import type { SimulatedMachine } from './simulated-machine.ts';
import type { World } from './world.ts';

/** Some clients give up before the node does, some wait for its own time-outs. */
const PATIENCES_MS = [1_000, 2_500, 7_000] as const;

interface WriteAnswer {
  readonly outcome: MutationOutcome;
  readonly ackReached: ReachedAck | null;
  readonly position: Position | null;
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
    const isFine = dice < 0.5 ? await this.#write(machine, key, 'write') : dice < 0.5 + world.plan.deleteShare ? await this.#write(machine, key, 'delete') : await this.#read(machine, key);
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

  async #write(machine: SimulatedMachine, key: string, kind: 'write' | 'delete'): Promise<boolean> {
    const { world } = this;
    const id = world.nextRecordId();
    const value = kind === 'write' ? `${id}`.padEnd(world.plan.valueBytes, '.') : null;
    const operation: DataOperation = value === null ? { kind: 'delete', key } : { kind: 'put', key, value };
    const condition = this.#condition(key, kind);
    const ack = pickWeighted(this.#random, world.plan.acks);
    const timeoutMs = this.#random.pick([300, 1_500, 5_000]);
    const text = `${kind} #${id} ${key} ack=${ack}${describeCondition(condition)} at ${machine.name}`;
    const invokedAt = world.trace.event(this.#clientId, text);
    const nodeId = nodeIdOf(machine);
    const outcome = await this.#connection.call(machine, (node) => write(node, operation, condition, { ack, timeoutMs }), this.#patienceMs);
    const isPlain = kind === 'write' && Object.keys(condition).length === 0;
    const answer = writeAnswerOf(outcome, isPlain);
    const endedAt = world.trace.event(this.#clientId, `${kind} #${id} ${answer.outcome}${answer.position === null ? '' : ` ${formatPosition(answer.position)}`}${answer.ackReached === null ? '' : ` ack=${answer.ackReached}`}${reasonOf(outcome)}`);
    world.noteAnswer(outcome.kind === 'refused' && isShiplogError(outcome.error) ? outcome.error : undefined);
    const record: MutationRecord = {
      id,
      clientId: this.#clientId,
      nodeId,
      kind,
      key,
      value,
      invokedAt,
      endedAt: answer.outcome === 'unknown' && outcome.kind !== 'refused' ? null : endedAt,
      minPosition: null,
      outcome: answer.outcome,
      ackAsked: ack,
      ackReached: answer.ackReached,
      position: answer.position,
    };
    world.records.push(record);
    if (answer.outcome === 'ok') this.#saw(answer.position);
    if (answer.outcome === 'position-lost') this.#beginSession();
    if (answer.outcome === 'ok' && kind === 'write' && answer.position !== null) this.#keyPositions.set(key, answer.position);
    return answer.outcome === 'ok' || answer.outcome === 'not-found' || (outcome.kind === 'answered' && answer.outcome === 'failed');
  }

  #condition(key: string, kind: 'write' | 'delete'): WriteCondition {
    const dice = this.#random.uniform();
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
    world.noteAnswer(outcome.kind === 'refused' && isShiplogError(outcome.error) ? outcome.error : undefined);
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

interface Durability {
  readonly ack: AckLevel;
  readonly timeoutMs: number;
}

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

function writeAnswerOf(outcome: Outcome<WriteAnswer>, isPlain: boolean): WriteAnswer {
  switch (outcome.kind) {
    case 'answered':
      return outcome.value;
    case 'not-sent':
      return { outcome: 'failed', ackReached: null, position: null };
    case 'no-answer':
      return { outcome: 'unknown', ackReached: null, position: null };
    case 'refused':
      return refusedWrite(outcome.error, isPlain);
    default:
      return unreachable(outcome);
  }
}

function refusedWrite(error: unknown, isPlain: boolean): WriteAnswer {
  if (!isShiplogError(error)) return { outcome: 'unknown', ackReached: null, position: null };
  const told = error.extra['position'];
  const position = typeof told === 'string' ? (parsePosition(told) ?? null) : null;
  switch (error.code) {
    case 'position-lost':
      return { outcome: 'position-lost', ackReached: null, position };
    // `not-shown-yet` tells a position of the primary, not the write's own.
    case 'ack-timeout':
      // A delete or a condition may also have waited for the write that its refusal rests on; the answer does not say.
      return position === null || !isPlain ? { outcome: 'unknown', ackReached: null, position: null } : { outcome: 'ack-timeout', ackReached: null, position };
    default:
      return { outcome: NOT_CARRIED_OUT.has(error.code) ? 'failed' : 'unknown', ackReached: null, position: null };
  }
}

/** Refusals that promise that nothing was stored. */
const NOT_CARRIED_OUT: ReadonlySet<ErrorCode> = new Set([
  'not-ready',
  'not-primary',
  'no-primary',
  'read-only-replica',
  'too-few-members',
  'too-few-replicas',
  'overloaded',
  'stopping',
  'disk-full',
  'timeout',
]);

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

function reasonOf(outcome: Outcome<unknown>): string {
  if (outcome.kind === 'refused') return `, ${isShiplogError(outcome.error) ? `${outcome.error.code}: ${outcome.error.message}` : String(outcome.error)}`;
  return outcome.kind === 'answered' ? '' : `, ${outcome.kind}`;
}

function conditionText(names: '*' | readonly Position[]): string {
  return names === '*' ? '*' : names.map((position) => `"${formatPosition(position)}"`).join(', ');
}

function describeCondition({ ifMatch, ifNoneMatch }: WriteCondition): string {
  return `${ifMatch === undefined ? '' : ` if-match ${conditionText(ifMatch)}`}${ifNoneMatch === undefined ? '' : ` if-none-match ${conditionText(ifNoneMatch)}`}`;
}
