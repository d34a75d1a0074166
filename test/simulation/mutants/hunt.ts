/** Looks for a seed that catches a mutant, one after the other; those that fail without it don't count. */
import { runCampaign } from '../campaign.ts';
import { STEPS_DEFAULT, runSimulation } from '../simulation.ts';
import type { Mutant } from './mutants.ts';

export interface Catch {
  readonly seed: number;
  readonly seedsTried: number;
  /** What the judges said, most telling first. */
  readonly codes: readonly string[];
}

export async function hunt(mutant: Mutant, { fromSeed, seeds, budgetMs }: { readonly fromSeed: number; readonly seeds: number; readonly budgetMs: number }): Promise<Catch | undefined> {
  const profile = mutant.profile ?? 'default';
  const endMs = performance.now() + budgetMs;
  let next = fromSeed;
  while (next < fromSeed + seeds && performance.now() < endMs) {
    const { failures, done } = await runCampaign({ fromSeed: next, seeds: fromSeed + seeds - next, steps: STEPS_DEFAULT, profile, budgetMs: endMs - performance.now(), mutant: mutant.name, untilFailure: true });
    const [failure] = failures;
    if (failure === undefined) return undefined;
    // A run that a mutant keeps from its end is caught; a worker that does not even start is none.
    if (failure.violations.some(({ message }) => message.startsWith('the process ended'))) throw new Error(`the mutant ${mutant.name} can't be run: ${failure.violations.map(({ message }) => message).join('; ')}`);
    const { verdict } = await runSimulation({ seed: failure.seed, profile });
    if (verdict === 'passed') return { seed: failure.seed, seedsTried: failure.seed - fromSeed + 1, codes: [...new Set(failure.violations.map(({ code }) => code))] };
    next = Math.max(failure.seed, next + done - 1) + 1;
  }
  return undefined;
}
