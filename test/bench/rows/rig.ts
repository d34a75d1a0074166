/** What all rows stand on: nodes and other processes that end with the row, directories, tables that are filled once. */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { serveCommand } from '../bench.ts';
import { BenchProcess, SERVER_CORE } from '../bench-process.ts';
import { eachRound } from '../rounds.ts';
import { importKeys } from './import-lines.ts';
import type { RowsOptions } from './row.ts';

export interface NodeOptions {
  readonly dataDirectory: string;
  /** Default: that of servers. Null = any. */
  readonly core?: number | null;
  readonly flags?: readonly string[];
}

export interface RunningNode {
  readonly process: BenchProcess;
  readonly url: string;
}

const READY_MS_MAX = 60_000;
const POLL_MS = 20;

export class Rig {
  readonly options: RowsOptions;
  readonly directory: string;
  readonly #running = new Set<BenchProcess>();
  readonly #tables = new Map<number, string>();

  constructor(options: RowsOptions) {
    this.options = options;
    this.directory = mkdtempSync(join(options.directory, 'rows-'));
  }

  /** A name for a directory or file that does not exist yet. */
  newPath(name: string): string {
    return join(mkdtempSync(join(this.directory, 'row-')), name);
  }

  remove(path: string): void {
    rmSync(path, { recursive: true, force: true });
  }

  start(command: readonly string[], core: number | undefined): BenchProcess {
    const child = new BenchProcess(command, core);
    this.#running.add(child);
    return child;
  }

  /** Does not wait for anything. */
  async startNode({ dataDirectory, core = SERVER_CORE, flags = [] }: NodeOptions): Promise<RunningNode> {
    const command = await serveCommand(dataDirectory);
    const port = command[command.indexOf('--port') + 1];
    return { process: this.start([...command, ...flags], core ?? undefined), url: `http://127.0.0.1:${port}` };
  }

  /** Default configuration, but for where and the flags. Resolves when it is ready. */
  async serve(options: NodeOptions): Promise<RunningNode> {
    const node = await this.startNode(options);
    await node.process.readyUrl();
    await untilReady(node.url, POLL_MS);
    return node;
  }

  async stop({ process }: { readonly process: BenchProcess }): Promise<void> {
    await process.stop();
    this.#running.delete(process);
  }

  async kill({ process }: { readonly process: BenchProcess }): Promise<void> {
    await process.kill();
    this.#running.delete(process);
  }

  /**
   * The data directory of a primary that holds so many keys and was stopped cleanly: made at first, then
   * the same for all rows, which may write these keys again and nothing else.
   */
  async table(keys: number): Promise<string> {
    const made = this.#tables.get(keys);
    if (made !== undefined) return made;
    this.options.onStep(`importing ${keys} keys`);
    const dataDirectory = this.newPath('table');
    const node = await this.serve({ dataDirectory, core: null });
    await importKeys(node.url, keys, this.options.valueBytes);
    await this.stop(node);
    this.#tables.set(keys, dataDirectory);
    return dataDirectory;
  }

  rounds<Result>(round: (count: number, onStep: (step: string) => void) => Promise<Result>): Promise<readonly Result[]> {
    return eachRound(this.options, round);
  }

  /** Ends what a row has left running. */
  async stopAll(): Promise<void> {
    const running = [...this.#running];
    this.#running.clear();
    await Promise.all(running.map((each) => each.stop()));
  }

  async close(): Promise<void> {
    await this.stopAll();
    this.remove(this.directory);
  }
}

/** Resolves when `/readyz` is 200. While nobody listens, it is not. @throws Error after a minute. */
export async function untilReady(url: string, pollMs: number): Promise<void> {
  await until(async () => (await fetch(`${url}/readyz`).then(async (response) => (await response.text(), response.status), () => 0)) === 200, pollMs, `${url}/readyz is not 200`);
}

/** @throws Error after a minute, with `otherwise`. */
export async function until(isTrue: () => Promise<boolean>, pollMs: number, otherwise: string): Promise<void> {
  const endMs = performance.now() + READY_MS_MAX;
  while (!(await isTrue())) {
    if (performance.now() > endMs) throw new Error(`${otherwise} after ${READY_MS_MAX / 1_000} s`);
    await wait(pollMs);
  }
}
