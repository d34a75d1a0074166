/** What nodes tell each other about themselves: the evidence on which every change of role rests. */
import { EpochHistory, type Epoch, type EpochRef, type LogPoint } from '../base/epoch-history.ts';
import { ShiplogError } from '../base/errors.ts';
import type { Member } from '../replication/member-list.ts';
import { isMemberList } from '../replication/stream-protocol.ts';
import type { RoleState } from '../role/role-machine.ts';
import type { EpochPromise, HeardPosition } from './promise-book.ts';

export interface PeerState {
  readonly nodeId: string;
  readonly name: string;
  readonly url: string;
  readonly state: RoleState;
  /** Null while it belongs to no cluster yet. */
  readonly clusterId: string | null;
  /** Epoch history up to `end`. */
  readonly history: EpochHistory;
  /** Durable end of its log, also while it fetches a snapshot. */
  readonly end: LogPoint;
  /** True where its log ends with an epoch-end record. */
  readonly isEnded: boolean;
  /** False while it has no consistent state to serve. */
  readonly isReady: boolean;
  /** True while a stream from its upstream is alive, and the primary's heartbeats come through it. */
  readonly isFollowing: boolean;
  readonly promises: readonly EpochPromise[];
  readonly heard: HeardPosition | null;
  readonly members: readonly Member[];
}

export function encodePeerState(state: PeerState): Record<string, unknown> {
  return { ...state, history: state.history.toJSON() };
}

/** @throws ShiplogError `peer-protocol` for anything that is not a state. */
export function parsePeerState(value: unknown): PeerState {
  const state = value as Record<string, unknown> | null;
  if (typeof state !== 'object' || state === null) throw wrong('an object');
  const { nodeId, name, url, clusterId, history, end, members } = state;
  if (!isId(nodeId) || typeof name !== 'string' || typeof url !== 'string' || typeof state['state'] !== 'string') throw wrong('who it is');
  if (clusterId !== null && !isId(clusterId)) throw wrong('its cluster');
  if (!isMemberList(members)) throw wrong('its members');
  if (!isLogPoint(end)) throw wrong('the end of its log');
  return {
    nodeId,
    name,
    url,
    state: state['state'] as RoleState,
    clusterId,
    history: parseHistory(history),
    end,
    isEnded: state['isEnded'] === true,
    isReady: state['isReady'] === true,
    isFollowing: state['isFollowing'] === true,
    promises: parsePromises(state['promises']),
    heard: state['heard'] === null ? null : parseHeard(state['heard']),
    members: members as readonly Member[],
  };
}

export function parseHistory(value: unknown): EpochHistory {
  try {
    return new EpochHistory((value as readonly Epoch[]).map(({ number, id, firstLsn, lastLsn, endChain }) => ({ number, id, firstLsn, lastLsn, endChain })));
  } catch (error) {
    throw new ShiplogError('peer-protocol', 'the peer sent an epoch history that is none', { cause: error });
  }
}

export function parsePromise(value: unknown): EpochPromise {
  const promise = value as Partial<EpochPromise> | null | undefined;
  const isValid = isEpochRef(promise?.epoch) && isId(promise?.targetNodeId) && typeof promise?.targetUrl === 'string' && (promise.kind === 'failover' || promise.kind === 'switchover');
  if (!isValid) throw wrong('a promise');
  return promise as EpochPromise;
}

function parsePromises(value: unknown): readonly EpochPromise[] {
  if (!Array.isArray(value)) throw wrong('its promises');
  return value.map(parsePromise);
}

function parseHeard(value: unknown): HeardPosition {
  const heard = value as Partial<HeardPosition> | null | undefined;
  if (!isEpochRef(heard?.epoch) || !Number.isSafeInteger(heard?.lsn) || !isId(heard?.primaryNodeId)) throw wrong('what it heard of the primary');
  return heard as HeardPosition;
}

export function isId(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{32}$/.test(value);
}

export function isEpochRef(value: unknown): value is EpochRef {
  const ref = value as Partial<EpochRef> | null | undefined;
  return typeof ref === 'object' && ref !== null && Number.isSafeInteger(ref.number) && isId(ref.id);
}

function isLogPoint(value: unknown): value is LogPoint {
  const point = value as Partial<LogPoint> | null | undefined;
  return typeof point === 'object' && point !== null && Number.isSafeInteger(point.lsn) && Number.isSafeInteger(point.chain);
}

function wrong(what: string): ShiplogError {
  return new ShiplogError('peer-protocol', `the peer sent a state that does not say ${what}`);
}
