/** One row of the table of performance: what it is called, how it is measured, and what came of it. */
import type { BenchOptions } from '../bench.ts';
import { withRange } from '../markdown.ts';
import { median } from '../statistics.ts';
import type { Rig } from './rig.ts';

/** `keys`: larger tables are multiples of it. */
export interface RowsOptions extends BenchOptions {
  /** The constant rate of rows that need one; requests/s where reads are among them. */
  readonly writesPerS: number;
  /** Of `follower-cost`. */
  readonly followers: number;
  /** Of `memory`: replicas' streams, and clients that do little. */
  readonly streams: number;
  readonly clients: number;
}

export const COUNTS = { writesPerS: 5_000, followers: 8, streams: 32, clients: 1_000 } as const;

export interface Goal {
  readonly text: string;
  readonly isReached: boolean;
}

/** One line of the table. */
export interface Finding {
  readonly what: string;
  readonly measured: string;
  /** Null where there is no such bound. */
  readonly atLeast: Goal | null;
  readonly aim: Goal | null;
}

export interface RowReport {
  readonly findings: readonly Finding[];
  /** Where there were no rounds. */
  readonly isSingleRun?: true;
  /** Method and absolute figures. */
  readonly text: string;
}

export interface Row {
  readonly name: string;
  run(rig: Rig): Promise<RowReport>;
}

/** Higher is better. @param values one of each round; their median counts. @param unit what follows the figure */
export function atLeast(values: readonly number[], bound: number, unit: string): Goal {
  return { text: `${bound.toFixed(1)} ${unit}`, isReached: median(values) >= bound };
}

/** Lower is better. */
export function atMost(values: readonly number[], bound: number, unit: string): Goal {
  return { text: `≤ ${bound} ${unit}`, isReached: median(values) <= bound };
}

/** A ratio to both bounds, of values within a round. */
export function ratioFinding(what: string, ratios: readonly number[], unit: string, bounds: { readonly atLeast: number; readonly aim: number }): Finding {
  return { what, measured: `${withRange(ratios)} ${unit}`, atLeast: atLeast(ratios, bounds.atLeast, unit), aim: atLeast(ratios, bounds.aim, unit) };
}
