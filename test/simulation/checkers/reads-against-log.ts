/**
 * Check 4: every answer shows the history that its position names. A read, on any node in any role, shows
 * the key's last write at or below its Shiplog-Position, and that write's own position; a conditional write
 * found what it asked for right before its own LSN.
 *
 * Positions in a lost history are judged the same way, against the shared part up to the fork and what a
 * complete salvage file holds beyond it; where no such file covers them, only check 3 has a say. A
 * position that is in no history at all, neither the surviving one nor one that a promotion left behind,
 * should never have been shown.
 */
import { formatPosition } from '../../../lib/base/position.ts';
import type { CheckReport, HistoryRecord, MutationRecord, ReadRecord, Violation } from '../history-record.ts';
import { describeRecord, violation } from './describe-record.ts';
import type { KeyWrite, Lineages } from './lineages.ts';
import { isAnsweredRead, isMutation, isStored } from './mutation.ts';

export function checkReadsAgainstLog(records: readonly HistoryRecord[], lineages: Lineages): CheckReport {
  const reads = records.filter(isAnsweredRead);
  const violations = [
    ...reads.flatMap((read) => judgeRead(read, lineages)),
    ...records.filter(isMutation).flatMap((record) => judgeCondition(record, lineages)),
  ];
  return { checkedCount: reads.length, violations };
}

function judgeRead(read: ReadRecord, lineages: Lineages): readonly Violation[] {
  if (read.position === null) return [violation('unknown-position', `the answer told no position: ${describeRecord(read)}`, read)];
  if (!isExplained(read, lineages)) return [violation('unknown-position', `its position is neither in the surviving history nor in one that a promotion left behind: ${describeRecord(read)}`, read)];
  const expected = lineages.lastWriteAt(read.key, read.position);
  if (expected === undefined) return [];
  if ((expected?.value ?? null) !== read.value) return [violation('wrong-read', `at its position the log says ${shown(expected)}: ${describeRecord(read)}`, read)];
  if (expected === null || read.value === null || read.keyPosition === null) return [];
  if (formatPosition(read.keyPosition) === formatPosition(expected.position)) return [];
  return [violation('wrong-read', `it says that the key was last written at ${formatPosition(read.keyPosition)}, the log says at ${formatPosition(expected.position)}: ${describeRecord(read)}`, read)];
}

function isExplained(read: ReadRecord, lineages: Lineages): boolean {
  const position = read.position!;
  if (lineages.survives(position)) return true;
  const opened = lineages.epochOf(position);
  if (opened === undefined) return false;
  return lineages.leftBehind(position).by !== undefined || lineages.isRuined(opened.nodeId);
}

function judgeCondition(record: MutationRecord, lineages: Lineages): readonly Violation[] {
  const { onlyIf, position, key } = record;
  // Those of a batch are on the state before the batch: check 7 judges them.
  if (onlyIf === undefined || position === null || !isStored(record) || record.batch !== undefined) return [];
  const before = lineages.lastWriteAt(key, { ...position, lsn: position.lsn - 1 });
  // The first write of an epoch follows on the epoch-begin record, so the LSN before is of the same epoch.
  if (before === undefined) return [];
  return unmet(record, before);
}

/** What there is to say about a condition of a write that was carried out right after `before`. */
export function unmet(record: MutationRecord, before: KeyWrite | null): readonly Violation[] {
  const { onlyIf } = record;
  if (onlyIf === undefined) return [];
  const presentAt = before === null || before.value === null ? 'absent' : formatPosition(before.position);
  const asked = typeof onlyIf === 'string' ? onlyIf : formatPosition(onlyIf);
  if (asked === 'present' ? presentAt !== 'absent' : asked === presentAt) return [];
  return [violation('wrong-condition', `its condition was ${asked}, but right before it the log says ${shown(before)}: ${describeRecord(record)}`, record)];
}

function shown(write: KeyWrite | null): string {
  if (write === null) return 'that the key was never written';
  return `${write.value === null ? 'a delete' : JSON.stringify(write.value)} at ${formatPosition(write.position)}`;
}
