/**
 * Who may become the primary, judged from what all members say about themselves. Pure, and asked
 * twice: before anything happens, for the plan, and again with what the members reported after they
 * had promised, which is what counts.
 */
import { unreachable } from '../base/errors.ts';
import { epochTagOf, formatPosition } from '../base/position.ts';
import type { Member } from '../replication/member-list.ts';
import { judgePeer } from './judge-peer.ts';
import type { PeerState } from './peer-state.ts';
import type { EpochPromise } from './promise-book.ts';
import type { PlannedMember, PromotionKind, PromotionPlan, PromotionRefusal, PromoteOptions } from './promote-events.ts';

export interface PromotionFacts {
  readonly own: PeerState;
  readonly members: readonly Member[];
  /** What each other member answered; absent where it did not. */
  readonly answers: ReadonlyMap<string, PeerState>;
  /** The primary of the last epoch, as far as this node knows. */
  readonly primaryNodeId: string | null;
  /** Why this node is fenced or diverged, if it is: evidence of another history, also where its witnesses are gone. */
  readonly fenceReason: string | null;
  readonly options: PromoteOptions;
  /** True once the answers were given after a promise: a stream that was alive before is no reason any more. */
  readonly havePromised: boolean;
}

/** The judgement, with what the caller needs to carry it out. */
export interface JudgedPromotion {
  readonly plan: PromotionPlan;
  readonly kind: PromotionKind;
  /** The live primary of a switchover. */
  readonly primary: PeerState | undefined;
  /** LSN up to which operations are known to have been announced; at most this node's end where nothing is given up. */
  readonly announcedLsn: number;
}

/** A switchover waits for the target with writes stopped: it must not be far behind when it begins. */
const SWITCHOVER_BEHIND_MAX = 10_000;

export function judgePromotion(facts: PromotionFacts): JudgedPromotion {
  const { own } = facts;
  const primary = livePrimaryOf(facts);
  const warnings: string[] = [];
  const announcedLsn = highestAnnounced(facts);
  let kind: PromotionKind;
  let refusal: PromotionRefusal | null;
  switch (own.state) {
    case 'starting':
    case 'stopping':
    case 'failed':
    case 'bootstrapping':
      kind = 'failover';
      refusal = refuse('not-ready', `${own.name} is ${own.state}: it can't be promoted until it has a consistent state`);
      break;
    case 'handing-over':
      kind = 'none';
      refusal = refuse('promotion-under-way', `${own.name} is handing over to another node at this moment`);
      break;
    case 'primary':
      // Somebody has promised itself beyond this epoch, to a target that is gone: a later epoch settles it.
      kind = hasLaterPromise(facts) ? 'failover' : 'none';
      refusal = kind === 'none' ? null : judgeFailover(facts, announcedLsn, warnings);
      break;
    case 'handed-over':
    case 'following':
    case 'promised':
    case 'fenced':
    case 'diverged':
      if (primary !== undefined && !facts.havePromised) {
        kind = 'switchover';
        refusal = judgeSwitchover(facts, primary);
      } else {
        refusal = judgeFailover(facts, announcedLsn, warnings);
        kind = 'failover';
      }
      break;
    default:
      return unreachable(own.state);
  }
  if (kind === 'failover' && refusal !== null && facts.options.force) {
    const verdict = judgeForce(facts, announcedLsn, refusal);
    if (verdict === null) {
      kind = 'forced';
      warnings.push(...forcedWarnings(facts, refusal));
    }
    refusal = verdict;
  }
  return {
    kind,
    primary,
    announcedLsn,
    plan: { kind, target: planned(own, facts), primary: primary === undefined ? plannedById(facts.primaryNodeId, facts) : planned(primary, facts), members: plannedMembers(facts), refusal, warnings },
  };
}

/** The primary that can hand over: the one of the latest epoch, where it answers as such. */
function livePrimaryOf({ own, answers }: PromotionFacts): PeerState | undefined {
  let found: PeerState | undefined;
  for (const peer of answers.values()) {
    if (peer.state !== 'primary' && peer.state !== 'handing-over') continue;
    const { kind } = judgePeer(own, peer);
    if (kind === 'foreign' || kind === 'behind' || kind === 'conflict') continue;
    if (found === undefined || peer.history.current!.number > found.history.current!.number) found = peer;
  }
  return found;
}

function judgeSwitchover({ own }: PromotionFacts, primary: PeerState): PromotionRefusal | null {
  if (own.state === 'fenced' || own.state === 'diverged') {
    return refuse('promotion-refused', `${own.name} is ${own.state}: it has to rejoin before it can be promoted`);
  }
  if (primary.state === 'handing-over') return { ...refuse('promotion-under-way', `${primary.name} is handing over to another node at this moment`), command: `bin/promote ${own.url}` };
  const behind = primary.end.lsn - own.end.lsn;
  const obstacle = own.isFollowing ? undefined : promiseAgainst(own, primary);
  if (obstacle !== undefined) {
    const what = `${own.name} has promised itself to ${obstacle.targetUrl} for epoch ${obstacle.epoch.number}, and can't follow ${primary.name}, which is alive, before that has come to its end`;
    return { ...refuse('promotion-refused', `${what}: wait for ${obstacle.targetUrl}, or let the primary settle it`), command: `bin/promote ${primary.url}` };
  }
  if (!own.isFollowing) return refuse('promotion-refused', `${own.name} has no stream from ${primary.name}, which is alive: wait until it follows`);
  if (behind > SWITCHOVER_BEHIND_MAX) return refuse('promotion-refused', `${own.name} is ${behind} operations behind ${primary.name}: wait until it has caught up`);
  return null;
}

/** One that forbids following this primary: waiting for a stream would be in vain while its target is away. */
function promiseAgainst(own: PeerState, { history }: PeerState): EpochPromise | undefined {
  const { id, number } = history.current!;
  return own.promises.find(({ kind, epoch, targetNodeId }) => kind === 'failover' && targetNodeId !== own.nodeId && epoch.id !== id && epoch.number >= number);
}

function judgeFailover(facts: PromotionFacts, announcedLsn: number, warnings: string[]): PromotionRefusal | null {
  const { own, answers, members, primaryNodeId, havePromised } = facts;
  if (own.history.current === undefined) return refuse('not-ready', `${own.name} holds no data yet`);
  if (!isListed(facts)) {
    return { ...refuse('promotion-refused', `${own.name} has no list of the members from the primary yet: others may hold operations that it lacks, and it would not ask them`), command: `bin/promote ${own.url} --force --accept-loss unknown` };
  }
  const better = furthest(facts);
  if (better !== undefined) {
    const at = `${better.name} (${better.url}) is at ${positionOf(better, better.end.lsn)}, ${own.name} at ${positionOf(own, own.end.lsn)}`;
    if (!better.isReady) return { ...refuse('promotion-refused', `${at}, but has no consistent state to serve: wait for it`), betterUrl: better.url, command: forceCommand(facts, announcedLsn) };
    return { code: 'promotion-refused', message: `${at}: promote that one`, betterUrl: better.url, command: `bin/promote ${better.url}` };
  }
  for (const peer of answers.values()) {
    if (judgePeer(own, peer).kind === 'conflict') {
      return { ...refuse('promotion-refused', `${peer.name} (${peer.url}) holds another epoch ${peer.history.current!.number} than ${own.name}: one of them has to be given up`), command: `bin/promote ${own.url} --force --accept-loss unknown` };
    }
    if (!havePromised && peer.isFollowing && peer.state === 'following' && !isOwnFollower(facts, peer)) {
      return { ...refuse('promotion-refused', `${peer.name} (${peer.url}) still has a live stream from the primary, which this node can't reach`), command: forceCommand(facts, announcedLsn) };
    }
  }
  if (facts.fenceReason !== null) {
    return { ...refuse('promotion-refused', `${own.name} is ${own.state}: ${facts.fenceReason}`), command: `bin/promote ${own.url} --force --accept-loss unknown` };
  }
  const silent = members.filter((member) => member.nodeId !== own.nodeId && !answers.has(member.nodeId) && member.nodeId !== primaryNodeId);
  if (silent.length > 0) {
    const names = silent.map((member) => `${member.name} (${member.url})`).join(', ');
    return { ...refuse('promotion-refused', `${names} can't be asked, and may hold operations that ${own.name} lacks`), command: forceCommand(facts, announcedLsn) };
  }
  const heardLater = [own, ...answers.values()].find((peer) => peer.heard !== null && peer.heard.epoch.number > own.history.current!.number);
  if (heardLater !== undefined) {
    return { ...refuse('promotion-refused', `${heardLater.name} has heard of epoch ${heardLater.heard!.epoch.number}, of which ${own.name} holds nothing`), command: `bin/promote ${own.url} --force --accept-loss unknown` };
  }
  if (announcedLsn > own.end.lsn) {
    return { ...refuse('promotion-refused', `the primary has announced ${positionOf(own, announcedLsn)}, ${own.name} ends at ${positionOf(own, own.end.lsn)}: ${announcedLsn - own.end.lsn} operations would be given up`), command: forceCommand(facts, announcedLsn) };
  }
  if (primaryNodeId !== null && !answers.has(primaryNodeId) && primaryNodeId !== own.nodeId) {
    warnings.push('writes that the old primary answered at ack=local and sent to nobody will be found in its salvage file when it comes back');
  }
  return null;
}

/**
 * Does the target's list of members come from the primary of the last epoch? That one adds itself and
 * whoever follows it. A node that has just fetched its snapshot has none, or knows its own followers alone.
 */
function isListed({ own, primaryNodeId }: PromotionFacts): boolean {
  const isMember = (nodeId: string): boolean => own.members.some((member) => member.nodeId === nodeId);
  return primaryNodeId !== null && isMember(primaryNodeId) && isMember(own.nodeId);
}

/** Where the target is the primary itself, the live stream that another node has is its own. */
function isOwnFollower({ own }: PromotionFacts, peer: PeerState): boolean {
  return own.state === 'primary' && peer.heard?.primaryNodeId === own.nodeId;
}

/** Whoever holds more of the history than this node does. */
function furthest({ own, answers }: PromotionFacts): PeerState | undefined {
  let found: PeerState | undefined;
  for (const peer of answers.values()) {
    const { kind } = judgePeer(own, peer);
    if (kind !== 'ahead' && kind !== 'superseded') continue;
    if (found === undefined || isFurther(peer, found)) found = peer;
  }
  return found;
}

function isFurther(one: PeerState, other: PeerState): boolean {
  const byEpoch = one.history.current!.number - other.history.current!.number;
  return byEpoch === 0 ? one.end.lsn > other.end.lsn : byEpoch > 0;
}

function highestAnnounced({ own, answers }: PromotionFacts): number {
  const epochId = own.history.current?.id;
  let lsn = own.end.lsn;
  for (const peer of [own, ...answers.values()]) {
    if (peer.heard !== null && peer.heard.epoch.id === epochId) lsn = Math.max(lsn, peer.heard.lsn);
    if (peer.history.current?.id === epochId) lsn = Math.max(lsn, peer.end.lsn);
  }
  return lsn;
}

function hasLaterPromise({ own, answers }: PromotionFacts): boolean {
  const number = own.history.current?.number ?? 0;
  return [...answers.values()].some((peer) => peer.clusterId === own.clusterId && peer.promises.some(({ kind, epoch }) => kind === 'failover' && epoch.number > number));
}

/** Null where the operator's word is enough. */
function judgeForce(facts: PromotionFacts, announcedLsn: number, refusal: PromotionRefusal): PromotionRefusal | null {
  const { own, options } = facts;
  if (refusal.code === 'not-ready' || refusal.code === 'promotion-under-way') return refusal;
  if (options.acceptLoss === 'unknown') return null;
  if (refusal.command?.includes('--accept-loss unknown') === true) return { ...refusal, message: `${refusal.message}; how much would be lost is not known` };
  if (furthest(facts)?.history.current!.id !== undefined && furthest(facts)!.history.current!.id !== own.history.current!.id) {
    return { ...refusal, message: `${refusal.message}; how much would be lost is not known`, command: `bin/promote ${own.url} --force --accept-loss unknown` };
  }
  const loss = announcedLsn - own.end.lsn;
  if (options.acceptLoss !== null && loss <= options.acceptLoss) return null;
  return { ...refusal, message: `${refusal.message}; ${loss} operations would be given up, accepted are ${options.acceptLoss ?? 'none'}`, command: forceCommand(facts, announcedLsn) };
}

function forcedWarnings(facts: PromotionFacts, overridden: PromotionRefusal): string[] {
  const { own, members, answers, primaryNodeId } = facts;
  const replicas = members.filter((member) => member.nodeId !== primaryNodeId);
  const asked = replicas.filter((member) => member.nodeId === own.nodeId || answers.has(member.nodeId));
  const warnings = [`overridden: ${overridden.message}`];
  if (asked.length < replicas.length) {
    warnings.push(
      `${asked.length} of ${replicas.length} replicas could be asked: writes at ack > ${replicas.length - asked.length} are safe; after ${positionOf(own, own.end.lsn)} others may exist only elsewhere`,
    );
  }
  return warnings;
}

function forceCommand({ own }: PromotionFacts, announcedLsn: number): string {
  return `bin/promote ${own.url} --force --accept-loss ${Math.max(0, announcedLsn - own.end.lsn)}`;
}

function refuse(code: string, message: string): PromotionRefusal {
  return { code, message, betterUrl: null, command: null };
}

export function positionOf(peer: PeerState, lsn: number): string {
  const epoch = peer.history.epochAt(lsn) ?? peer.history.current;
  return epoch === undefined ? 'nothing' : formatPosition({ epochNumber: epoch.number, epochTag: epochTagOf(epoch.id), lsn });
}

function plannedMembers(facts: PromotionFacts): readonly PlannedMember[] {
  return facts.members.map((member) => (member.nodeId === facts.own.nodeId ? planned(facts.own, facts) : (plannedById(member.nodeId, facts) ?? unanswered(member))));
}

function plannedById(nodeId: string | null, facts: PromotionFacts): PlannedMember | null {
  if (nodeId === null) return null;
  const answer = nodeId === facts.own.nodeId ? facts.own : facts.answers.get(nodeId);
  if (answer !== undefined) return planned(answer, facts);
  const member = facts.members.find((each) => each.nodeId === nodeId);
  return member === undefined ? null : unanswered(member);
}

function unanswered(member: Member): PlannedMember {
  return { nodeId: member.nodeId, name: member.name, url: member.url, role: null, state: null, position: null, behindTarget: null };
}

function planned(peer: PeerState, { own }: PromotionFacts): PlannedMember {
  const { kind } = judgePeer(own, peer);
  const isComparable = peer.nodeId === own.nodeId || kind === 'same-epoch' || kind === 'ahead';
  return {
    nodeId: peer.nodeId,
    name: peer.name,
    url: peer.url,
    role: peer.state === 'primary' || peer.state === 'handing-over' ? 'primary' : 'replica',
    state: peer.state,
    position: positionOf(peer, peer.end.lsn),
    behindTarget: isComparable ? own.end.lsn - peer.end.lsn : null,
  };
}
