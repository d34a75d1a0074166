/** `npm run bench`: measures Shiplog against what Node itself can do, and prints ratios. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { runBench } from './bench.ts';
import { type GeneratorName, chooseGenerator } from './load.ts';
import { renderReport } from './report.ts';

const USAGE = `Usage: npm run bench -- [options]

  --runs N         rounds that count (5); medians are of these
  --seconds N      length of each load, whole seconds (3)
  --connections N  connections of the generator (64)
  --keys N         keys (100000)
  --generator G    wrk or autocannon (wrk where it is installed)
  --dir D          a directory on a real disk (data/ of this project)
  --save           keep the report in test/bench/BENCHMARKS.md`;

const { values } = parseArgs({
  options: {
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

if (values.help) console.log(USAGE);
else await main();

async function main(): Promise<void> {
  const directory = resolve(values.dir);
  mkdirSync(directory, { recursive: true });
  const result = await runBench({
    runs: positive('runs'),
    warmUp: true,
    seconds: positive('seconds'),
    connections: positive('connections'),
    keys: positive('keys'),
    valueBytes: 32,
    generator: generatorName(values.generator),
    directory,
    onStep: (step) => console.error(`· ${step}`),
  });
  const report = renderReport(result);
  console.log(report);
  if (values.save) saveReport(report);
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

function saveReport(report: string): void {
  const path = join(import.meta.dirname, 'BENCHMARKS.md');
  const heading = '## Latest run';
  const [before] = readFileSync(path, 'utf8').split(`${heading}\n`);
  writeFileSync(path, `${before}${heading}\n\n${report}\n`);
}
