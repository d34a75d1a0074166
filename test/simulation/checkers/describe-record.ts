/** Names records in violations the way one reads them in a trace. */
import { unreachable } from '../../../lib/base/errors.ts';
import { formatPosition } from '../../../lib/base/position.ts';
import type { HistoryRecord, Violation, ViolationCode } from '../history-record.ts';

/** For example `write #12 of a = "v12" by c1 (5–9, ok at 1.c04d-7, ack 1)`. */
export function describeRecord(record: HistoryRecord): string {
  const when = `${record.invokedAt}–${record.endedAt ?? 'never'}`;
  const at = record.position === null ? '' : ` at ${formatPosition(record.position)}`;
  const min = record.minPosition === null ? '' : `, min ${formatPosition(record.minPosition)}`;
  const which = record.kind === 'read' || record.batch === undefined ? `#${record.id}` : `#${record.id} of batch #${record.batch.id},`;
  const by = `by ${record.clientId} on ${record.nodeId}`;
  switch (record.kind) {
    case 'write':
      return `write ${which} of ${record.key} = ${JSON.stringify(record.value)} ${by} (${when}, ${record.outcome}${at}, ack ${record.ackReached ?? 'untold'}${min})`;
    case 'delete':
      return `delete ${which} of ${record.key} ${by} (${when}, ${record.outcome}${at}, ack ${record.ackReached ?? 'untold'}${min})`;
    case 'read':
      return `read #${record.id} of ${record.key} ${by} (${when}, ${record.outcome} ${record.value === null ? 'nothing' : JSON.stringify(record.value)}${at}${min})`;
    default:
      return unreachable(record);
  }
}

export function violation(code: ViolationCode, message: string, ...records: readonly HistoryRecord[]): Violation {
  return { code, message, recordIds: records.map((record) => record.id) };
}
