/** `npm run simulate`: one seed with a readable trace, or many seeds for a long time. */
import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';

import { SingleBar } from 'cli-progress';
import { type CampaignResult, runCampaign } from './campaign.ts';
import { COUNTED, type CounterName, missingIn } from './counters.ts';
import { MUTANTS } from './mutants/mutants.ts';
import { survivors } from './mutants/report.ts';
import type { ProfileName, SimulationPlan } from './plan.ts';
import { STEPS_DEFAULT, runSimulation } from './simulation.ts';
import type { SimulationViolation } from './world.ts';

const MUTANT_SEEDS_DEFAULT = 2_000;

const HELP = `npm run simulate -- --seed N [--swarm] [--steps N] [--plan JSON]
npm run simulate -- --seeds COUNT [--from N] [--swarm] [--steps N] [--minutes M]
npm run simulate -- --mutants [NAME …] [--seeds N] [--from N]

Runs whole clusters in one process, with clients, operators and faults, everything drawn from the seed,
and judges what the clients saw. Exit code 1 where a promise was broken, 2 when it can't run.

  --seed     replays one seed, with a readable trace
  --seeds    so many seeds, on all cores, with a progress bar; prints those that fail
  --from     the first of them (default 1)
  --swarm    each seed takes another subset of faults, with other rates
  --steps    client operations of each run while faults happen (default ${STEPS_DEFAULT})
  --minutes  ends after so long
  --plan     with --seed: in place of what the seed draws, such as '{"batchShare":0}'
  --quiet    with --seed: no trace, only the verdict
  --mutants  takes the product's safeguards away one by one and looks for a seed that notices, among
             ${MUTANT_SEEDS_DEFAULT} or so many; exit code 1 where one can be missing unnoticed
`;

process.exitCode = await main();

async function main(): Promise<number> {
  let order;
  try {
    order = readOrder();
  } catch (error) {
    process.stderr.write(`simulate: ${(error as Error).message}\n`);
    return 2;
  }
  if (order === undefined) return 0;
  if (order.mutants !== undefined) return (await survivors({ names: order.mutants, fromSeed: order.from, seeds: order.seeds })) === 0 ? 0 : 1;
  return order.seed === undefined ? await runMany(order) : await replay(order.seed, order);
}

interface Order {
  readonly seed: number | undefined;
  readonly seeds: number;
  readonly from: number;
  readonly steps: number;
  readonly profile: ProfileName;
  readonly minutes: number;
  readonly isQuiet: boolean;
  readonly plan: Partial<SimulationPlan>;
  /** Names of some; none means all. Undefined where the product as it is shall run. */
  readonly mutants: readonly string[] | undefined;
}

async function replay(seed: number, order: Order): Promise<number> {
  // Through a pipe, lines one by one would be most of the time.
  let pending: string[] = [];
  const flush = (): void => {
    process.stdout.write(pending.join(''));
    pending = [];
  };
  const onLine = (line: string): void => {
    pending.push(`${line}\n`);
    if (pending.length > 500) flush();
  };
  const result = await runSimulation({ seed, steps: order.steps, profile: order.profile, plan: order.plan, ...(order.isQuiet ? {} : { onLine }) });
  flush();
  process.stdout.write(`\nseed ${seed}, commit ${commit()}, trace ${result.traceHash}, ${(result.simulatedMs / 1000).toFixed(1)} simulated seconds\n`);
  process.stdout.write(`${countersText(result.counters)}\n${result.verdict === 'passed' ? 'passed' : violationsText(result.violations)}\n`);
  return result.verdict === 'passed' ? 0 : 1;
}

async function runMany(order: Order): Promise<number> {
  const bar = new SingleBar({ format: '{bar} {value}/{total} clusters · {failed} failed · {eta_formatted}', stream: process.stderr, hideCursor: true, noTTYOutput: false });
  const flags = replayFlags(order);
  bar.start(order.seeds, 0, { failed: 0 });
  const result = await runCampaign({
    fromSeed: order.from,
    seeds: order.seeds,
    steps: order.steps,
    profile: order.profile,
    budgetMs: order.minutes * 60_000,
    onSeed: ({ seed, violations }, { done, failed }) => {
      bar.update(done, { failed });
      if (violations.length > 0) process.stdout.write(`\nseed ${seed}: ${violations[0]!.code}: ${violations[0]!.message.split('\n')[0]}\n  npm run simulate -- --seed ${seed}${flags}\n`);
    },
  });
  bar.stop();
  process.stdout.write(`${summaryText(result, order)}\n`);
  return result.failures.length === 0 && missingIn(result.counters).length === 0 ? 0 : 1;
}

function summaryText(result: CampaignResult, order: Order): string {
  const { done, failures, counters, elapsedMs } = result;
  const missing = missingIn(counters);
  return [
    `${done} clusters of ${(counters.operations / Math.max(1, done)).toFixed(0)} operations and ${(counters.faults / Math.max(1, done)).toFixed(1)} faults in ${(elapsedMs / 1000).toFixed(0)} s, commit ${commit()}`,
    countersText(counters),
    `${((100 * counters.calmSuccesses) / Math.max(1, counters.calmOperations)).toFixed(1)} % of ${counters.calmOperations} operations outside of fault windows succeeded`,
    ...(missing.length > 0 ? [`never came about: ${missing.join(', ')}`] : []),
    failures.length === 0 ? 'no seed failed' : `${failures.length} failed: ${failures.map(({ seed }) => seed).join(' ')}${replayFlags(order) === '' ? '' : ` (${replayFlags(order).trim()})`}`,
  ].join('\n');
}

function replayFlags({ profile, steps }: Order): string {
  return `${profile === 'swarm' ? ' --swarm' : ''}${steps === STEPS_DEFAULT ? '' : ` --steps ${steps}`}`;
}

function countersText(counters: Readonly<Record<CounterName, number>>): string {
  return COUNTED.map((name) => `${name} ${counters[name]}`).join(' · ');
}

function violationsText(violations: readonly SimulationViolation[]): string {
  return `failed:\n${violations.map(({ code, message }) => `  ${code}: ${message}`).join('\n')}`;
}

function commit(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], { cwd: import.meta.dirname, encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}

/** @returns undefined where help was all that was wanted. @throws Error for what can't be carried out. */
function readOrder(): Order | undefined {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seed: { type: 'string' },
      seeds: { type: 'string' },
      from: { type: 'string' },
      steps: { type: 'string' },
      minutes: { type: 'string' },
      swarm: { type: 'boolean' },
      quiet: { type: 'boolean' },
      plan: { type: 'string' },
      mutants: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  const isForMutants = values.mutants === true;
  if (values.help === true || (values.seed === undefined && values.seeds === undefined && !isForMutants)) {
    process.stdout.write(HELP);
    return undefined;
  }
  if (values.plan !== undefined && values.seed === undefined) throw new Error('--plan goes with --seed');
  const stray = isForMutants ? positionals.find((name) => !MUTANTS.some((mutant) => mutant.name === name)) : positionals[0];
  if (stray !== undefined) throw new Error(isForMutants ? `there is no mutant ${stray}; there are ${MUTANTS.map(({ name }) => name).join(', ')}` : `what is ${JSON.stringify(stray)}?`);
  return {
    seed: values.seed === undefined ? undefined : wholeNumber('--seed', values.seed),
    seeds: wholeNumber('--seeds', values.seeds ?? String(isForMutants ? MUTANT_SEEDS_DEFAULT : 1)),
    from: wholeNumber('--from', values.from ?? '1'),
    steps: wholeNumber('--steps', values.steps ?? String(STEPS_DEFAULT)),
    minutes: wholeNumber('--minutes', values.minutes ?? '100000'),
    profile: values.swarm === true ? 'swarm' : 'default',
    isQuiet: values.quiet === true,
    plan: values.plan === undefined ? {} : (JSON.parse(values.plan) as Partial<SimulationPlan>),
    mutants: isForMutants ? positionals : undefined,
  };
}

function wholeNumber(flag: string, text: string): number {
  if (!/^\d{1,12}$/.test(text)) throw new Error(`${flag} takes a whole number, got ${JSON.stringify(text)}`);
  return Number(text);
}
