/** What the outcome of a write or delete says about its effect. Every checker asks here, so that they agree. */
import type { HistoryRecord, MutationRecord, ReadRecord } from '../history-record.ts';

export function isMutation(record: HistoryRecord): record is MutationRecord {
  return record.kind !== 'read';
}

/** A read that was answered with data: a value, or that there is none. */
export function isAnsweredRead(record: HistoryRecord): record is ReadRecord {
  return record.kind === 'read' && (record.outcome === 'ok' || record.outcome === 'not-found');
}

/** The client was told that it is durable on the primary. `memory` promises nothing. */
export function isStored(record: MutationRecord): boolean {
  return record.outcome === 'ack-timeout' || (record.outcome === 'ok' && record.ackReached !== 'memory');
}

/** It may be in the log, now or later. */
export function mayBeStored(record: MutationRecord): boolean {
  return record.outcome !== 'failed' && record.outcome !== 'not-found';
}

/** On how many replicas it was confirmed. */
export function confirmations(record: MutationRecord): number {
  return record.outcome === 'ok' && typeof record.ackReached === 'number' ? record.ackReached : 0;
}
