/** The result of `shiplog bench`, as a document and in words. */
import type { LagFigures } from '../bench/lag-probe.ts';
import type { LatencyFigures } from '../bench/latency-histogram.ts';
import type { LoadFigures, OperationFigures } from '../bench/load-figures.ts';

export interface BenchDocument {
  readonly url: string;
  readonly connections: number;
  readonly pipeline: number;
  readonly valueBytes: number;
  readonly keys: number;
  readonly readPercent: number;
  /** Null = as fast as answers came. */
  readonly rate: number | null;
  /** Null where nothing was to be measured. */
  readonly load: LoadFigures | null;
  readonly lag: readonly LagFigures[];
  readonly wrote: WroteKeys | null;
  readonly cleaned: { readonly deleted: number; readonly absent: number; readonly failed: number } | null;
  /** The signal that ended it early. */
  readonly stoppedBy: string | null;
}

/** What may have been written, nothing beyond. */
export interface WroteKeys {
  /** Null where there were only reads. */
  readonly firstKey: string | null;
  readonly lastKey: string | null;
  /** Of the probes for lag. */
  readonly markers: readonly string[];
}

export const LATENCY_HEADING = ['', 'answered', 'per s', 'p50', 'p90', 'p99', 'p99.9', 'max'] as const;

/** A row for all requests, and where there are both kinds one for each. */
export function latencyRows(load: LoadFigures): readonly (readonly string[])[] {
  const seconds = load.elapsedMs / 1_000;
  const row = (name: string, { answered, latencyMs }: OperationFigures): readonly string[] => [
    name,
    wholeNumber(answered),
    wholeNumber(seconds > 0 ? answered / seconds : 0),
    ...latencyCells(latencyMs),
  ];
  const kinds = [row('reads', load.reads), row('writes', load.writes)].filter((_, index) => [load.reads, load.writes][index]!.latencyMs !== null);
  return kinds.length === 2 ? [...kinds, row('all', load.all)] : kinds;
}

export const LAG_HEADING = ['lag of', 'samples', 'p50', 'p90', 'p99', 'p99.9', 'max'] as const;

export function lagRow({ replica, samples, lagMs }: LagFigures): readonly string[] {
  return [replica, wholeNumber(samples), ...latencyCells(lagMs)];
}

function latencyCells(figures: LatencyFigures | null): readonly string[] {
  if (figures === null) return ['–', '–', '–', '–', '–'];
  return [figures.p50, figures.p90, figures.p99, figures.p999, figures.max].map(milliseconds);
}

export interface Remark {
  readonly kind: 'note' | 'warning';
  readonly text: string;
}

/** What a reader of the table has to know. @param cpuShare of one core, that the bench itself took. */
export function remarksOnBench({ load, lag, rate, wrote, cleaned, stoppedBy }: BenchDocument, cpuShare: number): readonly Remark[] {
  const remarks: Remark[] = [];
  const note = (text: string): void => void remarks.push({ kind: 'note', text });
  const warn = (text: string): void => void remarks.push({ kind: 'warning', text });
  if (load !== null) {
    note(`${wholeNumber(load.requests)} requests in ${(load.elapsedMs / 1_000).toFixed(2)} s: ${wholeNumber(load.answered)} answered, ${wholeNumber(load.failed)} failed`);
    if (rate !== null) note(`at ${wholeNumber(rate)} requests/s; latency counts from the moment a request was due`);
    if (load.missing > 0) note(`${wholeNumber(load.missing)} found no such key`);
    for (const [reason, count] of Object.entries(load.errors)) warn(`${wholeNumber(count)} failed: ${reason}`);
    if (load.gaveUp !== null) warn(`gave up: ${load.gaveUp}`);
    if (load.unsent > 0) warn(`${wholeNumber(load.unsent)} requests were due but never sent: the connections could not take this rate`);
    if (rate === null && load.elapsedMs >= CPU_MEASURED_MS && cpuShare > CPU_SHARE_MAX) warn(`the bench itself took ${Math.round(100 * cpuShare)} % of a core: the node may be faster than this`);
  }
  for (const { replica, error } of lag) if (error !== null) warn(`no more lag of ${replica}: ${error}`);
  if (wrote !== null) note(`wrote ${[...(wrote.firstKey === null ? [] : [`keys ${wrote.firstKey} to ${wrote.lastKey}`]), ...wrote.markers].join(', ')}, no others`);
  if (cleaned !== null) note(`deleted ${wholeNumber(cleaned.deleted)} keys, ${wholeNumber(cleaned.absent)} were not there`);
  if (cleaned !== null && cleaned.failed > 0) warn(`${wholeNumber(cleaned.failed)} keys could not be deleted: run it again with --clean --requests 0`);
  if (stoppedBy !== null) warn(`ended early by ${stoppedBy}`);
  return remarks;
}

const CPU_SHARE_MAX = 0.9;
/** Before that, most of it is the start of the program. */
const CPU_MEASURED_MS = 1_000;

export function wholeNumber(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

function milliseconds(value: number): string {
  return `${value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : wholeNumber(value)} ms`;
}
