/** Debian's haproxy with the shipped configuration, on free ports of the loopback. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { type Socket, connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

import { eventually } from '../support/cluster.ts';

export const CONFIG = join(import.meta.dirname, '../../config/haproxy.cfg');
/** Debian keeps it in sbin, which is not on every user's PATH. */
export const HAPROXY_ENVIRONMENT = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin` };

/** As in the shipped file. */
const FRONT = '127.0.0.1:4400';
const NODES = ['127.0.0.1:4455', '127.0.0.1:4466'] as const;

export interface HaproxyOptions {
  readonly directory: string;
  readonly port: number;
  /** In the order of the file: node1, node2. */
  readonly nodePorts: readonly [number, number];
}

/** What one server of a backend did so far. */
export interface ServerCounts {
  readonly isUp: boolean;
  readonly succeeded: number;
}

export class HaproxyProcess {
  readonly url: string;
  readonly #child: ChildProcess;
  readonly #socketPath: string;
  #output = '';

  private constructor(url: string, child: ChildProcess, socketPath: string) {
    this.url = url;
    this.#child = child;
    this.#socketPath = socketPath;
    for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (data: Buffer) => (this.#output += data.toString()));
  }

  /** Resolves when its checks have found the one primary and the one replica. */
  static async start({ directory, port, nodePorts }: HaproxyOptions): Promise<HaproxyProcess> {
    const configPath = join(directory, 'haproxy.cfg');
    const watchPath = join(directory, 'watch.cfg');
    const socketPath = join(directory, 'haproxy.sock');
    writeFileSync(configPath, withAddresses(readFileSync(CONFIG, 'utf8'), port, nodePorts));
    // Beside the shipped file, so that this is all that differs: a way to ask what it did.
    writeFileSync(watchPath, `global\n    stats socket ${socketPath} level user\n`);
    const child = spawn('haproxy', ['-db', '-f', configPath, '-f', watchPath], { stdio: ['ignore', 'pipe', 'pipe'], env: HAPROXY_ENVIRONMENT });
    const haproxy = new HaproxyProcess(`http://127.0.0.1:${port}`, child, socketPath);
    try {
      await eventually(async () => {
        if (child.exitCode !== null) throw new Error(`haproxy ended with ${child.exitCode}: ${haproxy.output}`);
        // Until its first check a server counts as up.
        const counts = await Promise.all(['primary', 'replicas'].map((backend) => haproxy.countsOf(backend))).catch(() => []);
        return counts.length === 2 && counts.every((servers) => Object.values(servers).filter(({ isUp }) => isUp).length === 1);
      });
    } catch (error) {
      await haproxy.stop();
      throw error;
    }
    return haproxy;
  }

  get output(): string {
    return this.#output;
  }

  /** By the names of the servers. */
  async countsOf(backend: string): Promise<Readonly<Record<string, ServerCounts>>> {
    const socket: Socket = connect(this.#socketPath);
    socket.end('show stat\n');
    const [head, ...lines] = (await text(socket)).trim().split('\n');
    const names = head!.replace(/^# /, '').split(',');
    const rows = lines.map((line) => Object.fromEntries(line.split(',').map((value, index) => [names[index], value])) as Record<string, string>);
    const servers = rows.filter((row) => row['pxname'] === backend && row['svname'] !== 'BACKEND');
    return Object.fromEntries(servers.map((row) => [row['svname']!, { isUp: row['status']!.startsWith('UP'), succeeded: Number(row['hrsp_2xx']) }]));
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }
}

/** @throws Error where the shipped file no longer names the addresses that are to be replaced. */
function withAddresses(config: string, port: number, nodePorts: readonly [number, number]): string {
  const replacements = [[FRONT, port], [NODES[0], nodePorts[0]], [NODES[1], nodePorts[1]]] as const;
  return replacements.reduce((changed, [address, to]) => {
    if (!changed.includes(address)) throw new Error(`${CONFIG} does not name ${address}`);
    return changed.replaceAll(address, `127.0.0.1:${to}`);
  }, config);
}
