/** How fast a replica that was away catches up, against how fast the primary took the writes it missed. */
import { GENERATOR_CORE } from '../bench-process.ts';
import { generateLoad } from '../generated-load.ts';
import { table, whole } from '../markdown.ts';
import { median } from '../statistics.ts';
import { durableLsn, lsnOf, statusOf } from './node-status.ts';
import { type Rig, type RunningNode, until } from './rig.ts';
import { type Row, type RowReport, type RowsOptions, ratioFinding } from './row.ts';

/** Catching up is faster than writing: with a longer absence there is more to measure. */
const ABSENCE_LOADS = 4;
const POLL_MS = 10;

export interface CatchUpRound {
  readonly livePerS: number;
  /** What was missed. */
  readonly operations: number;
  readonly caughtUpPerS: number;
  /** From the start of the process, recovery and the first connection included. */
  readonly fromSpawnMs: number;
}

export const catchUp: Row = {
  name: 'catch-up',
  run: async (rig) => renderCatchUp(await measureCatchUp(rig), rig.options),
};

export async function measureCatchUp(rig: Rig): Promise<readonly CatchUpRound[]> {
  const { connections, keys, valueBytes, seconds } = rig.options;
  const primary = await rig.serve({ dataDirectory: rig.newPath('primary') });
  const replicaOptions = { dataDirectory: rig.newPath('replica'), core: GENERATOR_CORE, flags: ['--follow', primary.url] };
  await rig.stop(await rig.serve(replicaOptions));
  return await rig.rounds(async (_count, onStep) => {
    onStep('set, while the replica is away');
    const missedAfter = await durableLsn(primary.url);
    const plan = { connections, pipeline: 1, durationMs: ABSENCE_LOADS * seconds * 1_000 };
    const { load } = await generateLoad({ url: primary.url, protocol: 'http', what: 'set', keys, valueBytes, plan });
    const targetLsn = await durableLsn(primary.url);
    onStep('the replica comes back');
    const { replica, ms, fromSpawnMs } = await comeBack(rig, replicaOptions, targetLsn);
    await rig.stop(replica);
    const operations = targetLsn - missedAfter;
    if (operations !== load.answered) throw new Error(`${load.answered} writes were answered, the log grew by ${operations}`);
    return { livePerS: load.requestsPerS, operations, caughtUpPerS: (operations * 1_000) / ms, fromSpawnMs };
  });
}

/** `ms`: from the last moment at which it was not connected until all is visible, so too long by an interval of asking rather than too short. */
async function comeBack(rig: Rig, options: Parameters<Rig['startNode']>[0], targetLsn: number): Promise<{ readonly replica: RunningNode; readonly ms: number; readonly fromSpawnMs: number }> {
  const spawnedMs = performance.now();
  const replica = await rig.startNode(options);
  let apartMs = spawnedMs;
  await until(
    async () => {
      const askedMs = performance.now();
      const status = await statusOf(replica.url).catch(() => undefined);
      if (status?.upstream?.connected !== true) apartMs = askedMs;
      return status !== undefined && lsnOf(status.positions.visible) >= targetLsn;
    },
    POLL_MS,
    `the replica does not show LSN ${targetLsn}`,
  );
  const endMs = performance.now();
  return { replica, ms: endMs - apartMs, fromSpawnMs: endMs - spawnedMs };
}

export function renderCatchUp(rounds: readonly CatchUpRound[], { connections, seconds }: RowsOptions): RowReport {
  const of = (figure: keyof CatchUpRound): number => median(rounds.map((round) => round[figure]));
  const ratios = rounds.map(({ livePerS, caughtUpPerS }) => caughtUpPerS / livePerS);
  const method = [
    `A replica is stopped, SET with ${connections} connections goes on for ${ABSENCE_LOADS * seconds} s, and the replica is started again. The primary has core 0; the generator, later the replica, has core 1.`,
    'Catching up counts from the last moment at which the replica was not connected until all that it missed is visible on it, and durable.',
  ];
  const row = [whole(of('livePerS')), whole(of('operations')), whole(of('caughtUpPerS')), `${(of('fromSpawnMs') / 1_000).toFixed(2)} s`];
  return {
    findings: [ratioFinding('a replica catches up, operations/s', ratios, '× live SETs', { atLeast: 3, aim: 10 })],
    text: [...method, '', ...table(['live SETs/s', 'missed', 'caught up/s', 'from its start'], [row])].join('\n'),
  };
}
