/** The primary's record of one replica. Pure: what was sent and confirmed, and when. */
export interface Confirmation {
  readonly epochId: string;
  readonly durableLsn: number;
  readonly appliedLsn: number;
  /** False while it has no consistent state: it then counts for no acknowledgement. */
  readonly isReady: boolean;
  /** Digest of the list of members that is on its disk; empty where it keeps none. */
  readonly membersDigest: string;
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
  /** Of the list of members on its disk, as it said last. */
  readonly membersDigest: string;
  /** Monotonic ms of the last byte from it. */
  readonly heardMs: number;
  /** A durable end of this log that it was last waited for to apply … */
  readonly awaitedLsn: number;
  /** … and the monotonic ms at which that was the end. */
  readonly awaitedSinceMs: number;
}

export function connected(
  previous: Follower | undefined,
  claim: { nodeId: string; name: string; url: string; streamId: string; afterLsn: number; ownDurableLsn: number; nowMs: number },
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
    membersDigest: '',
    heardMs: claim.nowMs,
    awaitedLsn: previous?.awaitedLsn ?? claim.ownDurableLsn,
    awaitedSinceMs: previous?.awaitedSinceMs ?? claim.nowMs,
  };
}

/** A confirmation never takes back what was confirmed on the same stream. */
export function confirmed(follower: Follower, confirmation: Confirmation, state: { ownDurableLsn: number; nowMs: number }): Follower {
  // Nobody can hold more than was sent: a follower that claims it is not believed.
  const durableLsn = Math.min(Math.max(follower.durableLsn, confirmation.durableLsn), follower.sentLsn);
  const appliedLsn = Math.min(Math.max(follower.appliedLsn, confirmation.appliedLsn), durableLsn);
  // Under steady writes it never has everything at this very moment, so lag is the age of one
  // moment's end, and the next moment is taken when it has got there.
  const isThere = appliedLsn >= follower.awaitedLsn;
  return {
    ...follower,
    durableLsn,
    appliedLsn,
    isReady: confirmation.isReady,
    membersDigest: confirmation.membersDigest,
    heardMs: state.nowMs,
    awaitedLsn: isThere ? state.ownDurableLsn : follower.awaitedLsn,
    awaitedSinceMs: isThere ? state.nowMs : follower.awaitedSinceMs,
  };
}

/** Milliseconds for which it has lacked something, connected or not; 0 while it lacks nothing. */
export function lagMs(follower: Follower, state: { ownDurableLsn: number; nowMs: number }): number {
  return follower.appliedLsn >= state.ownDurableLsn ? 0 : state.nowMs - follower.awaitedSinceMs;
}

export function disconnected(follower: Follower): Follower {
  return { ...follower, streamId: null, isReady: false };
}
