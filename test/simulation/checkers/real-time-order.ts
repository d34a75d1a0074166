/**
 * Check 1: positions agree with time.
 * - A write that ended before another began has the lower LSN: within each epoch, lost ones too, and
 *   along the surviving history. Where an answer told no position, the log does.
 * - No position is given twice, and what was told is where the log has it.
 * - A primary shows at least the last write of its own history that had ended before the read began. (Of
 *   its own: an old primary that was cut off knows nothing of its successor's.)
 * - A read with `min` shows a history that includes `min`.
 */
import { type Position, formatPosition } from '../../../lib/base/position.ts';
import type { CheckReport, HistoryRecord, MutationRecord, OpenedEpoch, ReadRecord, Violation } from '../history-record.ts';
import { describeRecord, violation } from './describe-record.ts';
import { LatestEnded } from './latest-ended.ts';
import type { Lineages } from './lineages.ts';
import { isAnsweredRead, isMutation, isStored, mayBeStored } from './mutation.ts';

interface PositionedWrite {
  readonly record: MutationRecord;
  readonly position: Position;
  /** Infinity where it is not certain that it took effect before it was answered. */
  readonly end: number;
}

export function checkRealTimeOrder(records: readonly HistoryRecord[], lineages: Lineages): CheckReport {
  const writes = records.filter(isMutation).flatMap((record) => positionedWrite(record, lineages));
  const reads = records.filter(isAnsweredRead).filter(({ position }) => position !== null);
  const violations = [
    ...writes.flatMap((write) => misplaced(write, lineages)),
    ...reusedPositions(writes),
    ...reorderedWrites(writes, lineages),
    ...stalePrimaryReads(reads, writes, lineages),
    ...reads.flatMap((read) => belowMin(read, lineages)),
  ];
  return { checkedCount: writes.length, violations };
}

function positionedWrite(record: MutationRecord, lineages: Lineages): readonly PositionedWrite[] {
  if (!mayBeStored(record)) return [];
  const end = isStored(record) ? (record.endedAt ?? Infinity) : Infinity;
  if (record.position !== null) return [{ record, position: record.position, end }];
  const lsn = record.value === null ? undefined : lineages.lsnOfValue(record.value);
  return lsn === undefined ? [] : [{ record, position: lineages.positionOf(lineages.at(lsn)!), end }];
}

function misplaced({ record, position }: PositionedWrite, lineages: Lineages): readonly Violation[] {
  if (lineages.epochOf(position) === undefined) return [violation('misplaced-write', `no epoch that was ever opened has the position of ${describeRecord(record)}`, record)];
  const lsn = record.value === null ? undefined : lineages.lsnOfValue(record.value);
  if (lsn !== undefined) {
    const found = lineages.positionOf(lineages.at(lsn)!);
    if (formatPosition(found) !== formatPosition(position)) return [violation('misplaced-write', `the log has it at ${formatPosition(found)}: ${describeRecord(record)}`, record)];
    return [];
  }
  if (!lineages.survives(position)) return [];
  const operation = lineages.at(position.lsn)?.operation;
  if (record.kind === 'delete' && operation?.kind === 'delete' && operation.key === record.key) return [];
  return [violation('misplaced-write', `the log has ${operation === undefined ? 'nothing' : `a ${operation.kind}`} of another write there: ${describeRecord(record)}`, record)];
}

function reusedPositions(writes: readonly PositionedWrite[]): readonly Violation[] {
  const byPosition = new Map<string, MutationRecord>();
  const violations: Violation[] = [];
  for (const { record, position } of writes) {
    const text = formatPosition(position);
    const other = byPosition.get(text);
    if (other !== undefined) violations.push(violation('reused-position', `two writes were told one position: ${describeRecord(other)}; ${describeRecord(record)}`, other, record));
    byPosition.set(text, record);
  }
  return violations;
}

function reorderedWrites(writes: readonly PositionedWrite[], lineages: Lineages): readonly Violation[] {
  const lines = Map.groupBy(writes, ({ position }) => `epoch ${position.epochNumber}.${position.epochTag}`);
  lines.set('the surviving history', writes.filter(({ position }) => lineages.survives(position)));
  const violations = new Map<string, Violation>();
  for (const [name, ofLine] of lines) {
    const latest = latestEnded(ofLine);
    for (const { record, position } of ofLine) {
      const before = latest.before(record.invokedAt);
      if (before === undefined || before.lsn <= position.lsn) continue;
      // Found in its epoch and in the surviving history, it is still one violation.
      const first = before.item.record;
      violations.set(`${first.id} ${record.id}`, violation('reordered-writes', `in ${name} the first has the higher LSN though it ended before the second began: ${describeRecord(first)}; ${describeRecord(record)}`, first, record));
    }
  }
  return [...violations.values()];
}

function stalePrimaryReads(reads: readonly ReadRecord[], writes: readonly PositionedWrite[], lineages: Lineages): readonly Violation[] {
  const latestByEpoch = new Map<OpenedEpoch, LatestEnded<PositionedWrite>>();
  const missedIn = (reign: OpenedEpoch, read: ReadRecord): MutationRecord | undefined => {
    let latest = latestByEpoch.get(reign);
    if (latest === undefined) {
      latest = latestEnded(writes.filter(({ position }) => lineages.includes(lineages.endOf(reign), position)));
      latestByEpoch.set(reign, latest);
    }
    const before = latest.before(read.invokedAt)?.item;
    return before === undefined || lineages.includes(read.position!, before.position) ? undefined : before.record;
  };
  return reads.flatMap((read) => {
    const missed = read.role === 'primary' ? reignsDuring(read, lineages).map((reign) => missedIn(reign, read)) : [];
    // It may have opened an epoch while the read was under way, and may have answered before or after.
    if (missed.length === 0 || missed.includes(undefined)) return [];
    return [violation('stale-read', `the primary does not show a write that had ended before the read began: ${describeRecord(missed[0]!)}; ${describeRecord(read)}`, missed[0]!, read)];
  });
}

/** The epochs that this node may have reigned in when it answered: the last it had opened before, and any since. */
function reignsDuring(read: ReadRecord, lineages: Lineages): readonly OpenedEpoch[] {
  const opened = lineages.truth.epochs.filter(({ nodeId, openedAt }) => nodeId === read.nodeId && openedAt < read.endedAt!).sort((a, b) => a.openedAt - b.openedAt);
  const lastBefore = opened.findLastIndex(({ openedAt }) => openedAt < read.invokedAt);
  return opened.slice(Math.max(0, lastBefore));
}

function belowMin(read: ReadRecord, lineages: Lineages): readonly Violation[] {
  const { minPosition, position } = read;
  if (minPosition === null || lineages.includes(position!, minPosition)) return [];
  return [violation('stale-read', `the history that was shown does not include the min that was asked for: ${describeRecord(read)}`, read)];
}

function latestEnded(writes: readonly PositionedWrite[]): LatestEnded<PositionedWrite> {
  const latest = new LatestEnded<PositionedWrite>();
  const ended = writes.filter(({ end }) => end !== Infinity).sort((a, b) => a.end - b.end);
  for (const write of ended) latest.add({ endedAt: write.end, lsn: write.position.lsn, item: write });
  return latest;
}
