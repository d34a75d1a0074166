/** How long a node takes from its start until it is ready: after a clean stop, and after a kill under load. */
import { setTimeout as wait } from 'node:timers/promises';
import { GENERATOR_CORE } from '../bench-process.ts';
import { loadCommand } from '../generated-load.ts';
import { readLogCounters } from '../log-counters.ts';
import { table, whole, withRange } from '../markdown.ts';
import { median } from '../statistics.ts';
import { type Rig, type RunningNode, until, untilReady } from './rig.ts';
import { type Finding, type Row, type RowReport, type RowsOptions, atMost } from './row.ts';

/** Of `keys`. */
const TABLE = 10;
const POLL_MS = 2;
const LOAD_POLL_MS = 20;
/** The load would go on for longer than it is let. */
const LOAD_MS_MAX = 60_000;

export interface StartRound {
  readonly afterStopMs: number;
  readonly afterKillMs: number;
  /** Written by the load that the kill ended. */
  readonly operations: number;
}

export const start: Row = {
  name: 'start',
  run: async (rig) => renderStart(await measureStart(rig), rig.options),
};

export async function measureStart(rig: Rig): Promise<readonly StartRound[]> {
  const dataDirectory = await rig.table(TABLE * rig.options.keys);
  return await rig.rounds(async (_count, onStep) => {
    onStep('start after a clean stop');
    const stopped = await startAndTime(rig, dataDirectory);
    onStep('kill under load');
    const operations = await killUnderLoad(rig, stopped.node);
    onStep('start after the kill');
    const killed = await startAndTime(rig, dataDirectory);
    await rig.stop(killed.node);
    return { afterStopMs: stopped.tookMs, afterKillMs: killed.tookMs, operations };
  });
}

async function startAndTime(rig: Rig, dataDirectory: string): Promise<{ readonly node: RunningNode; readonly tookMs: number }> {
  const startMs = performance.now();
  const node = await rig.startNode({ dataDirectory });
  await untilReady(node.url, POLL_MS);
  return { node, tookMs: performance.now() - startMs };
}

async function killUnderLoad(rig: Rig, node: RunningNode): Promise<number> {
  const { connections, keys, valueBytes, seconds } = rig.options;
  const plan = { connections, pipeline: 1, durationMs: LOAD_MS_MAX };
  const load = rig.start(loadCommand({ url: node.url, protocol: 'http', what: 'set', keys: TABLE * keys, valueBytes, plan }), GENERATOR_CORE);
  const written = async (): Promise<number> => (await readLogCounters(node.url)).operations;
  await until(async () => (await written()) > 0, LOAD_POLL_MS, 'nothing was written');
  await wait(seconds * 1_000);
  const operations = await written();
  await rig.kill(node);
  // Its requests fail from here on, as they should.
  await rig.kill({ process: load });
  return operations;
}

export function renderStart(rounds: readonly StartRound[], { keys, connections, seconds }: RowsOptions): RowReport {
  const of = (figure: keyof StartRound): readonly number[] => rounds.map((round) => round[figure]);
  const method = [
    `${whole(TABLE * keys)} keys. From the start of the process until /readyz is 200, asked every ${POLL_MS} ms. The kill (SIGKILL) comes after ${seconds} s of SET with ${connections} connections, in which a median of ${whole(median(of('operations')))} operations were written; they are keys of the table.`,
  ];
  const rows = [
    ['after a clean stop', ...rangeOf(of('afterStopMs'))],
    ['after a kill', ...rangeOf(of('afterKillMs'))],
  ];
  return {
    findings: [findingOf('start after a clean stop', of('afterStopMs'), 1, 0.3), findingOf('start after kill -9 under load', of('afterKillMs'), 3, 1)],
    text: [...method, '', ...table(['', 'median', 'lowest', 'highest'], rows)].join('\n'),
  };
}

function findingOf(what: string, tookMs: readonly number[], atMostS: number, aimS: number): Finding {
  const tookS = tookMs.map((each) => each / 1_000);
  return { what, measured: `${withRange(tookS)} s`, atLeast: atMost(tookS, atMostS, 's'), aim: atMost(tookS, aimS, 's') };
}

/** Median, lowest, highest. */
function rangeOf(tookMs: readonly number[]): readonly string[] {
  return [median(tookMs), Math.min(...tookMs), Math.max(...tookMs)].map((each) => `${(each / 1_000).toFixed(2)} s`);
}
