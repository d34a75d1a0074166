/**
 * The machines of a story, and what happens to them: whole nodes on fake time, disk and network. Every
 * method says what a reader should see. None of them lets time pass by itself, it only waits, so that
 * several can be under way at once; `perform` moves the clock until the command is done.
 */
import { isShiplogError, messageOf } from '../../lib/base/errors.ts';
import { formatPosition, parsePosition } from '../../lib/base/position.ts';
import { sleep } from '../../lib/env/clock.ts';
import type { DataOperation } from '../../lib/base/operation.ts';
import type { PromoteEvent, PromoteOptions, PromotionRefusal } from '../../lib/failover/promote-events.ts';
import type { Node } from '../../lib/node/node.ts';
import type { NodeStatus, WriteDurability } from '../../lib/node/node-api.ts';
import type { NodeOptions } from '../../lib/node/node-options.ts';
import { nodeHandler } from '../simulation/node-handler.ts';
import { areAllEqual, digestOf } from '../support/equal-nodes.ts';
import { type DiskImage, type Machine, MemoryCluster } from '../support/memory-cluster.ts';
import { write } from './client.ts';
import { DiskFaults, type Moment } from './disk-faults.ts';
import { type ToldWrite, Journal, type Whereabouts, readSalvage } from './journal.ts';
import { LinkFaults } from './link-faults.ts';
import { SeededNames } from './seeded-names.ts';

export interface StartConfig {
  readonly follow?: string;
  readonly peers?: readonly string[];
  readonly isNewCluster?: boolean;
}

/** A machine, and what somebody configured on it. */
interface Actor {
  readonly machine: Machine;
  readonly faults: DiskFaults;
  config: StartConfig;
  /** Resolves when the process that runs now is gone. */
  gone: PromiseWithResolvers<void>;
  /** Why the last process ended by itself. */
  lastError: string | undefined;
  snapshot: DiskImage | undefined;
  /** The disk that is not mounted at the moment. */
  unmounted: DiskImage | undefined;
}

/** How long `start` waits for a node to find its place, and `end` for all to be equal. */
const START_MS = 15_000;
const END_MS = 90_000;
const POLL_MS = 20;

export class Stage {
  readonly #names = new SeededNames();
  readonly #links = new LinkFaults();
  readonly #cluster: MemoryCluster;
  readonly #actors = new Map<string, Actor>();
  readonly #journal = new Journal();
  readonly #begun = new Map<string, Promise<readonly string[]>>();
  #options: Partial<NodeOptions> = {};
  #wasForced = false;

  constructor(seed: number) {
    this.#cluster = new MemoryCluster(seed, nodeHandler);
    this.#cluster.network.faultOf = (exchange) => this.#links.faultOf(exchange);
  }

  /** Moves the clock until the command is done. */
  async play(command: () => readonly string[] | Promise<readonly string[]>): Promise<readonly string[]> {
    const { clock } = this.#cluster;
    // What follows from the command without time passing belongs to it.
    const said = await clock.until((async () => await command())());
    await clock.settle();
    return said.map((line) => this.#names.toTranscript(line));
  }

  /** Lets a command go on beside those that follow. */
  begin(text: string, command: () => readonly string[] | Promise<readonly string[]>): readonly string[] {
    if (this.#begun.has(text)) throw new Error(`${text} was begun before`);
    const running = (async () => await command())();
    running.catch(() => {});
    this.#begun.set(text, running);
    return [];
  }

  /** Waits for what was begun with the same words. */
  async finish(text: string): Promise<readonly string[]> {
    const running = this.#begun.get(text);
    if (running === undefined) throw new Error(`nothing was begun with these words`);
    this.#begun.delete(text);
    return await running;
  }

  async wait(durationMs: number): Promise<readonly string[]> {
    await sleep(this.#cluster.clock, durationMs);
    return [];
  }

  // ——— machines ———

  addMachines(names: readonly string[], options: Partial<NodeOptions>): readonly string[] {
    this.#options = options;
    for (const name of names) {
      const faults = new DiskFaults();
      const machine = this.#cluster.machine(name, {}, faults.disk);
      this.#actors.set(name, { machine, faults, config: {}, gone: Promise.withResolvers(), lastError: undefined, snapshot: undefined, unmounted: undefined });
    }
    return [];
  }

  #actor(name: string): Actor {
    const actor = this.#actors.get(name);
    if (actor === undefined) throw new Error(`there is no machine ${name}`);
    return actor;
  }

  #down(name: string): Actor {
    const actor = this.#actor(name);
    if (actor.machine.isRunning) throw new Error(`${name} runs`);
    return actor;
  }

  #node(name: string): Node {
    return this.#actor(name).machine.node;
  }

  get #running(): readonly Machine[] {
    return [...this.#actors.values()].map(({ machine }) => machine).filter(({ isRunning }) => isRunning);
  }

  /** As it was configured before, where nothing is said. Waits a while for the node to find its place. */
  async start(name: string, config: StartConfig | undefined): Promise<readonly string[]> {
    const actor = this.#down(name);
    const { machine } = actor;
    if (config !== undefined) actor.config = config;
    const { follow, peers, isNewCluster } = actor.config;
    actor.gone = Promise.withResolvers();
    const { gone } = actor;
    void machine.disk.halted.then(() => {
      if (actor.gone === gone && machine.isRunning) this.#end(actor, () => machine.crash({ survives: 'nothing' }, actor.faults.disk, () => 0));
      gone.resolve();
    });
    try {
      const options = { ...this.#options, follow: follow === undefined ? undefined : this.#actor(follow).machine.url, peers: (peers ?? []).map((each) => this.#actor(each).machine.url), isNewCluster: isNewCluster === true };
      const node = await Promise.race([machine.starting(options), gone.promise]);
      if (node instanceof Object) this.#watch(actor, node);
    } catch (error) {
      this.#end(actor, () => machine.kill(actor.faults.disk));
      return [`${name} does not start: ${isShiplogError(error) ? `${error.code}: ${error.message}` : messageOf(error)}`];
    }
    await this.#until(() => !machine.isRunning || isInPlace(machine.node.status()), START_MS);
    return [this.#describe(name)];
  }

  #watch(actor: Actor, node: Node): void {
    const { gone, machine } = actor;
    void node.failed.then((error) => {
      if (actor.gone !== gone || !machine.isRunning || machine.node !== node) return;
      actor.lastError = isShiplogError(error) ? error.code : error.message;
      this.#end(actor, () => machine.kill(actor.faults.disk));
    });
  }

  #end(actor: Actor, how: () => void): void {
    how();
    actor.gone.resolve();
  }

  async stop(name: string): Promise<readonly string[]> {
    const actor = this.#actor(name);
    await actor.machine.stopping();
    this.#end(actor, () => {});
    return [];
  }

  /** The power goes: what was not synced is lost. */
  crash(name: string): readonly string[] {
    const actor = this.#actor(name);
    this.#node(name);
    this.#end(actor, () => actor.machine.crash({ survives: 'nothing' }, actor.faults.disk, () => 0));
    return [];
  }

  kill(name: string): readonly string[] {
    const actor = this.#actor(name);
    this.#node(name);
    this.#end(actor, () => actor.machine.kill(actor.faults.disk));
    return [];
  }

  /** When it comes to replace one of its small files. */
  crashAtReplacing(name: string, moment: Moment, file: string): readonly string[] {
    this.#actor(name).faults.crashAtReplacing(file, moment);
    return [];
  }

  crashAtLogging(name: string, moment: Moment): readonly string[] {
    this.#actor(name).faults.crashAtLogging(moment);
    return [];
  }

  takeSnapshot(name: string): readonly string[] {
    const actor = this.#down(name);
    actor.snapshot = actor.machine.image();
    return [];
  }

  rollBack(name: string): readonly string[] {
    const { machine, snapshot, faults } = this.#down(name);
    if (snapshot === undefined) throw new Error(`there is no snapshot of the disk of ${name}`);
    machine.mount(snapshot, faults.disk);
    return [];
  }

  /** The mount point is there, and empty. */
  unmount(name: string): readonly string[] {
    const actor = this.#down(name);
    actor.unmounted = actor.machine.image();
    actor.machine.mount(undefined, actor.faults.disk);
    return [];
  }

  mountAgain(name: string): readonly string[] {
    const actor = this.#down(name);
    if (actor.unmounted === undefined) throw new Error(`the disk of ${name} is mounted`);
    actor.machine.mount(actor.unmounted, actor.faults.disk);
    actor.unmounted = undefined;
    return [];
  }

  /** Large writes no longer fit, small files still do. Undefined: there is room again. */
  leaveRoom(name: string, bytes: number | undefined): readonly string[] {
    const { disk } = this.#actor(name).machine;
    disk.setCapacity(bytes === undefined ? Number.POSITIVE_INFINITY : disk.usedBytes + bytes);
    return [];
  }

  // ——— network ———

  /** Nothing passes in either direction, and nobody is told. */
  cut(name: string, others: readonly string[]): readonly string[] {
    for (const other of others) this.#cluster.network.partition(this.#actor(name).machine.url, this.#actor(other).machine.url);
    return [];
  }

  cutOneWay(from: string, to: string): readonly string[] {
    this.#cluster.network.partitionOneWay(this.#actor(from).machine.url, this.#actor(to).machine.url);
    return [];
  }

  /** Everything passes again at once, also what waited. */
  heal(): readonly string[] {
    this.#links.clear();
    this.#cluster.network.latencyMs = () => 0;
    this.#cluster.network.heal();
    return [];
  }

  fault(what: string, message: string, asking: string, asked: string, isOnce: boolean): readonly string[] {
    this.#links.add(what, message, { askingUrl: this.#actor(asking).machine.url, askedUrl: this.#actor(asked).machine.url, isOnce });
    return [];
  }

  join(name: string, other: string): readonly string[] {
    this.#cluster.network.join(this.#actor(name).machine.url, this.#actor(other).machine.url);
    return [];
  }

  /** Connections that are under way break: faults are for those that begin. */
  reset(name: string, other: string): readonly string[] {
    const urls = [this.#actor(name).machine.url, this.#actor(other).machine.url];
    this.#cluster.network.cut(({ from, to }) => urls.includes(from) && urls.includes(to));
    return [];
  }

  /** Whatever it says or hears is so long on its way. */
  slow(name: string, byMs: number): readonly string[] {
    const { url } = this.#actor(name).machine;
    this.#cluster.network.latencyMs = (from, to) => (from === url || to === url ? byMs : 0);
    return [];
  }

  stall(name: string): readonly string[] {
    this.#cluster.network.freeze(this.#actor(name).machine.url);
    return [];
  }

  goOn(name: string): readonly string[] {
    this.#cluster.network.thaw(this.#actor(name).machine.url);
    return [];
  }

  /** Undefined where the process is gone before it answers. */
  #unlessGone<Value>(name: string, answer: Promise<Value>): Promise<Value | undefined> {
    return Promise.race([answer, this.#actor(name).gone.promise.then(() => undefined)]);
  }

  // ——— clients ———

  async set(keys: readonly string[], value: string, name: string, durability: WriteDurability): Promise<readonly string[]> {
    const answers = await Promise.all(keys.map((key) => this.#write({ kind: 'put', key, value }, name, durability)));
    return answers.length === 1 ? answers : summary(answers);
  }

  async delete(key: string, name: string, durability: WriteDurability): Promise<readonly string[]> {
    return [await this.#write({ kind: 'delete', key }, name, durability)];
  }

  async #write(operation: DataOperation, name: string, durability: WriteDurability): Promise<string> {
    const { key } = operation;
    const value = operation.kind === 'put' ? operation.value : undefined;
    this.#journal.keys.add(key);
    try {
      const answer = await this.#unlessGone(name, write(this.#node(name), operation, durability));
      if (answer === undefined) return `no answer, ${name} is gone`;
      const { position, replicas } = answer;
      this.#journal.acknowledged.push({ key, value, position, replicas });
      return `OK${position === undefined ? '' : ` at ${formatPosition(position)}`}${replicas > 0 ? `, confirmed by ${replicas}` : ''}`;
    } catch (error) {
      const position = isShiplogError(error, 'ack-timeout') ? parsePosition(String(error.extra['position'])) : undefined;
      if (position !== undefined) this.#journal.unconfirmed.push({ key, value, position, replicas: 0 });
      return refusalOf(error);
    }
  }

  async get(key: string, name: string, min: string | undefined, waitMs: number): Promise<readonly string[]> {
    const node = this.#node(name);
    try {
      if (min !== undefined) await node.waitFor(parsePosition(this.#names.fromTranscript(min))!, waitMs);
      const found = node.read(key);
      return [`${found?.value ?? 'nothing'}, ${name} is at ${formatPosition(node.visiblePosition())}`];
    } catch (error) {
      return [refusalOf(error)];
    }
  }

  // ——— operators ———

  async promote(name: string, options: PromoteOptions): Promise<readonly string[]> {
    const last = await this.#unlessGone(name, lastOf(this.#node(name).promote(options)));
    if (last === undefined) return [`no answer, ${name} is gone`];
    if (last.type === 'plan') return [`would be ${last.plan.kind}`, ...(last.plan.refusal === null ? [] : describeRefusal('would be refused', last.plan.refusal)), ...last.plan.warnings.map((warning) => `warning: ${warning}`)];
    if (last.type === 'refused') return describeRefusal('refused', last);
    if (last.type !== 'promoted') throw new Error(`the promotion ended with ${last.type}`);
    this.#wasForced ||= last.kind === 'forced';
    const lost = last.lost === null ? [] : [`given up: ${last.lost.operations} operations after ${last.lost.afterPosition}, through ${last.lost.throughPosition}`];
    return [`${last.kind}: ${name} is the primary from ${last.position} on`, ...lost, ...last.warnings.map((warning) => `warning: ${warning}`)];
  }

  async rejoin(name: string): Promise<readonly string[]> {
    try {
      await this.#node(name).rejoin();
      return [];
    } catch (error) {
      return [refusalOf(error)];
    }
  }

  async forget(name: string, at: string): Promise<readonly string[]> {
    try {
      const { members, followers } = this.#node(at).status();
      // Of several with one name an operator takes the one that is not there.
      const away = members.find((member) => member.name === name && followers.every((follower) => follower.nodeId !== member.nodeId || !follower.connected));
      await this.#node(at).forget(away?.nodeId ?? name);
      return [];
    } catch (error) {
      return [refusalOf(error)];
    }
  }

  // ——— what is to be seen ———

  status(): readonly string[] {
    return [...this.#actors.keys()].map((name) => this.#describe(name));
  }

  #describe(name: string): string {
    const { machine, lastError } = this.#actor(name);
    if (!machine.isRunning) return `${name} is down${lastError === undefined ? '' : `, it ended with ${lastError}`}`;
    const status = machine.node.status();
    const { upstream, promise, fence, salvage, positions } = status;
    const parts = [`${name} is ${status.state}${isReplica(status) && upstream !== null ? ` ${status.state === 'following' ? '' : 'from '}${upstream.url}` : ''}`, `at ${positions.durable}`];
    if (isReplica(status) && upstream?.connected === false && status.state === 'following') parts.push(`no stream${upstream.lastError === null ? '' : ` (${upstream.lastError})`}`);
    if (promise !== null) parts.push(`promised to ${promise.targetUrl} for ${promise.epoch.number}.${this.#names.epoch(promise.epoch.id.slice(0, 4))}`);
    if (fence !== null) parts.push(fence.kind === 'diverged' ? fence.reason : `fenced: ${fence.kind}`);
    if (salvage.length > 0) parts.push(`salvage ${salvage.length}`);
    return parts.join(', ');
  }

  /** As a load balancer asks. */
  ready(name: string): readonly string[] {
    return [this.#node(name).readiness().ok ? 'ready' : 'not ready'];
  }

  log(name: string): readonly string[] {
    const { log, positions } = this.#node(name).status();
    return [`LSN ${log.firstLsn} to ${positions.durable}`];
  }

  members(name: string): readonly string[] {
    return [this.#node(name).status().members.map((member) => member.name).join(' ')];
  }

  /** The tables of all who answer: one line for each state that there is. */
  table(): readonly string[] {
    const lines = new Map<string, string[]>();
    for (const machine of this.#running) {
      const content = this.#contentOf(machine);
      lines.set(content, [...(lines.get(content) ?? []), machine.name]);
    }
    return [...lines].map(([content, names]) => `${names.join(' ')} ${content}`);
  }

  #contentOf({ node }: Machine): string {
    try {
      const rows = [...this.#journal.keys].flatMap((key) => {
        const found = node.read(key);
        return found === undefined ? [] : [[key, found.value] as const];
      });
      return `at ${formatPosition(node.visiblePosition())}: ${describeRows(rows)}`;
    } catch (error) {
      return `answers ${refusalOf(error)}`;
    }
  }

  async salvage(name: string): Promise<readonly string[]> {
    const files = await readSalvage(this.#actor(name).machine);
    if (files.length === 0) return ['nothing'];
    return files.map(({ forkPosition, throughPosition, writes }) => `after ${forkPosition}, through ${throughPosition}: ${describeRows(writes.map((each) => [each.key, each.kind === 'put' ? each.value : '(deleted)'] as const))}`);
  }

  /**
   * All nodes come to be equal, but for those that the story says will not, and every write that was
   * answered with OK is in their table or set aside.
   * @throws Error where that is not so.
   */
  async end(without: readonly string[]): Promise<readonly string[]> {
    const survivors = [...this.#actors].filter(([name]) => !without.includes(name)).map(([, { machine }]) => machine);
    const areEqual = await this.#until(() => areAllEqual(survivors), END_MS);
    if (!areEqual) throw new Error(`the nodes do not become equal:\n${this.status().map((line) => this.#names.toTranscript(line)).join('\n')}`);
    const digests = await Promise.all(survivors.map((machine) => digestOf(machine)));
    if (new Set(digests).size !== 1) throw new Error(`logs or tables differ: ${digests.join(', ')}`);
    const primary = survivors.find(({ node }) => node.status().state === 'primary')!;
    return [
      `${survivors.map(({ name }) => name).join(' ')} equal at ${primary.node.status().positions.durable}, primary ${primary.name}`,
      ...without.map((name) => this.#describe(name)),
      await this.#account(primary.node, without),
    ];
  }

  async #account(survivor: Node, without: readonly string[]): Promise<string> {
    const { acknowledged } = this.#journal;
    if (acknowledged.length === 0) throw new Error('no write was acknowledged: such a story shows nothing');
    const salvaged = (await Promise.all([...this.#actors.values()].map(({ machine }) => readSalvage(machine)))).flat().flatMap(({ writes }) => writes);
    const found = new Map<Whereabouts, ToldWrite[]>();
    for (const write of acknowledged) {
      const where = this.#journal.whereIs(write, survivor, salvaged);
      found.set(where, [...(found.get(where) ?? []), write]);
    }
    const lost = found.get('nowhere') ?? [];
    if (lost.length > 0 && without.length === 0) throw new Error(`acknowledged and lost: ${describeWrites(lost)}`);
    const broken = [...(found.get('in salvage') ?? []), ...lost].filter(({ replicas }) => replicas > 0);
    if (broken.length > 0 && !this.#wasForced) throw new Error(`confirmed by replicas and not in the table, though no promotion was forced: ${describeWrites(broken)}`);
    const parts = [...found].map(([where, writes]) => (where === 'nowhere' ? `${writes.length} not here: ${describeWrites(writes)}` : `${writes.length} ${where}`));
    return `acknowledged writes: ${parts.join(', ')}`;
  }

  /** @returns false where it did not become true in time. */
  async #until(condition: () => boolean, limitMs: number): Promise<boolean> {
    const { clock } = this.#cluster;
    const endMs = clock.monotonicMs() + limitMs;
    while (!condition()) {
      if (clock.monotonicMs() >= endMs) return false;
      await sleep(clock, POLL_MS);
    }
    return true;
  }

  /** Ends what still runs: nothing of this story is left for the next. */
  close(): void {
    for (const machine of this.#running) machine.kill();
  }
}

async function lastOf(events: AsyncIterable<PromoteEvent>): Promise<PromoteEvent> {
  let last: PromoteEvent | undefined;
  for await (const event of events) last = event;
  return last!;
}

function isReplica({ state }: NodeStatus): boolean {
  return state === 'following' || state === 'bootstrapping';
}

/** Did the start lead where it can lead without anything else happening? */
function isInPlace({ state, upstream, members, nodeId }: NodeStatus): boolean {
  if (state !== 'following') return state !== 'starting' && state !== 'bootstrapping' && state !== 'fenced';
  return upstream?.connected === true && (members.length === 0 || members.some((member) => member.nodeId === nodeId));
}

function refusalOf(error: unknown): string {
  if (!isShiplogError(error)) return messageOf(error);
  const { position } = error.extra;
  return `${error.status} ${error.code}${typeof position === 'string' ? ` at ${position}` : ''}`;
}

function describeRefusal(verdict: string, { code, message, betterUrl, command }: PromotionRefusal): readonly string[] {
  return [`${verdict} (${code}): ${message}`, ...(betterUrl === null ? [] : [`better: ${betterUrl}`]), ...(command === null ? [] : [`go on with: ${command}`])];
}

/** Of many writes: what the last one said, or how many said what. */
function summary(answers: readonly string[]): readonly string[] {
  if (answers.every((answer) => answer.startsWith('OK'))) return [`${answers.length} × ${answers.at(-1)}`];
  const counts = new Map<string, number>();
  for (const answer of answers) {
    const kind = answer.replace(/ at .*/, '');
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return [...counts].map(([kind, count]) => `${count} × ${kind}`);
}

function describeWrites(writes: readonly ToldWrite[]): string {
  return describeRows(writes.map(({ key, value }) => [key, value ?? '(deleted)'] as const));
}

/** `k=1 n1..n30=x`: keys that only count up and hold the same are one. */
function describeRows(rows: readonly (readonly [key: string, value: string])[]): string {
  const parts: string[] = [];
  for (let index = 0; index < rows.length; ) {
    const [key, value] = rows[index]!;
    let end = index + 1;
    while (end < rows.length && rows[end]![1] === value && isSuccessor(rows[end - 1]![0], rows[end]![0])) end += 1;
    parts.push(`${key}${end - index > 1 ? `..${rows[end - 1]![0]}` : ''}=${value}`);
    index = end;
  }
  return parts.length === 0 ? 'no keys' : parts.join(' ');
}

function isSuccessor(key: string, next: string): boolean {
  const [, stem, number] = /^(.*?)(\d+)$/.exec(key) ?? [];
  return stem !== undefined && next === `${stem}${Number(number) + 1}`;
}
