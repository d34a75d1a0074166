/** What a starting node does, from what its data directory and its configuration say. Pure. */
import { ShiplogError } from '../base/errors.ts';
import type { NodeRole } from './node-api.ts';

export interface StartFacts {
  readonly hasData: boolean;
  /** Role in the data directory. */
  readonly storedRole: NodeRole | null;
  readonly storedUpstreamUrl: string | null;
  /** What the configuration said of `follow` when the upstream was chosen. */
  readonly storedFollow: string | null;
  readonly follow: string | undefined;
  readonly peers: readonly string[];
  readonly isNewCluster: boolean;
}

export type StartPlan =
  | { readonly kind: 'open-primary'; readonly isFollowIgnored: boolean }
  | { readonly kind: 'open-replica'; readonly upstreamUrl: string }
  | { readonly kind: 'join'; readonly upstreamUrl: string }
  | { readonly kind: 'ask-peers'; readonly peers: readonly string[] }
  | { readonly kind: 'found' };

/** @throws ShiplogError `bad-config` for a replica that nobody tells whom to follow. */
export function planStart(facts: StartFacts): StartPlan {
  // Data without a role: a restore or a founding that was interrupted at its very last step.
  if (facts.hasData && facts.storedRole !== 'replica') return { kind: 'open-primary', isFollowIgnored: facts.follow !== undefined };
  // An old file must not lead back to a primary that is gone; a file that was changed since counts.
  const isUnchanged = facts.storedFollow !== null && facts.storedFollow === facts.follow;
  const upstreamUrl = (isUnchanged ? facts.storedUpstreamUrl : undefined) ?? facts.follow ?? facts.storedUpstreamUrl ?? undefined;
  if (facts.hasData) {
    if (upstreamUrl !== undefined) return { kind: 'open-replica', upstreamUrl };
    throw new ShiplogError('bad-config', 'this data directory is a replica\'s, but nothing says whom to follow: set follow (--follow URL)');
  }
  if (upstreamUrl !== undefined) return { kind: 'join', upstreamUrl };
  if (facts.peers.length > 0 && !facts.isNewCluster) return { kind: 'ask-peers', peers: facts.peers };
  return { kind: 'found' };
}
