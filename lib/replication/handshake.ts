/**
 * May this follower continue from where it is? Pure: two positions and two histories in, a verdict
 * out. The order of refusals is part of the protocol: another cluster, another history, too old.
 */
import type { EpochHistory, LogPoint } from '../base/epoch-history.ts';

export interface FollowerClaim {
  readonly afterLsn: number;
  /** Cluster the follower belongs to; undefined = a watcher that doesn't say. */
  readonly clusterId: string | undefined;
  /** Epoch of `afterLsn`; undefined = a watcher that doesn't say, or a log without any operation. */
  readonly epochId: string | undefined;
  readonly chain: number | undefined;
}

export interface UpstreamLog {
  readonly clusterId: string;
  readonly history: EpochHistory;
  readonly durable: LogPoint;
  /** End of what is no longer in the log. */
  readonly startLsn: number;
}

export type HandshakePlan =
  /** `chain` is what the follower has at `afterLsn`: still to be compared with the log's own. */
  | { readonly verdict: 'stream'; readonly afterLsn: number; readonly chain: number | undefined }
  | { readonly verdict: 'other-cluster' }
  /** The follower computes the fork from the histories; `forkLsn` is for humans. */
  | { readonly verdict: 'history-diverged'; readonly forkLsn: number }
  /** It holds operations of an open epoch that this node doesn't have. */
  | { readonly verdict: 'follower-ahead' }
  | { readonly verdict: 'position-gone' };

export function planHandshake(claim: FollowerClaim, log: UpstreamLog): HandshakePlan {
  if (claim.clusterId !== undefined && claim.clusterId !== log.clusterId) return { verdict: 'other-cluster' };
  if (claim.epochId !== undefined) {
    const epoch = log.history.find(claim.epochId);
    if (epoch === undefined) return { verdict: 'history-diverged', forkLsn: 0 };
    const isOpen = epoch.lastLsn === null;
    if (isOpen && claim.afterLsn > log.durable.lsn) return { verdict: 'follower-ahead' };
    if (claim.afterLsn > (epoch.lastLsn ?? log.durable.lsn)) return { verdict: 'history-diverged', forkLsn: epoch.lastLsn ?? log.durable.lsn };
    if (claim.afterLsn < epoch.firstLsn) return { verdict: 'history-diverged', forkLsn: claim.afterLsn };
  } else if (claim.afterLsn > log.durable.lsn) {
    return { verdict: 'follower-ahead' };
  }
  if (claim.afterLsn < log.startLsn) return { verdict: 'position-gone' };
  return { verdict: 'stream', afterLsn: claim.afterLsn, chain: claim.chain };
}
