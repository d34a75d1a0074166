/**
 * Shiplog beside Redis, which answers a write after the same promise: `appendfsync always` syncs its
 * log before the answer, once for all writes of a turn. Both are measured by the same generator, since
 * a ratio of two servers by two generators is one of generators, too. Both live through the whole run,
 * and take turns; every other round Redis goes first.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { freePort, serveCommand } from './bench.ts';
import { BenchProcess, CAN_PIN, SERVER_CORE, isOnPath } from './bench-process.ts';
import { type GeneratedFigures, type GeneratedLoad, generateLoad } from './generated-load.ts';
import { type LogCounters, countersBetween, readLogCounters } from './log-counters.ts';
import { type Machine, assertRealDisk, describeMachine } from './machine.ts';
import { type Row, ms, ratio, table, whole, withRange } from './markdown.ts';
import { eachRound } from './rounds.ts';
import { median } from './statistics.ts';

export interface PeersOptions {
  readonly runs: number;
  readonly warmUp: boolean;
  readonly seconds: number;
  readonly connections: number;
  readonly keys: number;
  readonly valueBytes: number;
  readonly directory: string;
  readonly onStep: (step: string) => void;
}

export const PEERS = ['shiplog', 'redis'] as const;
export type PeerName = (typeof PEERS)[number];

export interface PeersRound {
  readonly get: Readonly<Record<PeerName, GeneratedFigures>>;
  readonly set: Readonly<Record<PeerName, GeneratedFigures>>;
  /** Shiplog's log during its `set`. */
  readonly log: LogCounters;
}

export interface PeersResult {
  readonly options: PeersOptions;
  readonly machine: Machine;
  readonly redisVersion: string;
  readonly rounds: readonly PeersRound[];
  readonly loadAverageAtEnd: number;
}

export const REDIS_INSTALL = 'apt-get install -y --no-install-recommends redis-server';

/** What is missing, in words that say how to get it; undefined where all is there. */
export function missingPeer(): string | undefined {
  return isOnPath('redis-server') ? undefined : `--peers needs redis-server on the PATH: ${REDIS_INSTALL}`;
}

export async function runPeers(options: PeersOptions): Promise<PeersResult> {
  assertRealDisk(options.directory);
  const machine = describeMachine(options.directory);
  const directory = mkdtempSync(join(options.directory, 'peers-'));
  const processes: BenchProcess[] = [];
  const start = (command: readonly string[]): BenchProcess => {
    const child = new BenchProcess(command, SERVER_CORE);
    processes.push(child);
    return child;
  };
  try {
    options.onStep('starting the servers');
    const port = await freePort();
    const redis = start(redisCommand(join(directory, 'redis'), port));
    const [, redisVersion] = await redis.said(/version=([\d.]+)/i);
    await redis.said(/ready to accept connections/i);
    const urls = { shiplog: await start(await serveCommand(join(directory, 'shiplog'))).readyUrl(), redis: `http://127.0.0.1:${port}` };
    for (const peer of PEERS) {
      options.onStep(`writing ${options.keys} keys to ${peer}`);
      await generateLoad(loadOn(urls, peer, 'fill', options));
    }
    const rounds = await eachRound(options, (count, onStep) => runRound(urls, count % 2 === 0 ? PEERS.toReversed() : PEERS, { ...options, onStep }));
    return { options, machine, redisVersion: redisVersion!, rounds, loadAverageAtEnd: loadavg()[0]! };
  } finally {
    await Promise.all(processes.map((each) => each.stop()));
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Its defaults but for what makes its promise the same: every answered write is synced. No snapshots beside. */
function redisCommand(directory: string, port: number): readonly string[] {
  mkdirSync(directory);
  return ['redis-server', '--port', String(port), '--bind', '127.0.0.1', '--dir', directory, '--appendonly', 'yes', '--appendfsync', 'always', '--save', ''];
}

async function runRound(urls: Readonly<Record<PeerName, string>>, order: readonly PeerName[], options: PeersOptions): Promise<PeersRound> {
  let log: LogCounters | undefined;
  const load = async (what: 'get' | 'set', peer: PeerName): Promise<GeneratedFigures> => {
    options.onStep(`${what} on ${peer}`);
    const before = peer === 'shiplog' ? await readLogCounters(urls.shiplog) : undefined;
    const figures = await generateLoad(loadOn(urls, peer, what, options));
    if (before !== undefined && what === 'set') log = countersBetween(before, await readLogCounters(urls.shiplog));
    // What a load leaves to be done must not fall into the next one.
    await wait(300);
    return figures;
  };
  const both = async (what: 'get' | 'set'): Promise<Record<PeerName, GeneratedFigures>> => {
    const figures: Partial<Record<PeerName, GeneratedFigures>> = {};
    for (const peer of order) figures[peer] = await load(what, peer);
    return figures as Record<PeerName, GeneratedFigures>;
  };
  return { get: await both('get'), set: await both('set'), log: log! };
}

function loadOn(urls: Readonly<Record<PeerName, string>>, peer: PeerName, what: GeneratedLoad['what'], { connections, seconds, keys, valueBytes }: PeersOptions): GeneratedLoad {
  const plan = { connections, pipeline: 1, ...(what !== 'fill' && { durationMs: seconds * 1_000 }) };
  return { url: urls[peer], protocol: peer === 'redis' ? 'resp' : 'http', what, keys, valueBytes, plan };
}

export function renderPeers({ options, machine, redisVersion, rounds, loadAverageAtEnd }: PeersResult): string {
  const { runs, seconds, connections, keys, valueBytes } = options;
  const pinning = CAN_PIN ? 'the server on one core, the generator on another' : 'nothing pinned to a core (no taskset, or one core)';
  const log = (figure: (round: PeersRound) => number): number => median(rounds.map(figure));
  return [
    `Machine: ${machine.description}, ${loadAverageAtEnd.toFixed(1)} at the end.`,
    `Commit: ${machine.commit}. Redis ${redisVersion}, \`appendonly yes\`, \`appendfsync always\`, no snapshots.`,
    `Method: medians of ${runs} interleaved rounds of ${seconds} s per load; the generator of \`shiplog bench\` for both (for Redis it speaks RESP), keep-alive, no pipelining, ${pinning}; ${whole(keys)} keys at random, values of ${valueBytes} bytes. Ratios are medians of the ratios within a round, in brackets the lowest and the highest of them. Where the generator's core is near 100 %, the server is faster than the figure.`,
    '',
    ...peersTable('GET', connections, rounds.map(({ get }) => get)),
    '',
    ...peersTable('SET', connections, rounds.map(({ set }) => set)),
    '',
    "Shiplog's log during these SETs:",
    '',
    ...table(
      ['syncs', 'batches', 'operations per batch', 'operations per sync', 'mean write + sync'],
      [
        [
          whole(log((round) => round.log.syncs)),
          whole(log((round) => round.log.batches)),
          log((round) => round.log.operations / round.log.batches).toFixed(1),
          log((round) => round.log.operations / round.log.syncs).toFixed(1),
          ms(log((round) => (1_000 * round.log.syncSeconds) / round.log.syncs)),
        ],
      ],
    ),
  ].join('\n');
}

function peersTable(title: string, connections: number, rounds: readonly PeersRound['get'][]): readonly string[] {
  const rows = PEERS.map((peer): Row => {
    const figure = (read: (figures: GeneratedFigures) => number): number => median(rounds.map((round) => read(round[peer])));
    const latencyOf = ({ load }: GeneratedFigures): NonNullable<typeof load.all.latencyMs> => load.all.latencyMs!;
    return [
      peer,
      whole(figure(({ load }) => load.requestsPerS)),
      ms(figure((figures) => latencyOf(figures).p50)),
      ms(figure((figures) => latencyOf(figures).p99)),
      ms(figure((figures) => latencyOf(figures).p999)),
      `${Math.round(100 * figure(({ cpuShare }) => cpuShare))} %`,
    ];
  });
  const against = (read: (figures: GeneratedFigures) => number): readonly number[] => rounds.map((round) => read(round.shiplog) / read(round.redis));
  const throughput = against(({ load }) => load.requestsPerS);
  return [
    `### ${title}, ${connections} connections`,
    '',
    ...table(['', 'requests/s', 'p50', 'p99', 'p99.9', "generator's core"], rows),
    '',
    `shiplog : redis = ${withRange(throughput)} in requests/s, ${ratio(against(({ load }) => load.all.latencyMs!.p50))} in p50, ${ratio(against(({ load }) => load.all.latencyMs!.p99))} in p99.`,
  ];
}
