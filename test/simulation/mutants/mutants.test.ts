import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { type Catch, hunt } from './hunt.ts';
import type { Bug, Mutant } from './mutant.ts';
import { MUTANTS } from './mutants.ts';

/** From the seed that is known to catch it: a change of the product may shift which one does. */
const SEEDS = 60;
const BUDGET_MS = 40_000;
/** A mutant needs one process for the seed that is known, so two of them go well together. */
const LANES = 2;

const ALL_BUGS: readonly Bug[] = ['B1', 'B3', 'B4', 'B5', 'B6', 'B7', 'B8', 'B9', 'B10', 'B12', 'B13', 'B14', 'B15', 'B16', 'B17', 'B20', 'B21', 'B26', 'B29'];

describe('without a safeguard', function () {
  this.timeout(BUDGET_MS * MUTANTS.length);

  const hunts = new Map(MUTANTS.map((mutant) => [mutant.name, Promise.withResolvers<Catch | undefined>()]));

  before(() => {
    const waiting = [...MUTANTS];
    for (let lane = 0; lane < LANES; lane += 1) void huntAll(waiting, (name) => hunts.get(name)!);
  });

  for (const mutant of MUTANTS) {
    it(`the simulation fails: ${mutant.bug}, ${mutant.story}`, async () => {
      const found = await hunts.get(mutant.name)!.promise;
      expect(found, `${mutant.name} survived ${SEEDS} seeds from ${mutant.caughtAt} on`).not.to.equal(undefined);
      process.stdout.write(`      seed ${found!.seed}: ${[...new Set(found!.verdicts.map(({ code }) => code))].join(', ')}\n`);
    });
  }

  it('never mistakes a mutant that no longer fits for one that is caught', async () => {
    const [mutant] = MUTANTS;
    const stray = { ...mutant!, name: 'there is no such mutant' };
    const error = await hunt(stray, { fromSeed: 1, seeds: 1, budgetMs: BUDGET_MS }).catch((reason: unknown) => reason);
    expect(error).to.be.an('error').with.property('message').that.contains("can't be run");
  });
});

describe('the mutants', () => {
  it('show each of the bugs that a simulation can show, and no other', () => {
    expect(new Set(MUTANTS.map(({ bug }) => bug))).to.deep.equal(new Set(ALL_BUGS));
  });

  it('have names of their own', () => {
    expect(new Set(MUTANTS.map(({ name }) => name)).size).to.equal(MUTANTS.length);
  });

  it('are all in the table of MUTANTS.md, with the seed at which CI begins to look', () => {
    const rows = readFileSync(join(import.meta.dirname, 'MUTANTS.md'), 'utf8').split('\n').filter((line) => line.startsWith('| B'));
    const told = rows.map((row) => row.split('|').slice(1, 4).map((cell) => cell.trim()).join(' '));
    expect(told.sort()).to.deep.equal(MUTANTS.map(({ bug, name, caughtAt }) => `${bug} ${name} ${caughtAt}`).sort());
  });
});

/** One mutant after the other, as long as some wait. */
async function huntAll(waiting: Mutant[], settle: (name: string) => PromiseWithResolvers<Catch | undefined>): Promise<void> {
  for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
    const { resolve, reject, promise } = settle(mutant.name);
    // It is looked at when its own test runs.
    promise.catch(() => {});
    await hunt(mutant, { fromSeed: mutant.caughtAt, seeds: SEEDS, budgetMs: BUDGET_MS, workers: 1 }).then(resolve, reject);
  }
}
