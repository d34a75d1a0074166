/**
 * Looks for a seed that catches a mutant: one in which a judge objects to the mutant, and to nothing in the
 * same run of the product as it is.
 */
import { type SeedReport, runCampaign } from '../campaign.ts';
import { STEPS_DEFAULT } from '../simulation.ts';
import type { SimulationViolation } from '../world.ts';
import type { Mutant } from './mutant.ts';

export interface Catch {
  readonly seed: number;
  readonly seedsTried: number;
  /** What the judges said, most telling first. */
  readonly verdicts: readonly SimulationViolation[];
}

export interface HuntOptions {
  readonly fromSeed: number;
  readonly seeds: number;
  readonly budgetMs: number;
  /** Processes that run the mutant; default: one per core. */
  readonly workers?: number;
  /** Called after each seed. */
  readonly onSeed?: (seedsTried: number) => void;
}

/** They say that nothing could be judged, or that a program tripped over itself; not that a promise was broken. */
const NO_VERDICTS: ReadonlySet<string> = new Set(['unfinished', 'program-error', 'unexpected-failure', 'empty-check', 'malformed-history', 'too-many-failures']);

/** What the world notices by itself says less than what the checkers find in the history. */
const LAST_WORDS = ['unexpected-damage', 'forgot-durable', 'epoch-minted-twice', 'two-clusters', 'orphaned-promise', 'no-rest'];

/** @throws Error where the mutant's process does not even get through its first run. */
export async function hunt(mutant: Mutant, { fromSeed, seeds, budgetMs, workers, onSeed }: HuntOptions): Promise<Catch | undefined> {
  const endMs = performance.now() + budgetMs;
  const world = { steps: STEPS_DEFAULT, profile: mutant.profile ?? 'default', ...(mutant.plan !== undefined && { plan: mutant.plan }) } as const;
  let next = fromSeed;
  while (next < fromSeed + seeds && performance.now() < endMs) {
    const { failures, done } = await runCampaign({
      ...world,
      fromSeed: next,
      seeds: fromSeed + seeds - next,
      budgetMs: endMs - performance.now(),
      mutant: mutant.name,
      ...(workers !== undefined && { workers }),
      until: (report) => isStillborn(report) || verdictsOn(mutant, report).length > 0,
      onSeed: (_, { done: doneHere }) => onSeed?.(next - fromSeed + doneHere),
    });
    if (done > 0 && failures.length === done && failures.every(isStillborn)) throw new Error(`the mutant ${mutant.name} can't be run: ${failures[0]!.violations[0]!.message}`);
    const caught = failures.find((report) => verdictsOn(mutant, report).length > 0);
    if (caught !== undefined) {
      const product = await runCampaign({ ...world, fromSeed: caught.seed, seeds: 1, budgetMs: Number.POSITIVE_INFINITY });
      if (product.done === 1 && product.failures.length === 0) return { seed: caught.seed, seedsTried: caught.seed - fromSeed + 1, verdicts: verdictsOn(mutant, caught) };
    }
    next = Math.max(caught?.seed ?? 0, next + done - 1) + 1;
  }
  return undefined;
}

/** A mutation that no longer fits ends its process before there is a run. */
function isStillborn({ violations, traceHash }: SeedReport): boolean {
  return traceHash === '' && violations.some(({ message }) => message.startsWith('the process ended'));
}

function verdictsOn(mutant: Mutant, { violations }: SeedReport): readonly SimulationViolation[] {
  const telling = violations.filter(({ code }) => !NO_VERDICTS.has(code) && (code !== 'no-rest' || mutant.mayNeverRest === true));
  return telling.toSorted((one, other) => LAST_WORDS.indexOf(one.code) - LAST_WORDS.indexOf(other.code));
}
