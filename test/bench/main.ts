/** `npm run bench`: measures Shiplog against what Node itself can do, beside Redis, and as pictures. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { messageOf } from '../../lib/base/errors.ts';
import { runBench } from './bench.ts';
import { type GeneratorName, chooseGenerator } from './load.ts';
import { sectionOf, withSection } from './markdown.ts';
import { missingPeer, renderPeers, runPeers } from './peers.ts';
import { CONNECTION_COUNTS, PERCENTS, latencyChart, renderPlots, runPlots, throughputChart } from './plots.ts';
import { renderReport } from './report.ts';
import { COUNTS, type RowsOptions } from './rows/row.ts';
import { ROWS_HEADING, mergeRows } from './rows/rows-section.ts';
import { type MeasuredRow, ROWS, rowsNamed, runRows } from './rows/rows.ts';

const USAGE = `Usage: npm run bench -- [options]

  --peers          beside redis-server, instead of against what Node can do
  --plots          draw test/bench/throughput.svg and latency.svg instead
  --rows [A,B]     the other rows of the table of performance, or only those with these names:
                   ${ROWS.map((row) => row.name).join(',')}
  --runs N         rounds that count (5); medians are of these
  --seconds N      length of each load, whole seconds (3)
  --connections N  connections of the generator (64)
  --keys N         keys (100000); with --rows larger tables are multiples of it
  --generator G    wrk or autocannon (wrk where it is installed); not with --peers, --plots
  --dir D          a directory on a real disk (data/ of this project)
  --save           keep the report in test/bench/BENCHMARKS.md`;

const VALUE_BYTES = 32;
const EXIT_USAGE = 2;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    peers: { type: 'boolean', default: false },
    plots: { type: 'boolean', default: false },
    rows: { type: 'boolean', default: false },
    runs: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    connections: { type: 'string', default: '64' },
    keys: { type: 'string', default: '100000' },
    generator: { type: 'string', default: chooseGenerator() },
    dir: { type: 'string', default: join(import.meta.dirname, '../../data') },
    save: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const refusal = values.peers ? missingPeer() : wrongPositionals();
if (values.help) console.log(USAGE);
else if (refusal !== undefined) refuse(refusal);
else await main();

async function main(): Promise<void> {
  const directory = resolve(values.dir);
  mkdirSync(directory, { recursive: true });
  const common = {
    runs: positive('runs'),
    seconds: positive('seconds'),
    connections: positive('connections'),
    keys: positive('keys'),
    valueBytes: VALUE_BYTES,
    directory,
    onStep: (step: string) => console.error(`· ${step}`),
  };
  if (values.peers) return publish('Beside Redis', renderPeers(await runPeers({ ...common, warmUp: true })));
  if (values.plots) {
    const result = await runPlots({ ...common, connectionCounts: CONNECTION_COUNTS, percents: PERCENTS });
    writeFileSync(join(import.meta.dirname, 'throughput.svg'), throughputChart(result));
    writeFileSync(join(import.meta.dirname, 'latency.svg'), latencyChart(result));
    return publish('By connections, and by load', renderPlots(result));
  }
  if (values.rows) return await measureRows({ ...common, ...COUNTS, warmUp: true, generator: generatorName(values.generator) });
  publish('Latest run', renderReport(await runBench({ ...common, warmUp: true, generator: generatorName(values.generator) })));
}

/** With --save each row is kept as soon as it is there. */
async function measureRows(options: RowsOptions): Promise<void> {
  const measured: MeasuredRow[] = [];
  const order = ROWS.map((row) => row.name);
  try {
    await runRows(rowsNamed(positionals[0]), options, (row) => {
      measured.push(row);
      if (values.save) save(ROWS_HEADING, (before) => mergeRows(before, [row], order));
    });
  } finally {
    if (measured.length > 0) console.log(mergeRows('', measured, order));
  }
}

/** Only --rows takes a list of names. */
function wrongPositionals(): string | undefined {
  if (positionals.length > (values.rows ? 1 : 0)) return `what is '${positionals.at(-1)}'? --help lists the options`;
  try {
    rowsNamed(positionals[0]);
  } catch (error) {
    return messageOf(error);
  }
  return undefined;
}

function refuse(message: string): void {
  console.error(`npm run bench: ${message}`);
  process.exitCode = EXIT_USAGE;
}

function positive(name: 'runs' | 'seconds' | 'connections' | 'keys'): number {
  const value = Number(values[name]);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} is '${values[name]}', expected a whole number from 1`);
  return value;
}

function generatorName(name: string): GeneratorName {
  if (name !== 'wrk' && name !== 'autocannon') throw new Error(`--generator is '${name}', expected wrk or autocannon`);
  return name;
}

function publish(heading: string, report: string): void {
  console.log(report);
  if (values.save) save(heading, () => report);
}

/** @param change of what stands under the heading now */
function save(heading: string, change: (before: string) => string): void {
  const path = join(import.meta.dirname, 'BENCHMARKS.md');
  const document = readFileSync(path, 'utf8');
  writeFileSync(path, withSection(document, heading, change(sectionOf(document, heading) ?? '')));
}
