import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { type SeedReport, runCampaign } from './campaign.ts';
import { missingIn } from './counters.ts';
import type { ProfileName, SimulationPlan } from './plan.ts';
import { STEPS_DEFAULT, runSimulation } from './simulation.ts';

/** What the machine gives to it; more seeds on a faster one. */
const BUDGET_MS = 160_000;
const SEEDS_MAX = 2_000;
/** Always the same: a run that failed can be repeated. */
const FIRST_SEED = 1;
/** So few clusters would prove little, however slow the machine. */
const SEEDS_MIN = 200;

/** A seed that failed once, and what was behind it. */
interface Scenario {
  readonly seed: number;
  readonly profile: ProfileName;
  readonly steps: number;
  /** In place of what the seed draws: those that are older than batches are what they were only without them. */
  readonly plan?: Partial<SimulationPlan>;
  readonly story: string;
}

const SCENARIOS = join(import.meta.dirname, 'scenarios');

describe('the simulation', function () {
  this.timeout(BUDGET_MS + 60_000);

  it('is the same run for the same seed, and another one for another', async () => {
    const first = await runSimulation({ seed: 7, steps: 150 });
    const again = await runSimulation({ seed: 7, steps: 150 });
    const other = await runSimulation({ seed: 8, steps: 150 });
    expect(again.traceHash).to.equal(first.traceHash);
    expect(again.counters).to.deep.equal(first.counters);
    expect(other.traceHash).not.to.equal(first.traceHash);
  });

  it('is the same run in another process, after other runs', async () => {
    const { traceHash } = await runSimulation({ seed: 11, steps: 100 });
    const reports: SeedReport[] = [];
    await runCampaign({ fromSeed: 10, seeds: 2, steps: 100, profile: 'default', budgetMs: 60_000, workers: 1, onSeed: (report) => reports.push(report) });
    expect(reports.map(({ seed }) => seed)).to.deep.equal([10, 11]);
    expect(reports[1]!.traceHash).to.equal(traceHash);
  });

  it('runs the class that serve starts, and replaces clock, disk, transport, random and store, nothing else', () => {
    const sources = readdirSync(import.meta.dirname).filter((name) => name.endsWith('.ts') && name !== 'simulation.test.ts').map((name) => ({ name, text: readFileSync(join(import.meta.dirname, name), 'utf8') }));
    const startsNodes = sources.filter(({ text }) => text.includes('Node.start(')).map(({ name }) => name);
    expect(startsNodes).to.deep.equal(['simulated-machine.ts']);
    const served = readFileSync(join(import.meta.dirname, '../../lib/cli/start-served-node.ts'), 'utf8');
    expect(served).to.match(/import \{[^}]*\bNode\b[^}]*\} from '\.\.\/node\/node\.ts'/);
    for (const { name, text } of sources) expect(text, name).not.to.match(/\.prototype\b|sinon|registerHooks|module\.register|extends Node\b/);
    const { text } = sources.find(({ name }) => name === 'simulated-machine.ts')!;
    const environment = /environment: \{([^}]*)\}/.exec(text)![1]!;
    expect([...environment.matchAll(/^\s*(\w+):/gm)].map((match) => match[1])).to.deep.equal(['clock', 'disk', 'random', 'transport']);
    expect(text).to.include('stores: this.stores');
  });

  it('judges: a cluster whose disks report syncs that they did not make is caught', async () => {
    const verdicts: string[] = [];
    for (let seed = 1; seed <= 40 && !verdicts.includes('failed'); seed += 1) {
      const result = await runSimulation({ seed, mutation: { name: 'syncs that lie', diskFault: (call) => (call.name === 'sync' && call.path.includes('/wal/') ? { kind: 'lie' } : undefined) } });
      verdicts.push(result.verdict);
    }
    expect(verdicts.at(-1)).to.equal('failed');
  });

  it('finds every promise kept in thousands of clusters, and has seen everything that can go wrong', async () => {
    const { done, failures, counters, elapsedMs } = await runCampaign({ fromSeed: FIRST_SEED, seeds: SEEDS_MAX, steps: STEPS_DEFAULT, profile: 'default', budgetMs: BUDGET_MS });
    process.stdout.write(`      ${done} clusters in ${(elapsedMs / 1000).toFixed(0)} s: ${Object.entries(counters).map(([name, count]) => `${name} ${count}`).join(', ')}\n`);
    expect(failures.map(describeFailure)).to.deep.equal([]);
    expect(done).to.be.at.least(SEEDS_MIN);
    expect(missingIn(counters), 'what never came about').to.deep.equal([]);
    expect(counters.operations / done, 'operations of a cluster').to.be.at.least(300);
    expect(counters.faults / done, 'faults of a cluster').to.be.at.least(10);
    expect(counters.calmOperations, 'operations outside of fault windows').to.be.above(done);
    expect(counters.calmSuccesses / counters.calmOperations, 'success outside of fault windows').to.be.at.least(0.8);
  });
});

describe('a seed that failed once', () => {
  for (const name of readdirSync(SCENARIOS).filter((file) => file.endsWith('.json'))) {
    const scenario = JSON.parse(readFileSync(join(SCENARIOS, name), 'utf8')) as Scenario;
    it(`passes: ${name.slice(0, -'.json'.length).replaceAll('-', ' ')}`, async () => {
      const { seed, profile, steps, plan = {} } = scenario;
      const { violations } = await runSimulation({ seed, profile, steps, plan });
      expect(violations, scenario.story).to.deep.equal([]);
    });
  }
});

function describeFailure({ seed, violations }: SeedReport): string {
  return `npm run simulate -- --seed ${seed}    # ${violations.map(({ code, message }) => `${code}: ${message.split('\n')[0]}`).slice(0, 3).join('; ')}`;
}
