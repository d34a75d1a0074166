/** A load at a constant rate, beside others on the same core. */
import type { LoadFigures } from '../../../lib/bench/load-figures.ts';
import { generateLoad } from '../generated-load.ts';
import type { RowsOptions } from './row.ts';

export interface ConstantLoad {
  readonly url: string;
  readonly what: 'set' | 'mixed';
  readonly keys: number;
  readonly durationMs: number;
}

/** What is later than this at the end has not kept the rate. */
const LATE_MS_MAX = 1_000;

/** @throws Error if a request failed, or the rate was not kept: what was to be measured at it was not. */
export async function loadConstantly({ url, what, keys, durationMs }: ConstantLoad, { connections, valueBytes, writesPerS }: RowsOptions): Promise<LoadFigures> {
  const plan = { connections, pipeline: 1, durationMs, requestsPerS: writesPerS };
  const { load } = await generateLoad({ url, protocol: 'http', what, keys, valueBytes, plan, spinMs: 0 });
  assertRateKept(load, durationMs, `${writesPerS} requests/s (${what}) to ${url}`);
  return load;
}

/** @param wanted the rate, in words @throws Error where it was not kept. */
export function assertRateKept({ unsent, elapsedMs, requestsPerS }: Pick<LoadFigures, 'unsent' | 'elapsedMs' | 'requestsPerS'>, durationMs: number, wanted: string): void {
  if (unsent === 0 && elapsedMs <= durationMs + LATE_MS_MAX) return;
  throw new Error(`${wanted} were not kept: ${Math.round(requestsPerS)}/s, and ${unsent} never sent`);
}
