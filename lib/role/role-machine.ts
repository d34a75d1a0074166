/**
 * What a node is doing, as a pure machine: (state, event) → {state, effects}. The node carries the
 * effects out; nothing else decides about roles.
 */
import { assert, unreachable } from '../base/errors.ts';

export type RoleState =
  /** Recovering; answers nothing yet. */
  | 'starting'
  /** Takes writes in its own epoch. */
  | 'primary'
  /** A replica without a consistent state: fetching a snapshot, storing the stream beside it. */
  | 'bootstrapping'
  /** A replica that serves reads and follows. */
  | 'following'
  /** A replica whose history left the primary's: serves no reads, waits for a decision. */
  | 'diverged'
  | 'stopping'
  /** The log or the store failed: no writes, no reads; the process ends with a distinct exit code. */
  | 'failed';

export type RoleEvent =
  | 'recovered-as-primary'
  | 'recovered-as-replica'
  | 'recovered-without-data'
  | 'snapshot-installed'
  /** The upstream no longer has our position (410). */
  | 'position-gone'
  /** The upstream says that our history is not its own (409). */
  | 'history-diverged'
  | 'stop-requested'
  | 'fault';

export type RoleEffect = 'take-writes' | 'start-receiver' | 'stop-receiver' | 'bootstrap' | 'stop-serving';

interface Transition {
  readonly to: RoleState;
  readonly effects: readonly RoleEffect[];
}

const STOP: Transition = { to: 'stopping', effects: ['stop-serving'] };
const FAIL: Transition = { to: 'failed', effects: ['stop-serving'] };

const TRANSITIONS: Readonly<Record<RoleState, Partial<Record<RoleEvent, Transition>>>> = {
  starting: {
    'recovered-as-primary': { to: 'primary', effects: ['take-writes'] },
    'recovered-as-replica': { to: 'following', effects: ['start-receiver'] },
    'recovered-without-data': { to: 'bootstrapping', effects: ['bootstrap'] },
    'stop-requested': STOP,
    fault: FAIL,
  },
  primary: { 'stop-requested': STOP, fault: FAIL },
  bootstrapping: {
    'snapshot-installed': { to: 'following', effects: ['start-receiver'] },
    // The snapshot lacks what this node holds: nothing is replaced.
    'history-diverged': { to: 'diverged', effects: [] },
    'stop-requested': STOP,
    fault: FAIL,
  },
  following: {
    'position-gone': { to: 'bootstrapping', effects: ['stop-receiver', 'bootstrap'] },
    'history-diverged': { to: 'diverged', effects: ['stop-receiver'] },
    'stop-requested': STOP,
    fault: FAIL,
  },
  diverged: { 'stop-requested': STOP, fault: FAIL },
  stopping: { 'stop-requested': { to: 'stopping', effects: [] }, fault: FAIL },
  failed: { 'stop-requested': { to: 'failed', effects: [] }, fault: { to: 'failed', effects: [] } },
};

/** @throws AssertionError for an event that has no meaning in the state: a bug of this program. */
export function transition(state: RoleState, event: RoleEvent): { readonly state: RoleState; readonly effects: readonly RoleEffect[] } {
  const found = TRANSITIONS[state][event];
  assert(found !== undefined, `the event ${event} has no meaning while ${state}`);
  return { state: found.to, effects: found.effects };
}

/** May data be read in this state? */
export function servesReads(state: RoleState): boolean {
  switch (state) {
    case 'primary':
    case 'following':
    case 'stopping':
      return true;
    case 'starting':
    case 'bootstrapping':
    case 'diverged':
    case 'failed':
      return false;
    default:
      return unreachable(state);
  }
}
