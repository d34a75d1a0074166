/** Does this frame continue this history? Asked of every frame, from a file or from a peer. */
import type { EpochHistory, EpochRef, LogPoint } from '../base/epoch-history.ts';
import { ShiplogError } from '../base/errors.ts';
import type { EpochEndOperation, Operation } from '../base/operation.ts';

/**
 * The history after a frame that follows it. An epoch-begin record has to name the end of its parent
 * as it is: the LSN before it and, where the caller knows it, the chain there.
 * @throws ShiplogError `history-diverged` where the frame's epoch does not fit.
 */
export function historyAfter(
  history: EpochHistory,
  frame: { readonly firstLsn: number; readonly epochNumber: number; readonly chainBefore?: number },
  operations: readonly Operation[],
): EpochHistory {
  const first = operations[0];
  const current = history.current;
  const { firstLsn, chainBefore } = frame;
  if (first?.kind !== 'epoch-begin') {
    if (current?.number === frame.epochNumber) return history;
    throw diverged(`LSN ${firstLsn} is of epoch ${frame.epochNumber}, expected ${current?.number ?? 'an epoch-begin record'}`);
  }
  if (first.epoch.number !== frame.epochNumber) {
    throw diverged(`the epoch-begin record at LSN ${firstLsn} opens epoch ${first.epoch.number} in a frame of epoch ${frame.epochNumber}`);
  }
  const { epoch, parent, parentEnd } = first;
  const continues =
    parent?.id === current?.id && parent?.number === current?.number && epoch.number > (current?.number ?? 0);
  const isAtEnd = parentEnd.lsn === firstLsn - 1 && (chainBefore === undefined || parentEnd.chain === chainBefore);
  if (!continues || !isAtEnd) {
    const expected = { lsn: firstLsn - 1, chain: chainBefore ?? parentEnd.chain };
    throw diverged(`epoch ${epoch.number} continues ${nameOf(parent, parentEnd)}, expected ${nameOf(current, expected)}`);
  }
  return history.opened(first.epoch, first.parentEnd);
}

/**
 * The epoch-end record with which the log now ends, if it does. After one, the log takes nothing but
 * an epoch-begin record: neither from a restarted primary nor from a peer. Only a log that was handed
 * over can begin an epoch by switchover (which can't be said where what came before was not read).
 * @throws ShiplogError `history-diverged` where the frame does not fit.
 */
export function endAfter(ended: EpochEndOperation | undefined, firstLsn: number, operations: readonly Operation[], isBeforeKnown = true): EpochEndOperation | undefined {
  const first = operations[0];
  if (ended !== undefined && first?.kind !== 'epoch-begin') {
    throw diverged(`LSN ${firstLsn} follows the end of its epoch, expected the epoch-begin record of epoch ${ended.nextEpoch.number}`);
  }
  if (isBeforeKnown && ended === undefined && first?.kind === 'epoch-begin' && first.begin === 'switchover') {
    throw diverged(`epoch ${first.epoch.number} begins by switchover at LSN ${firstLsn}, but the epoch before it was not ended`);
  }
  const end = operations.find((operation) => operation.kind === 'epoch-end');
  if (end !== undefined && operations.length > 1) throw diverged(`the epoch-end record at LSN ${firstLsn} is not alone in its frame`);
  return end;
}

function nameOf(epoch: EpochRef | null | undefined, end: LogPoint): string {
  return `epoch ${epoch?.number ?? 0} (${epoch?.id ?? 'none'}) at LSN ${end.lsn} with chain ${end.chain}`;
}

function diverged(message: string): ShiplogError {
  return new ShiplogError('history-diverged', message);
}
