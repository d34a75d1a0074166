/** Does this frame continue this history? Asked of every frame, from a file or from a peer. */
import type { EpochHistory } from '../base/epoch-history.ts';
import { ShiplogError } from '../base/errors.ts';
import type { Operation } from '../base/operation.ts';

/**
 * The history after a frame that follows it.
 * @throws ShiplogError `history-diverged` where the frame's epoch does not fit.
 */
export function historyAfter(
  history: EpochHistory,
  frame: { readonly firstLsn: number; readonly epochNumber: number },
  operations: readonly Operation[],
): EpochHistory {
  const first = operations[0];
  const current = history.current;
  if (first?.kind !== 'epoch-begin') {
    if (current?.number === frame.epochNumber) return history;
    throw diverged(`LSN ${frame.firstLsn} is of epoch ${frame.epochNumber}, expected ${current?.number ?? 'an epoch-begin record'}`);
  }
  if (first.epoch.number !== frame.epochNumber) {
    throw diverged(`the epoch-begin record at LSN ${frame.firstLsn} opens epoch ${first.epoch.number} in a frame of epoch ${frame.epochNumber}`);
  }
  if ((first.parent?.id ?? null) !== (current?.id ?? null) || first.parentEnd.lsn !== frame.firstLsn - 1) {
    throw diverged(
      `epoch ${first.epoch.number} continues epoch ${first.parent?.id ?? 'none'} at LSN ${first.parentEnd.lsn}, expected ${current?.id ?? 'none'} at LSN ${frame.firstLsn - 1}`,
    );
  }
  return history.opened(first.epoch, first.parentEnd);
}

function diverged(message: string): ShiplogError {
  return new ShiplogError('history-diverged', message);
}
