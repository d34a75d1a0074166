/**
 * No fault, but a planned switchover every second while 32 writers go on, and read what they wrote on
 * nodes chosen at random. Nothing may be lost or left behind, no read may be older than its `min`, and
 * the time without an acknowledged write is measured as clients see it. A round is one switchover.
 */
import { setTimeout as sleep } from 'node:timers/promises';

import { type Finding } from './history-check.ts';
import { History, type WriteRecord } from './history.ts';
import { postPromote } from './promotion.ts';
import { RovingWorkload } from './roving-workload.ts';
import type { Row, RowContext, RowResult } from './row.ts';
import { type SessionRead, checkSessionReads } from './session-check.ts';
import { TrioCheck } from './trio-check.ts';
import { type Seat, TortureTrio } from './trio.ts';
import type { Load } from './workload.ts';
import { longestGapMs, percentile } from './write-gap.ts';
import { WriteClient } from './write-client.ts';

const SWITCHOVER_INTERVAL_MS = 1_000;
const WARM_UP_ACKNOWLEDGED = 500;
const ACKNOWLEDGED_TIMEOUT_MS = 60_000;
/** One that is refused, since another change is just coming to its end, is asked for again for so long. */
const SWITCHOVER_TIMEOUT_MS = 20_000;
const RETRY_MS = 50;
/** Clients may feel a switchover a little after it is announced. */
const AFTERMATH_MS = 300;
const READ_SHARE = 0.5;
const CONNECTIONS_PER_NODE = 32;
const ANSWERED_SHARE_MIN = 0.8;
const SUCCEEDED_SHARE_MIN = 0.8;
/** All is one round of the history: writers never stop. */
const ROUND = 1;
const GAP_MS_MAX = 1_000;
const GAP_MS_AIM = 100;

const ROUNDS = { full: 120, short: 20 } as const;

export const switchoverStorm: Row = {
  name: 'switchover-storm',
  summary: 'a switchover every second under load, with reads that must not be older than the own write',
  requirements: [],
  rounds: ROUNDS,
  run: async (context) => {
    const { workbench, random, nodeEnvironment } = context;
    return new SwitchoverStorm(context, await TortureTrio.start({ workbench, random, nodeEnvironment, hasLinks: false })).run();
  },
};

interface Switchover {
  readonly startMs: number;
  readonly endMs: number;
}

class SwitchoverStorm {
  readonly #context: RowContext;
  readonly #trio: TortureTrio;
  readonly #history = new History(() => performance.now());
  readonly #reads: SessionRead[] = [];
  readonly #switchovers: Switchover[] = [];
  readonly #epochIds = new Set<string>();
  #refusals = 0;

  constructor(context: RowContext, trio: TortureTrio) {
    this.#context = context;
    this.#trio = trio;
  }

  async run(): Promise<RowResult> {
    const { random, rounds } = this.#context;
    const before = await this.#trio.settled();
    const check = new TrioCheck({ history: this.#history, random, mayBeSetAside: false }, before.visibleLsn);
    const readers = this.#trio.urls.map((url) => ({ url, client: new WriteClient(url, CONNECTIONS_PER_NODE) }));
    const workload = new RovingWorkload({
      urls: this.#trio.urls,
      ack: 'local',
      history: this.#history,
      random,
      onAcknowledged: (own) => this.#readBack(own, readers),
    });

    const load = workload.start(ROUND);
    try {
      await load.acknowledged(WARM_UP_ACKNOWLEDGED, ACKNOWLEDGED_TIMEOUT_MS);
      let primary = before.primary;
      for (let round = 1; round <= rounds; round += 1) primary = await this.#switchOver(round, primary, load);
      await load.acknowledged(load.counts.acknowledged + WARM_UP_ACKNOWLEDGED, ACKNOWLEDGED_TIMEOUT_MS);
    } finally {
      await load.stop();
      for (const { client } of readers) client.close();
    }
    this.#requireLoad(load);

    const settled = await this.#trio.settled();
    const judged = await check.judgeRound(ROUND, this.#trio, settled);
    const session = checkSessionReads(this.#reads, (key) => this.#history.writesOf(key));
    if (session.answered < this.#reads.length * ANSWERED_SHARE_MIN || session.answered === 0) {
      throw new Error(`${session.answered} of ${this.#reads.length} reads were answered, expected ${ANSWERED_SHARE_MIN * 100} %`);
    }
    const leftBehind: readonly Finding[] = judged.setAside === 0 ? [] : [{ kind: 'different', key: '', detail: `${judged.setAside} writes are in salvage files, though every switchover was planned` }];
    const findings = [...judged.findings, ...leftBehind, ...session.findings, ...this.#late()];
    return this.#result([...findings, ...(findings.length > 0 ? [] : await check.finish(this.#trio, settled))], session.answered, session.unanswered);
  }

  async #switchOver(round: number, primary: Seat, load: Load): Promise<Seat> {
    const { random } = this.#context;
    const target = random.pick(this.#trio.seats.filter((seat) => seat !== primary));
    const startMs = performance.now();
    const acknowledged = load.counts.acknowledged;
    for (;;) {
      const end = await postPromote(target.url);
      if (end.type === 'promoted') {
        if (end.kind !== 'switchover' || end.lost !== null) throw new Error(`round ${round}: expected a switchover that gives up nothing, got ${JSON.stringify(end)}`);
        if (this.#epochIds.has(end.epoch.id)) throw new Error(`round ${round}: epoch ${end.epoch.id} was opened before`);
        this.#epochIds.add(end.epoch.id);
        break;
      }
      this.#refusals += 1;
      if (performance.now() - startMs > SWITCHOVER_TIMEOUT_MS) throw new Error(`round ${round}: no switchover to ${target.name} within ${SWITCHOVER_TIMEOUT_MS} ms; it said last: ${end.code}: ${end.message}`);
      await sleep(RETRY_MS);
    }
    const endMs = performance.now();
    this.#switchovers.push({ startMs, endMs });
    await sleep(Math.max(0, SWITCHOVER_INTERVAL_MS - (endMs - startMs)));
    this.#context.onRound({ round, acknowledged: load.counts.acknowledged - acknowledged, refused: load.counts.refused, unknown: load.counts.unknown });
    return target;
  }

  async #readBack(own: WriteRecord, readers: readonly { readonly url: string; readonly client: WriteClient }[]): Promise<void> {
    const { random } = this.#context;
    if (own.position === undefined || !random.chance(READ_SHARE)) return;
    const { url, client } = random.pick(readers);
    this.#reads.push({ own, url, answer: await client.readAtLeast(own.key, own.position) });
  }

  #requireLoad({ counts }: Load): void {
    const all = counts.acknowledged + counts.absent + counts.refused + counts.unknown;
    if (counts.acknowledged + counts.absent < all * SUCCEEDED_SHARE_MIN) {
      throw new Error(`${counts.acknowledged} of ${all} writes succeeded, expected ${SUCCEEDED_SHARE_MIN * 100} %: ${JSON.stringify(counts)}`);
    }
  }

  /** Only of the long run: a time means nothing on a machine that is busy with a test suite. */
  #late(): readonly Finding[] {
    if (this.#context.rounds < ROUNDS.full) return [];
    return this.#gapsMs().flatMap((gapMs, index) =>
      gapMs < GAP_MS_MAX ? [] : [{ kind: 'late' as const, key: '', detail: `no write was acknowledged for ${Math.round(gapMs)} ms in switchover ${index + 1}, expected less than ${GAP_MS_MAX}` }],
    );
  }

  #gapsMs(): readonly number[] {
    const acknowledgedMs = this.#history.records.filter(({ outcome }) => outcome === 'acknowledged').map(({ endMs }) => endMs);
    acknowledgedMs.sort((a, b) => a - b);
    return this.#switchovers.map(({ startMs, endMs }) => longestGapMs(acknowledgedMs, startMs, endMs + AFTERMATH_MS));
  }

  #result(findings: readonly Finding[], answered: number, unanswered: number): RowResult {
    const { records } = this.#history;
    const count = (outcome: WriteRecord['outcome']): number => records.filter((write) => write.outcome === outcome).length;
    const tookMs = this.#switchovers.map(({ startMs, endMs }) => endMs - startMs);
    return {
      rounds: this.#switchovers.length,
      acknowledged: count('acknowledged'),
      refused: count('refused'),
      unknown: count('unknown'),
      findings,
      notes: [
        `longest time between two acknowledged writes, per switchover: ${spread(this.#gapsMs())} (aim ${GAP_MS_AIM} ms, bound ${GAP_MS_MAX} ms)`,
        `a switchover took ${spread(tookMs)}; ${this.#refusals} were refused and asked for again`,
        `reads with min: ${answered} answered, ${unanswered} not in time`,
      ],
    };
  }
}

function spread(valuesMs: readonly number[]): string {
  const shown = (share: number): string => `${Math.round(percentile(valuesMs, share))} ms`;
  return `median ${shown(0.5)}, 9 of 10 within ${shown(0.9)}, longest ${shown(1)}`;
}
