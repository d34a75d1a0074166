/**
 * One node of a local cluster: a `shiplog serve` process.
 *
 * The two hold a line between them, the node's standard input. To stop the node, its end is closed;
 * if this process dies, however it dies, the system closes it. Unlike a signal that can be said twice.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import type { Environment } from '../env/environment.ts';
import type { ShiplogClient } from '../client/shiplog-client.ts';
import type { StatusDocument } from '../client/status-document.ts';
import { sleep } from '../env/clock.ts';
import type { PlannedNode } from './cluster-plan.ts';
import { LogFile } from './log-file.ts';

export interface ClusterNodeOptions {
  readonly plan: PlannedNode;
  readonly environment: Environment;
  readonly client: ShiplogClient;
  /** Program and arguments of the node's process. */
  readonly command: readonly [string, ...string[]];
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** A warning, an error, or something that is no log line. */
  readonly onTrouble: (line: string) => void;
}

export interface NodeExit {
  /** Exit code; null when a signal ended the process. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The last error that the node reported. */
  readonly lastError: string | undefined;
}

const HEALTH_INTERVAL_MS = 40;

export class ClusterNode {
  readonly plan: PlannedNode;
  /** Resolves when the process is gone and all it said has been read. */
  readonly exited: Promise<NodeExit>;
  readonly #options: ClusterNodeOptions;
  readonly #child: ChildProcessByStdio<Writable, null, Readable>;
  #lastError: string | undefined;
  #hasExited = false;

  private constructor(options: ClusterNodeOptions, child: ChildProcessByStdio<Writable, null, Readable>, log: LogFile) {
    this.plan = options.plan;
    this.#options = options;
    this.#child = child;
    this.exited = this.#watch(log);
  }

  static async start(options: ClusterNodeOptions): Promise<ClusterNode> {
    const log = await LogFile.open(options.environment.disk, options.plan.logFile);
    const [program, ...args] = options.command;
    const child = spawn(program, args, { env: { ...options.variables }, stdio: ['pipe', 'ignore', 'pipe'] });
    // When the node is gone, its end of the line is too.
    child.stdin.on('error', () => {});
    return new ClusterNode(options, child, log);
  }

  get hasExited(): boolean {
    return this.#hasExited;
  }

  /** Resolves with true once the node answers, or says that it waits for somebody; with false when it exits first. */
  async ready(): Promise<boolean> {
    while (!this.#hasExited) {
      const isHealthy = await this.#options.client.isHealthy().catch(() => undefined);
      const isUp = isHealthy === true || (isHealthy === false && (await this.#waitsForOperator()));
      // Whoever answers for a process that is gone, it is not this node.
      if (isUp) return !this.#hasExited;
      await sleep(this.#options.environment.clock, HEALTH_INTERVAL_MS);
    }
    return false;
  }

  /** Undefined where it does not answer. */
  async status(): Promise<StatusDocument | undefined> {
    return this.#hasExited ? undefined : this.#options.client.status().catch(() => undefined);
  }

  /** A former primary follows again by itself; from any other fence only a person leads back. */
  async #waitsForOperator(): Promise<boolean> {
    const fence = (await this.status())?.fence;
    return fence != null && fence.kind !== 'superseded';
  }

  /** Asks for a clean stop. May be called again. */
  stop(): void {
    this.#child.stdin.end();
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async #watch(log: LogFile): Promise<NodeExit> {
    const ended = new Promise<Omit<NodeExit, 'lastError'>>((resolve) => {
      this.#child.once('exit', (code, signal) => {
        this.#hasExited = true;
        resolve({ code, signal });
      });
      this.#child.once('error', (error) => {
        this.#hasExited = true;
        this.#lastError = error.message;
        resolve({ code: null, signal: null });
      });
    });
    await this.#readLines(this.#child.stderr, log);
    await log.close();
    return { ...(await ended), lastError: this.#lastError };
  }

  async #readLines(stderr: Readable, log: LogFile): Promise<void> {
    for await (const line of createInterface({ input: stderr })) {
      // A full disk must not end the nodes' stdout; they report it themselves.
      await log.append(`${line}\n`).catch(() => {});
      const { level, text } = readLogLine(line);
      if (level === 'error') this.#lastError = text;
      if (level !== 'info') this.#options.onTrouble(text);
    }
  }
}

/** @returns the line for people. What is no log line comes from a crash, or from main.ts before there is a logger. */
function readLogLine(line: string): { readonly level: 'info' | 'warn' | 'error'; readonly text: string } {
  try {
    const { level, message, time: _time, node: _node, ...fields } = JSON.parse(line) as Record<string, unknown>;
    const ending = Object.entries(fields).map(([name, value]) => ` ${name}=${String(value)}`);
    const isTrouble = level === 'warn' || level === 'error';
    return { level: isTrouble ? level : 'info', text: `${String(message)}${ending.join('')}` };
  } catch {
    return { level: 'error', text: line.replace(/^shiplog: /, '') };
  }
}
