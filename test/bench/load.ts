/** Closed-loop load on one server: every connection sends its next request when it has its answer. */
import { join } from 'node:path';
import { BenchProcess, GENERATOR_CORE, isOnPath } from './bench-process.ts';

export interface LoadOptions {
  readonly url: string;
  readonly method: 'get' | 'set';
  readonly connections: number;
  readonly keys: number;
  readonly valueBytes: number;
  /** Whole seconds: wrk takes no others. */
  readonly seconds: number;
}

export interface LoadFigures {
  readonly requestsPerS: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export type GeneratorName = 'wrk' | 'autocannon';

/** wrk costs a tenth of autocannon per request, so more of what is measured is the server. */
export function chooseGenerator(): GeneratorName {
  return isOnPath('wrk') ? 'wrk' : 'autocannon';
}

/** @throws Error if any request failed: figures with errors in them mean nothing. */
export async function runLoad(generator: GeneratorName, options: LoadOptions): Promise<LoadFigures> {
  const child = new BenchProcess(commandOf(generator, options), GENERATOR_CORE);
  const { requests, seconds, errors, p50Ms, p99Ms } = await child.result<{ requests: number; seconds: number; errors: number; p50Ms: number; p99Ms: number }>();
  if (errors > 0 || requests === 0) throw new Error(`${errors} of ${requests} ${options.method} requests to ${options.url} failed`);
  return { requestsPerS: requests / seconds, p50Ms, p99Ms };
}

function commandOf(generator: GeneratorName, { url, method, connections, keys, valueBytes, seconds }: LoadOptions): readonly string[] {
  const what = [method, String(keys), String(valueBytes)];
  if (generator === 'autocannon') return [process.execPath, join(import.meta.dirname, 'autocannon-load.ts'), url, ...what, String(connections), String(seconds)];
  const script = join(import.meta.dirname, 'wrk-load.lua');
  return ['wrk', '--threads=1', `--connections=${connections}`, `--duration=${seconds}s`, '--timeout=10s', `--script=${script}`, url, '--', ...what];
}
