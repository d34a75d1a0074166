/**
 * A shell that a user types into, one line after another: variables and jobs stay from line to line.
 * What it starts belongs to its process group and ends with it.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';

export interface TypedLine {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number;
}

/** Said by the shell after each line: nothing that a line prints looks like it. */
const END = /\u0001end (\d+)\n$/;
const SAY_END = "printf '\\001end %d\\n' $?\n";

export class TypingShell {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  #stdout = '';
  #stderr = '';
  #onData = (): void => {};

  constructor(directory: string) {
    this.#child = spawn('sh', { cwd: directory, stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    this.#child.stdin.on('error', () => {});
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
      this.#onData();
    });
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    this.#child.once('exit', () => this.#onData());
  }

  /** Resolves when the line has come to its end. @throws Error where it does not, or ends the shell. */
  async type(line: string, timeoutMs: number): Promise<TypedLine> {
    this.#stdout = '';
    this.#stderr = '';
    const done = Promise.withResolvers<TypedLine>();
    const said = (): string => `${JSON.stringify(line)} said ${JSON.stringify(this.#stdout + this.#stderr)}`;
    const timer = setTimeout(() => done.reject(new Error(`no end after ${timeoutMs} ms: ${said()}`)), timeoutMs);
    this.#onData = () => {
      const end = END.exec(this.#stdout);
      if (end !== null) done.resolve({ stdout: this.#stdout.slice(0, end.index), stderr: this.#stderr, code: Number(end[1]) });
      else if (this.#child.exitCode !== null || this.#child.signalCode !== null) done.reject(new Error(`the shell has ended: ${said()}`));
    };
    // Lines are whole commands. Without an end of input of its own, `curl` and others would read the next line.
    this.#child.stdin.write(`{ ${line}\n} </dev/null\n${SAY_END}`);
    try {
      return await done.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends everything that was started and not ended. */
  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise((done) => this.#child.once('exit', done));
    process.kill(-this.#child.pid!, 'SIGKILL');
    await ended;
  }
}
