/**
 * What a node has once called durable is there at its next start on the same disk, unless it lies in no
 * history that this one continues: then it was given up in a rejoin. Acknowledgements count nodes, so a
 * node that forgets makes them worth one node less, though no client may ever notice.
 */
import type { EpochHistory } from '../../../lib/base/epoch-history.ts';
import { type Position, epochTagOf } from '../../../lib/base/position.ts';

export function hasForgotten(before: Position, now: { readonly history: EpochHistory; readonly durable: Position }): boolean {
  const { history, durable } = now;
  // A node without data begins anew with a snapshot, and says so.
  if (durable.lsn === 0 || durable.lsn >= before.lsn) return false;
  const epoch = history.epochs.find(({ number }) => number === before.epochNumber);
  if (epoch === undefined) return durable.epochNumber < before.epochNumber;
  const isGivenUp = epochTagOf(epoch.id) !== before.epochTag || (epoch.lastLsn !== null && before.lsn > epoch.lastLsn);
  return !isGivenUp;
}
