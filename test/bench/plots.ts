/**
 * Two pictures of one node: throughput by connections, and latency by load. For the second the most
 * that the node takes is measured first, then fixed rates in percent of it: at a fixed rate waiting
 * counts, so what happens near the limit shows.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { LatencyFigures } from '../../lib/bench/latency-histogram.ts';
import type { LoadPlan } from '../../lib/bench/load-generator.ts';
import { serveCommand } from './bench.ts';
import { BenchProcess, SERVER_CORE } from './bench-process.ts';
import { type GeneratedFigures, generateLoad } from './generated-load.ts';
import { type Machine, assertRealDisk, describeMachine } from './machine.ts';
import { median } from './statistics.ts';
import { type Chart, renderChart } from './svg-chart.ts';

export interface PlotsOptions {
  readonly runs: number;
  readonly seconds: number;
  /** For latency by load. */
  readonly connections: number;
  readonly keys: number;
  readonly valueBytes: number;
  readonly directory: string;
  readonly connectionCounts: readonly number[];
  readonly percents: readonly number[];
  readonly onStep: (step: string) => void;
}

export const CONNECTION_COUNTS: readonly number[] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
export const PERCENTS: readonly number[] = [5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95];

export interface PlotsResult {
  readonly options: PlotsOptions;
  readonly machine: Machine;
  readonly loadAverageAtEnd: number;
  readonly throughput: readonly { readonly connections: number; readonly getsPerS: number; readonly setsPerS: number }[];
  /** What a closed loop of `connections` reached. */
  readonly setsPerSMax: number;
  readonly latency: readonly { readonly percent: number; readonly latencyMs: Pick<LatencyFigures, 'p50' | 'p99' | 'p999'> }[];
}

export async function runPlots(options: PlotsOptions): Promise<PlotsResult> {
  assertRealDisk(options.directory);
  const machine = describeMachine(options.directory);
  const directory = mkdtempSync(join(options.directory, 'plots-'));
  let server: BenchProcess | undefined;
  try {
    server = new BenchProcess(await serveCommand(join(directory, 'primary')), SERVER_CORE);
    const node = new MeasuredNode(await server.readyUrl(), options);
    await node.fill();
    const throughput: PlotsResult['throughput'][number][] = [];
    for (const connections of options.connectionCounts) {
      throughput.push({ connections, getsPerS: await node.throughput('get', connections), setsPerS: await node.throughput('set', connections) });
    }
    const setsPerSMax = await node.throughput('set', options.connections);
    const latency: PlotsResult['latency'][number][] = [];
    for (const percent of options.percents) latency.push({ percent, latencyMs: await node.latency(Math.max(1, Math.round((setsPerSMax * percent) / 100)), percent) });
    return { options, machine, throughput, setsPerSMax, latency, loadAverageAtEnd: loadavg()[0]! };
  } finally {
    await server?.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

class MeasuredNode {
  readonly #url: string;
  readonly #options: PlotsOptions;

  constructor(url: string, options: PlotsOptions) {
    this.#url = url;
    this.#options = options;
  }

  async fill(): Promise<void> {
    this.#options.onStep(`writing ${this.#options.keys} keys`);
    await this.#generate('fill', { connections: this.#options.connections, pipeline: 1 });
  }

  async throughput(what: 'get' | 'set', connections: number): Promise<number> {
    this.#options.onStep(`${what}, ${connections} connections`);
    const figures = await this.#repeat(what, { connections, pipeline: 1, durationMs: this.#options.seconds * 1_000 });
    return median(figures.map(({ load }) => load.requestsPerS));
  }

  async latency(requestsPerS: number, percent: number): Promise<Pick<LatencyFigures, 'p50' | 'p99' | 'p999'>> {
    const { connections, seconds, onStep } = this.#options;
    onStep(`set at ${requestsPerS}/s, ${percent} %`);
    const figures = await this.#repeat('set', { connections, pipeline: 1, durationMs: seconds * 1_000, requestsPerS });
    const of = (name: 'p50' | 'p99' | 'p999'): number => median(figures.map(({ load }) => load.all.latencyMs![name]));
    return { p50: of('p50'), p99: of('p99'), p999: of('p999') };
  }

  async #repeat(what: 'get' | 'set', plan: LoadPlan): Promise<readonly GeneratedFigures[]> {
    const figures: GeneratedFigures[] = [];
    for (let run = 0; run < this.#options.runs; run += 1) {
      figures.push(await this.#generate(what, plan));
      // What a load leaves to be done must not fall into the next one.
      await wait(300);
    }
    return figures;
  }

  #generate(what: 'get' | 'set' | 'fill', plan: LoadPlan): Promise<GeneratedFigures> {
    const { keys, valueBytes } = this.#options;
    return generateLoad({ url: this.#url, protocol: 'http', what, keys, valueBytes, plan });
  }
}

export function throughputChart(result: PlotsResult): string {
  const { throughput, options } = result;
  const chart: Chart = {
    title: 'Throughput by connections',
    note: noteOf(result),
    x: { label: 'connections', scale: 'log', ticks: options.connectionCounts },
    y: { label: 'requests per second', scale: 'linear' },
    series: [
      { name: 'GET', points: throughput.map(({ connections, getsPerS }) => ({ x: connections, y: getsPerS })) },
      { name: 'SET, synced', points: throughput.map(({ connections, setsPerS }) => ({ x: connections, y: setsPerS })) },
    ],
  };
  return renderChart(chart);
}

export function latencyChart(result: PlotsResult): string {
  const { latency, setsPerSMax, options } = result;
  const points = (name: 'p50' | 'p99' | 'p999'): { x: number; y: number }[] => latency.map(({ percent, latencyMs }) => ({ x: percent, y: latencyMs[name] }));
  return renderChart({
    title: `Latency of SET by load, ${options.connections} connections`,
    note: noteOf(result),
    x: { label: `fixed rate, percent of the most it takes (${Math.round(setsPerSMax).toLocaleString('en-US')} per second)`, scale: 'linear', ticks: [0, 20, 40, 60, 80, 100] },
    y: { label: 'milliseconds', scale: 'log' },
    series: [
      { name: 'p50', points: points('p50') },
      { name: 'p99', points: points('p99') },
      { name: 'p99.9', points: points('p999') },
    ],
  });
}

export function renderPlots(result: PlotsResult): string {
  const { machine, options, loadAverageAtEnd } = result;
  return [
    `Machine: ${machine.description}, ${loadAverageAtEnd.toFixed(1)} at the end. Commit: ${machine.commit}.`,
    `Method: medians of ${options.runs} loads of ${options.seconds} s by the generator of \`shiplog bench\`; ${options.keys.toLocaleString('en-US')} keys at random, values of ${options.valueBytes} bytes. Latency counts from the moment a request was due.`,
    ...(options.runs < RUNS_WANTED || options.seconds < SECONDS_WANTED ? ['', '**This was a short run, to show the form; its figures say little.**'] : []),
    '',
    '![Throughput by connections](throughput.svg)',
    '',
    '![Latency by load](latency.svg)',
  ].join('\n');
}

const RUNS_WANTED = 3;
const SECONDS_WANTED = 3;

function noteOf({ machine, options }: PlotsResult): string {
  return `${options.runs} × ${options.seconds} s each, values of ${options.valueBytes} bytes, commit ${machine.commit}`;
}
