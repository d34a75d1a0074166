/**
 * Check 2: every key is a linearizable register, judged by values and times alone; what answers say about
 * LSNs is not believed. (It only decides which operations take part: see below. Where it is wrong, checks
 * 1 and 4 say so.)
 *
 * Linearizability is promised within the surviving history, by the primary. So these take part:
 * - Writes whose value is in the surviving log. Where a client was told that it is stored, it took effect
 *   before the answer; all others (unknown, `memory`) end at infinity.
 * - Deletes at a surviving position; those without a position may have happened or not.
 * - Reads of a surviving value, or of nothing at a surviving position, and deletes that found nothing, if
 *   a) they were answered by a primary in an epoch of the surviving history, and began before the next
 *      epoch was opened. An old primary that does not know of its successor answers what was true when
 *      the successor began: stale by contract, unless the read had begun by then. Or
 *   b) they carried a `min` in the surviving history that was *fresh*: at or above the state that any
 *      operation that takes part, on that key, had shown before the read began.
 * Other reads of replicas are stale by contract: checks 4 and 5 judge them.
 */
import type { CheckReport, HistoryRecord, MutationRecord, ReadRecord, Violation } from '../history-record.ts';
import { describeRecord, violation } from './describe-record.ts';
import { LatestEnded } from './latest-ended.ts';
import type { Lineages } from './lineages.ts';
import { isAnsweredRead, isMutation, isStored, mayBeStored } from './mutation.ts';
import { type RegisterOperation, findRegisterAnomalies } from './register-zones.ts';

interface Candidate {
  readonly operation: RegisterOperation<HistoryRecord>;
  /** The state it showed or made, as an LSN of the surviving log; Infinity where that is not known. */
  readonly lsn: number;
  /** Where it takes part only if this LSN, its `min`, is fresh. */
  readonly minLsn: number | undefined;
}

export function checkRegister(records: readonly HistoryRecord[], lineages: Lineages): CheckReport {
  const byKey = new Map<string, Candidate[]>();
  for (const record of records) {
    const candidate = isMutation(record) ? candidateOfMutation(record, lineages) : candidateOfRead(record, lineages);
    if (candidate === undefined) continue;
    const ofKey = byKey.get(record.key);
    if (ofKey === undefined) byKey.set(record.key, [candidate]);
    else ofKey.push(candidate);
  }
  const violations: Violation[] = [];
  let checkedCount = 0;
  for (const [key, candidates] of byKey) {
    const operations = admitted(candidates);
    checkedCount += operations.filter(({ kind }) => kind === 'read').length;
    for (const { reason, sources } of findRegisterAnomalies(operations)) {
      violations.push(violation('not-linearizable', `${key}: ${reason}: ${sources.map(describeRecord).join('; ')}`, ...sources));
    }
  }
  return { checkedCount, violations };
}

function candidateOfMutation(record: MutationRecord, lineages: Lineages): Candidate | undefined {
  if (record.outcome === 'not-found') return candidateOfAbsence(record, lineages);
  if (!mayBeStored(record)) return undefined;
  const end = isStored(record) ? (record.endedAt ?? Infinity) : Infinity;
  const common = { kind: 'write', value: record.value, start: record.invokedAt, end, source: record } as const;
  if (record.value !== null) {
    const lsn = lineages.lsnOfValue(record.value);
    return lsn === undefined ? undefined : { operation: { ...common, isCertain: isStored(record) }, lsn, minLsn: undefined };
  }
  if (record.position === null) return { operation: { ...common, isCertain: false }, lsn: Infinity, minLsn: undefined };
  if (!lineages.survives(record.position)) return undefined;
  return { operation: { ...common, isCertain: isStored(record) }, lsn: record.position.lsn, minLsn: undefined };
}

/** A delete that found nothing is a read by the primary. */
function candidateOfAbsence(record: MutationRecord, lineages: Lineages): Candidate | undefined {
  const { position, endedAt } = record;
  if (position === null || endedAt === null || !lineages.survives(position) || !beganInTime(record, lineages)) return undefined;
  return { operation: { kind: 'read', value: null, start: record.invokedAt, end: endedAt, isCertain: true, source: record }, lsn: position.lsn, minLsn: undefined };
}

function candidateOfRead(record: ReadRecord, lineages: Lineages): Candidate | undefined {
  const { value, position, endedAt, minPosition } = record;
  if (!isAnsweredRead(record) || position === null || endedAt === null) return undefined;
  const lsn = value === null ? (lineages.survives(position) ? position.lsn : undefined) : lineages.lsnOfValue(value);
  if (lsn === undefined) return undefined;
  const operation = { kind: 'read', value, start: record.invokedAt, end: endedAt, isCertain: true, source: record } as const;
  if (record.role === 'primary' && beganInTime(record, lineages)) return { operation, lsn, minLsn: undefined };
  if (minPosition === null || !lineages.survives(minPosition)) return undefined;
  return { operation, lsn, minLsn: minPosition.lsn };
}

/** True where the record's epoch survives, and the next one was not open when the operation began. */
function beganInTime(record: HistoryRecord, lineages: Lineages): boolean {
  const opened = record.position === null ? undefined : lineages.epochOf(record.position);
  if (opened === undefined || !lineages.isSurvivingEpoch(opened)) return false;
  const next = lineages.nextEpoch(opened);
  return next === undefined || record.invokedAt < next.openedAt;
}

/** Decides, in the order of ends, which reads with `min` take part: those depend on all that had ended before. */
function admitted(candidates: readonly Candidate[]): readonly RegisterOperation<HistoryRecord>[] {
  const latest = new LatestEnded<HistoryRecord>();
  const operations: RegisterOperation<HistoryRecord>[] = [];
  for (const { operation, lsn, minLsn } of candidates.toSorted((a, b) => a.operation.end - b.operation.end)) {
    const shownBefore = latest.before(operation.start)?.lsn ?? 0;
    if (minLsn !== undefined && shownBefore > minLsn) continue;
    operations.push(operation);
    latest.add({ endedAt: operation.end, lsn, item: operation.source });
  }
  return operations;
}
