/** What happened how often: a run in which one of these never came about has not shown what it should. */

export const COUNTED = [
  'promotions',
  'switchovers',
  'forcedPromotions',
  'forks',
  'salvages',
  'tornTails',
  'damageRefusals',
  'reseeds',
  'answers410',
  'answers504',
  'fencings',
  'batches',
  'batchesAcknowledged',
  'batchesRefused',
  'batchesUnknown',
] as const;

/** Of interest, but not asked for. */
export const ALSO_COUNTED = ['clusters', 'operations', 'faults', 'crashes', 'refusedPromotions', 'divergences', 'calmOperations', 'calmSuccesses'] as const;

export type CounterName = (typeof COUNTED)[number] | (typeof ALSO_COUNTED)[number];

export type Counters = Record<CounterName, number>;

export function noCounts(): Counters {
  return Object.fromEntries([...COUNTED, ...ALSO_COUNTED].map((name) => [name, 0])) as Counters;
}

export function addCounts(into: Counters, more: Counters): void {
  for (const name of Object.keys(more) as CounterName[]) into[name] += more[name];
}

/** Names of what never came about. */
export function missingIn(counters: Counters): readonly string[] {
  return COUNTED.filter((name) => counters[name] === 0);
}
