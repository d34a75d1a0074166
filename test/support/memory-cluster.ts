/**
 * Whole nodes in one process on fake time, disk and network: what the product runs, but for SQLite,
 * HTTP and the operating system.
 */
import { ShiplogError } from '../../lib/base/errors.ts';
import { formatPosition } from '../../lib/base/position.ts';
import type { Transport, TransportHandler, TransportRequest, TransportResponse } from '../../lib/env/transport.ts';
import { SILENT_LOGGER, type Logger } from '../../lib/observe/logger.ts';
import type { NodeOptions } from '../../lib/node/node-options.ts';
import { Node } from '../../lib/node/node.ts';
import { FakeClock } from './fake-clock.ts';
import { MemoryDisk, type CrashOptions, type MemoryDiskOptions } from './memory-disk.ts';
import { MemoryNetwork } from './memory-transport.ts';
import { MemoryStores } from './memory-stores.ts';
import { noMetrics } from './no-metrics.ts';
import { SeededRandom } from './seeded-random.ts';

export class MemoryCluster {
  readonly clock = new FakeClock();
  readonly network = new MemoryNetwork(this.clock);
  readonly random: SeededRandom;
  readonly machines: Machine[] = [];
  /** What stands between a node and the network. */
  readonly handlerOf: (node: Node) => TransportHandler;

  constructor(seed = 1, handler: (node: Node) => TransportHandler = handlerOf) {
    this.handlerOf = handler;
    this.random = new SeededRandom(seed);
  }

  /** A machine with an empty disk. */
  machine(name: string, options: Partial<NodeOptions> = {}, disk: Partial<MemoryDiskOptions> = {}): Machine {
    const machine = new Machine(this, name, options, new MemoryDisk({ seed: this.random.below(1_000_000), ...disk }));
    this.machines.push(machine);
    return machine;
  }

  /** A primary and a replica that follows it, both ready. */
  static async pair(options: Partial<NodeOptions> = {}): Promise<{ cluster: MemoryCluster; primary: Machine; replica: Machine }> {
    const cluster = new MemoryCluster();
    const primary = cluster.machine('primary', options);
    await primary.start();
    const replica = cluster.machine('replica', { ...options, follow: primary.url });
    await replica.start();
    await cluster.clock.untilTrue(() => replica.node.health().ok);
    return { cluster, primary, replica };
  }

  async stopAll(): Promise<void> {
    for (const machine of this.machines) if (machine.isRunning) await machine.stop();
  }
}

/** A disk as it was, with what was applied to the tables on it. */
export interface DiskImage {
  readonly disk: MemoryDisk;
  readonly stores: MemoryStores;
}

/** A disk, and the node that runs on it now and then. */
export class Machine {
  readonly name: string;
  readonly url: string;
  stores: MemoryStores;
  readonly #cluster: MemoryCluster;
  readonly #options: Partial<NodeOptions>;
  readonly #random: SeededRandom;
  disk: MemoryDisk;
  logger: Logger = SILENT_LOGGER;
  metrics = noMetrics();
  #node: Node | undefined;
  #incarnation: { readonly clock: { end(): void }; readonly transport: { end(): void } } | undefined;

  constructor(cluster: MemoryCluster, name: string, options: Partial<NodeOptions>, disk: MemoryDisk) {
    this.#cluster = cluster;
    this.#options = options;
    this.name = name;
    this.url = `http://${name}`;
    this.disk = disk;
    this.#random = new SeededRandom(cluster.random.below(1_000_000));
    this.stores = this.#newStores();
  }

  #newStores(): MemoryStores {
    return new MemoryStores(() => this.disk, this.#cluster.clock);
  }

  get node(): Node {
    if (this.#node === undefined) throw new Error(`${this.name} does not run`);
    return this.#node;
  }

  get isRunning(): boolean {
    return this.#node !== undefined;
  }

  async start(more: Partial<NodeOptions> = {}): Promise<Node> {
    return await this.#cluster.clock.until(this.starting(more));
  }

  /** As `start`, without letting time pass. */
  async starting(more: Partial<NodeOptions> = {}): Promise<Node> {
    const { network } = this.#cluster;
    network.lighten(this.url);
    const clock = this.#cluster.clock.incarnation();
    const transport = network.transportOf(this.url);
    this.#incarnation = { clock, transport };
    this.metrics = noMetrics();
    const node = await Node.start({
      environment: { clock, disk: this.disk, random: this.#random, transport },
      logger: this.logger,
      metrics: this.metrics,
      stores: this.stores,
      version: '0.0.0-test',
      name: this.name,
      dataDirectory: '/data/node',
      advertiseUrl: this.url,
      follow: undefined,
      peers: [],
      isNewCluster: false,
      replicaWrites: 'forward',
      segmentBytes: 4096,
      checkpointOperations: 50,
      // So small that rows come and go.
      cacheBytes: 4_000,
      checkpointIntervalMs: 1_000,
      retention: { bytesMin: 1 << 20, msMin: 0, bytesMax: 1 << 30, msMax: 3_600_000 },
      live: { readyLagMs: 5_000, forwardTimeoutMs: 5_000, queueBytesMax: 1 << 26, ackDefault: 'local', ackMinimum: 'local' },
      ...this.#options,
      ...more,
    });
    this.#node = node;
    network.listen(this.url, this.#cluster.handlerOf(node));
    await node.takeUpRole();
    return node;
  }

  async stop(): Promise<void> {
    await this.#cluster.clock.until(this.stopping());
  }

  async stopping(): Promise<void> {
    const { node } = this;
    node.beginStop();
    await this.#cluster.clock.settle();
    this.#cluster.network.unlisten(this.url);
    this.#node = undefined;
    await node.stop();
  }

  /**
   * The power goes: the node's promises never settle, the disk keeps what was synced and some of the
   * rest, the table as many of its transactions since the last checkpoint as `keepTransactions` says.
   */
  crash(options: CrashOptions = {}, next: Partial<MemoryDiskOptions> = {}, keepTransactions = (atRisk: number): number => this.#random.below(atRisk + 1)): void {
    this.#endProcess();
    this.disk = this.disk.crash(options, next);
    this.stores.crash(keepTransactions);
  }

  /** As `crash`, with everything unsynced lost, and nobody is told: its connections fall silent until it starts again. */
  losePower(next: Partial<MemoryDiskOptions> = {}): void {
    this.#cluster.network.darken(this.url);
    this.#endProcess();
    this.disk = this.disk.crash({ survives: 'nothing' }, next);
    this.stores.crash(() => 0);
  }

  /** The process goes, and nothing else: what it wrote is there, synced or not. */
  kill(next: Partial<MemoryDiskOptions> = {}): void {
    this.#endProcess();
    this.disk = this.disk.kill(next);
  }

  #endProcess(): void {
    this.#incarnation?.clock.end();
    this.#incarnation?.transport.end();
    if (!this.#cluster.network.isDark(this.url)) this.#cluster.network.unlisten(this.url);
    this.#node = undefined;
  }

  /** A copy of the disk of a machine that is down. */
  image(): DiskImage {
    const disk = this.disk.kill();
    this.disk = this.disk.kill();
    const stores = this.#newStores();
    stores.copyFrom(this.stores);
    return { disk, stores };
  }

  /** Puts another disk into a machine that is down; an empty one where none is given. */
  mount(image: DiskImage | undefined, next: Partial<MemoryDiskOptions> = {}): void {
    this.disk = image?.disk.kill(next) ?? new MemoryDisk({ seed: this.#random.below(1_000_000), ...next });
    this.stores = this.#newStores();
    if (image !== undefined) this.stores.copyFrom(image.stores);
  }

  put(key: string, value: string): Promise<unknown> {
    return this.node.write({ kind: 'put', key, value }, {});
  }

  get(key: string): string | undefined {
    return this.node.read(key)?.value;
  }

  /** Writes `count` keys, some at a time, and returns when all are durable. */
  async fill(count: number, prefix = 'key', valueBytes = 20): Promise<void> {
    for (let index = 0; index < count; index += 50) {
      const writes = Array.from({ length: Math.min(50, count - index) }, (_, i) => this.put(`${prefix}${index + i}`, `${index + i} `.padEnd(valueBytes, 'v')));
      await this.#cluster.clock.until(Promise.all(writes));
    }
  }
}

/** Requests between nodes; `POST /set/<key>` stands for http/, which isn't here. */
export function handlerOf(node: Node): (request: TransportRequest) => Promise<TransportResponse> {
  return async (request) => {
    const path = request.target.split('?')[0]!;
    if (path === '/wal') return await node.serveLog(request);
    if (path === '/snapshot') return await node.serveSnapshot(request);
    if (path.startsWith('/peer/')) return await node.servePeer(request);
    if (path === '/status') return { status: 200, headers: {}, body: once(Buffer.from(JSON.stringify(node.status()))) };
    if (path.startsWith('/set/') && request.method === 'POST') {
      const value = Buffer.from(request.body as Uint8Array).toString('utf8');
      const result = await node.write({ kind: 'put', key: path.slice('/set/'.length), value }, {});
      if (result.outcome !== 'written') throw new ShiplogError('internal', result.outcome);
      return { status: 200, headers: { 'shiplog-position': formatPosition(result.position!) }, body: once(Buffer.from('OK')) };
    }
    throw new ShiplogError('no-such-route', path);
  };
}

/** A client that is no node. */
export function clientTransport(cluster: MemoryCluster): Transport {
  return cluster.network.transportOf('http://client');
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
