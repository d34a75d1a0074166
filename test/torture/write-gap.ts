/** How long nobody was told that a write is durable: what clients feel of a change of the primary. Pure. */

/**
 * The longest time between two acknowledgements that follow each other, of those that overlap the time
 * from `fromMs` to `throughMs`.
 * @param acknowledgedMs rising.
 * @throws Error where no write was acknowledged before, or none after it: then the gap has no end.
 */
export function longestGapMs(acknowledgedMs: readonly number[], fromMs: number, throughMs: number): number {
  let longestMs = 0;
  let previousMs: number | undefined;
  for (const momentMs of acknowledgedMs) {
    if (momentMs < fromMs) {
      previousMs = momentMs;
      continue;
    }
    if (previousMs === undefined) break;
    longestMs = Math.max(longestMs, momentMs - previousMs);
    if (momentMs >= throughMs) return longestMs;
    previousMs = momentMs;
  }
  throw new Error(`no write was acknowledged ${previousMs === undefined ? 'before' : 'after'} the change of the primary from ${fromMs} to ${throughMs}`);
}

/** The smallest value that at least this share of all is not above. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const value = sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
  if (value === undefined) throw new Error('there are no values');
  return value;
}
