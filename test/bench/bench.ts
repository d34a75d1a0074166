/**
 * The bench, from start to end: servers, data, rounds, lag. All servers live through the whole run,
 * but only one at a time is under load, and the rounds take turns: whatever else the machine does
 * hits all of them alike, so their ratios say more than the absolute figures.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { BenchProcess, GENERATOR_CORE, SERVER_CORE } from './bench-process.ts';
import { fill } from './generated-load.ts';
import { type LoadFigures, type GeneratorName, runLoad } from './load.ts';
import { type LogCounters, countersBetween, readLogCounters } from './log-counters.ts';
import { type Machine, assertRealDisk, describeMachine } from './machine.ts';
import { eachRound } from './rounds.ts';
import { median } from './statistics.ts';

export interface BenchOptions {
  /** Rounds that count. */
  readonly runs: number;
  /** One more round first, which does not count. */
  readonly warmUp: boolean;
  /** Length of each load, in whole seconds. */
  readonly seconds: number;
  readonly connections: number;
  readonly keys: number;
  readonly valueBytes: number;
  readonly generator: GeneratorName;
  /** Data directories are made in here, and removed. */
  readonly directory: string;
  /** Told about each step. */
  readonly onStep: (step: string) => void;
}

export const SERVERS = ['bare net socket', 'bare node:http', 'shiplog'] as const;
export type ServerName = (typeof SERVERS)[number];

/** One round: every server under the same load, one after the other. */
export interface Round {
  readonly get: Readonly<Record<ServerName, LoadFigures>>;
  readonly set: Readonly<Record<ServerName, LoadFigures>>;
  /** The log during shiplog's `set`. */
  readonly log: LogCounters;
  readonly oneConnection: LoadFigures;
  /** Bytes of log per sync with one connection. */
  readonly groupBytes: number;
  /** Write + fdatasync of as many bytes, by itself. */
  readonly syncGrown: LoadFigures;
  readonly syncOverwritten: LoadFigures;
}

export interface LagFigures {
  readonly lagsMs: readonly number[];
  /** What the primary answered. */
  readonly writesPerS: number;
}

export interface BenchResult {
  readonly options: BenchOptions;
  readonly machine: Machine;
  readonly rounds: readonly Round[];
  readonly lag: LagFigures;
  /** What it was asked for: half of its median SET throughput. */
  readonly lagWritesPerSWanted: number;
  /** Other work on the machine shows here. */
  readonly loadAverageAtEnd: number;
}

export const PROGRAM = join(import.meta.dirname, '../../bin/shiplog');

export async function runBench(options: BenchOptions): Promise<BenchResult> {
  assertRealDisk(options.directory);
  const machine = describeMachine(options.directory);
  const directory = mkdtempSync(join(options.directory, 'bench-'));
  const processes: BenchProcess[] = [];
  const start = (command: readonly string[], core: number): Promise<string> => {
    const child = new BenchProcess(command, core);
    processes.push(child);
    return child.readyUrl();
  };
  try {
    options.onStep('starting the servers');
    const urls = {
      'bare net socket': await start([process.execPath, join(import.meta.dirname, 'bare-net.ts'), String(options.valueBytes)], SERVER_CORE),
      'bare node:http': await start([process.execPath, join(import.meta.dirname, 'bare-http.ts'), String(options.valueBytes)], SERVER_CORE),
      shiplog: await start(await serveCommand(join(directory, 'primary')), SERVER_CORE),
    };
    options.onStep(`writing ${options.keys} keys`);
    await fill(urls.shiplog, options);

    const rounds = await eachRound(options, (_count, onStep) => runRound(urls, directory, { ...options, onStep }));

    options.onStep('starting a replica');
    const replicaUrl = await start([...(await serveCommand(join(directory, 'replica'))), '--follow', urls.shiplog], GENERATOR_CORE);
    await untilReady(replicaUrl);
    const lagWritesPerSWanted = Math.round(median(rounds.map(({ set }) => set.shiplog.requestsPerS)) / 2);
    const lag = await measureLag(urls.shiplog, replicaUrl, lagWritesPerSWanted, options);
    return { options, machine, rounds, lag, lagWritesPerSWanted, loadAverageAtEnd: loadavg()[0]! };
  } finally {
    await Promise.all(processes.map((each) => each.stop()));
    rmSync(directory, { recursive: true, force: true });
  }
}

async function runRound(urls: Readonly<Record<ServerName, string>>, directory: string, options: BenchOptions): Promise<Round> {
  const { generator, connections, keys, valueBytes, seconds, onStep } = options;
  const load = async (server: ServerName, method: 'get' | 'set', connections: number): Promise<LoadFigures> => {
    onStep(`${method} on ${server}, ${connections} connection${connections === 1 ? '' : 's'}`);
    const figures = await runLoad(generator, { url: urls[server], method, connections, keys, valueBytes, seconds });
    // What a load leaves to be done (a checkpoint, garbage) must not fall into the next one.
    await wait(300);
    return figures;
  };
  const get = {
    'bare net socket': await load('bare net socket', 'get', connections),
    'bare node:http': await load('bare node:http', 'get', connections),
    shiplog: await load('shiplog', 'get', connections),
  };
  const bareSet = {
    'bare net socket': await load('bare net socket', 'set', connections),
    'bare node:http': await load('bare node:http', 'set', connections),
  };
  const beforeSet = await readLogCounters(urls.shiplog);
  const set = { ...bareSet, shiplog: await load('shiplog', 'set', connections) };
  const beforeOne = await readLogCounters(urls.shiplog);
  const oneConnection = await load('shiplog', 'set', 1);
  const one = countersBetween(beforeOne, await readLogCounters(urls.shiplog));
  const groupBytes = Math.round(one.bytes / one.syncs);
  const syncLoop = (kind: string): Promise<LoadFigures> => {
    onStep(`write + fdatasync of ${groupBytes} bytes, ${kind} file`);
    const command = [process.execPath, join(import.meta.dirname, 'sync-loop.ts'), join(directory, 'sync-loop'), String(groupBytes), String(seconds), kind];
    return new BenchProcess(command, SERVER_CORE).result<LoadFigures>();
  };
  return { get, set, log: countersBetween(beforeSet, beforeOne), oneConnection, groupBytes, syncGrown: await syncLoop('grown'), syncOverwritten: await syncLoop('overwritten') };
}

async function measureLag(primaryUrl: string, replicaUrl: string, writesPerS: number, options: BenchOptions): Promise<LagFigures> {
  const probe = async (): Promise<LagFigures> => {
    const numbers = [writesPerS, options.seconds, options.keys, options.valueBytes].map(String);
    return new BenchProcess([process.execPath, join(import.meta.dirname, 'lag-probe.ts'), primaryUrl, replicaUrl, ...numbers], GENERATOR_CORE).result<LagFigures>();
  };
  if (options.warmUp) {
    options.onStep('warming up: lag');
    await probe();
  }
  const runs: LagFigures[] = [];
  for (let count = 1; count <= options.runs; count++) {
    options.onStep(`lag ${count} of ${options.runs}, at ${writesPerS} writes/s`);
    runs.push(await probe());
  }
  return { lagsMs: runs.flatMap(({ lagsMs }) => lagsMs), writesPerS: median(runs.map((run) => run.writesPerS)) };
}

/** Default configuration, but for where. */
export async function serveCommand(dataDirectory: string): Promise<readonly string[]> {
  return [PROGRAM, 'serve', '--data-dir', dataDirectory, '--port', String(await freePort())];
}

async function untilReady(url: string): Promise<void> {
  while ((await fetch(`${url}/readyz`)).status !== 200) await wait(50);
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
