/**
 * Many seeds, on all cores: worker processes take a few seeds at a time from one counter, so that none
 * waits for another, and a seed that never ends is noticed.
 */
import { type ChildProcess, type StdioOptions, fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { type Counters, addCounts, noCounts } from './counters.ts';
import type { ProfileName, SimulationPlan } from './plan.ts';
import type { SimulationViolation } from './world.ts';

export interface CampaignOptions {
  readonly fromSeed: number;
  /** How many; fewer where the time is over first. */
  readonly seeds: number;
  readonly steps: number;
  readonly profile: ProfileName;
  readonly budgetMs: number;
  /** Called after each seed. */
  readonly onSeed?: (report: SeedReport, progress: { readonly done: number; readonly failed: number }) => void;
  readonly workers?: number;
  /** Name of a safeguard to take away: see mutants/. */
  readonly mutant?: string;
  /** In place of what each seed draws. */
  readonly plan?: Partial<SimulationPlan>;
  /** Ends with the first seed of which this is true. */
  readonly until?: (report: SeedReport) => boolean;
}

export interface SeedOrder {
  readonly seed: number;
  readonly steps: number;
  readonly profile: ProfileName;
  readonly plan?: Partial<SimulationPlan>;
  readonly mutant?: string;
}

export interface SeedReport {
  readonly seed: number;
  readonly violations: readonly SimulationViolation[];
  readonly counters: Counters;
  readonly traceHash: string;
}

export interface CampaignResult {
  readonly done: number;
  readonly failures: readonly SeedReport[];
  readonly counters: Counters;
  readonly elapsedMs: number;
}

/** In real time: one run takes a fraction of a second. */
const SEED_MS_MAX = 60_000;

export async function runCampaign(options: CampaignOptions): Promise<CampaignResult> {
  const startMs = performance.now();
  const campaign = new Campaign(options, startMs);
  const count = Math.min(options.workers ?? availableParallelism(), options.seeds);
  await Promise.all(Array.from({ length: count }, () => campaign.work()));
  return { ...campaign.result, elapsedMs: performance.now() - startMs };
}

class Campaign {
  readonly #options: CampaignOptions;
  readonly #startMs: number;
  readonly #counters = noCounts();
  readonly #failures: SeedReport[] = [];
  #taken = 0;
  #done = 0;
  #isEnough = false;

  constructor(options: CampaignOptions, startMs: number) {
    this.#options = options;
    this.#startMs = startMs;
  }

  get result(): Omit<CampaignResult, 'elapsedMs'> {
    return { done: this.#done, failures: this.#failures.toSorted((a, b) => a.seed - b.seed), counters: this.#counters };
  }

  /** One worker process, as long as there are seeds and time. */
  async work(): Promise<void> {
    const { steps, profile, plan, mutant } = this.#options;
    let worker = startWorker(mutant);
    try {
      for (let seed = this.#take(); seed !== undefined; seed = this.#take()) {
        const report = await runAt(worker, { seed, steps, profile, ...(plan !== undefined && { plan }), ...(mutant !== undefined && { mutant }) });
        if (report.traceHash === '') {
          // It ended or hung: the next seed gets a new one.
          worker.kill('SIGKILL');
          worker = startWorker(mutant);
        }
        this.#note(report);
      }
    } finally {
      worker.kill();
    }
  }

  #take(): number | undefined {
    const { seeds, fromSeed, budgetMs } = this.#options;
    if (this.#isEnough) return undefined;
    if (this.#taken >= seeds || performance.now() - this.#startMs > budgetMs) return undefined;
    this.#taken += 1;
    return fromSeed + this.#taken - 1;
  }

  #note(report: SeedReport): void {
    this.#done += 1;
    addCounts(this.#counters, report.counters);
    if (report.violations.length > 0) this.#failures.push(report);
    if (this.#options.until?.(report) === true) this.#isEnough = true;
    this.#options.onSeed?.(report, { done: this.#done, failed: this.#failures.length });
  }
}

function startWorker(mutant: string | undefined): ChildProcess {
  const stdio: StdioOptions = ['ignore', 'inherit', 'inherit', 'ipc'];
  const worker = new URL('worker.ts', import.meta.url);
  if (mutant === undefined) return fork(worker, { stdio });
  return fork(worker, { stdio, execArgv: ['--import', new URL('mutants/load-mutant.ts', import.meta.url).href], env: { ...process.env, SHIPLOG_TEST_MUTANT: mutant } });
}

function runAt(worker: ChildProcess, order: SeedOrder): Promise<SeedReport> {
  return new Promise((resolve) => {
    const lost = (message: string): void => settle({ seed: order.seed, violations: [{ code: 'unfinished', message, recordIds: [] }], counters: noCounts(), traceHash: '' });
    const onExit = (code: number | null, signal: string | null): void => lost(`the process ended with ${code ?? signal} in the middle of the run`);
    const timer = setTimeout(() => lost(`the run took more than ${SEED_MS_MAX / 1000} s`), SEED_MS_MAX);
    const settle = (report: SeedReport): void => {
      clearTimeout(timer);
      worker.off('message', settle);
      worker.off('exit', onExit);
      resolve(report);
    };
    worker.on('message', settle);
    worker.on('exit', onExit);
    worker.send(order);
  });
}
