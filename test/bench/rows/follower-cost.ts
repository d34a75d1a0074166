/** What one more follower costs the primary: its processor time with followers and without, at the same rate of writes. */
import { setTimeout as wait } from 'node:timers/promises';
import { fill } from '../generated-load.ts';
import { table, whole, withRange } from '../markdown.ts';
import { median } from '../statistics.ts';
import { loadConstantly } from './constant-load.ts';
import { endReaders, startReaders } from './followers.ts';
import { cpuSeconds } from './process-figures.ts';
import type { Rig, RunningNode } from './rig.ts';
import type { Row, RowReport, RowsOptions } from './row.ts';

/** Processor time is counted in hundredths of a second: with a longer load there is more to count. */
const LOADS = 2;
/** Until followers have read what was written last. */
const REST_MS = 500;

interface LoadOnPrimary {
  /** Of its core, all threads. */
  readonly cpuShare: number;
  readonly writesPerS: number;
}

export interface FollowerCostRound {
  readonly alone: LoadOnPrimary;
  readonly followed: LoadOnPrimary & { readonly framesPerS: number };
  readonly perFrameAndFollowerUs: number;
}

export const followerCost: Row = {
  name: 'follower-cost',
  run: async (rig) => renderFollowerCost(await measureFollowerCost(rig), rig.options),
};

export async function measureFollowerCost(rig: Rig): Promise<readonly FollowerCostRound[]> {
  const { followers } = rig.options;
  const primary = await rig.serve({ dataDirectory: rig.newPath('primary') });
  await fill(primary.url, rig.options);
  return await rig.rounds(async (_count, onStep) => {
    onStep('set without followers');
    const alone = await writeAndCount(primary, rig.options);
    onStep(`set with ${followers} followers`);
    const readers = await startReaders(rig, primary.url, followers);
    const load = await writeAndCount(primary, rig.options);
    const streams = await endReaders(rig, readers, load.answered);
    const followed = { ...load, framesPerS: streams[0]!.frames / load.elapsedS };
    return { alone, followed, perFrameAndFollowerUs: ((followed.cpuShare - alone.cpuShare) * 1e6) / (followed.framesPerS * followers) };
  });
}

async function writeAndCount({ url, process }: RunningNode, options: RowsOptions): Promise<LoadOnPrimary & { readonly answered: number; readonly elapsedS: number }> {
  const before = cpuSeconds(process.pid);
  const load = await loadConstantly({ url, what: 'set', keys: options.keys, durationMs: LOADS * options.seconds * 1_000 }, options);
  await wait(REST_MS);
  const elapsedS = load.elapsedMs / 1_000;
  return { cpuShare: (cpuSeconds(process.pid) - before) / elapsedS, writesPerS: load.requestsPerS, answered: load.answered, elapsedS };
}

export function renderFollowerCost(rounds: readonly FollowerCostRound[], { followers, writesPerS, connections }: RowsOptions): RowReport {
  const of = (figure: (round: FollowerCostRound) => number): number => median(rounds.map(figure));
  const perFrameUs = rounds.map(({ perFrameAndFollowerUs }) => perFrameAndFollowerUs);
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
  const share = of(({ alone, followed }) => followed.cpuShare - alone.cpuShare);
  const method = `SET at ${whole(writesPerS)}/s, ${connections} connections. The followers read the stream and confirm nothing; they share core 1 with the generator. Processor time of the primary, all threads, from /proc; what the followers add is divided by frames and followers.`;
  const rows = [
    ['no followers', whole(of(({ alone }) => alone.writesPerS)), '', percent(of(({ alone }) => alone.cpuShare))],
    [`${followers} followers`, whole(of(({ followed }) => followed.writesPerS)), whole(of(({ followed }) => followed.framesPerS)), percent(of(({ followed }) => followed.cpuShare))],
  ];
  return {
    findings: [
      {
        what: "the primary's processor time per follower and frame",
        measured: `${withRange(perFrameUs)} µs; ${percent(share)} of the core for ${followers} followers`,
        atLeast: null,
        aim: null,
      },
    ],
    text: [method, '', ...table(['', 'writes/s', 'frames/s', "primary's core"], rows)].join('\n'),
  };
}
