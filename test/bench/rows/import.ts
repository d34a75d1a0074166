/** `shiplog import` against what SQLite itself does with the same rows. */
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { PROGRAM } from '../bench.ts';
import { table, whole } from '../markdown.ts';
import { median } from '../statistics.ts';
import { importLines } from './import-lines.ts';
import type { Rig } from './rig.ts';
import { type Row, type RowReport, type RowsOptions, ratioFinding } from './row.ts';

/** Of `keys`. */
const ROWS = 10;

export interface ImportRound {
  readonly importedPerS: number;
  readonly upsertedPerS: number;
}

export const importRow: Row = {
  name: 'import',
  run: async (rig) => renderImport(await measureImport(rig), rig.options),
};

export async function measureImport(rig: Rig): Promise<readonly ImportRound[]> {
  const rows = ROWS * rig.options.keys;
  const file = rig.newPath('rows.ndjson');
  await pipeline(Readable.from(importLines(rows, rig.options.valueBytes)), createWriteStream(file));
  const rounds = await rig.rounds(async (_count, onStep) => {
    onStep(`importing ${rows} rows`);
    const importedPerS = await measureCommand(rig, file, rows);
    onStep(`upserting ${rows} rows in SQLite`);
    return { importedPerS, upsertedPerS: await measureUpserts(rig, file) };
  });
  rig.remove(file);
  return rounds;
}

/** From the start of the command to its account, into a node without data. */
async function measureCommand(rig: Rig, file: string, rows: number): Promise<number> {
  const dataDirectory = rig.newPath('node');
  const node = await rig.serve({ dataDirectory, core: null });
  const startMs = performance.now();
  const command = rig.start([PROGRAM, 'import', file, '--url', node.url, '--json'], undefined);
  const [, lines] = await command.said(/"lines":\s*(\d+)/);
  const tookS = (performance.now() - startMs) / 1_000;
  if (Number(lines) !== rows) throw new Error(`${lines} of ${rows} rows were imported`);
  await rig.stop({ process: command });
  await rig.stop(node);
  rig.remove(dataDirectory);
  return rows / tookS;
}

async function measureUpserts(rig: Rig, file: string): Promise<number> {
  const path = rig.newPath('upserts.sqlite');
  const { rowsPerS } = await rig.start([process.execPath, join(import.meta.dirname, 'sqlite-upserts.ts'), path, file], undefined).result<{ rowsPerS: number }>();
  for (const suffix of ['', '-wal', '-shm']) rig.remove(`${path}${suffix}`);
  return rowsPerS;
}

export function renderImport(rounds: readonly ImportRound[], { keys }: RowsOptions): RowReport {
  const of = (figure: keyof ImportRound): string => whole(median(rounds.map((round) => round[figure])));
  const ratios = rounds.map(({ importedPerS, upsertedPerS }) => importedPerS / upsertedPerS);
  const method = [
    `${whole(ROWS * keys)} rows in the order of their keys, from a file, into a node without data; nothing is pinned to a core. An import counts from the start of the command to its account: all is in the log by then, and synced.`,
    'SQLite: better-sqlite3 in one process, the same upserts with the schema of the store, transactions of 1,000, `journal_mode` WAL, `synchronous` NORMAL; the rows were read and parsed before, and a commit syncs nothing.',
  ];
  return {
    findings: [ratioFinding('`shiplog import`', ratios, "× SQLite's upserts", { atLeast: 0.5, aim: 0.8 })],
    text: [...method, '', ...table(['', 'rows/s'], [['shiplog import', of('importedPerS')], ["SQLite's upserts", of('upsertedPerS')]])].join('\n'),
  };
}
