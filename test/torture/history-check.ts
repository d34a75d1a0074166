/**
 * Judges what was read against what was written. Pure: no clock, no network.
 *
 * A write is *effective* when it was acknowledged, or was unknown and then seen. Another write of the
 * same key *supersedes* it when it is effective and certainly later: it began after the first had ended,
 * or has a higher LSN in the same epoch. What is read must be a write that nothing supersedes.
 */
import type { WriteRecord } from './history.ts';

/** What one node shows for one key. */
export interface Reading {
  readonly key: string;
  /** Null where there is no such key. */
  readonly value: string | null;
  /** Position of the key's last write, where the node told it. */
  readonly position: string | undefined;
}

export interface Finding {
  /**
   * lost: an effective write is gone, or a client is told so. stale: an older value is there instead of it.
   * unsynced: a 200 left before the sync that covers its write. phantom: a value that nobody sent, or
   * that was refused. misplaced: a write with a wrong position. different: the nodes, or a node and its
   * log, do not hold the same. late: nothing is wrong but the time it took.
   */
  readonly kind: 'lost' | 'stale' | 'unsynced' | 'phantom' | 'misplaced' | 'different' | 'late';
  readonly key: string;
  readonly detail: string;
}

/** @param writes all writes of that key, whatever became of them. */
export function checkReading(reading: Reading, writes: readonly WriteRecord[]): Finding | undefined {
  return reading.value === null ? checkAbsence(reading.key, writes) : checkValue(reading, reading.value, writes);
}

/**
 * The same across epochs, for writes that are all in one history: there LSNs rise through every change of
 * the primary. What was set aside is left out.
 */
export function checkOneHistory(writes: readonly WriteRecord[]): readonly Finding[] {
  const ofOneEpoch = ({ position }: WriteRecord): string | undefined => (position === undefined ? undefined : `0.0000-${parsePosition(position).lsn}`);
  return checkPositions(writes.map((write) => ({ ...write, position: ofOneEpoch(write) })));
}

/**
 * Checks that positions are what they promise to be: no two acknowledged writes share one, and a write
 * that ended before another began has the lower one.
 */
export function checkPositions(writes: readonly WriteRecord[]): readonly Finding[] {
  const byEpoch = new Map<string, PositionedWrite[]>();
  for (const write of writes) {
    if (!isEffective(write) || write.position === undefined) continue;
    const { epoch, lsn } = parsePosition(write.position);
    const ofEpoch = byEpoch.get(epoch);
    if (ofEpoch === undefined) byEpoch.set(epoch, [{ write, lsn }]);
    else ofEpoch.push({ write, lsn });
  }
  return [...byEpoch.values()].flatMap((positioned) => [...reusedPositions(positioned), ...disorderedPositions(positioned)]);
}

function checkValue({ key, position }: Reading, value: string, writes: readonly WriteRecord[]): Finding | undefined {
  const shown = shorten(value);
  const write = writes.find((each) => each.value === value);
  if (write === undefined) return { kind: 'phantom', key, detail: `${shown} was never written to this key` };
  if (write.outcome === 'refused') return { kind: 'phantom', key, detail: `${shown} was refused` };
  if (write.seen === 'set-aside') return { kind: 'phantom', key, detail: `${shown} is in a salvage file and there all the same` };
  if (write.seen === 'absent') return { kind: 'phantom', key, detail: `${shown} was absent after its round and is there now` };
  const isMisplaced = position !== undefined && write.position !== undefined && position !== write.position;
  if (isMisplaced) return { kind: 'misplaced', key, detail: `${shown} is at ${position}, it was acknowledged at ${write.position}` };
  if (!isSuperseded(write, latestOf(writes))) return undefined;
  const later = writes.findLast((other) => isSuperseded(write, latestOf([other])));
  return { kind: 'stale', key, detail: `${shown} is there, but ${describe(later!)} came after it` };
}

function checkAbsence(key: string, writes: readonly WriteRecord[]): Finding | undefined {
  const lastEffective = writes.findLast(isEffective);
  if (lastEffective === undefined) return undefined;
  const latest = latestOf(writes);
  const isDeleted = writes.some((write) => write.value === null && mayHaveHappened(write) && !isSuperseded(write, latest));
  return isDeleted ? undefined : { kind: 'lost', key, detail: `${describe(lastEffective)} is not there` };
}

function isEffective(write: WriteRecord): boolean {
  return write.seen !== 'set-aside' && (write.outcome === 'acknowledged' || write.seen === 'present');
}

function mayHaveHappened(write: WriteRecord): boolean {
  if (write.seen === 'set-aside' || write.seen === 'absent') return false;
  return write.outcome === 'acknowledged' || write.outcome === 'unknown';
}

/** How late the latest effective write began, and the highest LSN of each epoch. */
interface Latest {
  readonly startMs: number;
  readonly lsnByEpoch: ReadonlyMap<string, number>;
}

function latestOf(writes: readonly WriteRecord[]): Latest {
  let startMs = Number.NEGATIVE_INFINITY;
  const lsnByEpoch = new Map<string, number>();
  for (const write of writes) {
    if (!isEffective(write)) continue;
    startMs = Math.max(startMs, write.startMs);
    if (write.position === undefined) continue;
    const { epoch, lsn } = parsePosition(write.position);
    lsnByEpoch.set(epoch, Math.max(lsn, lsnByEpoch.get(epoch) ?? 0));
  }
  return { startMs, lsnByEpoch };
}

function isSuperseded(write: WriteRecord, latest: Latest): boolean {
  if (write.endMs < latest.startMs) return true;
  if (write.position === undefined) return false;
  const { epoch, lsn } = parsePosition(write.position);
  return lsn < (latest.lsnByEpoch.get(epoch) ?? 0);
}

interface PositionedWrite {
  readonly write: WriteRecord;
  readonly lsn: number;
}

function reusedPositions(writes: readonly PositionedWrite[]): readonly Finding[] {
  const byLsn = new Map<number, WriteRecord>();
  const findings: Finding[] = [];
  for (const { write, lsn } of writes) {
    const other = byLsn.get(lsn);
    if (other !== undefined) findings.push({ kind: 'misplaced', key: write.key, detail: `${describe(write)} has the position of ${describe(other)}` });
    byLsn.set(lsn, write);
  }
  return findings;
}

/** Goes through beginnings and ends in the order of time: at each beginning, all that ended has a lower LSN. */
function disorderedPositions(writes: readonly PositionedWrite[]): readonly Finding[] {
  const byStart = writes.toSorted((a, b) => a.write.startMs - b.write.startMs);
  const byEnd = writes.toSorted((a, b) => a.write.endMs - b.write.endMs);
  const findings: Finding[] = [];
  let ended = 0;
  let highest: PositionedWrite | undefined;
  for (const { write, lsn } of byStart) {
    for (; ended < byEnd.length && byEnd[ended]!.write.endMs < write.startMs; ended += 1) {
      if (highest === undefined || byEnd[ended]!.lsn > highest.lsn) highest = byEnd[ended]!;
    }
    if (highest !== undefined && lsn < highest.lsn) {
      findings.push({ kind: 'misplaced', key: write.key, detail: `${describe(write)} began after ${describe(highest.write)} had ended` });
    }
  }
  return findings;
}

function parsePosition(position: string): { readonly epoch: string; readonly lsn: number } {
  const match = /^(\d+\.[0-9a-f]{4})-(\d+)$/.exec(position);
  if (match === null) throw new Error(`${JSON.stringify(position)} is no position, expected one like 1.c04d-42`);
  return { epoch: match[1]!, lsn: Number(match[2]) };
}

function describe(write: WriteRecord): string {
  const what = write.value === null ? `the delete of ${write.key}` : shorten(write.value);
  const at = write.position === undefined ? '' : ` at ${write.position}`;
  return `${what} (${write.outcome}${at}, round ${write.round})`;
}

function shorten(value: string): string {
  return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
}
