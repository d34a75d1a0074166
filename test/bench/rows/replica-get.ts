/**
 * GET on a replica that applies a constant rate of writes, against the same replica at rest. The
 * replica has a core of its own; the primary and both generators share the other one.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { GENERATOR_CORE } from '../bench-process.ts';
import { fill } from '../generated-load.ts';
import { type LoadFigures, runLoad } from '../load.ts';
import { ms, table, whole } from '../markdown.ts';
import { median } from '../statistics.ts';
import { loadConstantly } from './constant-load.ts';
import { durableLsn, visibleLsn } from './node-status.ts';
import { cpuSeconds } from './process-figures.ts';
import { type Rig, type RunningNode, until } from './rig.ts';
import { type Row, type RowReport, type RowsOptions, ratioFinding } from './row.ts';

/** The writes begin before the reads and end after them. */
const WRITES_BEFORE_MS = 500;
const WRITES_AFTER_MS = 1_000;
const POLL_MS = 20;

export interface ReplicaGet {
  readonly load: LoadFigures;
  /** Of the replica's core. */
  readonly cpuShare: number;
  /** What the replica showed meanwhile. */
  readonly appliedPerS: number;
}

export interface ReplicaGetRound {
  readonly idle: ReplicaGet;
  readonly applying: ReplicaGet;
  /** What the primary answered. */
  readonly writesPerS: number;
}

export const replicaGet: Row = {
  name: 'replica-get',
  run: async (rig) => renderReplicaGet(await measureReplicaGet(rig), rig.options),
};

export async function measureReplicaGet(rig: Rig): Promise<readonly ReplicaGetRound[]> {
  const { keys, seconds, writesPerS } = rig.options;
  const primary = await rig.serve({ dataDirectory: rig.newPath('primary'), core: GENERATOR_CORE });
  await fill(primary.url, rig.options);
  const replica = await rig.serve({ dataDirectory: rig.newPath('replica'), flags: ['--follow', primary.url] });
  return await rig.rounds(async (_count, onStep) => {
    await untilCaughtUp(primary, replica);
    onStep('get on a replica at rest');
    const idle = await readFrom(replica, rig.options);
    onStep(`get on it, with ${writesPerS} writes/s`);
    const [writing, applying] = await Promise.all([
      loadConstantly({ url: primary.url, what: 'set', keys, durationMs: seconds * 1_000 + WRITES_BEFORE_MS + WRITES_AFTER_MS }, rig.options),
      wait(WRITES_BEFORE_MS).then(() => readFrom(replica, rig.options)),
    ]);
    if (applying.appliedPerS === 0) throw new Error('the replica applied nothing while it was read');
    return { idle, applying, writesPerS: writing.requestsPerS };
  });
}

async function untilCaughtUp(primary: RunningNode, replica: RunningNode): Promise<void> {
  const lsn = await durableLsn(primary.url);
  await until(async () => (await visibleLsn(replica.url)) >= lsn, POLL_MS, `the replica does not show LSN ${lsn}`);
}

async function readFrom({ url, process }: RunningNode, { generator, connections, keys, valueBytes, seconds }: RowsOptions): Promise<ReplicaGet> {
  const [lsnBefore, cpuBefore, startMs] = [await visibleLsn(url), cpuSeconds(process.pid), performance.now()];
  const load = await runLoad(generator, { url, method: 'get', connections, keys, valueBytes, seconds });
  const elapsedS = (performance.now() - startMs) / 1_000;
  return { load, cpuShare: (cpuSeconds(process.pid) - cpuBefore) / seconds, appliedPerS: ((await visibleLsn(url)) - lsnBefore) / elapsedS };
}

export function renderReplicaGet(rounds: readonly ReplicaGetRound[], { generator, connections, keys, writesPerS }: RowsOptions): RowReport {
  const of = (figure: (round: ReplicaGetRound) => number): number => median(rounds.map(figure));
  const rows = (['idle', 'applying'] as const).map((name) => [
    name === 'idle' ? 'at rest' : 'applying',
    whole(of((round) => round[name].load.requestsPerS)),
    ms(of((round) => round[name].load.p50Ms)),
    ms(of((round) => round[name].load.p99Ms)),
    whole(of((round) => round[name].appliedPerS)),
    `${Math.round(100 * of((round) => round[name].cpuShare))} %`,
  ]);
  const method = [
    `${generator}, ${connections} connections, ${whole(keys)} keys. The replica has core 0 to itself; the primary, what writes to it and what reads share core 1.`,
    `${whole(writesPerS)} writes/s were asked for, ${whole(of((round) => round.writesPerS))} answered. Where the replica did not use all of its core, it is the other core that was measured.`,
  ];
  const ratios = rounds.map(({ idle, applying }) => applying.load.requestsPerS / idle.load.requestsPerS);
  return {
    findings: [ratioFinding(`GET on a replica that applies ${whole(writesPerS)} writes/s`, ratios, '× at rest', { atLeast: 0.8, aim: 0.9 })],
    text: [...method, '', ...table(['', 'requests/s', 'p50', 'p99', 'applied/s', "replica's core"], rows)].join('\n'),
  };
}
