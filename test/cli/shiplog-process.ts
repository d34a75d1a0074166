/** Runs the command line as users do: bin/shiplog, as a process. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly variables?: Readonly<Record<string, string>>;
  readonly stdin?: string | Uint8Array;
}

export const PROGRAM = join(import.meta.dirname, '../../bin/shiplog');

export function spawnShiplog(args: readonly string[], variables: Readonly<Record<string, string>> = {}): ChildProcessWithoutNullStreams {
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(SHIPLOG_|NO_COLOR|FORCE_COLOR)/.test(name)));
  return spawn(PROGRAM, [...args], { env: { ...inherited, ...variables } });
}

export async function shiplog(args: readonly string[], { variables, stdin = '' }: RunOptions = {}): Promise<Finished> {
  const child = spawnShiplog(args, variables);
  child.stdin.on('error', () => {});
  child.stdin.end(stdin);
  const exited = once(child, 'close') as Promise<[number | null]>;
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [code] = await exited;
  return { code, stdout, stderr };
}
