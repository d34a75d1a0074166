/** A load by Shiplog's own generator, in a process of its own. */
import { join } from 'node:path';
import type { LoadFigures } from '../../lib/bench/load-figures.ts';
import type { LoadPlan } from '../../lib/bench/load-generator.ts';
import { BenchProcess, GENERATOR_CORE } from './bench-process.ts';

export interface GeneratedLoad {
  readonly url: string;
  readonly protocol: 'http' | 'resp';
  /** `fill` writes each key once. */
  readonly what: 'get' | 'set' | 'fill';
  readonly keys: number;
  readonly valueBytes: number;
  readonly plan: LoadPlan;
}

export interface GeneratedFigures {
  readonly load: LoadFigures;
  /** Of the generator's core: near 1, it is the generator that is measured. */
  readonly cpuShare: number;
}

/** @throws Error if any request failed or found nothing: figures with those in them mean nothing. */
export async function generateLoad(load: GeneratedLoad): Promise<GeneratedFigures> {
  const child = new BenchProcess([process.execPath, join(import.meta.dirname, 'load-process.ts'), JSON.stringify(load)], GENERATOR_CORE);
  const figures = await child.result<GeneratedFigures>();
  const { answered, failed, missing, errors, gaveUp } = figures.load;
  if (failed + missing > 0 || answered === 0 || gaveUp !== null) throw new Error(`${load.what} on ${load.url}: ${answered} answered, ${missing} found no key, ${failed} failed: ${JSON.stringify(errors)}`);
  return figures;
}
