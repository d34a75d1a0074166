import { expect } from 'chai';
import { hunt } from './hunt.ts';
import { MUTANTS } from './mutants.ts';

/** From the seed that is known to catch it: a change of the product may shift which one does. */
const SEEDS = 60;
const BUDGET_MS = 40_000;

describe('without a safeguard', function () {
  this.timeout(BUDGET_MS + 90_000);

  for (const mutant of MUTANTS) {
    it(`the simulation fails: ${mutant.bug}, ${mutant.story}`, async () => {
      const found = await hunt(mutant, { fromSeed: mutant.caughtAt, seeds: SEEDS, budgetMs: BUDGET_MS });
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
