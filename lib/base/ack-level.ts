/**
 * How durable a write has to be before it is answered.
 *
 *   memory   taken by the primary: not synced yet, not readable yet
 *   local    synced by the primary
 *   <n>      synced also by so many replicas
 *   all      synced also by every other member
 */
export type AckLevel = 'memory' | 'local' | 'all' | number;

/** What a write has reached; a number counts replicas. */
export type ReachedAck = 'memory' | 'local' | number;

/** More digits than there can be members. */
const COUNT_PATTERN = /^[1-9]\d{0,3}$/;

export const ACK_LEVEL_EXPECTED = 'memory, local, all, or a number of replicas from 1 on';

/** Undefined where the text names no level: the caller knows how to complain. */
export function parseAckLevel(text: string): AckLevel | undefined {
  if (text === 'memory' || text === 'local' || text === 'all') return text;
  return COUNT_PATTERN.test(text) ? Number(text) : undefined;
}

/** The stronger of two levels. `all` counts as more than any number: where it is less, the number can't be reached. */
export function strongerAck(one: AckLevel, other: AckLevel): AckLevel {
  return rank(one) >= rank(other) ? one : other;
}

function rank(level: AckLevel): number {
  switch (level) {
    case 'memory':
      return -1;
    case 'local':
      return 0;
    case 'all':
      return Number.POSITIVE_INFINITY;
    default:
      return level;
  }
}
