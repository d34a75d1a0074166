/** Runs the seeds that its parent sends, one after the other. */
import type { SeedOrder, SeedReport } from './campaign.ts';
import { runSimulation } from './simulation.ts';

process.on('message', (order: SeedOrder) => {
  void runSimulation(order).then(({ seed, violations, counters, traceHash }) => {
    const report: SeedReport = { seed, violations, counters, traceHash };
    process.send!(report);
  });
});
