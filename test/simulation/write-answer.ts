/** What the answer to a write, or that none came, says about it. */
import { type ErrorCode, isShiplogError, unreachable } from '../../lib/base/errors.ts';
import { type Position, parsePosition } from '../../lib/base/position.ts';
import type { ReachedAck } from '../../lib/node/node-api.ts';
import type { Outcome } from './connection.ts';
import type { MutationOutcome } from './history-record.ts';

export interface WriteAnswer {
  readonly outcome: MutationOutcome;
  readonly ackReached: ReachedAck | null;
  readonly position: Position | null;
}

/** @param isPlain it writes whatever it finds: no delete, and no condition. */
export function writeAnswerOf(outcome: Outcome<WriteAnswer>, isPlain: boolean): WriteAnswer {
  return outcome.kind === 'answered' ? outcome.value : withoutAnswer(outcome, isPlain);
}

/**
 * One for each operation of a batch.
 * @param isPlain as above, of all of them.
 */
export function batchAnswersOf(outcome: Outcome<readonly WriteAnswer[]>, count: number, isPlain: boolean): readonly WriteAnswer[] {
  if (outcome.kind === 'answered') return outcome.value;
  const answer = withoutAnswer(outcome, isPlain);
  // Of a batch that was passed on, it tells what the primary showed then, which may be more than the batch's own end.
  if (answer.outcome === 'position-lost') return Array.from({ length: count }, () => ({ outcome: 'unknown', ackReached: null, position: null }));
  // Errors tell the position of the last operation, where there is one.
  const { position } = answer;
  return Array.from({ length: count }, (_, index) => ({ ...answer, position: position === null || !isPlain ? null : { ...position, lsn: position.lsn - (count - 1 - index) } }));
}

function withoutAnswer(outcome: Exclude<Outcome<unknown>, { readonly kind: 'answered' }>, isPlain: boolean): WriteAnswer {
  switch (outcome.kind) {
    case 'not-sent':
      return { outcome: 'failed', ackReached: null, position: null };
    case 'no-answer':
      return { outcome: 'unknown', ackReached: null, position: null };
    case 'refused':
      return refusedWrite(outcome.error, isPlain);
    default:
      return unreachable(outcome);
  }
}

function refusedWrite(error: unknown, isPlain: boolean): WriteAnswer {
  if (!isShiplogError(error)) return { outcome: 'unknown', ackReached: null, position: null };
  const told = error.extra['position'];
  const position = typeof told === 'string' ? (parsePosition(told) ?? null) : null;
  switch (error.code) {
    case 'position-lost':
      // Taken into memory: it has no position to be lost.
      return { outcome: position === null ? 'unknown' : 'position-lost', ackReached: null, position };
    // `not-shown-yet` tells a position of the primary, not the write's own.
    case 'ack-timeout':
      // A delete or a condition may also have waited for the write that its refusal rests on; the answer does not say.
      return position === null || !isPlain ? { outcome: 'unknown', ackReached: null, position: null } : { outcome: 'ack-timeout', ackReached: null, position };
    default:
      return { outcome: NOT_CARRIED_OUT.has(error.code) ? 'failed' : 'unknown', ackReached: null, position: null };
  }
}

/** Refusals that promise that nothing was stored. */
const NOT_CARRIED_OUT: ReadonlySet<ErrorCode> = new Set([
  'not-ready',
  'not-primary',
  'no-primary',
  'read-only-replica',
  'too-few-members',
  'too-few-replicas',
  'overloaded',
  'stopping',
  'disk-full',
  'timeout',
]);
