/** Which segments may go. Pure: the caller removes them, oldest first. */
export interface RetainedSegment {
  /** Last LSN of the segment. */
  readonly lastLsn: number;
  readonly sizeBytes: number;
  /** Wall clock at the end of the segment: when the next one was created. */
  readonly endedMs: number;
}

export interface RetentionRules {
  readonly bytesMin: number;
  readonly msMin: number;
  readonly bytesMax: number;
  readonly msMax: number;
}

export interface RetentionState {
  /** All segments but the one that is written to, oldest first. */
  readonly closedSegments: readonly RetainedSegment[];
  readonly activeBytes: number;
  /** Only what is wholly at or below this may ever go: SQLite has it without the log. */
  readonly checkpointedLsn: number;
  /** The lowest LSN that a known follower has confirmed, or a reader is at; null = nobody needs anything. */
  readonly neededAfterLsn: number | null;
  readonly nowMs: number;
}

/**
 * Number of segments, counted from the oldest, that may be removed: those beyond the window that
 * every node keeps (bytes and minutes), unless a follower still needs them, and then only up to the
 * caps: a replica can't fill the disk.
 */
export function planRetention(state: RetentionState, rules: RetentionRules): number {
  let newerBytes = state.activeBytes + state.closedSegments.reduce((sum, segment) => sum + segment.sizeBytes, 0);
  let removable = 0;
  for (const segment of state.closedSegments) {
    newerBytes -= segment.sizeBytes;
    if (segment.lastLsn > state.checkpointedLsn) break;
    const ageMs = state.nowMs - segment.endedMs;
    const isInWindow = newerBytes < rules.bytesMin || ageMs < rules.msMin;
    const isNeeded = state.neededAfterLsn !== null && segment.lastLsn > state.neededAfterLsn;
    const isBeyondCaps = newerBytes >= rules.bytesMax || (ageMs > rules.msMax && newerBytes >= rules.bytesMin);
    if ((isInWindow || isNeeded) && !isBeyondCaps) break;
    removable += 1;
  }
  return removable;
}
