/**
 * A machine of the simulation: a disk that outlives processes, and the process that a service manager
 * starts on it again and again. What runs is the class that `serve` starts; only clock, disk, transport,
 * random and the store are others.
 *
 * A crash is every promise of the incarnation never settling: its clock ends, its transport ends, its
 * disk halts. What still runs of it can reach nothing.
 */
import { AssertionError } from 'node:assert';
import { type ErrorCode, isShiplogError } from '../../lib/base/errors.ts';
import { type Position, parsePosition } from '../../lib/base/position.ts';
import { sleep } from '../../lib/env/clock.ts';
import type { LogFields, Logger } from '../../lib/observe/logger.ts';
import { Node } from '../../lib/node/node.ts';
import type { NodeOptions } from '../../lib/node/node-options.ts';
import { type DiskCall, type DiskFault, MemoryDisk, type MemoryDiskOptions } from '../support/memory-disk.ts';
import { MemoryStores } from '../support/memory-stores.ts';
import { noMetrics } from '../support/no-metrics.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import { LogArchive } from './log-archive.ts';
import { nodeHandler } from './node-handler.ts';
import { ProcessClock } from './process-clock.ts';
import type { World } from './world.ts';

export const DATA_DIRECTORY = '/data/node';

export type CrashKind = 'kill' | 'power-cut';

/** One process, from its start to its end. */
class Incarnation {
  readonly clock: ProcessClock;
  readonly transport: { end(): void } & NodeOptions['environment']['transport'];
  /** Resolves when the process is gone. */
  readonly ended: Promise<void>;
  readonly #resolveEnded: () => void;
  isOver = false;

  constructor(clock: ProcessClock, transport: Incarnation['transport']) {
    this.clock = clock;
    this.transport = transport;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#resolveEnded = resolve;
  }

  end(): void {
    this.isOver = true;
    this.clock.end();
    this.transport.end();
    this.#resolveEnded();
  }
}

/** What a disk does wrong at the next call that fits. */
interface ArmedFault {
  readonly names: readonly DiskCall['name'][];
  readonly path?: RegExp;
  /** Fires at the n-th call that fits. */
  countdown: number;
  readonly fault: DiskFault;
}

/** A disk as it was at the end of an earlier incarnation. */
interface DiskImage {
  readonly disk: MemoryDisk;
  readonly stores: MemoryStores;
}

/** The role that a data directory tells; undefined where it tells none. */
export function roleOn({ disk }: DiskImage): string | undefined {
  const text = disk.contents(DATA_DIRECTORY).get('node.json')?.toString('utf8');
  return text === undefined ? undefined : /"role": "(\w+)"/.exec(text)?.[1];
}

export interface MachineConfig {
  readonly follow: string | undefined;
  readonly peers: readonly string[];
}

export class SimulatedMachine {
  readonly name: string;
  readonly url: string;
  readonly config: MachineConfig;
  readonly archive = new LogArchive();
  /** Why the last starts did not succeed. */
  readonly startErrors: ErrorCode[] = [];
  disk: MemoryDisk;
  stores: MemoryStores;
  /** Slower than usual by this factor. */
  diskSlowness = 1;
  wallOffsetMs = 0;
  /** The node whose port is open; undefined while the process starts, or is down. */
  node: Node | undefined;
  isFrozen = false;
  /** True while it is meant to be down: nobody starts it. */
  isHeldDown = false;
  /** Copies of the disk from earlier ends, oldest first. */
  readonly images: DiskImage[] = [];
  readonly #world: World;
  readonly #random: SeededRandom;
  readonly #diskRandom: SeededRandom;
  #incarnation: Incarnation | undefined;
  #isFirstStart = true;
  #armed: ArmedFault[] = [];
  #haltAs: CrashKind = 'kill';
  /** What it last called durable, on this disk. */
  #durable: Position | undefined;
  #released = Promise.withResolvers<void>();
  #restartNow = new AbortController();

  constructor(world: World, name: string, config: MachineConfig) {
    this.#world = world;
    this.name = name;
    this.url = `http://${name}`;
    this.config = config;
    this.#random = world.random.fork();
    this.#diskRandom = world.random.fork();
    this.disk = this.emptyDisk();
    this.stores = this.#newStores();
  }

  get isRunning(): boolean {
    return this.#incarnation !== undefined;
  }

  /** Of the process that runs now; never settles where none does. */
  get ended(): Promise<void> {
    return this.#incarnation?.ended ?? new Promise(() => {});
  }

  emptyDisk(): MemoryDisk {
    return new MemoryDisk(this.#diskOptions());
  }

  #diskOptions(): MemoryDiskOptions {
    return {
      seed: this.#diskRandom.below(0x1_0000_0000),
      shortWrites: this.#world.plan.shortWrites,
      intercept: (call) => this.#onDiskCall(call),
      delay: (call) => this.#diskDelay(call),
    };
  }

  #newStores(): MemoryStores {
    // Asked anew each time: the process that opens a store is not the one that made it.
    const clock: NodeOptions['environment']['clock'] = {
      monotonicMs: () => this.#world.clock.monotonicMs(),
      wallMs: () => this.#world.clock.wallMs(),
      setTimer: (delayMs, callback) => this.#incarnation!.clock.setTimer(delayMs, callback),
      defer: (callback) => this.#incarnation?.clock.defer(callback),
    };
    const stores = new MemoryStores(() => this.disk, clock);
    const { wrapStore } = this.#world.mutation;
    if (wrapStore !== undefined) stores.wrap = (store) => wrapStore(store, this.name);
    return stores;
  }

  // ——— the service manager ———

  /** Keeps a process running, for ever. */
  async supervise(): Promise<never> {
    for (;;) {
      while (this.isHeldDown) await this.#released.promise;
      this.#world.network.lighten(this.url);
      await this.#runOnce();
      this.#restartNow = new AbortController();
      await sleep(this.#world.clock, 100 + this.#random.below(this.startErrors.length > 0 ? 2_500 : 900), this.#restartNow.signal).catch(() => {});
    }
  }

  /** From now on it is started again; what kept it down is over. */
  release(): void {
    this.isHeldDown = false;
    this.#released.resolve();
    this.#released = Promise.withResolvers();
    this.#restartNow.abort();
  }

  async #runOnce(): Promise<void> {
    const { clock, network, trace } = this.#world;
    const process = new Incarnation(new ProcessClock(clock, () => trace.event(this.name, 'timer'), () => this.wallOffsetMs), network.transportOf(this.url));
    this.#incarnation = process;
    trace.event(this.name, 'starts');
    const halted = this.disk.halted.then(() => {
      if (!process.isOver) this.crash(this.#haltAs);
    });
    try {
      await Promise.race([this.#live(process), process.ended, halted]);
    } catch (error) {
      if (process.isOver) return;
      this.#world.noteStartFailure(this, error);
      this.startErrors.push(isShiplogError(error) ? error.code : 'internal');
      this.crash('kill');
    }
  }

  async #live(process: Incarnation): Promise<void> {
    const node = await Node.start(this.#nodeOptions(process));
    if (process.isOver) return;
    if (this.#durable !== undefined) this.#world.judgeStart(this, node.status(), this.#durable);
    this.#world.network.listen(this.url, nodeHandler(node));
    this.node = node;
    await node.takeUpRole();
    this.startErrors.splice(0);
    const failure = await node.failed;
    if (process.isOver) return;
    this.#world.noteFailure(this, failure);
    this.crash('kill');
  }

  #nodeOptions(process: Incarnation): NodeOptions {
    const { plan, mutation } = this.#world;
    const isNewCluster = this.#isFirstStart && this.config.follow === undefined && this.config.peers.length > 0 && this.name === 'n1';
    this.#isFirstStart = false;
    const options: NodeOptions = {
      environment: {
        clock: process.clock,
        disk: mutation.wrapDisk?.(this.disk, this.name) ?? this.disk,
        random: this.#random,
        transport: mutation.wrapTransport?.(process.transport, this.name) ?? process.transport,
      },
      logger: this.#loggerOf(process),
      metrics: noMetrics(),
      stores: this.stores,
      version: '0.0.0-simulated',
      name: this.name,
      dataDirectory: DATA_DIRECTORY,
      advertiseUrl: this.url,
      follow: this.config.follow,
      peers: this.config.peers,
      isNewCluster,
      replicaWrites: 'forward',
      segmentBytes: plan.segmentBytes,
      checkpointOperations: plan.checkpointOperations,
      cacheBytes: 4_000,
      checkpointIntervalMs: plan.checkpointIntervalMs,
      retention: plan.retention,
      live: { readyLagMs: 5_000, forwardTimeoutMs: 5_000, queueBytesMax: 1 << 26, ackDefault: 'local', ackMinimum: 'local' },
    };
    return mutation.nodeOptions?.(options) ?? options;
  }

  #loggerOf(process: Incarnation): Logger {
    const log = (level: string) => (message: string, fields: LogFields = {}): void => {
      if (process.isOver) return;
      this.#world.noteLog(message, fields);
      this.#world.trace.note(this.name, () => `${level}: ${message}${Object.entries(fields).map(([name, value]) => ` ${name}=${String(value)}`).join('')}`);
    };
    return { debug: () => {}, info: log('info'), warn: log('warn'), error: log('error') };
  }

  /** The id in its data directory, also while it is down; undefined before its first start. */
  get nodeId(): string | undefined {
    const text = this.disk.contents(DATA_DIRECTORY).get('node.json')?.toString('utf8');
    return text === undefined ? undefined : (/"nodeId": "([0-9a-f]{32})"/.exec(text)?.[1] ?? undefined);
  }

  // ——— ends ———

  /** The process is gone, or the machine with it. */
  crash(kind: CrashKind, { garble = 0 }: { readonly garble?: number } = {}): void {
    const process = this.#incarnation;
    if (process === undefined) return;
    this.#world.trace.event(this.name, kind);
    this.#world.counters.crashes += 1;
    this.#end(process);
    if (kind === 'kill') {
      this.#world.network.unlisten(this.url);
      this.disk = this.disk.kill(this.#diskOptions());
    } else {
      this.#world.network.darken(this.url);
      this.disk = this.disk.crash({ garble }, this.#diskOptions());
      this.stores.crash((atRisk) => this.#random.below(atRisk + 1));
    }
    this.#keepImage();
  }

  /** As `systemctl stop` does; resolves when the process is gone. */
  async stop(): Promise<void> {
    const { node } = this;
    const process = this.#incarnation;
    if (node === undefined || process === undefined) return this.crash('kill');
    this.#world.trace.event(this.name, 'stops');
    node.beginStop();
    await Promise.race([sleep(this.#world.clock, 20), process.ended]);
    if (process.isOver) return;
    this.#world.network.unlisten(this.url);
    this.node = undefined;
    const isClean = await Promise.race([
      node.stop().then(() => true, (error: unknown) => this.#world.noteFailure(this, error)),
      sleep(this.#world.clock, 10_000),
      process.ended,
    ]);
    if (process.isOver) return;
    if (isClean !== true) return this.crash('kill');
    this.#world.trace.event(this.name, 'stopped');
    this.#end(process);
    this.disk = this.disk.kill(this.#diskOptions());
    this.#keepImage();
  }

  #end(process: Incarnation): void {
    this.thaw();
    const durable = parsePosition(this.node?.status().positions.durable ?? '');
    if (durable !== undefined && durable.lsn > 0) this.#durable = durable;
    process.end();
    this.#incarnation = undefined;
    this.node = undefined;
    this.#armed = [];
  }

  #keepImage(): void {
    if (!this.#random.chance(0.25)) return;
    const disk = this.disk.kill(this.#diskOptions());
    this.disk = this.disk.kill(this.#diskOptions());
    const stores = this.#newStores();
    stores.copyFrom(this.stores);
    this.images.push({ disk, stores });
    if (this.images.length > 3) this.images.shift();
  }

  /** The disk that is found at the next start, in place of this machine's own. Only while it is down. */
  replaceDisk(image: DiskImage | undefined): DiskImage {
    const before = { disk: this.disk, stores: this.stores };
    this.archive.noteLoss(this.disk);
    this.#durable = undefined;
    this.disk = image?.disk ?? this.emptyDisk();
    this.archive.noteReturn(this.disk);
    this.stores = image?.stores ?? this.#newStores();
    return before;
  }

  freeze(): void {
    if (this.isFrozen || this.#incarnation === undefined) return;
    this.isFrozen = true;
    this.#world.trace.event(this.name, 'freezes');
    this.#incarnation.clock.freeze();
    this.#world.network.freeze(this.url);
  }

  thaw(): void {
    if (!this.isFrozen) return;
    this.isFrozen = false;
    this.#world.trace.event(this.name, 'thaws');
    this.#incarnation?.clock.thaw();
    this.#world.network.thaw(this.url);
  }

  // ——— disk ———

  /** Makes the n-th of the next calls that fit go wrong, once. */
  arm(fault: ArmedFault): void {
    this.#armed.push(fault);
  }

  /** The process, or the machine, ends in the middle of the n-th disk call from now. */
  crashAtDiskCall(countdown: number, isEffective: boolean, kind: CrashKind): void {
    this.#haltAs = kind;
    this.arm({ names: [], countdown, fault: { kind: 'halt', effect: isEffective } });
  }

  /** No fault of the disk is left. */
  mendDisk(): void {
    this.#armed = [];
    this.diskSlowness = 1;
    this.disk.setCapacity(Number.POSITIVE_INFINITY);
  }

  /** Directories with segments, of all generations. */
  walDirectories(): readonly string[] {
    return this.disk.directories(DATA_DIRECTORY).filter((path) => path.endsWith('/wal'));
  }

  #onDiskCall(call: DiskCall): DiskFault | undefined {
    const path = call.path.startsWith(DATA_DIRECTORY) ? call.path.slice(DATA_DIRECTORY.length + 1) : call.path;
    this.#world.trace.event(this.name, `${call.name} ${path}${call.offset === undefined ? '' : ` at ${call.offset}`}${call.bytes === undefined ? '' : ` ${call.bytes} bytes`}`);
    if (call.data !== undefined && path.includes('/wal/')) this.#world.noteEpochs(this, call.data);
    // Logs that a node no longer needs are still part of what happened.
    if (call.name === 'remove') this.archive.noteRemoval(this.disk, call.path);
    const mutated = this.#world.mutation.diskFault?.(call, this.name);
    if (mutated !== undefined) return mutated;
    for (const armed of this.#armed) {
      if (armed.names.length > 0 && !armed.names.includes(call.name)) continue;
      if (armed.path !== undefined && !armed.path.test(call.path)) continue;
      armed.countdown -= 1;
      if (armed.countdown > 0) continue;
      this.#armed.splice(this.#armed.indexOf(armed), 1);
      this.#world.trace.event(this.name, `disk fault ${JSON.stringify(armed.fault)}`);
      return armed.fault;
    }
    return undefined;
  }

  #diskDelay(call: DiskCall): Promise<void> {
    const isWrite = call.name === 'sync' || call.name === 'writeAt' || call.name === 'syncDirectory';
    if (!isWrite && this.diskSlowness === 1) return DONE;
    const clock = this.#incarnation?.clock;
    if (clock === undefined) return DONE;
    return sleep(clock, this.#world.plan.diskMs * this.diskSlowness * (0.5 + this.#random.uniform()));
  }

  /** One line on what it is doing. */
  describe(): string {
    if (this.#incarnation === undefined) return `${this.name} is down${this.isHeldDown ? ' (held)' : ''}${this.startErrors.length > 0 ? `, last start: ${this.startErrors.at(-1)}` : ''}`;
    if (this.node === undefined) return `${this.name} starts or stops`;
    const status = this.node.status();
    return `${this.name} is ${status.state} (role ${status.role}), at ${status.positions.durable}, epoch ${status.epoch?.number ?? '-'}, follows ${status.upstream?.url ?? '-'}${status.upstream?.connected === false ? ' (no stream)' : ''}, promise ${status.promise?.epoch.number ?? '-'}, fence ${status.fence?.kind ?? '-'}, members ${status.members.map((member) => member.name).join(',')}`;
  }
}

/** True for what can only be a mistake in the program. */
export function isProgramError(error: unknown): boolean {
  return error instanceof AssertionError || error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError || (isShiplogError(error, 'internal') && error.cause !== undefined && isProgramError(error.cause));
}

const DONE = Promise.resolve();
