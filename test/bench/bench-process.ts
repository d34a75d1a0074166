/** Processes of the bench: pinned to a core, and ended with it. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';

/** Servers have one core, all that measures them has another. */
export const SERVER_CORE = 0;
export const GENERATOR_CORE = 1;

export const CAN_PIN = availableParallelism() > 1 && isOnPath('taskset');

export function isOnPath(program: string): boolean {
  return spawnSync('sh', ['-c', 'command -v "$1"', 'sh', program]).status === 0;
}

const STOP_MS_MAX = 20_000;

export class BenchProcess {
  readonly #child: ChildProcess;
  readonly #exited: Promise<number | null>;
  readonly #name: string;
  #stdout = '';
  #stderr = '';

  /** @param command program and arguments @param core undefined = any */
  constructor(command: readonly string[], core: number | undefined) {
    const [program, ...args] = CAN_PIN && core !== undefined ? ['taskset', '--cpu-list', String(core), ...command] : command;
    this.#name = command.join(' ');
    this.#child = spawn(program!, args, { stdio: ['ignore', 'pipe', 'pipe'], env: environment() });
    this.#child.stdout!.on('data', (chunk: Buffer) => (this.#stdout += chunk.toString()));
    // Only the end matters: it says why a process failed.
    this.#child.stderr!.on('data', (chunk: Buffer) => (this.#stderr = (this.#stderr + chunk.toString()).slice(-4_000)));
    this.#exited = once(this.#child, 'close').then(([code]) => code as number | null);
  }

  /** That of the command itself: whatever pins or launches it becomes it. */
  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`${this.#name} could not be started`);
    return this.#child.pid;
  }

  /** Waits for `ready at URL`. @throws Error with what the process said, if it ends first. */
  async readyUrl(): Promise<string> {
    return (await this.said(/ready at (\S+)\n/))[1]!;
  }

  /** Waits until standard output has it. @throws Error with what the process said, if it ends first. */
  async said(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.#stdout);
      if (match !== null) return match;
      const more = await Promise.race([once(this.#child.stdout!, 'data').then(() => true), this.#exited.then(() => false)]);
      if (!more) throw new Error(`${this.#name} ended before it was ready:\n${this.#stderr}`);
    }
  }

  /** Waits for the end and for a line `RESULT {…}`. @throws Error with what the process said. */
  async result<T>(): Promise<T> {
    const code = await this.#exited;
    const line = /^RESULT (.*)$/m.exec(this.#stdout)?.[1];
    if (code !== 0 || line === undefined) throw new Error(`${this.#name} ended with ${code} and no result:\n${this.#stdout}\n${this.#stderr}`);
    return JSON.parse(line) as T;
  }

  /** Killed where it does not end by itself: no run may hang on its end. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    const patience = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS_MAX);
    await this.#exited;
    clearTimeout(patience);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }
}

/** Nodes run with their defaults, whatever is set around the bench. */
function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(SHIPLOG_|NODE_OPTIONS$|NOTIFY_SOCKET$)/.test(name)));
}
