/** The primary's record of one replica. Pure: what was sent and confirmed, and when. */
export interface Confirmation {
  readonly epochId: string;
  readonly durableLsn: number;
  readonly appliedLsn: number;
  /** False while it has no consistent state: it then counts for no acknowledgement. */
  readonly isReady: boolean;
}

export interface Follower {
  readonly nodeId: string;
  readonly name: string;
  readonly url: string;
  /** Its one live stream, or null. */
  readonly streamId: string | null;
  readonly sentLsn: number;
  readonly durableLsn: number;
  readonly appliedLsn: number;
  readonly isReady: boolean;
  /** Monotonic ms of the last byte from it. */
  readonly heardMs: number;
  /** Monotonic ms since when it has not had everything, or null while it has. */
  readonly behindSinceMs: number | null;
}

export function connected(
  previous: Follower | undefined,
  claim: { nodeId: string; name: string; url: string; streamId: string; afterLsn: number; nowMs: number },
): Follower {
  return {
    nodeId: claim.nodeId,
    name: claim.name,
    url: claim.url,
    streamId: claim.streamId,
    sentLsn: claim.afterLsn,
    durableLsn: claim.afterLsn,
    appliedLsn: Math.min(previous?.appliedLsn ?? 0, claim.afterLsn),
    isReady: false,
    heardMs: claim.nowMs,
    behindSinceMs: previous?.behindSinceMs ?? claim.nowMs,
  };
}

/** A confirmation never takes back what was confirmed on the same stream. */
export function confirmed(follower: Follower, confirmation: Confirmation, state: { ownDurableLsn: number; nowMs: number }): Follower {
  // Nobody can hold more than was sent: a follower that claims it is not believed.
  const durableLsn = Math.min(Math.max(follower.durableLsn, confirmation.durableLsn), follower.sentLsn);
  const appliedLsn = Math.min(Math.max(follower.appliedLsn, confirmation.appliedLsn), durableLsn);
  const hasAll = appliedLsn >= state.ownDurableLsn;
  return {
    ...follower,
    durableLsn,
    appliedLsn,
    isReady: confirmation.isReady,
    heardMs: state.nowMs,
    behindSinceMs: hasAll ? null : (follower.behindSinceMs ?? state.nowMs),
  };
}

export function disconnected(follower: Follower): Follower {
  return { ...follower, streamId: null, isReady: false };
}
