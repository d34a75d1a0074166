/** One `shiplog serve` as a real process, for tests. Ended by its pid only. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';

const LAUNCHER = join(resolve(import.meta.dirname, '../..'), 'bin/shiplog');
const READY_WITHIN_MS = 20_000;

export interface ServeProcessOptions {
  readonly dataDirectory: string;
  readonly flags?: readonly string[];
  /** A free one where it does not matter. */
  readonly port?: number;
}

export class ServeProcess {
  readonly url: string;
  readonly #process: ChildProcess;
  readonly #exited: Promise<number | null>;
  #output = '';

  private constructor(url: string, process: ChildProcess) {
    this.url = url;
    this.#process = process;
    this.#exited = new Promise((done) => process.once('exit', (code) => done(code)));
    for (const stream of [process.stdout!, process.stderr!]) stream.on('data', (data: Buffer) => (this.#output += data.toString()));
  }

  /** Resolves when `/healthz` is 200. */
  static async start({ dataDirectory, flags = [], port: wantedPort }: ServeProcessOptions): Promise<ServeProcess> {
    const port = wantedPort ?? (await freePort());
    const child = spawn(LAUNCHER, ['serve', '--data-dir', dataDirectory, '--port', String(port), ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
    const node = new ServeProcess(`http://127.0.0.1:${port}`, child);
    const deadline = Date.now() + READY_WITHIN_MS;
    while (!(await node.#isHealthy())) {
      if (child.exitCode !== null || Date.now() > deadline) {
        await node.kill();
        throw new Error(`the node did not become ready: ${node.output}`);
      }
      await new Promise((wake) => setTimeout(wake, 30));
    }
    return node;
  }

  get output(): string {
    return this.#output;
  }

  async #isHealthy(): Promise<boolean> {
    return fetch(`${this.url}/healthz`).then(async (response) => (await response.text()) !== '' && response.ok, () => false);
  }

  /** Undefined where there is no such key. */
  async get(key: string): Promise<string | undefined> {
    const response = await fetch(`${this.url}/get/${encodeURIComponent(key)}`);
    const text = await response.text();
    if (response.status === 404) return undefined;
    if (response.status !== 200) throw new Error(`${response.status}: ${text}`);
    return text;
  }

  /** `ack`: how many replicas must have it, as in the query of a write. */
  async put(key: string, value: string, ack?: string): Promise<void> {
    await this.#change('POST', `/set/${encodeURIComponent(key)}${ack === undefined ? '' : `?ack=${ack}&timeout=20s`}`, value);
  }

  async delete(key: string): Promise<void> {
    await this.#change('DELETE', `/del/${encodeURIComponent(key)}`);
  }

  async #change(method: string, path: string, body?: string): Promise<void> {
    const response = await fetch(`${this.url}${path}`, { method, ...(body === undefined ? {} : { body }) });
    const text = await response.text();
    if (response.status !== 200) throw new Error(`${response.status}: ${text}`);
  }

  /** A clean stop. @returns the exit code. */
  stop(): Promise<number | null> {
    this.#process.kill('SIGTERM');
    return this.#exited;
  }

  async kill(): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      this.#process.kill('SIGKILL');
      await this.#exited;
    }
  }
}

/** Free at this moment: somebody else may take it, which the caller then hears from the node. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
