/** GET from a table of millions of keys against a small one, both without a cache: what SQLite's depth costs. */
import { setTimeout as wait } from 'node:timers/promises';
import { type GeneratedFigures, generateLoad } from '../generated-load.ts';
import { ms, table, whole } from '../markdown.ts';
import { median } from '../statistics.ts';
import type { Rig } from './rig.ts';
import { type Row, type RowReport, type RowsOptions, ratioFinding } from './row.ts';

/** Of `keys`. */
export const HUGE_TABLE = 100;
const SMALL_TABLE = 0.1;
/** What a load leaves to be done must not fall into the next one. */
const REST_MS = 300;

export interface HugeTableRound {
  readonly small: GeneratedFigures;
  readonly huge: GeneratedFigures;
}

export const getHugeTable: Row = {
  name: 'get-10m',
  run: async (rig) => renderHugeTable(await measureHugeTable(rig), rig.options),
};

export async function measureHugeTable(rig: Rig): Promise<readonly HugeTableRound[]> {
  const sizes = sizesOf(rig.options);
  const small = await serveTable(rig, sizes.small);
  const huge = await serveTable(rig, sizes.huge);
  return await rig.rounds(async (_count, onStep) => {
    onStep(`get, ${sizes.small} keys`);
    const ofSmall = await small();
    onStep(`get, ${sizes.huge} keys`);
    return { small: ofSmall, huge: await huge() };
  });
}

function sizesOf({ keys }: RowsOptions): { readonly small: number; readonly huge: number } {
  return { small: Math.max(1, Math.round(SMALL_TABLE * keys)), huge: HUGE_TABLE * keys };
}

/** @returns a load on that table. */
async function serveTable(rig: Rig, keys: number): Promise<() => Promise<GeneratedFigures>> {
  const { connections, valueBytes, seconds } = rig.options;
  const { url } = await rig.serve({ dataDirectory: await rig.table(keys), flags: ['--cache-bytes', '0'] });
  return async () => {
    const figures = await generateLoad({ url, protocol: 'http', what: 'get', keys, valueBytes, plan: { connections, pipeline: 1, durationMs: seconds * 1_000 } });
    await wait(REST_MS);
    return figures;
  };
}

export function renderHugeTable(rounds: readonly HugeTableRound[], options: RowsOptions): RowReport {
  const sizes = sizesOf(options);
  const rows = (['small', 'huge'] as const).map((name) => {
    const of = (figure: (figures: GeneratedFigures) => number): number => median(rounds.map((round) => figure(round[name])));
    return [
      `${whole(sizes[name])} keys`,
      whole(of(({ load }) => load.requestsPerS)),
      ms(of(({ load }) => load.all.latencyMs!.p50)),
      ms(of(({ load }) => load.all.latencyMs!.p99)),
      `${Math.round(100 * of(({ cpuShare }) => cpuShare))} %`,
    ];
  });
  const method = `The generator of \`shiplog bench\`, ${options.connections} connections, \`cacheBytes\` 0 for both. The tables were imported in the order of their keys, and are in the memory of the operating system.`;
  const ratios = rounds.map(({ small, huge }) => huge.load.requestsPerS / small.load.requestsPerS);
  return {
    findings: [ratioFinding(`GET, ${whole(sizes.huge)} keys, \`cacheBytes\` 0`, ratios, `× ${whole(sizes.small)} keys`, { atLeast: 0.6, aim: 0.8 })],
    text: [method, '', ...table(['', 'requests/s', 'p50', 'p99', "generator's core"], rows)].join('\n'),
  };
}
