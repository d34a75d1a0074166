/** `npm run simulate -- --mutants`: every mutant in turn, and a table of what caught it. */
import { SingleBar } from 'cli-progress';
import { type Catch, hunt } from './hunt.ts';
import type { Mutant } from './mutant.ts';
import { MUTANTS } from './mutants.ts';

export interface ReportOptions {
  /** None means all. */
  readonly names: readonly string[];
  readonly fromSeed: number;
  /** For each. */
  readonly seeds: number;
}

/** @returns how many no seed has caught. */
export async function survivors({ names, fromSeed, seeds }: ReportOptions): Promise<number> {
  const mutants = MUTANTS.filter(({ name }) => names.length === 0 || names.includes(name)).toSorted((one, other) => numberOf(one) - numberOf(other));
  const bar = new SingleBar({ format: '{bar} {value}/{total} mutants · {mutant}, seed {seed}', stream: process.stderr, hideCursor: true, noTTYOutput: false });
  bar.start(mutants.length, 0, { mutant: '', seed: fromSeed });
  process.stdout.write('| bug | mutant | caught at seed | seeds tried | verdict | others |\n|---|---|---|---|---|---|\n');
  let survived = 0;
  for (const mutant of mutants) {
    const found = await hunt(mutant, { fromSeed, seeds, budgetMs: Number.POSITIVE_INFINITY, onSeed: (tried) => bar.update({ mutant: mutant.name, seed: fromSeed + tried }) });
    if (found === undefined) survived += 1;
    process.stdout.write(`${rowOf(mutant, found, seeds)}\n`);
    bar.increment();
  }
  bar.stop();
  return survived;
}

function rowOf({ bug, name }: Mutant, found: Catch | undefined, seeds: number): string {
  const codes = [...new Set(found?.verdicts.map(({ code }) => code))];
  return `| ${bug} | ${name} | ${found?.seed ?? 'SURVIVED'} | ${found?.seedsTried ?? seeds} | ${codes[0] ?? ''} | ${codes.slice(1).join(', ')} |`;
}

function numberOf({ bug }: Mutant): number {
  return Number(bug.slice(1));
}
