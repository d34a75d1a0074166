/**
 * Check 3: nothing is lost, nothing comes from nowhere, nothing happens twice.
 *
 * Where things may be: the surviving log, or a salvage file. What a client was told is stored, or was
 * shown once, is in one of them. It may only be missing from the log
 * - where the epoch that left it behind was no switchover: those lose nothing;
 * - and, if replicas had confirmed it whose disks were not destroyed afterwards, where that epoch was forced, within the loss that was accepted.
 *   That is counted from the highest position that the promotion knew of; of what nobody had announced
 *   to it, it has to keep what was confirmed by at least `safeAck` replicas.
 * Salvage may be missing only where the disk of the primary that took the write was destroyed, or where
 * its file says that it is incomplete.
 *
 * Deletes have no value: one is known by its position. Those without one are counted by key.
 */
import { formatPosition } from '../../../lib/base/position.ts';
import type { CheckReport, HistoryRecord, MutationRecord, OpenedEpoch, ReadRecord, Violation } from '../history-record.ts';
import { describeRecord, violation } from './describe-record.ts';
import type { Lineages } from './lineages.ts';
import { confirmations, isAnsweredRead, isMutation, isStored, mayBeStored } from './mutation.ts';

export function checkSet(records: readonly HistoryRecord[], lineages: Lineages): CheckReport {
  const mutations = records.filter(isMutation);
  const reads = records.filter(isAnsweredRead);
  const sent = new Map(mutations.flatMap((record) => (record.value === null ? [] : [[record.value, record] as const])));
  const violations = [
    ...mutations.filter(isStored).flatMap((record) => judgeStored(record, lineages)),
    ...lossesBeyondAccepted(lineages),
    ...wrongSalvage(lineages),
    ...reads.flatMap((read) => judgeSeen(read, sent, lineages)),
    ...judgeLog(sent, lineages),
    ...judgeDeletes(mutations, lineages),
  ];
  return { checkedCount: mutations.filter(isStored).length, violations };
}

function judgeStored(record: MutationRecord, lineages: Lineages): readonly Violation[] {
  const { value, position } = record;
  const survives = value === null ? position === null || lineages.survives(position) : lineages.lsnOfValue(value) !== undefined;
  if (survives) return [];
  if (position === null) return [violation('lost', `it is not in the log, and its answer told no position: ${describeRecord(record)}`, record)];
  const { by, forkLsn } = lineages.leftBehind(position);
  const complaint = complaintAbout(record, by, forkLsn, lineages) ?? (isSetAside(record, lineages) ? undefined : 'it is in no salvage file');
  if (complaint === undefined) return [];
  return [violation('lost', `it is not in the log: ${complaint}: ${describeRecord(record)}`, record)];
}

/** Why this epoch had no right to leave the write behind; undefined where it had. */
function complaintAbout(record: MutationRecord, by: OpenedEpoch | undefined, forkLsn: number, lineages: Lineages): string | undefined {
  const { lsn } = record.position!;
  if (by === undefined || lsn <= forkLsn) return 'no promotion left it behind';
  const name = `epoch ${by.epoch.number}, which began after LSN ${forkLsn}`;
  if (by.begin === 'switchover' || by.begin === 'first') return `${name} (${by.begin}) may not leave anything behind`;
  // Left behind by an unforced promotion directly, and by a forced one later: the first is guilty all the same.
  const unforced = lineages.truth.epochs.filter((opened) => opened.begin !== 'forced' && opened.parent?.id === lineages.epochOf(record.position!)?.epoch.id && opened.firstLsn <= lsn);
  const switchover = unforced.find(({ begin }) => begin === 'switchover');
  if (switchover !== undefined) return `epoch ${switchover.epoch.number} (switchover) may not leave anything behind`;
  // Each of those that confirmed it may have been one whose disk was lost afterwards.
  if (confirmations(record) <= lineages.ruinsAfter(record.endedAt ?? record.invokedAt, lineages.epochOf(record.position!)?.nodeId)) return undefined;
  if (unforced.length > 0) return `epoch ${unforced[0]!.epoch.number} (${unforced[0]!.begin}) was not forced, and ${confirmations(record)} replicas had confirmed it`;
  if (by.begin !== 'forced') return `${name} (${by.begin}) was not forced, and ${confirmations(record)} replicas had confirmed it`;
  if (by.acceptedLoss === null) return undefined;
  if (by.announcedLsn === null) return lsn - forkLsn > by.acceptedLoss ? `${name}, was to give up ${by.acceptedLoss} operations at most` : undefined;
  const wasCalledSafe = lsn > by.announcedLsn && by.safeAck !== null && confirmations(record) >= by.safeAck;
  return wasCalledSafe ? `${name}, said that writes confirmed by ${by.safeAck} replicas are safe` : undefined;
}

function isSetAside(record: MutationRecord, lineages: Lineages): boolean {
  const { value, key } = record;
  const position = record.position!;
  if (value !== null && lineages.isSalvaged(value)) return true;
  const text = formatPosition(position);
  if (value === null && lineages.salvagedWritesOf(key).some((write) => write.value === null && formatPosition(write.position) === text)) return true;
  if (lineages.isRuined(lineages.epochOf(position)?.nodeId)) return true;
  return lineages.truth.salvage.some((file) => !file.isComplete && lineages.includes(file.throughPosition, position));
}

function lossesBeyondAccepted(lineages: Lineages): readonly Violation[] {
  return lineages.truth.epochs.flatMap(({ epoch, begin, firstLsn, announcedLsn, acceptedLoss }) => {
    const given = announcedLsn === null ? 0 : announcedLsn - (firstLsn - 1);
    if (begin !== 'forced' || acceptedLoss === null || given <= acceptedLoss) return [];
    return [violation('loss-beyond-accepted', `epoch ${epoch.number} began after LSN ${firstLsn - 1} though LSN ${announcedLsn} had been announced: ${given} operations given up, accepted were ${acceptedLoss}`)];
  });
}

function wrongSalvage(lineages: Lineages): readonly Violation[] {
  return lineages.truth.salvage.flatMap((file) =>
    file.operations
      .filter(({ position }) => lineages.survives(position))
      .map(({ position, operation }) => violation('wrong-salvage', `${file.name} of ${file.nodeId} holds a ${operation.kind} of ${operation.key} at ${formatPosition(position)}, which survives`)),
  );
}

function judgeSeen(read: ReadRecord, sent: ReadonlyMap<string, MutationRecord>, lineages: Lineages): readonly Violation[] {
  const { value, key } = read;
  if (value === null) return [];
  const write = sent.get(value);
  const complaint = phantomReason(key, write);
  if (complaint !== undefined) return [violation('phantom', `${complaint}: ${describeRecord(read)}`, read)];
  if (read.endedAt !== null && read.endedAt < write!.invokedAt) return [violation('phantom', `it was read before it was sent: ${describeRecord(read)}; ${describeRecord(write!)}`, read, write!)];
  if (lineages.lsnOfValue(value) !== undefined || lineages.isSalvaged(value)) return [];
  const opened = read.position === null ? undefined : lineages.epochOf(read.position);
  const mayBeGone = opened !== undefined && !lineages.survives(read.position!) && (lineages.isRuined(opened.nodeId) || lineages.truth.salvage.some((file) => !file.isComplete));
  return mayBeGone ? [] : [violation('lost', `it was read once, and is neither in the log nor in a salvage file: ${describeRecord(read)}`, read)];
}

function judgeLog(sent: ReadonlyMap<string, MutationRecord>, lineages: Lineages): readonly Violation[] {
  const violations: Violation[] = [];
  const seen = new Map<string, string>();
  const judge = (key: string, value: string, where: string): void => {
    const write = sent.get(value);
    const complaint = phantomReason(key, write);
    if (complaint !== undefined) violations.push(violation('phantom', `${complaint}: ${key} = ${JSON.stringify(value)} ${where}`, ...(write === undefined ? [] : [write])));
  };
  for (const logged of lineages.truth.log) {
    const { operation } = logged;
    if (operation.kind !== 'put') continue;
    const where = `at ${formatPosition(lineages.positionOf(logged))} of the log`;
    judge(operation.key, operation.value, where);
    const other = seen.get(operation.value);
    if (other !== undefined) violations.push(violation('duplicate', `${operation.key} = ${JSON.stringify(operation.value)} is ${other} and ${where}`, ...recordsOf(sent.get(operation.value))));
    seen.set(operation.value, where);
  }
  for (const file of lineages.truth.salvage) {
    for (const { position, operation } of file.operations) {
      if (operation.kind !== 'put') continue;
      const where = `at ${formatPosition(position)} in ${file.name} of ${file.nodeId}`;
      judge(operation.key, operation.value, where);
      const other = seen.get(operation.value);
      if (other !== undefined && !lineages.survives(position)) violations.push(violation('duplicate', `${operation.key} = ${JSON.stringify(operation.value)} is ${other} and ${where}`, ...recordsOf(sent.get(operation.value))));
    }
  }
  return violations;
}

/** Every delete in the log has somebody who asked for it, and every one that was answered is there. */
function judgeDeletes(mutations: readonly MutationRecord[], lineages: Lineages): readonly Violation[] {
  const asked = Map.groupBy(mutations.filter(({ kind }) => kind === 'delete'), ({ key }) => key);
  const keys = new Set([...asked.keys(), ...lineages.truth.log.flatMap(({ operation }) => (operation.kind === 'delete' ? [operation.key] : []))]);
  return [...keys].flatMap((key) => {
    const deletes = asked.get(key) ?? [];
    const logged = lineages.survivingWritesOf(key).filter(({ value }) => value === null).length;
    const setAside = lineages.salvagedWritesOf(key).filter(({ value }) => value === null).length;
    const possible = deletes.filter(mayBeStored).filter(({ position }) => position === null || lineages.survives(position));
    const stored = deletes.filter(isStored).filter(({ position }) => position === null || lineages.survives(position));
    const withoutPosition = stored.filter(({ position }) => position === null);
    if (logged > possible.length) return [violation('phantom', `the log holds ${logged} deletes of ${key}, but only ${possible.length} were asked for that can be there`, ...possible)];
    const mayBeGone = lineages.truth.ruins.length > 0 || lineages.truth.salvage.some((file) => !file.isComplete);
    if (withoutPosition.length > 0 && !mayBeGone && stored.length > logged + setAside) {
      return [violation('lost', `${stored.length} deletes of ${key} were answered, but log and salvage files hold only ${logged + setAside}: ${withoutPosition.map(describeRecord).join('; ')}`, ...withoutPosition)];
    }
    return [];
  });
}

function phantomReason(key: string, write: MutationRecord | undefined): string | undefined {
  if (write === undefined) return 'nobody ever sent this value';
  if (write.key !== key) return `this value was sent for another key (${describeRecord(write)})`;
  if (write.outcome === 'failed') return `this write was refused (${describeRecord(write)})`;
  return undefined;
}

function recordsOf(record: MutationRecord | undefined): readonly MutationRecord[] {
  return record === undefined ? [] : [record];
}
