/** `npm run torture`: all rows with the rounds that were promised, or those that are asked for. */
import { tmpdir } from 'node:os';
import { parseArgs } from 'node:util';

import { missingOf } from '../support/requires.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { type RowReport, isClean, renderDetails, renderTable, showProgress } from './report.ts';
import type { Row } from './row.ts';
import { ROWS } from './rows.ts';
import { Workbench } from './workbench.ts';

const HELP = `npm run torture -- [--only ROW[,ROW]] [--rounds N] [--short] [--seed S] [--directory D]

Runs faults against real processes on a real disk, and checks after each that no acknowledged write is
missing and no refused one is there. Exit code 1 on any loss, 2 when it can't run.

  --only       ${ROWS.map((row) => row.name).join(', ')}
  --rounds     instead of the number that each row promises
  --short      about a fifteenth of it, as in CI
  --seed       repeats the choices of an earlier run (not its timing)
  --directory  on the disk to test (default: ${tmpdir()})

${ROWS.map((row) => `  ${row.name.padEnd(18)} ${String(row.rounds.full).padStart(4)} rounds  ${row.summary}`).join('\n')}
`;

interface Order {
  readonly rows: readonly Row[];
  readonly roundsOf: (row: Row) => number;
  readonly seed: number;
  readonly directory: string;
}

process.exitCode = await main();

async function main(): Promise<number> {
  const order = readOrder();
  if (order === undefined) return 0;
  if (typeof order === 'string') {
    process.stderr.write(`torture: ${order}\n`);
    return 2;
  }
  // The workbench tidies up when the process exits, and a signal alone would not let it.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

  process.stdout.write(`seed ${order.seed}\n`);
  const reports: RowReport[] = [];
  for (const row of order.rows) reports.push(await runRow(row, order));
  process.stdout.write(`${renderDetails(reports)}\n${renderTable(reports)}\n`);
  return reports.every(isClean) ? 0 : 1;
}

async function runRow(row: Row, order: Order): Promise<RowReport> {
  const rounds = order.roundsOf(row);
  const workbench = Workbench.open(order.directory);
  const progress = showProgress(row.name, rounds, process.stdout);
  const startMs = performance.now();
  const report = await row
    .run({ rounds, random: new SeededRandom(order.seed), workbench, nodeEnvironment: process.env, onRound: progress.onRound })
    .then((result): RowReport => ({ name: row.name, elapsedMs: performance.now() - startMs, result }))
    .catch((failure: Error): RowReport => ({ name: row.name, elapsedMs: performance.now() - startMs, failure }));
  progress.end();
  if (isClean(report)) workbench.close();
  else process.stdout.write(`${row.name}: logs and data are kept in ${workbench.closeAndKeepFiles()}\n`);
  return report;
}

/** @returns a message where it can't be carried out, undefined where help was all that was wanted. */
function readOrder(): Order | string | undefined {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        only: { type: 'string', multiple: true },
        rounds: { type: 'string' },
        short: { type: 'boolean' },
        seed: { type: 'string' },
        directory: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    }));
  } catch (error) {
    return `${(error as Error).message}; see npm run torture -- --help`;
  }
  if (values.help === true) {
    process.stdout.write(HELP);
    return undefined;
  }
  const names = values.only?.flatMap((list) => list.split(','));
  const unknown = names?.find((name) => !ROWS.some((row) => row.name === name));
  if (unknown !== undefined) return `there is no row ${unknown}; there are ${ROWS.map((row) => row.name).join(', ')}`;
  for (const option of ['rounds', 'seed'] as const) {
    const value = values[option];
    if (value !== undefined && !/^[1-9]\d{0,8}$/.test(value)) return `--${option} must be a whole number from 1, got ${value}`;
  }

  const rows = ROWS.filter((row) => names === undefined || names.includes(row.name));
  for (const row of rows) {
    const missing = missingOf(row.requirements);
    if (missing.length > 0) return `${row.name} needs ${missing.join(', ')}; other rows can be chosen with --only`;
  }
  return {
    rows,
    roundsOf: (row) => (values.rounds === undefined ? row.rounds[values.short === true ? 'short' : 'full'] : Number(values.rounds)),
    seed: values.seed === undefined ? 1 + Math.floor(Math.random() * 1e9) : Number(values.seed),
    directory: values.directory ?? tmpdir(),
  };
}
