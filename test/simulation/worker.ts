/** Runs the seeds that its parent sends, one after the other. */
import type { SeedOrder, SeedReport } from './campaign.ts';
import { MUTANTS } from './mutants/mutants.ts';
import { runSimulation } from './simulation.ts';

process.on('message', (order: SeedOrder) => {
  const mutant = MUTANTS.find(({ name }) => name === order.mutant);
  void runSimulation({ ...order, ...(mutant?.environment !== undefined && { mutation: { name: mutant.name, ...mutant.environment } }) }).then(({ seed, violations, counters, traceHash }) => {
    const report: SeedReport = { seed, violations, counters, traceHash };
    process.send!(report);
  });
});
