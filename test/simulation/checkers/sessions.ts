/**
 * Check 5: who passes positions back never goes back in time.
 *
 * A read with `min` shows the key as it was at `min` or later, by its content: neither its Shiplog-Position
 * nor its ETag is believed. The same client's earlier reads of the key count as well, where `min` includes
 * what they had told it. This is read-your-writes (`min` = the position of a write) and monotonic reads
 * (`min` = the position of a read), on any node.
 *
 * 410 (and `position-lost` of a write) says that a position is in no surviving history. For one that is in
 * it, that is wrong, whenever it was said, unless an epoch without it was open at the time, and was itself
 * given up later (only a forced promotion does that). For a lost one the node may also say 503, or answer as long as
 * it is itself in that history; never may it show another one.
 */
import { type Position, formatPosition } from '../../../lib/base/position.ts';
import type { CheckReport, HistoryRecord, ReadRecord, Violation } from '../history-record.ts';
import { describeRecord, violation } from './describe-record.ts';
import type { Lineages } from './lineages.ts';
import { isAnsweredRead } from './mutation.ts';

export function checkSessions(records: readonly HistoryRecord[], lineages: Lineages): CheckReport {
  const withMin = records.filter((record) => record.minPosition !== null);
  const violations: Violation[] = records.flatMap((record) => wrongGone(record, lineages));
  for (const ofSession of Map.groupBy(records.filter(isAnsweredRead), ({ clientId, key }) => JSON.stringify([clientId, key])).values()) {
    const earlier: ShownValue[] = [];
    for (const read of ofSession.toSorted((a, b) => a.invokedAt - b.invokedAt)) {
      violations.push(...wentBack(read, earlier, lineages));
      const lsn = read.value === null ? undefined : lineages.lsnOfValue(read.value);
      if (lsn !== undefined && read.position !== null) earlier.push({ read, lsn, position: read.position });
    }
  }
  return { checkedCount: withMin.length, violations };
}

interface ShownValue {
  readonly read: ReadRecord;
  readonly lsn: number;
  readonly position: Position;
}

function wrongGone(record: HistoryRecord, lineages: Lineages): readonly Violation[] {
  if (record.outcome !== 'position-lost') return [];
  const said = record.kind === 'read' ? record.minPosition : record.position;
  if (said !== null && lineages.seemedLost(said, record.endedAt ?? Infinity)) return [];
  if (said !== null && lineages.survives(said)) {
    return [violation('wrong-410', `${formatPosition(said)} was called lost, but is in the surviving history: ${describeRecord(record)}`, record)];
  }
  // A write that was told no position: where the log has it.
  if (record.kind === 'read' || record.value === null || said !== null) return [];
  const lsn = lineages.lsnOfValue(record.value);
  if (lsn === undefined || lineages.seemedLost(lineages.positionOf(lineages.at(lsn)!), record.endedAt ?? Infinity)) return [];
  return [violation('wrong-410', `it was called lost, but is at LSN ${lsn} of the surviving history: ${describeRecord(record)}`, record)];
}

function wentBack(read: ReadRecord, earlier: readonly ShownValue[], lineages: Lineages): readonly Violation[] {
  const { minPosition, key, value } = read;
  if (minPosition === null) return [];
  const atMin = lineages.lastWriteAt(key, minPosition);
  if (atMin === undefined) return [];
  const floorLsn = atMin?.position.lsn ?? 0;
  const before = earlier.filter(({ position }) => lineages.includes(minPosition, position)).reduce<ShownValue | undefined>((best, each) => (best === undefined || each.lsn > best.lsn ? each : best), undefined);

  if (value === null) {
    const present = before !== undefined && before.lsn > floorLsn ? before.lsn : atMin === null || atMin.value === null ? undefined : floorLsn;
    if (present === undefined || isDeletedAfter(present, read, lineages)) return [];
    return [violation('session-went-back', `the key was there at ${formatPosition(minPosition)} and nothing deleted it, but this read found nothing: ${describeRecord(read)}`, read)];
  }
  const lsn = lsnOf(value, read, lineages);
  if (lsn === undefined) return [];
  if (lsn < floorLsn) return [violation('session-went-back', `the key's write at LSN ${floorLsn} is within min, but the value that was read is older, of LSN ${lsn}: ${describeRecord(read)}`, read)];
  if (before !== undefined && lsn < before.lsn) return [violation('session-went-back', `the second shows an older value than the first, though its min includes what the first had told: ${describeRecord(before.read)}; ${describeRecord(read)}`, before.read, read)];
  const isOther = !lineages.survives(minPosition) && lineages.lsnOfValue(value) !== undefined && lsn > lineages.leftBehind(minPosition).forkLsn;
  return isOther ? [violation('session-went-back', `min is in a lost history, the value that was read in another one: ${describeRecord(read)}`, read)] : [];
}

function isDeletedAfter(lsn: number, read: ReadRecord, lineages: Lineages): boolean {
  const writes = [...lineages.survivingWritesOf(read.key), ...lineages.salvagedWritesOf(read.key)];
  return writes.some((write) => write.value === null && write.position.lsn > lsn);
}

function lsnOf(value: string, read: ReadRecord, lineages: Lineages): number | undefined {
  return lineages.lsnOfValue(value) ?? lineages.salvagedWritesOf(read.key).find((write) => write.value === value)?.position.lsn;
}
