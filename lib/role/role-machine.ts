/**
 * What a node is doing, as a pure machine: (state, event) → {state, effects}. The node carries the
 * effects out; nothing else decides about roles.
 */
import { assert, unreachable } from '../base/errors.ts';

export type RoleState =
  /** Recovering, then asking the members what happened meanwhile; answers nothing yet. */
  | 'starting'
  /** Takes writes in its own epoch. */
  | 'primary'
  /** A primary that hands over: new writes wait, those taken are finished, then the epoch ends. */
  | 'handing-over'
  /** Its log ends with an epoch-end record: takes no write until the target has opened its epoch, or given it up. */
  | 'handed-over'
  /** A replica without a consistent state: fetching a snapshot, storing the stream beside it. */
  | 'bootstrapping'
  /** A replica that serves reads and follows. */
  | 'following'
  /** A replica that has promised itself to a promotion: follows nobody, confirms nothing. */
  | 'promised'
  /** Was the primary, and is not any more: acknowledges nothing, serves no reads, looks for whom to follow. */
  | 'fenced'
  /** A replica whose history left the primary's: serves no reads, waits for a decision. */
  | 'diverged'
  | 'stopping'
  /** The log or the store failed: no writes, no reads; the process ends with a distinct exit code. */
  | 'failed';

export type RoleEvent =
  | 'recovered-as-primary'
  | 'recovered-as-replica'
  | 'recovered-without-data'
  /** The log ends with an epoch-end record of this node's own. */
  | 'recovered-handed-over'
  | 'recovered-promised'
  | 'snapshot-installed'
  /** Meanwhile this node has promised itself to a promotion. */
  | 'snapshot-installed-promised'
  /** The upstream no longer has our position (410). */
  | 'position-gone'
  /** We hold operations that the primary's history lacks, and they are not ours to set aside. */
  | 'history-diverged'
  | 'handover-begun'
  /** Nothing was written that ends the epoch. */
  | 'handover-failed'
  | 'epoch-ended'
  | 'promised'
  /** The promotion that we were promised to was given up. */
  | 'released'
  /** The same, on a primary that had ended its epoch before: it waits for its own target again. */
  | 'released-handed-over'
  /** Our epoch-begin record is durable. */
  | 'epoch-opened'
  /** Another node has opened an epoch that ours is not part of, or has more of ours than we do. */
  | 'superseded'
  /** There is a primary whose history contains ours. */
  | 'primary-found'
  /** Our own operations beyond the fork are set aside; the data is replaced by a snapshot. */
  | 'reseed'
  /** An operator allows what `history-diverged` waited for. */
  | 'rejoin-allowed'
  | 'stop-requested'
  | 'fault';

export type RoleEffect = 'take-writes' | 'start-receiver' | 'stop-receiver' | 'bootstrap' | 'drop-followers' | 'stop-serving';

interface Transition {
  readonly to: RoleState;
  readonly effects: readonly RoleEffect[];
}

const STOP: Transition = { to: 'stopping', effects: ['stop-serving'] };
const FAIL: Transition = { to: 'failed', effects: ['stop-serving'] };
const PRIMARY: Transition = { to: 'primary', effects: ['take-writes'] };
const FOLLOW: Transition = { to: 'following', effects: ['start-receiver'] };
const PROMISED: Transition = { to: 'promised', effects: [] };
const BOOTSTRAP: Transition = { to: 'bootstrapping', effects: ['bootstrap'] };
const DIVERGED: Transition = { to: 'diverged', effects: [] };
// Whoever still follows must not get more of what will not survive.
const FENCED: Transition = { to: 'fenced', effects: ['drop-followers'] };

const TRANSITIONS: Readonly<Record<RoleState, Partial<Record<RoleEvent, Transition>>>> = {
  starting: {
    'recovered-as-primary': PRIMARY,
    'recovered-as-replica': FOLLOW,
    'recovered-without-data': BOOTSTRAP,
    'recovered-handed-over': { to: 'handed-over', effects: [] },
    'recovered-promised': PROMISED,
    // It had diverged before the restart.
    'history-diverged': DIVERGED,
    superseded: FENCED,
    'primary-found': FOLLOW,
    'stop-requested': STOP,
    fault: FAIL,
  },
  primary: {
    'handover-begun': { to: 'handing-over', effects: [] },
    superseded: FENCED,
    'stop-requested': STOP,
    fault: FAIL,
  },
  'handing-over': {
    'handover-failed': PRIMARY,
    'epoch-ended': { to: 'handed-over', effects: [] },
    superseded: FENCED,
    // A primary that begins another epoch of its own.
    'epoch-opened': PRIMARY,
    'stop-requested': STOP,
    fault: FAIL,
  },
  'handed-over': {
    'epoch-opened': PRIMARY,
    promised: PROMISED,
    'primary-found': FOLLOW,
    superseded: FENCED,
    'history-diverged': DIVERGED,
    'stop-requested': STOP,
    fault: FAIL,
  },
  bootstrapping: {
    'snapshot-installed': FOLLOW,
    'snapshot-installed-promised': PROMISED,
    // The snapshot lacks what this node holds: nothing is replaced.
    'history-diverged': DIVERGED,
    superseded: FENCED,
    'stop-requested': STOP,
    fault: FAIL,
  },
  following: {
    'position-gone': { to: 'bootstrapping', effects: ['stop-receiver', 'bootstrap'] },
    'history-diverged': { to: 'diverged', effects: ['stop-receiver'] },
    promised: { to: 'promised', effects: ['stop-receiver'] },
    'epoch-opened': { to: 'primary', effects: ['stop-receiver', 'take-writes'] },
    'primary-found': { to: 'following', effects: ['stop-receiver', 'start-receiver'] },
    superseded: { to: 'fenced', effects: ['stop-receiver', 'drop-followers'] },
    'stop-requested': STOP,
    fault: FAIL,
  },
  promised: {
    released: FOLLOW,
    'released-handed-over': { to: 'handed-over', effects: [] },
    'primary-found': FOLLOW,
    'epoch-opened': PRIMARY,
    superseded: FENCED,
    'history-diverged': DIVERGED,
    'stop-requested': STOP,
    fault: FAIL,
  },
  fenced: {
    'primary-found': FOLLOW,
    reseed: BOOTSTRAP,
    'epoch-opened': PRIMARY,
    'history-diverged': DIVERGED,
    superseded: { to: 'fenced', effects: [] },
    'stop-requested': STOP,
    fault: FAIL,
  },
  diverged: {
    'rejoin-allowed': FENCED,
    // What it holds beyond the fork of a later epoch is its own to set aside.
    superseded: FENCED,
    'primary-found': FOLLOW,
    'epoch-opened': PRIMARY,
    'stop-requested': STOP,
    fault: FAIL,
  },
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
    case 'handing-over':
    case 'handed-over':
    case 'following':
    case 'promised':
    case 'stopping':
      return true;
    case 'starting':
    case 'bootstrapping':
    case 'fenced':
    case 'diverged':
    case 'failed':
      return false;
    default:
      return unreachable(state);
  }
}

/** Does the node commit what was taken, in its own epoch? */
export function commitsWrites(state: RoleState): boolean {
  return state === 'primary' || state === 'handing-over';
}
