/** One `shiplog serve` as a process of its own, ended by its pid alone. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

import type { Workbench } from './workbench.ts';

export const SHIPLOG_MAIN = fileURLToPath(new URL('../../lib/cli/main.ts', import.meta.url));

const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;
const POLL_INTERVAL_MS = 10;
const LOG_LINES_SHOWN = 15;

export interface NodeProcessOptions {
  readonly workbench: Workbench;
  readonly environment: NodeJS.ProcessEnv;
  readonly name: string;
  readonly dataDirectory: string;
  readonly port: number;
  readonly followUrl?: string;
  /** Where other nodes reach it, if that is not where it listens. */
  readonly advertiseUrl?: string;
}

/** What the rig looks at in `GET /status`. */
export interface StatusShown {
  readonly name: string;
  readonly state: string;
  readonly epoch: { readonly number: number; readonly id: string } | null;
  readonly history: readonly { readonly number: number; readonly id: string }[];
  readonly positions: { readonly visible: string };
}

export class NodeProcess {
  readonly #options: NodeProcessOptions;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  /** Starts the process. That it is there does not mean that it is ready. */
  constructor(options: NodeProcessOptions) {
    this.#options = options;
    const log = openSync(this.#logFile, 'a');
    this.#child = spawn(process.execPath, [SHIPLOG_MAIN, 'serve', ...flagsOf(options)], {
      // --exit-with-parent: the node stops when this process is gone, however it went.
      stdio: ['pipe', log, log],
      env: { ...options.environment, UV_THREADPOOL_SIZE: '16' },
    });
    closeSync(log);
    this.#child.stdin!.on('error', () => {});
    this.#exited = once(this.#child, 'exit');
    options.workbench.addProcess(this.#child);
  }

  get url(): string {
    return `http://127.0.0.1:${this.#options.port}`;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  get dataDirectory(): string {
    return this.#options.dataDirectory;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Resolves once the node has recovered and answers. @throws Error with the end of its log when it does not. */
  async ready(): Promise<void> {
    const deadlineMs = performance.now() + READY_TIMEOUT_MS;
    while (!(await this.isHealthy())) {
      if (!this.isRunning) throw new Error(this.#withLog(`exited with ${this.#exitShown} instead of starting`));
      if (performance.now() > deadlineMs) throw new Error(this.#withLog(`was not ready within ${READY_TIMEOUT_MS} ms`));
      await sleep(POLL_INTERVAL_MS);
    }
  }

  async isHealthy(): Promise<boolean> {
    const response = await fetch(`${this.url}/healthz`).catch(() => undefined);
    await response?.text().catch(() => undefined);
    return response?.status === 200;
  }

  async status(): Promise<StatusShown> {
    const response = await fetch(`${this.url}/status`);
    return (await response.json()) as StatusShown;
  }

  /** Everything up to this LSN can be read here. */
  async visibleLsn(): Promise<number> {
    return Number((await this.status()).positions.visible.split('-')[1]);
  }

  /** @throws Error when the node exits, or does not get there in time. */
  async showsLsn(lsn: number, timeoutMs = READY_TIMEOUT_MS): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    for (;;) {
      if (!this.isRunning) throw new Error(this.#withLog(`exited with ${this.#exitShown} instead of catching up`));
      const visibleLsn = await this.visibleLsn();
      if (visibleLsn >= lsn) return;
      if (performance.now() > deadlineMs) throw new Error(this.#withLog(`shows LSN ${visibleLsn} after ${timeoutMs} ms, expected ${lsn}`));
      await sleep(POLL_INTERVAL_MS);
    }
  }

  /** Has it opened this file? Tells how far a start has come while the node says nothing yet. */
  hasOpen(fileName: string): boolean {
    const directory = `/proc/${this.pid}/fd`;
    try {
      return readdirSync(directory).some((descriptor) => {
        try {
          return readlinkSync(`${directory}/${descriptor}`).endsWith(`/${fileName}`);
        } catch {
          return false;
        }
      });
    } catch {
      return false;
    }
  }

  /** kill -9. Resolves when the system has taken the process away. */
  async kill(): Promise<void> {
    if (!this.isRunning) throw new Error(this.#withLog(`exited with ${this.#exitShown} before it was killed`));
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  /**
   * Stops the thread that answers, in the middle of whatever it does. Resolves when nothing more can leave
   * the process; what other threads have asked of the kernel goes on. To be followed by `kill`.
   */
  async freeze(): Promise<void> {
    this.#child.kill('SIGSTOP');
    const deadlineMs = performance.now() + STOP_TIMEOUT_MS;
    while (this.#mainThreadState !== 'T') {
      if (!this.isRunning) throw new Error(this.#withLog(`exited with ${this.#exitShown} before it was frozen`));
      if (performance.now() > deadlineMs) throw new Error(this.#withLog(`is not frozen after ${STOP_TIMEOUT_MS} ms, but in state ${this.#mainThreadState}`));
      await sleep(0);
    }
  }

  /** A clean stop. @throws Error when it takes too long or ends with another code than 0. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    const timeout = new AbortController();
    const result = await Promise.race([this.#exited, sleep(STOP_TIMEOUT_MS, 'timeout', { signal: timeout.signal }).catch(() => undefined)]);
    timeout.abort();
    if (result === 'timeout') throw new Error(this.#withLog(`did not stop within ${STOP_TIMEOUT_MS} ms`));
    if (this.#child.exitCode !== 0) throw new Error(this.#withLog(`stopped with ${this.#exitShown}, expected exit code 0`));
  }

  /** One letter, as in `man 5 proc`. It stands behind the name of the program, which may hold anything. */
  get #mainThreadState(): string | undefined {
    try {
      return /\) (\w)/.exec(readFileSync(`/proc/${this.pid}/task/${this.pid}/stat`, 'utf8'))?.[1];
    } catch {
      return undefined;
    }
  }

  get #exitShown(): string {
    return this.#child.signalCode ?? `exit code ${this.#child.exitCode}`;
  }

  get #logFile(): string {
    return this.#options.workbench.path(`${this.#options.name}.log`);
  }

  #withLog(what: string): string {
    const lines = readFileSync(this.#logFile, 'utf8').trimEnd().split('\n');
    return `the ${this.#options.name} ${what}; its log (${this.#logFile}) ends with\n${lines.slice(-LOG_LINES_SHOWN).join('\n')}`;
  }
}

function flagsOf({ name, dataDirectory, port, followUrl, advertiseUrl }: NodeProcessOptions): readonly string[] {
  const follow = followUrl === undefined ? [] : ['--follow', followUrl];
  const advertise = advertiseUrl === undefined ? [] : ['--advertise', advertiseUrl];
  // Small segments and frequent checkpoints: every round has to cross several of each.
  const small = ['--segment-bytes', '64KiB', '--checkpoint-operations', '1000'];
  // The second decoder folds the log from its beginning: keep all of it.
  const whole = ['--retention-bytes-min', '4GiB'];
  return ['--exit-with-parent', '--name', name, '--data-dir', dataDirectory, '--port', String(port), ...follow, ...advertise, ...small, ...whole];
}
