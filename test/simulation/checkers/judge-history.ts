/**
 * The verdict on one run: all seven checks (RELIABILITY.md, "History checks"), and that they had something
 * to check. A run that did not come to its end, a check without a single operation, or too few operations
 * that succeeded is a failure: it looks like peace and proves nothing.
 */
import type { CheckReport, HistoryRecord, HistoryTruth, Violation } from '../history-record.ts';
import { checkBatches } from './batches.ts';
import { describeRecord, violation } from './describe-record.ts';
import { checkEndState } from './end-state.ts';
import { Lineages } from './lineages.ts';
import { checkReadsAgainstLog } from './reads-against-log.ts';
import { checkRealTimeOrder } from './real-time-order.ts';
import { checkRegister } from './register.ts';
import { checkSessions } from './sessions.ts';
import { checkSet } from './set-full.ts';

export const CHECKS = {
  'real-time order': checkRealTimeOrder,
  'register': checkRegister,
  'set': checkSet,
  'reads against the log': checkReadsAgainstLog,
  'sessions': checkSessions,
  'end state': checkEndState,
  'batches': checkBatches,
} as const satisfies Record<string, (records: readonly HistoryRecord[], lineages: Lineages) => CheckReport>;

export type CheckName = keyof typeof CHECKS;

export interface JudgeOptions {
  /** Share of operations that have to succeed. */
  readonly successShareMin?: number;
  /** Checks that may find nothing to do, e.g. in a scenario without reads. */
  readonly mayBeEmpty?: readonly CheckName[];
}

const SUCCESS_SHARE_MIN = 0.8;

/** @param truth null where the run did not come to its end. */
export function judgeHistory(records: readonly HistoryRecord[], truth: HistoryTruth | null, options: JudgeOptions = {}): readonly Violation[] {
  if (truth === null) return [violation('empty-check', 'the run did not come to its end: nothing could be checked')];
  const malformed = malformedRecords(records, truth);
  if (malformed.length > 0) return malformed;
  const lineages = new Lineages(truth);
  const names = Object.keys(CHECKS) as CheckName[];
  return [
    ...judgeSuccess(records, options.successShareMin ?? SUCCESS_SHARE_MIN),
    ...names.flatMap((name) => {
      const { checkedCount, violations } = CHECKS[name](records, lineages);
      const isEmpty = checkedCount === 0 && options.mayBeEmpty?.includes(name) !== true;
      return isEmpty ? [...violations, violation('empty-check', `the check "${name}" found nothing to check among ${records.length} operations`)] : violations;
    }),
  ];
}

function judgeSuccess(records: readonly HistoryRecord[], shareMin: number): readonly Violation[] {
  if (records.length === 0) return [violation('empty-check', 'there was not a single operation')];
  const succeeded = records.filter(({ outcome }) => outcome === 'ok' || outcome === 'not-found').length;
  if (succeeded >= shareMin * records.length) return [];
  return [violation('too-many-failures', `${succeeded} of ${records.length} operations succeeded, at least ${Math.ceil(shareMin * records.length)} have to`)];
}

/** What the checks rest on. A history that breaks it is a mistake of the simulator, and nothing else is judged. */
function malformedRecords(records: readonly HistoryRecord[], truth: HistoryTruth): readonly Violation[] {
  const violations: Violation[] = [];
  const complain = (message: string, record: HistoryRecord): number => violations.push(violation('malformed-history', `${message}: ${describeRecord(record)}`, record));
  const events = new Set<number>();
  const ids = new Set<number>();
  const values = new Set<string>();
  const latest = new Map<string, HistoryRecord>();
  for (const record of records.toSorted((a, b) => a.invokedAt - b.invokedAt)) {
    const { id, clientId, invokedAt, endedAt, outcome } = record;
    if (ids.has(id)) complain('two operations have this id', record);
    ids.add(id);
    for (const event of [invokedAt, endedAt ?? undefined]) {
      if (event === undefined) continue;
      if (events.has(event)) complain(`another operation has event ${event}`, record);
      events.add(event);
    }
    if (endedAt !== null && endedAt < invokedAt) complain('it ended before it began', record);
    if (endedAt === null && outcome !== 'unknown') complain('it has an outcome but no end', record);
    const before = latest.get(clientId);
    if ((before?.endedAt ?? -Infinity) > invokedAt && !areSentTogether(before!, record)) complain('its client had another operation under way', record);
    // A client that gave up without an answer may go on.
    if (endedAt !== null) latest.set(clientId, record);
    if (record.kind !== 'write') continue;
    if (record.value === null) complain('it has no value', record);
    else if (values.has(record.value)) complain('its value was written before', record);
    else values.add(record.value);
  }
  const opened = new Set(truth.epochs.map(({ epoch }) => epoch.id));
  const missing = new Set(truth.log.map(({ epochId }) => epochId).filter((epochId) => !opened.has(epochId)));
  for (const epochId of missing) violations.push(violation('malformed-history', `the log has operations of epoch ${epochId}, which is not among the epochs that were opened`));
  return violations;
}

function areSentTogether(one: HistoryRecord, other: HistoryRecord): boolean {
  return one.kind !== 'read' && other.kind !== 'read' && one.batch !== undefined && one.batch.id === other.batch?.id;
}
