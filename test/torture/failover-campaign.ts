/**
 * Rounds of losing the primary, on three nodes that live through all of them:
 *
 *   load → (cut off) → kill -9 of the primary → promote → the dead one comes back by itself → judge
 *
 * Writers write on meanwhile, through whichever node answers. In some rounds the primary is cut off from
 * the others for a moment before it dies, while clients still reach it: what it takes then, nobody else has.
 */
import { setTimeout as sleep } from 'node:timers/promises';

import { type Finding } from './history-check.ts';
import { History } from './history.ts';
import { type Promoted, promoteFurthest } from './promotion.ts';
import { RovingWorkload } from './roving-workload.ts';
import type { RowContext, RowResult } from './row.ts';
import { TrioCheck } from './trio-check.ts';
import { type Seat, type SettledTrio, TortureTrio } from './trio.ts';
import type { Load } from './workload.ts';

const ACKNOWLEDGED_MIN = 1_000;
const ACKNOWLEDGED_MORE_MAX = 500;
const ACKNOWLEDGED_TIMEOUT_MS = 60_000;
const STRIKE_DELAY_MS_MAX = 20;
const SUCCEEDED_SHARE_MIN = 0.8;
/** With nobody to confirm them, writes at ack=1 wait: the primary is left alone with them for so long. */
const ALONE_MS_MIN = 30;
const ALONE_MS_MORE_MAX = 100;
/** At ack=local it goes on answering: it dies after so many answers that nobody else knows of. */
const ALONE_ACKNOWLEDGED_MIN = 20;
const ALONE_ACKNOWLEDGED_MORE_MAX = 100;
/** Between the promotion and the return of the dead. */
const ABSENCE_MS_MAX = 300;
/** Of writes after the dead one is back: they have to succeed again. */
const RETURNED_ACKNOWLEDGED = 100;

export interface FailoverCampaign {
  readonly ack: '1' | 'local';
  /** May writes that were acknowledged be left behind, as long as a salvage file has them? */
  readonly mayBeSetAside: boolean;
  /** In which rounds the primary is cut off before it dies. */
  readonly isCutOff: (round: number) => boolean;
  /** Something else to break, when all has come to rest and before it is judged. */
  readonly beforeJudging?: (trio: TortureTrio) => void;
}

export async function runFailoverCampaign(context: RowContext, campaign: FailoverCampaign): Promise<RowResult> {
  const { workbench, random, nodeEnvironment } = context;
  const trio = await TortureTrio.start({ workbench, random, nodeEnvironment, hasLinks: true });
  try {
    return await new FailoverRun(context, campaign, trio).run();
  } finally {
    await trio.closeLinks();
  }
}

class FailoverRun {
  readonly #context: RowContext;
  readonly #campaign: FailoverCampaign;
  readonly #trio: TortureTrio;
  readonly #history = new History(() => performance.now());
  #cutOff = 0;
  #setAside = 0;
  #acknowledgedSetAside = 0;
  readonly #refusals = new Map<string, number>();

  constructor(context: RowContext, campaign: FailoverCampaign, trio: TortureTrio) {
    this.#context = context;
    this.#campaign = campaign;
    this.#trio = trio;
  }

  async run(): Promise<RowResult> {
    const { random, rounds } = this.#context;
    const { ack, mayBeSetAside } = this.#campaign;
    const workload = new RovingWorkload({ urls: this.#trio.urls, ack, history: this.#history, random });
    let settled = await this.#trio.settled();
    const check = new TrioCheck({ history: this.#history, random, mayBeSetAside }, settled.visibleLsn);

    for (let round = 1; round <= rounds; round += 1) {
      await this.#runRound(round, workload, settled);
      settled = await this.#trio.settled();
      this.#campaign.beforeJudging?.(this.#trio);
      const judged = await check.judgeRound(round, this.#trio, settled);
      this.#setAside += judged.setAside;
      this.#acknowledgedSetAside += judged.acknowledgedSetAside;
      this.#reportRound(round);
      if (judged.findings.length > 0) return this.#result(round, judged.findings);
      this.#requireStrike(round, judged.setAside);
    }
    return this.#result(rounds, await check.finish(this.#trio, settled));
  }

  async #runRound(round: number, workload: RovingWorkload, { primary, replicas }: SettledTrio): Promise<void> {
    const { random, nodeEnvironment } = this.#context;
    const load = workload.start(round);
    let strikeMs: number;
    try {
      await load.acknowledged(ACKNOWLEDGED_MIN + random.below(ACKNOWLEDGED_MORE_MAX), ACKNOWLEDGED_TIMEOUT_MS);
      await sleep(random.uniform() * STRIKE_DELAY_MS_MAX);
      strikeMs = performance.now();
      if (this.#campaign.isCutOff(round)) await this.#cutOffPrimary(primary, load);
      await primary.process.kill();
      primary.link?.restore();
      this.#requireFailover(round, await promoteFurthest(random.pick(replicas).url, nodeEnvironment));
      await sleep(random.uniform() * ABSENCE_MS_MAX);
      this.#trio.restart(primary);
      await primary.process.ready();
      await load.acknowledged(load.counts.acknowledged + RETURNED_ACKNOWLEDGED, ACKNOWLEDGED_TIMEOUT_MS);
    } finally {
      await load.stop();
    }
    this.#requireLoad(round, strikeMs, load);
  }

  async #cutOffPrimary(primary: Seat, load: Load): Promise<void> {
    const { random } = this.#context;
    this.#cutOff += 1;
    primary.link!.cut();
    if (this.#campaign.ack === '1') return sleep(ALONE_MS_MIN + random.below(ALONE_MS_MORE_MAX));
    return load.acknowledged(load.counts.acknowledged + ALONE_ACKNOWLEDGED_MIN + random.below(ALONE_ACKNOWLEDGED_MORE_MAX), ACKNOWLEDGED_TIMEOUT_MS);
  }

  /** What was struck has to have been the primary, and another one has to have taken its place. */
  #requireFailover(round: number, { end, refusals }: Promoted): void {
    for (const { code, betterUrl } of refusals) {
      const what = betterUrl === null ? code : `${code}, with a better node`;
      this.#refusals.set(what, (this.#refusals.get(what) ?? 0) + 1);
    }
    if (end.kind !== 'failover' || end.lost !== null) throw new Error(`round ${round}: expected a failover that gives up nothing, got ${JSON.stringify(end)}`);
  }

  /** A primary that was cut off and left nothing behind was not cut off. */
  #requireStrike(round: number, setAside: number): void {
    if (this.#campaign.isCutOff(round) && setAside === 0) throw new Error(`round ${round}: the primary was cut off before it died, and left nothing behind`);
  }

  #requireLoad(round: number, strikeMs: number, load: Load): void {
    const undisturbed = this.#history.records.filter((write) => write.round === round && write.endMs < strikeMs);
    const succeeded = undisturbed.filter(({ outcome }) => outcome === 'acknowledged' || outcome === 'absent');
    if (succeeded.length < undisturbed.length * SUCCEEDED_SHARE_MIN) {
      throw new Error(
        `round ${round}: ${succeeded.length} of ${undisturbed.length} writes succeeded before the fault, expected ${SUCCEEDED_SHARE_MIN * 100} %: ${JSON.stringify(load.counts)}`,
      );
    }
  }

  #reportRound(round: number): void {
    const writes = this.#history.records.filter((write) => write.round === round);
    this.#context.onRound({ round, ...this.#countsOf(writes) });
  }

  #countsOf(writes: History['records']): { readonly acknowledged: number; readonly refused: number; readonly unknown: number } {
    const count = (outcome: 'acknowledged' | 'refused' | 'unknown'): number => writes.filter((write) => write.outcome === outcome).length;
    return { acknowledged: count('acknowledged'), refused: count('refused'), unknown: count('unknown') };
  }

  #result(rounds: number, findings: readonly Finding[]): RowResult {
    const refusals = [...this.#refusals].map(([what, count]) => `${count} × ${what}`).join(', ');
    return {
      rounds,
      ...this.#countsOf(this.#history.records),
      findings,
      notes: [
        `the primary was cut off before it died in ${this.#cutOff} rounds; ${this.#setAside} writes were found in salvage files, ${this.#acknowledgedSetAside} of them acknowledged`,
        `promotions that were refused before the one that was not: ${refusals === '' ? 'none' : refusals}`,
      ],
    };
  }
}
