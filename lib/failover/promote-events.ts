/** What a promotion says while it runs: one JSON document a line over HTTP. */
import type { EpochRef } from '../base/epoch-history.ts';

export interface PromoteOptions {
  /** Override what makes a failover refuse, within `acceptLoss`. */
  readonly force: boolean;
  /** Most operations that may be given up, counted from the highest position that anyone announced. */
  readonly acceptLoss: number | 'unknown' | null;
  /** Say what would happen, and do nothing. */
  readonly isDryRun: boolean;
  /** What somebody agreed to: anything riskier is refused. Absent where any kind will do. */
  readonly expectKind?: PromotionKind | undefined;
}

/** In the order of what may be lost: `none`, `switchover`, `failover`, `forced`. */
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
  /** All members, target and primary included. */
  readonly members: readonly PlannedMember[];
  /** What stands against it; null = nothing that can be seen from here. */
  readonly refusal: PromotionRefusal | null;
  /** What the operator should know, e.g. which acknowledged writes may be given up. */
  readonly warnings: readonly string[];
}

export interface PromotionRefusal {
  readonly code: string;
  readonly message: string;
  /** URL of the node that should be promoted instead. */
  readonly betterUrl: string | null;
  /** Exact command that goes on: on the better node, or with the override. */
  readonly command: string | null;
}

export type PromotionStep = 'collecting-promises' | 'stopping-writes' | 'catching-up' | 'opening' | 'announcing';

export type PromoteEvent =
  | { readonly type: 'plan'; readonly plan: PromotionPlan }
  | { readonly type: 'step'; readonly step: PromotionStep; readonly message: string }
  | ({ readonly type: 'refused' } & PromotionRefusal)
  | {
      readonly type: 'promoted';
      readonly kind: PromotionKind;
      readonly epoch: EpochRef;
      /** Position of the epoch-begin record. */
      readonly position: string;
      readonly nodeId: string;
      readonly url: string;
      /** Positions that are known to be given up: after the first, through the second. */
      readonly lost: { readonly afterPosition: string; readonly throughPosition: string; readonly operations: number } | null;
      readonly warnings: readonly string[];
    };
