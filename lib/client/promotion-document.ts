/** What a node answers to `POST /promote`: one of these documents a line. The part that a client shows or decides on. */

export interface PromoteRequest {
  /** Override what makes a failover refuse, within `acceptLoss`. */
  readonly force: boolean;
  /** Most operations that may be given up. */
  readonly acceptLoss: number | 'unknown' | null;
  /** Only the plan. */
  readonly isDryRun: boolean;
  /** What somebody agreed to: the node refuses anything riskier. Absent where any kind will do. */
  readonly expectKind?: PromotionKind | undefined;
}

export type PromotionKind = 'switchover' | 'failover' | 'forced' | 'none';

export interface PlannedMember {
  readonly nodeId: string;
  readonly name: string;
  readonly url: string;
  /** Null where it did not answer. */
  readonly role: string | null;
  readonly state: string | null;
  readonly position: string | null;
  /** Operations that the target has and it lacks (negative: it has more); null where not comparable. */
  readonly behindTarget: number | null;
}

export interface PromotionPlan {
  /** `none`: the target is the primary already. */
  readonly kind: PromotionKind;
  readonly target: PlannedMember;
  readonly primary: PlannedMember | null;
  readonly members: readonly PlannedMember[];
  readonly refusal: PromotionRefusal | null;
  readonly warnings: readonly string[];
}

export interface PromotionRefusal {
  readonly code: string;
  readonly message: string;
  readonly betterUrl: string | null;
  readonly command: string | null;
}

export interface PromotionOutcome {
  readonly type: 'promoted';
  readonly kind: PromotionKind;
  readonly epoch: { readonly number: number; readonly id: string };
  /** Where the epoch begins. */
  readonly position: string;
  readonly nodeId: string;
  readonly url: string;
  /** Positions that are known to be given up: after the first, through the second. */
  readonly lost: { readonly afterPosition: string; readonly throughPosition: string; readonly operations: number } | null;
  readonly warnings: readonly string[];
}

export type PromoteEvent =
  | { readonly type: 'plan'; readonly plan: PromotionPlan }
  | { readonly type: 'step'; readonly step: string; readonly message: string }
  | ({ readonly type: 'refused' } & PromotionRefusal)
  | PromotionOutcome;

const TYPES: ReadonlySet<unknown> = new Set<PromoteEvent['type']>(['plan', 'step', 'refused', 'promoted']);

/** Undefined for what this version doesn't know: a later one may say more in between. */
export function readPromoteEvent(document: unknown): PromoteEvent | undefined {
  return TYPES.has((document as { readonly type?: unknown } | null)?.type) ? (document as PromoteEvent) : undefined;
}
