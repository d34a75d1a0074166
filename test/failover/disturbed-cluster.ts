/**
 * Three nodes under load: `a` is the primary, `b` is to become it, `c` follows. Everything that could be
 * disturbed meanwhile is counted — the disk calls of each node, the exchanges between them — and one of
 * it can be made to go wrong. Time passes as long as a method runs.
 */
import { ERROR_KINDS, messageOf, unreachable } from '../../lib/base/errors.ts';
import { sleep } from '../../lib/env/clock.ts';
import type { PromoteEvent, PromoteOptions } from '../../lib/failover/promote-events.ts';
import { Node } from '../../lib/node/node.ts';
import type { NodeStatus } from '../../lib/node/node-api.ts';
import type { NodeOptions } from '../../lib/node/node-options.ts';
import { readSalvage } from '../scenarios/journal.ts';
import { nodeHandler } from '../simulation/node-handler.ts';
import { areAllEqual, digestOf } from '../support/equal-nodes.ts';
import { type Machine, MemoryCluster } from '../support/memory-cluster.ts';
import type { DiskCall, DiskFault, MemoryDiskOptions } from '../support/memory-disk.ts';
import type { ExchangeInfo, Fault } from '../support/memory-transport.ts';
import { type Entrance, SteadyWriters } from './steady-writers.ts';

export type Operation = 'switchover' | 'failover';
/** Of a failover: without power, or alive and cut off. */
export type OldPrimary = 'dead' | 'cut off';
export type Name = 'a' | 'b' | 'c';
export const NAMES: readonly Name[] = ['a', 'b', 'c'];

/** How a process ends in the middle of a disk call. */
export interface Crash {
  /** `kill`: the page cache survives, and others notice. `power-cut`: what is unsynced is lost, and nobody is told. */
  readonly kind: 'kill' | 'power-cut';
  /** Did the call have its effect before? */
  readonly isEffective: boolean;
  /** It comes back only when somebody starts it. */
  readonly staysAway?: boolean;
}

/** How a command ended; `lost` where the node it ran on was gone before it answered. */
export type CommandEnd = Extract<PromoteEvent, { type: 'promoted' | 'refused' }> | { readonly type: 'lost' };

/** What there is to disturb, in the order in which it happened. */
export interface Course {
  /** Calls of each node that change its disk. */
  readonly changes: Readonly<Record<Name, readonly string[]>>;
  /** From node to node. */
  readonly requests: readonly string[];
  /** What the first command said, event by event. */
  readonly events: readonly string[];
}

const PLAIN: PromoteOptions = { force: false, acceptLoss: null, isDryRun: false };

/** A little time passes with every exchange and every sync, so that there is something between two steps. */
const EXCHANGE_MS = 1;
const SYNC_MS = 1;
/** A service manager starts a process again after a moment, an operator runs a command again. */
const RESTART_MS = 300;
const SECOND_LOOK_MS = 1_200;
const LOOK_MS = 50;
/** Once the epoch is opened, or something has gone wrong, writers only have to be there: more of them would only take time. */
const CALM_PAUSE_MS = 700;
/** Longer than any wait of a promotion. */
const PATIENCE_MS = 60_000;

export class DisturbedCluster {
  readonly #cluster = new MemoryCluster(1, nodeHandler);
  readonly #writers = new SteadyWriters(this.#cluster.clock);
  readonly #hosts: Readonly<Record<Name, Host>>;
  readonly #requests: string[] = [];
  readonly #events: string[] = [];
  readonly #onRequest = new Map<number, () => Fault | undefined>();
  #isWatching = false;
  /** Somebody starts the old primary again, or mends its links, once there is a new one. */
  #isOldPrimaryAwaited = false;
  /** A write at ack=local that only the old primary has. */
  #lonelyKey: string | undefined;

  private constructor() {
    this.#cluster.network.faultOf = (exchange) => ({ delayMs: EXCHANGE_MS, ...this.#faultOf(exchange) });
    const host = (name: Name, options: Partial<NodeOptions>): Host => new Host(this.#cluster, name, options, () => this.#calmDown());
    this.#hosts = { a: host('a', {}), b: host('b', { follow: 'http://a' }), c: host('c', { follow: 'http://a' }) };
  }

  /** All is as it is before somebody runs the command; from here on everything is counted. */
  static async begin(operation: Operation, oldPrimary: OldPrimary = 'dead'): Promise<DisturbedCluster> {
    const cluster = new DisturbedCluster();
    await cluster.#form();
    if (operation === 'failover') await cluster.#loseOldPrimary(oldPrimary);
    cluster.#watch();
    return cluster;
  }

  async #form(): Promise<void> {
    const { clock } = this.#cluster;
    for (const host of this.#all) await clock.until(host.start());
    await clock.untilTrue(() => this.#all.every(({ node }) => node?.health().ok === true && node.status().members.length === 3));
    for (const host of this.#all) this.#writers.begin(host);
    await clock.untilTrue(() => this.#all.every((host) => this.#writers.countOf(host) >= 3));
  }

  /** It goes with a write that nobody else has, and the replicas notice. */
  async #loseOldPrimary(how: OldPrimary): Promise<void> {
    const { clock, network } = this.#cluster;
    const { a } = this.#hosts;
    for (const name of ['b', 'c']) network.partition('http://a', `http://${name}`);
    await clock.until(a.machine.put('lonely', 'x'));
    this.#lonelyKey = 'lonely';
    if (how === 'dead') {
      a.die('power-cut');
      network.heal();
    }
    this.#isOldPrimaryAwaited = true;
    await clock.advance(how === 'dead' ? 4_000 : 12_000);
  }

  #watch(): void {
    this.#isWatching = true;
    for (const host of this.#all) host.watch();
  }

  get #all(): readonly Host[] {
    return NAMES.map((name) => this.#hosts[name]);
  }

  get course(): Course {
    const { a, b, c } = this.#hosts;
    return { changes: { a: [...a.changes], b: [...b.changes], c: [...c.changes] }, requests: [...this.#requests], events: [...this.#events] };
  }

  // ——— what goes wrong ———

  /** At the call of this index that changes its disk. */
  crashAt(name: Name, changeIndex: number, crash: Crash): void {
    this.#hosts[name].crashAt(changeIndex, crash);
  }

  spoilRequest(index: number, fault: Fault): void {
    this.#onRequest.set(index, () => fault);
  }

  /** Something happens in the moment in which the request of this index is made. */
  atRequest(index: number, act: () => void): void {
    this.#onRequest.set(index, () => {
      act();
      return undefined;
    });
  }

  /** Everything that is under way between the nodes breaks, and both sides notice. */
  breakConnections(): void {
    this.#cluster.network.cut();
  }

  /** Clients that forward their writes are no part of a promotion. */
  #faultOf({ from, to, method, target }: ExchangeInfo): Fault | undefined {
    if (!this.#isWatching || target.startsWith('/set/')) return undefined;
    this.#requests.push(`${from} ${method} ${to}${target.split('?')[0]}`);
    const act = this.#onRequest.get(this.#requests.length - 1);
    if (act !== undefined) this.#calmDown();
    return act?.();
  }

  async untilRequest(index: number): Promise<void> {
    await this.#within(PATIENCE_MS, () => this.#requests.length > index, `request ${index} does not come`);
  }

  // ——— what people do ———

  /** Runs the command on a node until it says how it ended. */
  async promote(name: Name): Promise<CommandEnd> {
    return await this.endOf(this.promoting(name));
  }

  /** As `promote`, without letting time pass. `onEvent` is told how many events there have been. */
  async promoting(name: Name, onEvent: (count: number) => void = () => {}): Promise<CommandEnd> {
    const host = this.#hosts[name];
    const end = await Promise.race([this.#saidBy(host, onEvent), host.gone.then((): CommandEnd => ({ type: 'lost' }))]);
    if (end.type === 'promoted') this.#haveNewPrimary();
    return end;
  }

  async #saidBy({ name, machine }: Host, onEvent: (count: number) => void): Promise<CommandEnd> {
    let last: PromoteEvent | undefined;
    let count = 0;
    for await (const event of machine.node.promote(PLAIN)) {
      last = event;
      this.#events.push(event.type === 'step' ? event.step : event.type);
      count += 1;
      onEvent(count);
    }
    if (last?.type !== 'promoted' && last?.type !== 'refused') throw new Error(`the command on ${name} ended with ${last?.type}`);
    return last;
  }

  /** Lets time pass until this command has ended. */
  async endOf(command: Promise<CommandEnd>): Promise<CommandEnd> {
    return await this.#cluster.clock.until(command, PATIENCE_MS);
  }

  /** The client that runs the command goes away after so many events. */
  async promoteAndLeave(name: Name, eventCount: number): Promise<void> {
    const events = this.#hosts[name].machine.node.promote(PLAIN)[Symbol.asyncIterator]();
    for (let count = 0; count < eventCount; count += 1) await this.#cluster.clock.until(events.next(), PATIENCE_MS);
    await events.return?.(undefined);
  }

  async untilPrimary(name: Name): Promise<void> {
    await this.#within(PATIENCE_MS, () => this.#hosts[name].node?.status().state === 'primary', `${name} does not become the primary`);
    this.#haveNewPrimary();
  }

  #haveNewPrimary(): void {
    this.#calmDown();
    this.#bringOldPrimaryBack();
  }

  #calmDown(): void {
    this.#writers.pauseMs = CALM_PAUSE_MS;
  }

  #bringOldPrimaryBack(): void {
    if (!this.#isOldPrimaryAwaited) return;
    this.#isOldPrimaryAwaited = false;
    this.#cluster.clock.setTimer(RESTART_MS, () => {
      this.heal();
      this.start('a');
    });
  }

  /** These two hear each other again. */
  join(one: Name, other: Name): void {
    this.#cluster.network.join(`http://${one}`, `http://${other}`);
  }

  /** All hear each other again. */
  heal(): void {
    this.#cluster.network.heal();
  }

  /** Does not wait for it. */
  start(name: Name): void {
    if (this.#hosts[name].isDown) void this.#hosts[name].start();
  }

  /** Until the crash that was asked for has come about, and what followed from it is settled. */
  async untilCrashed(name: Name): Promise<void> {
    const host = this.#hosts[name];
    await this.#within(PATIENCE_MS, () => host.hasCrashed, `${name} does not get to the change at which it should crash`);
    await this.#within(PATIENCE_MS, () => host.isStayingAway || host.node !== undefined, `${name} does not start again`);
    await this.waitForSecondLook();
  }

  async waitForSecondLook(): Promise<void> {
    await this.#cluster.clock.advance(SECOND_LOOK_MS);
  }

  /** Somebody starts it again. */
  async comeBack(name: Name): Promise<void> {
    this.start(name);
    await this.waitForSecondLook();
  }

  // ——— how it must end ———

  /** What was broken off leaves no promise, and ends a switchover with a primary, without anybody's help. */
  async untilSettled(operation: Operation): Promise<void> {
    const states = (): readonly (NodeStatus | undefined)[] => this.#all.map(({ node }) => node?.status());
    await this.#within(PATIENCE_MS, () => states().every((status) => status === undefined || status.promise === null), 'somebody is still promised');
    if (operation === 'switchover') await this.#within(PATIENCE_MS, () => states().some((status) => status?.state === 'primary'), 'nobody is the primary');
  }

  /** Until `name` is the primary that everybody follows, and nothing is left of the change. */
  async untilInPlace(name: Name): Promise<void> {
    this.#bringOldPrimaryBack();
    const { node: primary } = this.#hosts[name];
    const isInPlace = (host: Host): boolean => {
      const status = host.node?.status();
      if (status === undefined || status.promise !== null || status.fence !== null) return false;
      return host.node === primary ? status.state === 'primary' : status.state === 'following' && status.upstream?.connected === true && status.upstream.url === `http://${name}`;
    };
    await this.#within(PATIENCE_MS, () => this.#all.every((host) => isInPlace(host)), `not all follow ${name}`);
  }

  /**
   * All follow `name`, writes go on through every node, all are equal, nothing acknowledged is lost and no
   * promise or fence is left, in memory or on a disk.
   * @throws Error that says what is not so.
   */
  async comeToRest(name: Name): Promise<void> {
    await this.untilInPlace(name);
    const counts = this.#all.map((host) => this.#writers.countOf(host));
    await this.#within(PATIENCE_MS, () => this.#all.every((host, index) => this.#writers.countOf(host) > counts[index]!), 'writes do not go on through every node');
    this.#writers.end();
    const machines = this.#all.map(({ machine }) => machine);
    await this.#within(PATIENCE_MS, () => areAllEqual(machines), 'the nodes do not become equal');
    const digests = await this.#cluster.clock.until(Promise.all(machines.map((machine) => digestOf(machine))));
    if (new Set(digests).size !== 1) throw this.#failure(`logs or tables differ: ${digests.join(', ')}`);
    this.#assertNothingLeft();
    await this.#assertNothingLost(this.#hosts[name].machine.node);
  }

  #assertNothingLeft(): void {
    for (const host of this.#all) {
      const files = host.machine.disk.contents('/data/node');
      const promises = readField(files.get('promises.json'), 'promises') ?? [];
      if ((promises as unknown[]).length > 0) throw this.#failure(`${host.name} still holds promises: ${JSON.stringify(promises)}`);
      const fence = readField(files.get('node.json'), 'fence') ?? null;
      if (fence !== null) throw this.#failure(`${host.name} is still fenced on disk: ${JSON.stringify(fence)}`);
    }
  }

  async #assertNothingLost(survivor: Node): Promise<void> {
    const violations = [...this.#writers.violations, ...this.#all.flatMap(({ troubles }) => troubles)];
    if (violations.length > 0) throw this.#failure(violations.join('; '));
    const lost = this.#writers.acknowledged.filter(({ key, value }) => survivor.read(key)?.value !== value);
    if (lost.length > 0) throw this.#failure(`confirmed by a replica, and lost: ${lost.map(({ key }) => key).join(', ')}`);
    if (this.#lonelyKey === undefined || survivor.read(this.#lonelyKey) !== undefined) return;
    const salvaged = (await readSalvage(this.#hosts.a.machine)).flatMap(({ writes }) => writes);
    if (!salvaged.some(({ key }) => key === this.#lonelyKey)) throw this.#failure('what only the old primary had is neither in the table nor set aside');
  }

  async #within(limitMs: number, condition: () => boolean, otherwise: string): Promise<void> {
    const { clock } = this.#cluster;
    const endMs = clock.monotonicMs() + limitMs;
    await clock.settle();
    while (!condition()) {
      if (clock.monotonicMs() >= endMs) throw this.#failure(otherwise);
      await clock.advance(LOOK_MS);
    }
  }

  #failure(what: string): Error {
    return new Error(`${what} (${this.#all.map((host) => host.describe()).join('; ')})`);
  }

  /** Nothing of this cluster runs any longer. */
  close(): void {
    this.#writers.end();
    for (const host of this.#all) if (!host.isDown) host.die('kill');
  }
}

/** A machine whose disk calls are counted, and the service manager on it. */
class Host implements Entrance {
  readonly name: Name;
  readonly machine: Machine;
  /** Calls that change its disk, since `watch`. */
  readonly changes: string[] = [];
  /** What no node may do by itself: fail, or not start. */
  readonly troubles: string[] = [];
  hasCrashed = false;
  readonly #cluster: MemoryCluster;
  readonly #onCrash: () => void;
  readonly #disk: Partial<MemoryDiskOptions>;
  #isWatched = false;
  #planned: { readonly changeIndex: number; readonly crash: Crash } | undefined;
  #process: PromiseWithResolvers<void> | undefined;

  constructor(cluster: MemoryCluster, name: Name, options: Partial<NodeOptions>, onCrash: () => void) {
    this.#cluster = cluster;
    this.name = name;
    this.#onCrash = onCrash;
    this.#disk = { intercept: (call) => this.#faultOf(call), delay: (call) => this.#delay(call) };
    this.machine = cluster.machine(name, options, this.#disk);
  }

  /** Undefined while it is down or starts. */
  get node(): Node | undefined {
    return this.machine.isRunning ? this.machine.node : undefined;
  }

  get gone(): Promise<void> {
    return this.#process?.promise ?? Promise.resolve();
  }

  get isDown(): boolean {
    return this.#process === undefined;
  }

  get isStayingAway(): boolean {
    return this.isDown && this.hasCrashed && this.#planned?.crash.staysAway === true;
  }

  watch(): void {
    this.#isWatched = true;
  }

  crashAt(changeIndex: number, crash: Crash): void {
    this.#planned = { changeIndex, crash };
  }

  async start(): Promise<void> {
    const process = Promise.withResolvers<void>();
    this.#process = process;
    void this.machine.disk.halted.then(() => {
      if (this.#process === process) this.#crash();
    });
    try {
      const node = await Promise.race([this.machine.starting(), process.promise]);
      if (!(node instanceof Node)) return;
      void node.failed.then((error) => {
        if (this.#process === process) this.troubles.push(`${this.name} fails: ${error.message}`);
      });
    } catch (error) {
      this.troubles.push(`${this.name} does not start: ${messageOf(error)}`);
    }
  }

  #crash(): void {
    const { kind, staysAway } = this.#planned!.crash;
    this.hasCrashed = true;
    this.#onCrash();
    this.die(kind);
    if (staysAway) return;
    this.#cluster.clock.setTimer(RESTART_MS, () => {
      if (this.isDown) void this.start();
    });
  }

  die(kind: Crash['kind']): void {
    const process = this.#process;
    this.#process = undefined;
    if (kind === 'kill') this.machine.kill(this.#disk);
    else this.machine.losePower(this.#disk);
    process?.resolve();
  }

  #faultOf(call: DiskCall): DiskFault | undefined {
    if (!this.#isWatched || !changesDisk(call)) return undefined;
    this.changes.push(`${call.name} ${call.path.replace('/data/node', '')}`);
    if (this.hasCrashed || this.changes.length - 1 !== this.#planned?.changeIndex) return undefined;
    return { kind: 'halt', effect: this.#planned.crash.isEffective };
  }

  async #delay({ name }: DiskCall): Promise<void> {
    if (name === 'sync' || name === 'syncDirectory') await sleep(this.#cluster.clock, SYNC_MS);
  }

  describe(): string {
    const { node } = this;
    if (node === undefined) return `${this.name} is down`;
    const { state, positions, upstream, promise, fence } = node.status();
    return `${this.name} is ${state} at ${positions.durable}, follows ${upstream?.url ?? 'nobody'}${upstream?.connected === true ? '' : ' without a stream'}, promised to ${promise?.targetUrl ?? 'nobody'}, fence ${fence?.reason ?? 'none'}`;
  }
}

/** A crash in a call that only reads leaves what a crash before the next one that changes something leaves. */
function changesDisk({ name, mode }: DiskCall): boolean {
  switch (name) {
    case 'open':
      return mode === 'create';
    case 'makeDirectory':
    case 'remove':
    case 'rename':
    case 'syncDirectory':
    case 'writeAt':
    case 'truncate':
    case 'sync':
      return true;
    case 'list':
    case 'exists':
    case 'freeBytes':
    case 'lock':
    case 'readAt':
    case 'size':
    case 'close':
      return false;
    default:
      return unreachable(name);
  }
}

/** @throws Error where this is not a clear refusal. */
export function assertClear(end: CommandEnd): void {
  if (end.type !== 'refused') return;
  const isKnown = Object.hasOwn(ERROR_KINDS, end.code) && end.code !== 'internal';
  if (!isKnown || end.message.length < 10) throw new Error(`an unclear refusal: ${end.code}: ${end.message}`);
}

/** Of a small file with a checksum line behind its JSON. */
function readField(content: Buffer | undefined, name: string): unknown {
  if (content === undefined) return undefined;
  const text = content.toString('utf8');
  return (JSON.parse(text.slice(0, text.lastIndexOf('crc32:'))) as Record<string, unknown>)[name];
}
