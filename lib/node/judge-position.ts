/** Whether a position that a client hands back is in this node's history. Pure. */
import type { EpochHistory } from '../base/epoch-history.ts';
import type { Position } from '../base/position.ts';

export type PositionVerdict =
  /** Reads show it. */
  | 'reached'
  /** It may still come: later in this history, or in an epoch that this node has not heard of. */
  | 'possible'
  /** This history went on without it. */
  | 'lost';

export function judgePosition(position: Position, log: { readonly history: EpochHistory; readonly visibleLsn: number }): PositionVerdict {
  const { history, visibleLsn } = log;
  if (position.lsn === 0) return 'reached';
  const own = history.epochs.find((epoch) => epoch.number === position.epochNumber);
  if (own === undefined) return position.epochNumber > (history.current?.number ?? 0) ? 'possible' : 'lost';
  // Two open epochs of one number: which of them survives is not decided before one of them is promoted.
  if (!own.id.startsWith(position.epochTag)) return own.lastLsn === null ? 'possible' : 'lost';
  if (position.lsn < own.firstLsn) return 'lost';
  if (own.lastLsn !== null && position.lsn > own.lastLsn) return 'lost';
  return position.lsn <= visibleLsn ? 'reached' : 'possible';
}

/** Later of two positions: by epoch, then by LSN. */
export function isLater(one: Position, other: Position): boolean {
  return one.epochNumber === other.epochNumber ? one.lsn > other.lsn : one.epochNumber > other.epochNumber;
}
