/** Rounds in which everything that is compared takes its turn. */
export interface RoundOptions {
  /** Rounds that count. */
  readonly runs: number;
  /** One more round first, which does not count. */
  readonly warmUp: boolean;
  /** Told about each step. */
  readonly onStep: (step: string) => void;
}

/** @param round is told its number, 0 for the one that does not count. @returns what came of those that count. */
export async function eachRound<Result>({ runs, warmUp, onStep }: RoundOptions, round: (count: number, onStep: (step: string) => void) => Promise<Result>): Promise<readonly Result[]> {
  const results: Result[] = [];
  for (let count = warmUp ? 0 : 1; count <= runs; count += 1) {
    const name = count === 0 ? 'warming up' : `round ${count} of ${runs}`;
    const result = await round(count, (step) => onStep(`${name}: ${step}`));
    if (count > 0) results.push(result);
  }
  return results;
}
