/**
 * What another node's state means for this one. Pure. Only histories count: a number alone, or a
 * client's word, is no evidence, so a node of another cluster can fence nobody.
 */
import { type EpochHistory, type LogPoint, forkPoint } from '../base/epoch-history.ts';

export interface JudgedLog {
  readonly clusterId: string | null;
  readonly history: EpochHistory;
  readonly end: LogPoint;
}

export type PeerVerdict =
  /** Another cluster, or nothing in common: says nothing about us. */
  | { readonly kind: 'foreign' }
  /** An epoch was opened that our history does not have, later than ours. */
  | { readonly kind: 'superseded'; readonly forkLsn: number }
  /** Another epoch with the number of ours: nobody can tell which one holds. */
  | { readonly kind: 'conflict'; readonly forkLsn: number }
  /** Same epoch, and the peer holds more of it. */
  | { readonly kind: 'ahead' }
  /** Same epoch, and the peer holds no more of it. */
  | { readonly kind: 'same-epoch' }
  /** Its last epoch is an earlier one. */
  | { readonly kind: 'behind'; readonly forkLsn: number };

export function judgePeer(own: JudgedLog, peer: JudgedLog): PeerVerdict {
  if (own.clusterId === null || own.clusterId !== peer.clusterId) return { kind: 'foreign' };
  const ownLast = own.history.current;
  const peerLast = peer.history.current;
  if (ownLast === undefined || peerLast === undefined) return { kind: 'foreign' };
  const forkLsn = forkPoint(own.history, own.end.lsn, peer.history, peer.end.lsn);
  if (forkLsn === 0) return { kind: 'foreign' };
  if (ownLast.id === peerLast.id) return peer.end.lsn > own.end.lsn ? { kind: 'ahead' } : { kind: 'same-epoch' };
  if (own.history.find(peerLast.id) !== undefined) return { kind: 'behind', forkLsn };
  if (peerLast.number > ownLast.number || peer.history.find(ownLast.id) !== undefined) return { kind: 'superseded', forkLsn };
  return peerLast.number === ownLast.number ? { kind: 'conflict', forkLsn } : { kind: 'behind', forkLsn };
}

/**
 * The last LSN that we share with the peer, as far as histories tell. An epoch that is still open
 * there may have grown since it answered, so its end is no argument.
 */
export function sharedWith(own: JudgedLog, peer: JudgedLog): number {
  return forkPoint(own.history, own.end.lsn, peer.history, Number.MAX_SAFE_INTEGER);
}
