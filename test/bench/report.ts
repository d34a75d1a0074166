/** A run of the bench as Markdown that also reads well on a terminal. */
import { type BenchResult, type Round, SERVERS, type ServerName } from './bench.ts';
import { CAN_PIN } from './bench-process.ts';
import type { LoadFigures } from './load.ts';
import { type Row, ms, ratio, table, whole, withRange } from './markdown.ts';
import { median, percentile } from './statistics.ts';

export function renderReport({ options, machine, rounds, lag, lagWritesPerSWanted, loadAverageAtEnd }: BenchResult): string {
  const { runs, seconds, connections, keys, valueBytes, generator } = options;
  const pinning = CAN_PIN ? 'the server on one core, the generator on another' : 'nothing pinned to a core (no taskset, or one core)';
  const log = (figure: (round: Round) => number): number => median(rounds.map(figure));
  return [
    `Machine: ${machine.description}, ${loadAverageAtEnd.toFixed(1)} at the end.`,
    `Commit: ${machine.commit}.`,
    `Method: medians of ${runs} interleaved rounds of ${seconds} s per load, after one to warm up; ${generator}, keep-alive, no pipelining, ${pinning}; ${whole(keys)} keys at random, values of ${valueBytes} bytes. Ratios are medians of the ratios within a round, in brackets the lowest and the highest of them.`,
    '',
    `### GET, ${connections} connections`,
    '',
    ...loadTable(rounds.map(({ get }) => get)),
    '',
    `### SET, ${connections} connections`,
    '',
    ...loadTable(rounds.map(({ set }) => set)),
    '',
    'The log during these SETs:',
    '',
    ...table(
      ['syncs/s', 'batches/s', 'operations per batch', 'operations per sync', 'mean write + sync'],
      [
        [
          whole(log((round) => round.log.syncs / secondsOf(round))),
          whole(log((round) => round.log.batches / secondsOf(round))),
          log((round) => round.log.operations / round.log.batches).toFixed(1),
          log((round) => round.log.operations / round.log.syncs).toFixed(1),
          ms(log((round) => (1_000 * round.log.syncSeconds) / round.log.syncs)),
        ],
      ],
    ),
    '',
    `### SET, 1 connection, against write + fdatasync of the same ${median(rounds.map(({ groupBytes }) => groupBytes))} bytes`,
    '',
    ...oneConnectionTable(rounds),
    '',
    `### Replication lag at half load: ${whole(lagWritesPerSWanted)} writes/s asked for, ${whole(lag.writesPerS)} answered`,
    '',
    ...table(['p50', 'p99', 'max', 'samples'], [[ms(percentile(lag.lagsMs, 50)), ms(percentile(lag.lagsMs, 99)), ms(percentile(lag.lagsMs, 100)), whole(lag.lagsMs.length)]]),
  ].join('\n');
}

/** How long the log's counters ran. */
function secondsOf({ log, set }: Round): number {
  return log.operations / set.shiplog.requestsPerS;
}

function loadTable(rounds: readonly Round['get'][]): readonly string[] {
  const rows = SERVERS.map((server): Row => {
    const figure = (read: (figures: LoadFigures) => number): number => median(rounds.map((round) => read(round[server])));
    const against = (other: ServerName, read: (figures: LoadFigures) => number): readonly number[] => rounds.map((round) => read(round[server]) / read(round[other]));
    return [
      server,
      whole(figure(({ requestsPerS }) => requestsPerS)),
      ms(figure(({ p50Ms }) => p50Ms)),
      ms(figure(({ p99Ms }) => p99Ms)),
      ...(['bare node:http', 'bare net socket'] as const).flatMap((other) => [
        withRange(against(other, ({ requestsPerS }) => requestsPerS)),
        ratio(against(other, ({ p50Ms }) => p50Ms)),
        ratio(against(other, ({ p99Ms }) => p99Ms)),
      ]),
    ];
  });
  return table(['', 'requests/s', 'p50', 'p99', '× http', 'p50 × http', 'p99 × http', '× net', 'p50 × net', 'p99 × net'], rows);
}

function oneConnectionTable(rounds: readonly Round[]): readonly string[] {
  const row = (name: string, figures: (round: Round) => LoadFigures): Row => [
    name,
    whole(median(rounds.map((round) => figures(round).requestsPerS))),
    ms(median(rounds.map((round) => figures(round).p50Ms))),
    ms(median(rounds.map((round) => figures(round).p99Ms))),
    withRange(rounds.map((round) => round.oneConnection.p50Ms / figures(round).p50Ms)),
  ];
  return table(
    ['', 'per s', 'p50', 'p99', 'p50 of SET × this'],
    [
      row('SET', ({ oneConnection }) => oneConnection),
      row('write + fdatasync, growing file', ({ syncGrown }) => syncGrown),
      row('write + fdatasync, existing blocks (as the log)', ({ syncOverwritten }) => syncOverwritten),
    ],
  );
}
