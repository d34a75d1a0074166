import type { Requirement } from '../support/requires.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import type { Finding } from './history-check.ts';
import type { Workbench } from './workbench.ts';

/** One kind of fault, and how to find out that it does no harm. */
export interface Row {
  readonly name: string;
  /** One line for `--help`. */
  readonly summary: string;
  readonly requirements: readonly Requirement[];
  readonly rounds: {
    /** What has been promised, and takes its time. */
    readonly full: number;
    /** About a fifteenth of it: what CI runs. */
    readonly short: number;
  };
  /**
   * Returns early at the first round with a finding.
   * @throws Error when it can't tell: a node that does not come up, a round without enough writes.
   */
  run(context: RowContext): Promise<RowResult>;
}

export interface RowContext {
  readonly rounds: number;
  readonly random: SeededRandom;
  readonly workbench: Workbench;
  /** Of the nodes' processes. */
  readonly nodeEnvironment: NodeJS.ProcessEnv;
  /** After each round. */
  readonly onRound: (progress: RoundProgress) => void;
}

export interface RoundProgress {
  readonly round: number;
  readonly acknowledged: number;
  readonly refused: number;
  readonly unknown: number;
}

export interface RowResult {
  /** Those that were carried out and judged. */
  readonly rounds: number;
  readonly acknowledged: number;
  readonly refused: number;
  readonly unknown: number;
  readonly findings: readonly Finding[];
  /** What the fault really hit, in the row's own words. */
  readonly notes: readonly string[];
}

/** Acknowledged, but not (any more) there or not certain to be. */
export function lostOf(findings: readonly Finding[]): number {
  return findings.filter(({ kind }) => kind === 'lost' || kind === 'stale' || kind === 'unsynced').length;
}

/** There, but in a way that nobody asked for. */
export function phantomOf(findings: readonly Finding[]): number {
  return findings.length - lostOf(findings);
}
