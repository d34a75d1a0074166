/** A load by Shiplog's own generator, in a process of its own. */
import { join } from 'node:path';
import type { LoadFigures } from '../../lib/bench/load-figures.ts';
import type { LoadPlan } from '../../lib/bench/load-generator.ts';
import { BenchProcess, GENERATOR_CORE } from './bench-process.ts';

export interface GeneratedLoad {
  readonly url: string;
  readonly protocol: 'http' | 'resp';
  /** `fill` writes each key once; `mixed` reads and writes, half of each. */
  readonly what: 'get' | 'set' | 'mixed' | 'fill';
  readonly keys: number;
  readonly valueBytes: number;
  readonly plan: LoadPlan;
  /** 0 at a fixed rate on a core that others need, too: latencies are then up to a timer's rest too long. */
  readonly spinMs?: number;
}

export interface GeneratedFigures {
  readonly load: LoadFigures;
  /** Of the generator's core: near 1, it is the generator that is measured. */
  readonly cpuShare: number;
}

/** @throws Error if any request failed or found nothing: figures with those in them mean nothing. */
export async function generateLoad(load: GeneratedLoad): Promise<GeneratedFigures> {
  const child = new BenchProcess(loadCommand(load), GENERATOR_CORE);
  const figures = await child.result<GeneratedFigures>();
  const { answered, failed, missing, errors, gaveUp } = figures.load;
  if (failed + missing > 0 || answered === 0 || gaveUp !== null) throw new Error(`${load.what} on ${load.url}: ${answered} answered, ${missing} found no key, ${failed} failed: ${JSON.stringify(errors)}`);
  return figures;
}

/** For a load whose end is not waited for. */
export function loadCommand(load: GeneratedLoad): readonly string[] {
  return [process.execPath, join(import.meta.dirname, 'load-process.ts'), JSON.stringify(load)];
}

/** Writes each key once. */
export async function fill(url: string, { keys, valueBytes, connections }: { readonly keys: number; readonly valueBytes: number; readonly connections: number }): Promise<void> {
  await generateLoad({ url, protocol: 'http', what: 'fill', keys, valueBytes, plan: { connections, pipeline: 1 } });
}
