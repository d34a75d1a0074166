/**
 * Writes operations of a salvage file back. First every key is judged, then somebody is asked, then it is
 * written, each under the condition that the key is still as it was judged: whatever happened since wins.
 * Run again after it was interrupted, it finds what is written already in place.
 */
import type { AckLevel } from '../base/ack-level.ts';
import { ERROR_KINDS, type ShiplogError, isShiplogError, messageOf } from '../base/errors.ts';
import type { SalvagedWrite } from '../failover/salvage-file.ts';
import type { CommandContext } from './command-context.ts';
import type { SalvageComparison } from './salvage-comparison.ts';
import { type ClassCounts, type JudgedWrite, type OperationClass, noCounts } from './salvage-judgement.ts';

export type DurableAck = Exclude<AckLevel, 'memory'>;

export interface ApplyRules {
  readonly absent: boolean;
  readonly overwrite: boolean;
  readonly ack: DurableAck | undefined;
}

/** What came of each key of the file: the numbers add up to all keys. */
export interface ApplyAccount {
  readonly applied: number;
  /** Said by the cluster already. */
  readonly inPlace: number;
  /** Left alone, because the rules don't include them. */
  readonly skipped: Readonly<Record<Exclude<OperationClass, 'in-place'>, number>>;
  /** Not asked for. */
  readonly leftOut: number;
  /** Somebody wrote the key between the judgement and the write: left alone. */
  readonly supersededMeanwhile: readonly string[];
  /** No answer that tells. */
  readonly unknown: readonly string[];
  readonly notTried: number;
  /** Why it ended before its end. */
  readonly stoppedBy: unknown;
}

export interface ApplyPlan {
  readonly counts: ClassCounts;
  readonly chosenPuts: number;
  readonly chosenDeletes: number;
  /** The positions that were judged, by key. */
  readonly chosen: ReadonlyMap<string, string | null>;
}

/** Judges every key. Nothing is written. */
export async function planApply(comparison: SalvageComparison, rules: ApplyRules): Promise<ApplyPlan> {
  const counts = noCounts();
  const chosen = new Map<string, string | null>();
  let chosenPuts = 0;
  for await (const portion of comparison.judged()) {
    for (const judged of portion) {
      counts[judged.class] += 1;
      if (!isChosen(judged, rules)) continue;
      chosen.set(judged.write.key, judged.current);
      if (judged.write.kind === 'put') chosenPuts += 1;
    }
  }
  return { counts, chosen, chosenPuts, chosenDeletes: chosen.size - chosenPuts };
}

function isChosen(judged: JudgedWrite, { absent, overwrite }: ApplyRules): boolean {
  switch (judged.class) {
    case 'still-newest':
      return true;
    case 'absent':
      return absent;
    case 'superseded':
      return overwrite;
    case 'in-place':
      return false;
  }
}

/** Stops, with a whole account, at the first failure that others would share, and at the first signal. */
export async function carryOutApply(context: CommandContext, comparison: SalvageComparison, plan: ApplyPlan, rules: ApplyRules): Promise<ApplyAccount> {
  const { stop, stopNow } = context.takeSignals();
  let stoppedBy: unknown;
  void stop.then((signal) => {
    stoppedBy ??= new Error(`ended by ${signal}`);
  });
  void stopNow.then(() => context.exitNow('outcomeUnknown'));
  let applied = 0;
  let inPlace = plan.counts['in-place'];
  let tried = 0;
  const supersededMeanwhile: string[] = [];
  const unknown: string[] = [];
  for await (const portion of comparison.portions('writing')) {
    const chosen = portion.filter((write) => plan.chosen.has(write.key));
    const outcomes = await Promise.all(chosen.map((write) => writeBack(comparison, write, plan.chosen.get(write.key)!, rules.ack)));
    for (const [index, outcome] of outcomes.entries()) {
      const { key } = chosen[index]!;
      if (outcome.kind !== 'refused') tried += 1;
      switch (outcome.kind) {
        case 'applied':
          applied += 1;
          break;
        case 'in-place':
          inPlace += 1;
          break;
        case 'superseded':
          supersededMeanwhile.push(key);
          break;
        case 'unknown':
          unknown.push(key);
          stoppedBy ??= outcome.error;
          break;
        case 'refused':
          stoppedBy ??= outcome.error;
          break;
      }
    }
    if (stoppedBy !== undefined) break;
  }
  return { ...untouched(comparison, plan, rules), applied, inPlace, supersededMeanwhile, unknown, notTried: plan.chosen.size - tried, stoppedBy };
}

/** The account of a run that has written nothing. */
export function untouched(comparison: SalvageComparison, { counts, chosen }: ApplyPlan, { absent, overwrite }: ApplyRules): ApplyAccount {
  return {
    applied: 0,
    inPlace: counts['in-place'],
    skipped: { 'still-newest': 0, 'absent': absent ? 0 : counts.absent, 'superseded': overwrite ? 0 : counts.superseded },
    leftOut: comparison.leftOutCount,
    supersededMeanwhile: [],
    unknown: [],
    notTried: chosen.size,
    stoppedBy: undefined,
  };
}

/** Nothing of the file is left to decide. */
export function isDecided({ skipped, leftOut, supersededMeanwhile, unknown, notTried }: ApplyAccount): boolean {
  return skipped.absent + skipped.superseded + leftOut + supersededMeanwhile.length + unknown.length + notTried === 0;
}

type WriteOutcome =
  | { readonly kind: 'applied' | 'in-place' | 'superseded' }
  | { readonly kind: 'unknown' | 'refused'; readonly error: unknown };

async function writeBack({ client }: SalvageComparison, write: SalvagedWrite, judgedPosition: string | null, ack: DurableAck | undefined): Promise<WriteOutcome> {
  const options = { ifPosition: judgedPosition, ...(ack !== undefined && { ack }) };
  try {
    if (write.kind === 'put') {
      await client.set(write.key, write.value, options);
      return { kind: 'applied' };
    }
    // A key that is gone needs no delete.
    return { kind: (await client.del(write.key, options)) === undefined ? 'in-place' : 'applied' };
  } catch (error) {
    if (isShiplogError(error, 'precondition-failed')) return { kind: 'superseded' };
    // Carried out; only the node in between does not show it yet.
    if (isShiplogError(error, 'not-shown-yet')) return { kind: 'applied' };
    return { kind: isShiplogError(error) && mayBeWritten(error) ? 'unknown' : 'refused', error };
  }
}

/** True unless the node, or the connection that was never made, has said that nothing was written. */
function mayBeWritten(error: ShiplogError): boolean {
  const { status, retryable } = ERROR_KINDS[error.code];
  return error.code === 'peer-protocol' || (status >= 500 && status !== 503 && !retryable);
}

/** In words, for people. */
export function describeStop(account: ApplyAccount): string {
  return `stopped before the end: ${messageOf(account.stoppedBy)}; run it again, what is written already is recognised`;
}
