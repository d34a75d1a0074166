/**
 * Real nodes: `bin/shiplog serve` processes on free ports of the loopback, with data directories of
 * their own below one temporary directory. Only processes started here are ever ended.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import http from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NodeStatus } from '../../lib/node/node-api.ts';

const PROGRAM = join(import.meta.dirname, '../../bin/shiplog');
const START_MS_MAX = 15_000;

export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

export class TestCluster {
  readonly directory: string;
  readonly nodes: NodeProcess[] = [];
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 64 });

  static async create(): Promise<TestCluster> {
    return new TestCluster(await mkdtemp(join(tmpdir(), 'shiplog-cluster-')));
  }

  private constructor(directory: string) {
    this.directory = directory;
  }

  /** A node that is ready to answer. Flags are those of `shiplog serve`. */
  async start(name: string, flags: Flags = {}): Promise<NodeProcess> {
    const node = await this.spawn(name, flags);
    await node.healthy();
    return node;
  }

  /** A node whose process was started, and no more. */
  async spawn(name: string, flags: Flags = {}): Promise<NodeProcess> {
    const node = new NodeProcess(name, join(this.directory, name), await freePort(), flags, this.#agent);
    this.nodes.push(node);
    node.launch();
    return node;
  }

  /** Ends what still runs, the hard way, and removes everything. */
  async dispose(): Promise<void> {
    this.#agent.destroy();
    await Promise.all(this.nodes.map((node) => node.kill()));
    await rm(this.directory, { recursive: true, force: true });
  }
}

export type Flags = Readonly<Record<string, string | number | true>>;

export class NodeProcess {
  readonly name: string;
  readonly port: number;
  readonly url: string;
  dataDirectory: string;
  readonly #flags: Flags;
  readonly #agent: http.Agent;
  #child: ChildProcess | undefined;
  #exited: Promise<number | null> | undefined;
  /** What the last incarnation wrote to standard error. */
  stderr = '';

  constructor(name: string, dataDirectory: string, port: number, flags: Flags, agent: http.Agent) {
    this.name = name;
    this.dataDirectory = dataDirectory;
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
    this.#flags = flags;
    this.#agent = agent;
  }

  launch(more: Flags = {}): void {
    const flags: Flags = { 'name': this.name, 'data-dir': this.dataDirectory, 'port': this.port, 'log-format': 'json', ...this.#flags, ...more };
    const args = Object.entries(flags).flatMap(([name, value]) => (value === true ? [`--${name}`] : [`--${name}`, String(value)]));
    const variables = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SHIPLOG_')));
    this.stderr = '';
    const child = spawn(PROGRAM, ['serve', ...args], { env: variables, stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.#child = child;
    this.#exited = once(child, 'close').then(([code]) => code as number | null);
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  /** Exit code of the process, once it has ended; null = by a signal. */
  get exited(): Promise<number | null> {
    return this.#exited!;
  }

  /** Resolves when `/healthz` says 200. @throws Error where the process ends first. */
  async healthy(): Promise<void> {
    let code: number | null | undefined;
    void this.exited.then((exitCode) => {
      code = exitCode;
    });
    await eventually(async () => {
      if (code !== undefined) throw new Error(`${this.name} ended with ${code}: ${this.stderr}`);
      return (await this.request('GET', '/healthz').catch(() => undefined))?.status === 200;
    }, START_MS_MAX);
  }

  async restart(more: Flags = {}): Promise<void> {
    this.launch(more);
    await this.healthy();
  }

  signal(signal: NodeJS.Signals): void {
    this.#child!.kill(signal);
  }

  /** SIGTERM. @returns the exit code. */
  async stop(): Promise<number | null> {
    this.signal('SIGTERM');
    return await this.exited;
  }

  async kill(): Promise<void> {
    if (this.#child === undefined) return;
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  request(method: string, path: string, options: { headers?: Record<string, string>; body?: string } = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const request = http.request(`${this.url}${path}`, { method, agent: this.#agent, headers: { ...options.headers, ...(options.body === undefined ? {} : { 'content-length': Buffer.byteLength(options.body) }) } }, (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (text: string) => {
          body += text;
        });
        response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, body }));
        response.on('error', reject);
      });
      request.on('error', reject);
      request.end(options.body);
    });
  }

  /** @throws Error for every answer but 200. */
  async set(key: string, value: string): Promise<void> {
    const answer = await this.request('POST', `/set/${key}`, { headers: { 'content-type': 'text/plain' }, body: value });
    if (answer.status !== 200 || answer.body !== 'OK') throw new Error(`set ${key} on ${this.name}: ${answer.status} ${answer.body}`);
  }

  /** The value, or undefined for 404. @throws Error for every other answer. */
  async get(key: string): Promise<string | undefined> {
    const answer = await this.request('GET', `/get/${key}`);
    if (answer.status === 404) return undefined;
    if (answer.status !== 200) throw new Error(`get ${key} on ${this.name}: ${answer.status} ${answer.body}`);
    return answer.body;
  }

  /** Writes `count` keys, 64 at a time. */
  async fill(count: number, options: { prefix?: string; value?: (index: number) => string } = {}): Promise<void> {
    const { prefix = 'key', value = String } = options;
    let next = 0;
    await Promise.all(
      Array.from({ length: 64 }, async () => {
        while (next < count) {
          const index = next;
          next += 1;
          await this.set(`${prefix}${index}`, value(index));
        }
      }),
    );
  }

  async status(): Promise<NodeStatus> {
    return JSON.parse((await this.request('GET', '/status')).body) as NodeStatus;
  }

  /** LSN that reads here show. */
  async visibleLsn(): Promise<number> {
    return lsnOf((await this.status()).positions.visible);
  }

  /** Digest of the table at the first end of a batch at or after `atLsn`, as JSON. */
  async digest(atLsn: number): Promise<string> {
    return (await this.request('GET', `/peer/digest?at=${atLsn}`)).body;
  }

  /** Resolves when this node shows all that the other one shows now. */
  async caughtUpWith(other: NodeProcess, withinMs = 20_000): Promise<void> {
    const lsn = await other.visibleLsn();
    await eventually(async () => (await this.visibleLsn()) >= lsn, withinMs);
  }

  /** Resident bytes. */
  async residentBytes(): Promise<number> {
    const status = await readFile(`/proc/${this.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) * 1024;
  }
}

export function lsnOf(position: string): number {
  return Number(position.split('-')[1]);
}

/** Asks again and again. @throws Error after `withinMs`; what the condition throws ends it at once. */
export async function eventually(condition: () => Promise<boolean> | boolean, withinMs = 10_000): Promise<void> {
  const endMs = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`did not become true within ${withinMs} ms: ${condition.toString()}`);
    await pause(20);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * A port that nobody uses at the moment, nor those `offsets` above it. Below the range from which the
 * system takes ports for outgoing connections: one of those could take it before the node does.
 */
export async function freePort(offsets: readonly number[] = [0]): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const areFree = await Promise.all(offsets.map((offset) => isFree(port + offset)));
    if (areFree.every(Boolean)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
