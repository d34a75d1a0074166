/**
 * One promotion, carried out by its target: the command that asked for it may die.
 *
 *   switchover   promise to oneself ▶ the primary ends its epoch ▶ our log ends with that record ▶ open
 *   failover     promise to oneself ▶ all member replicas promise ▶ nobody is further ▶ open
 *
 * The promise to oneself names the epoch's random id and is durable first. Giving up means to
 * withdraw it durably: nothing can come of that id any more, so the others may go on.
 */
import type { EpochRef } from '../base/epoch-history.ts';
import { ShiplogError, isShiplogError, messageOf } from '../base/errors.ts';
import { epochTagOf, formatPosition } from '../base/position.ts';
import { DiskFullError } from '../env/disk.ts';
import { randomId } from '../env/random.ts';
import type { Member } from '../replication/member-list.ts';
import type { FailoverHost } from './failover-host.ts';
import type { Failover } from './failover.ts';
import { type PeerState, parsePeerState } from './peer-state.ts';
import type { EpochPromise } from './promise-book.ts';
import type { PromoteEvent, PromoteOptions, PromotionKind, PromotionRefusal } from './promote-events.ts';
import { type JudgedPromotion, judgePromotion, positionOf } from './promotion-plan.ts';

/** For the record that ends the epoch to arrive here, with writes waiting. */
const CATCH_UP_TIMEOUT_MS = 10_000;

const PROMOTING = 'promoting itself';

const RISK: Readonly<Record<PromotionKind, number>> = { none: 0, switchover: 1, failover: 2, forced: 3 };
const WORDS: Readonly<Record<PromotionKind, string>> = { none: 'no change', switchover: 'a switchover', failover: 'a failover', forced: 'a forced failover' };

export class Promotion {
  readonly #host: FailoverHost;
  readonly #failover: Failover;
  readonly #options: PromoteOptions;
  readonly #emit: (event: PromoteEvent) => void;

  constructor(host: FailoverHost, failover: Failover, options: PromoteOptions, emit: (event: PromoteEvent) => void) {
    this.#host = host;
    this.#failover = failover;
    this.#options = options;
    this.#emit = emit;
  }

  /** Runs to its end; what goes wrong is said by a `refused` event. */
  async run(): Promise<void> {
    try {
      const judged = await this.#plan();
      this.#emit({ type: 'plan', plan: judged.plan });
      if (this.#options.isDryRun) return;
      const refusal = this.#refusalOf(judged, []);
      if (refusal !== null) return this.#refuse(refusal);
      await this.#failover.exclusivelySoon(PROMOTING, () => this.#carryOut(judged));
    } catch (error) {
      this.#refuse(this.#refusalFrom(error));
      // What it left standing is settled now, not in a second.
      this.#failover.wake();
    }
  }

  async #plan(): Promise<JudgedPromotion> {
    // What can be seen in the middle of another promotion of this node is no reason for anything: that one decides.
    const isUnderWay = this.#failover.changeUnderWay === PROMOTING;
    const { members, answers } = await this.#askEveryone();
    const judged = this.#judge(members, answers, false);
    if (!isUnderWay || judged.plan.refusal === null) return judged;
    return { ...judged, plan: { ...judged.plan, refusal: this.#refusalFrom(this.#failover.busyWith(PROMOTING)) } };
  }

  /** Also members that only others know: a primary may have taken one in while we were cut off. */
  async #askEveryone(): Promise<{ members: readonly Member[]; answers: Map<string, PeerState> }> {
    const { nodeId, peerState } = { nodeId: this.#host.nodeId, peerState: this.#host.peerState() };
    const members = new Map(peerState.members.map((member) => [member.nodeId, member]));
    members.set(nodeId, { nodeId, name: peerState.name, url: peerState.url });
    const answers = new Map<string, PeerState>();
    const askedUrls = new Set<string>([peerState.url]);
    for (;;) {
      const urls = [...members.values()].map((member) => member.url).filter((url) => !askedUrls.has(url));
      if (urls.length === 0) return { members: [...members.values()], answers };
      for (const url of urls) askedUrls.add(url);
      for (const answer of (await this.#failover.askStates(urls)).values()) {
        if (answer.clusterId !== peerState.clusterId || !members.has(answer.nodeId)) continue;
        answers.set(answer.nodeId, answer);
        for (const member of answer.members) if (!members.has(member.nodeId)) members.set(member.nodeId, member);
      }
    }
  }

  #judge(members: readonly Member[], answers: ReadonlyMap<string, PeerState>, havePromised: boolean): JudgedPromotion {
    const own = this.#host.peerState();
    return judgePromotion({ own, members, answers, primaryNodeId: this.#primaryNodeId(own, answers), fenceReason: this.#host.fenceReason, options: this.#options, havePromised });
  }

  /** The primary of the last epoch that anybody heard of: the one that need not promise when it is gone. */
  #primaryNodeId(own: PeerState, answers: ReadonlyMap<string, PeerState>): string | null {
    if (own.history.current !== undefined && this.#host.reignEpochId === own.history.current.id) return own.nodeId;
    let heard = own.heard;
    for (const peer of answers.values()) {
      if (peer.state === 'primary' && peer.history.current?.number === own.history.current?.number) return peer.nodeId;
      if (peer.heard !== null && (heard === null || peer.heard.epoch.number > heard.epoch.number)) heard = peer.heard;
    }
    return heard?.primaryNodeId ?? null;
  }

  async #carryOut(planned: JudgedPromotion): Promise<void> {
    if (planned.kind === 'none') return this.#sayPrimary('none', null, []);
    // Asked again within the change: nobody else changes this node's role from here on.
    const { members, answers } = await this.#askEveryone();
    const judged = this.#judge(members, answers, false);
    const refusal = this.#refusalOf(judged, []);
    if (refusal !== null) return this.#refuse(refusal);
    switch (judged.kind) {
      case 'none':
        return this.#sayPrimary('none', null, []);
      case 'switchover':
        return this.#switchOver(judged.primary!, members, answers);
      case 'failover':
      case 'forced':
        if (this.#ownEndedEpoch() !== undefined) return this.#open('switchover', this.#ownEndedEpoch()!, null, []);
        return this.#failOver(members, answers);
    }
  }

  /** A switchover that was interrupted after the primary had ended its epoch for us. */
  #ownEndedEpoch(): EpochRef | undefined {
    const { ended, nodeId } = this.#host;
    const { own } = this.#failover.book;
    return ended !== undefined && ended.targetNodeId === nodeId && own?.epoch.id === ended.nextEpoch.id ? ended.nextEpoch : undefined;
  }

  async #switchOver(primary: PeerState, members: readonly Member[], answers: ReadonlyMap<string, PeerState>): Promise<void> {
    const promise = this.#newPromise('switchover', answers);
    await this.#failover.book.make(promise);
    this.#step('stopping-writes', `${primary.name} finishes the writes it has taken and ends its epoch`);
    try {
      await this.#failover.askHandover(primary, promise.epoch);
    } catch (error) {
      // A refusal is certain. Without an answer the epoch may have ended all the same: then our log says so.
      if (isShiplogError(error) && error.code !== 'peer-protocol' && error.code !== 'outcome-unknown') {
        await this.#giveUp(promise, []);
        return this.#refuse(this.#refusalFrom(error));
      }
      this.#host.logger.warn('no answer to the handover; waiting for the end of the epoch in the log', { reason: messageOf(error) });
    }
    this.#step('catching-up', 'taking what is left of the log');
    if (!(await this.#isEndedInTime(promise.epoch.id))) {
      await this.#giveUp(promise, members);
      return this.#refuse({ code: 'promotion-refused', message: `the end of ${primary.name}'s epoch did not arrive within ${CATCH_UP_TIMEOUT_MS} ms: given up, ${primary.name} takes writes again once it knows`, betterUrl: null, command: `bin/promote ${this.#host.peerState().url}` });
    }
    await this.#open('switchover', promise.epoch, null, []);
  }

  async #isEndedInTime(epochId: string): Promise<boolean> {
    const deadline = new AbortController();
    const timer = this.#host.environment.clock.setTimer(CATCH_UP_TIMEOUT_MS, () => deadline.abort(new Error('the deadline')));
    try {
      await this.#host.untilEnded(epochId, deadline.signal);
      return true;
    } catch {
      return false;
    } finally {
      timer.cancel();
    }
  }

  async #failOver(members: readonly Member[], before: ReadonlyMap<string, PeerState>): Promise<void> {
    const isPrimary = this.#host.state === 'primary';
    const promise = this.#newPromise('failover', before);
    await this.#failover.book.make(promise);
    if (!isPrimary) await this.#host.pauseFollowing();
    this.#step('collecting-promises', 'the other replicas stop following and say where they are');
    const { answers, refusals, busy } = await this.#collect(members, promise);
    const judged = this.#judge(members, answers, true);
    const refusal = this.#refusalOf(judged, refusals);
    if (refusal !== null) {
      await this.#giveUp(promise, members);
      // Who is busy can be asked in a moment: no reason to force anything.
      return this.#refuse(busy === undefined || refusal.betterUrl !== null ? refusal : this.#refusalFrom(busy));
    }
    const own = this.#host.peerState();
    const isLoss = judged.announcedLsn > own.end.lsn;
    const lost = isLoss ? { afterPosition: positionOf(own, own.end.lsn), throughPosition: positionOf(own, judged.announcedLsn), operations: judged.announcedLsn - own.end.lsn } : null;
    await this.#open(judged.kind === 'forced' || refusals.length > 0 ? 'forced' : 'failover', promise.epoch, lost, judged.plan.warnings);
  }

  /** `refusals`: why others would not promise themselves. */
  #refusalOf({ plan, kind }: JudgedPromotion, refusals: readonly string[]): PromotionRefusal | null {
    if (refusals.length === 0) return plan.refusal ?? this.#refuseRiskier(kind);
    if (plan.refusal !== null) return { ...plan.refusal, message: [plan.refusal.message, ...refusals].join('; ') };
    if (this.#options.force) return this.#refuseRiskier('forced');
    return { code: 'promotion-refused', message: refusals.join('; '), betterUrl: null, command: `bin/promote ${this.#host.peerState().url} --force --accept-loss 0` };
  }

  /** Between the plan that somebody said yes to and now, the primary may have died. */
  #refuseRiskier(kind: PromotionKind): PromotionRefusal | null {
    const { expectKind, force, acceptLoss } = this.#options;
    // What is left of a switchover that the primary has ended its epoch for loses nothing.
    const actual = kind === 'failover' && this.#ownEndedEpoch() !== undefined ? 'switchover' : kind;
    if (expectKind === undefined || RISK[actual] <= RISK[expectKind]) return null;
    const override = force ? ` --force${acceptLoss === null ? '' : ` --accept-loss ${acceptLoss}`}` : '';
    return {
      code: 'promotion-refused',
      message: `${WORDS[expectKind]} was agreed to, and it would be ${WORDS[actual]} now: look at the new plan`,
      betterUrl: null,
      command: `bin/promote ${this.#host.peerState().url}${override}`,
    };
  }

  /** Everybody who answers with a promise; the reasons of those who refused; one of those who only could not at this moment. */
  async #collect(members: readonly Member[], promise: EpochPromise): Promise<{ answers: Map<string, PeerState>; refusals: string[]; busy: ShiplogError | undefined }> {
    const answers = new Map<string, PeerState>();
    const refusals: string[] = [];
    let busy: ShiplogError | undefined;
    const others = members.filter((member) => member.nodeId !== this.#host.nodeId);
    await Promise.all(
      others.map(async (member) => {
        try {
          const state = await this.#failover.askPromise(member, promise, this.#options.force);
          if (state.nodeId === member.nodeId && state.promises.at(-1)?.epoch.id === promise.epoch.id) answers.set(member.nodeId, state);
        } catch (error) {
          // It answered, but gave no promise: where it is still counts, as a reason against.
          if (!isShiplogError(error) || error.code === 'peer-protocol') return;
          // Somebody else answers at that URL, for instance a node on an empty disk: the member itself is silent.
          if (error.code === 'other-cluster') return;
          refusals.push(messageOf(error));
          if (error.code === 'promotion-under-way') busy = error;
          const told = toldState(error);
          if (told?.nodeId === member.nodeId) answers.set(member.nodeId, told);
        }
      }),
    );
    return { answers, refusals, busy };
  }

  #newPromise(kind: EpochPromise['kind'], answers: ReadonlyMap<string, PeerState>): EpochPromise {
    const own = this.#host.peerState();
    const numbers = [own, ...answers.values()].flatMap((peer) => [peer.history.current?.number ?? 0, ...peer.promises.map(({ epoch }) => epoch.number), peer.heard?.epoch.number ?? 0]);
    const number = 1 + Math.max(this.#failover.book.numberMax, ...numbers);
    return { kind, epoch: { number, id: randomId(this.#host.environment.random) }, targetNodeId: own.nodeId, targetUrl: own.url };
  }

  /** Durable before anybody is told: from here on nothing can come of the promise. */
  async #giveUp(promise: EpochPromise, members: readonly Member[]): Promise<void> {
    await this.#failover.giveUp(promise);
    const others = members.filter((member) => member.nodeId !== this.#host.nodeId);
    await Promise.all(others.map((member) => this.#failover.askWithdraw(member, promise.epoch)));
  }

  async #open(kind: Exclude<PromotionKind, 'none'>, epoch: EpochRef, lost: Extract<PromoteEvent, { type: 'promoted' }>['lost'], warnings: readonly string[]): Promise<void> {
    this.#step('opening', `opening epoch ${epoch.number}`);
    const { acceptLoss } = this.#options;
    const afterLsn = this.#host.peerState().end.lsn;
    // In the log also where nobody hears the end of the promotion: what was given up, and what the promises cover.
    this.#host.logger.info('opening an epoch', { kind, epoch: epoch.number, epochId: epoch.id, afterLsn, announcedLsn: afterLsn + (lost?.operations ?? 0), warnings: warnings.join('; ') });
    await this.#host.openEpoch(kind, epoch, kind !== 'forced' ? 0 : acceptLoss === 'unknown' ? null : acceptLoss);
    // Said at once: whether the others can be told does not change it, and they are told until they know.
    this.#step('announcing', 'telling the members');
    void this.#failover.announce();
    this.#sayPrimary(kind, lost, warnings);
  }

  #sayPrimary(kind: PromotionKind, lost: Extract<PromoteEvent, { type: 'promoted' }>['lost'], warnings: readonly string[]): void {
    const own = this.#host.peerState();
    const epoch = own.history.current;
    if (epoch === undefined) throw new ShiplogError('not-ready', 'this node holds no data');
    const position = formatPosition({ epochNumber: epoch.number, epochTag: epochTagOf(epoch.id), lsn: epoch.firstLsn });
    this.#emit({ type: 'promoted', kind, epoch: { number: epoch.number, id: epoch.id }, position, nodeId: own.nodeId, url: own.url, lost, warnings });
  }

  #step(step: Extract<PromoteEvent, { type: 'step' }>['step'], message: string): void {
    this.#host.logger.info('promotion', { step, message });
    this.#emit({ type: 'step', step, message });
  }

  #refusalFrom(error: unknown): PromotionRefusal {
    const command = isShiplogError(error, 'promotion-under-way') ? `bin/promote ${this.#host.peerState().url}` : null;
    return { code: codeOf(error), message: messageOf(error), betterUrl: null, command };
  }

  #refuse(refusal: PromotionRefusal): void {
    this.#host.logger.warn('the promotion was refused', { code: refusal.code, reason: refusal.message });
    this.#emit({ type: 'refused', ...refusal });
  }
}

/** What a node that refused says of itself; undefined where that makes no sense: the refusal stands without it. */
function toldState(refusal: ShiplogError): PeerState | undefined {
  try {
    return parsePeerState(refusal.extra['state']);
  } catch {
    return undefined;
  }
}

function codeOf(error: unknown): string {
  if (error instanceof DiskFullError) return 'disk-full';
  return isShiplogError(error) ? error.code : 'internal';
}
