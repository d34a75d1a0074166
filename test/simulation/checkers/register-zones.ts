/**
 * Is a history of one register linearizable? After P. Gibbons and E. Korach, "Testing shared memories"
 * (1997): with unique values it is clear which write every read has read, so it takes O(n log n).
 *
 * A write and the reads of its value are a *cluster*. Let `minEnd` be the first end among its operations
 * and `maxStart` the last start.
 *
 *   minEnd < maxStart   forward zone: the register holds the value in all of [minEnd, maxStart]
 *   otherwise           backward zone: the whole cluster fits into one moment of [maxStart, minEnd]
 *
 * The history is linearizable exactly where no read ends before its write begins, no two forward zones
 * overlap, and no backward zone lies inside a forward one.
 *
 * Absence (null) is what breaks uniqueness: any delete may have caused it, or the beginning. A *source* of
 * an absent read is a delete, or the beginning, that may be the last mutation before it: begun before the
 * read ended, and with no write certainly in between. No source: an anomaly. One source: the read is of
 * that one's cluster, and the theorem holds. Several: it is only demanded that the read does not lie
 * inside the forward zone of a value. That is sound (every anomaly is one), and exact where there are no
 * deletes; what it lets pass, the comparison with the log finds.
 */
export interface RegisterOperation<Source> {
  readonly kind: 'write' | 'read';
  /** Null: a delete, or a read that found nothing. */
  readonly value: string | null;
  readonly start: number;
  /** Infinity where it was never answered, or the answer left it open. */
  readonly end: number;
  /** Of a write: it certainly took effect within its time. One that did not, and was never seen, is left out. */
  readonly isCertain: boolean;
  readonly source: Source;
}

export interface RegisterAnomaly<Source> {
  readonly reason: string;
  readonly sources: readonly Source[];
}

interface Cluster<Source> {
  /** Undefined for the beginning, when there was nothing. */
  readonly write: RegisterOperation<Source> | undefined;
  readonly reads: RegisterOperation<Source>[];
}

interface Zone<Source> {
  readonly minEnd: number;
  readonly maxStart: number;
  /** When the write began; -Infinity for the beginning. */
  readonly writeStart: number;
  /** The operation that ended first; undefined for the beginning. */
  readonly first: RegisterOperation<Source> | undefined;
  /** The operation that began last. */
  readonly last: RegisterOperation<Source>;
}

/** @param operations all of one key. No two events have the same number. */
export function findRegisterAnomalies<Source>(operations: readonly RegisterOperation<Source>[]): readonly RegisterAnomaly<Source>[] {
  const anomalies: RegisterAnomaly<Source>[] = [];
  const valueZones = clustersOfValues(operations, anomalies).map(zoneOf);
  const { clusters, ambiguous } = clustersOfAbsence(operations, valueZones, anomalies);
  const zones = [...valueZones, ...clusters.map(zoneOf)];

  const forward = zones.filter(isForward).sort((a, b) => a.minEnd - b.minEnd);
  let reaching: Zone<Source> | undefined;
  for (const zone of forward) {
    if (reaching !== undefined && zone.minEnd < reaching.maxStart) {
      anomalies.push({ reason: `${held(reaching)} and ${held(zone)} at the same time`, sources: [...operationsOf(reaching), ...operationsOf(zone)] });
    }
    if (reaching === undefined || zone.maxStart > reaching.maxStart) reaching = zone;
  }
  for (const zone of zones) {
    const around = isForward(zone) ? undefined : enclosing(forward, zone.maxStart, zone.minEnd);
    if (around !== undefined) anomalies.push({ reason: `${held(around)}, and within that time there was ${shown(zone.last.value)}`, sources: [...operationsOf(around), ...operationsOf(zone)] });
  }
  const forwardValues = forward.filter((zone) => zone.last.value !== null);
  for (const read of ambiguous) {
    const around = enclosing(forwardValues, read.start, read.end);
    if (around !== undefined) anomalies.push({ reason: `${held(around)}, and within that time a read found nothing`, sources: [...operationsOf(around), read.source] });
  }
  return anomalies;
}

function clustersOfValues<Source>(operations: readonly RegisterOperation<Source>[], anomalies: RegisterAnomaly<Source>[]): readonly Cluster<Source>[] {
  const clusters = new Map<string, Cluster<Source>>();
  for (const write of operations) if (write.kind === 'write' && write.value !== null) clusters.set(write.value, { write, reads: [] });
  for (const read of operations) {
    if (read.kind !== 'read' || read.value === null) continue;
    const cluster = clusters.get(read.value);
    if (cluster === undefined) anomalies.push({ reason: `${shown(read.value)} was read but never written`, sources: [read.source] });
    else if (read.end < cluster.write!.start) anomalies.push({ reason: `${shown(read.value)} was read before it was written`, sources: [read.source, cluster.write!.source] });
    else cluster.reads.push(read);
  }
  return [...clusters.values()].filter(({ write, reads }) => write!.isCertain || reads.length > 0);
}

function clustersOfAbsence<Source>(
  operations: readonly RegisterOperation<Source>[],
  valueZones: readonly Zone<Source>[],
  anomalies: RegisterAnomaly<Source>[],
): { readonly clusters: readonly Cluster<Source>[]; readonly ambiguous: readonly RegisterOperation<Source>[] } {
  const beginning: Cluster<Source> = { write: undefined, reads: [] };
  const deletes: Cluster<Source>[] = operations.filter(isDelete).map((write) => ({ write, reads: [] }));
  const byMinEnd = valueZones.toSorted((a, b) => a.minEnd - b.minEnd);
  const ambiguous: RegisterOperation<Source>[] = [];
  let written = 0;
  let latest: Zone<Source> | undefined;
  for (const read of operations.filter(isAbsentRead).sort((a, b) => a.start - b.start)) {
    // Of the writes that certainly took effect before this read, the one that began last.
    for (; written < byMinEnd.length && byMinEnd[written]!.minEnd < read.start; written += 1) {
      const zone = byMinEnd[written]!;
      if (latest === undefined || zone.writeStart > latest.writeStart) latest = zone;
    }
    const sources = deletes.filter(({ write }) => write!.start < read.end && (latest === undefined || write!.end > latest.writeStart));
    if (latest === undefined) sources.push(beginning);
    if (sources.length === 0) anomalies.push({ reason: `${shown(latest!.last.value)} was there, nothing deleted it, and a later read found nothing`, sources: [...operationsOf(latest!), read.source] });
    else if (sources.length === 1) sources[0]!.reads.push(read);
    else ambiguous.push(read);
  }
  return { clusters: [beginning, ...deletes].filter(({ write, reads }) => write?.isCertain === true || reads.length > 0), ambiguous };
}

function isDelete<Source>(operation: RegisterOperation<Source>): boolean {
  return operation.kind === 'write' && operation.value === null;
}

function isAbsentRead<Source>(operation: RegisterOperation<Source>): boolean {
  return operation.kind === 'read' && operation.value === null;
}

function zoneOf<Source>({ write, reads }: Cluster<Source>): Zone<Source> {
  const operations = write === undefined ? reads : [write, ...reads];
  let [first, last] = [operations[0]!, operations[0]!];
  for (const operation of operations) {
    if (operation.end < first.end) first = operation;
    if (operation.start > last.start) last = operation;
  }
  if (write === undefined) return { minEnd: -Infinity, maxStart: last.start, writeStart: -Infinity, first: undefined, last };
  return { minEnd: first.end, maxStart: last.start, writeStart: write.start, first, last };
}

function isForward<Source>(zone: Zone<Source>): boolean {
  return zone.minEnd < zone.maxStart;
}

/** The forward zone, of those that are sorted and don't overlap, with all of [start, end] inside it. */
function enclosing<Source>(forward: readonly Zone<Source>[], start: number, end: number): Zone<Source> | undefined {
  let low = 0;
  let high = forward.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (forward[middle]!.minEnd < start) low = middle + 1;
    else high = middle;
  }
  const zone = forward[low - 1];
  return zone !== undefined && end < zone.maxStart ? zone : undefined;
}

function operationsOf<Source>({ first, last }: Zone<Source>): readonly Source[] {
  return first === undefined || first === last ? [last.source] : [first.source, last.source];
}

function held<Source>({ minEnd, maxStart, last }: Zone<Source>): string {
  return `${shown(last.value)} was there from ${minEnd === -Infinity ? 'the beginning' : `event ${minEnd}`} to event ${maxStart}`;
}

function shown(value: string | null): string {
  return value === null ? 'nothing' : JSON.stringify(value);
}
