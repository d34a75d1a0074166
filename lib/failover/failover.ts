/**
 * The node's part in changes of the primary: answers other nodes, watches them, and decides whom to
 * follow. Decisions rest on histories (judge-peer); acts are the host's. One change at a time: while
 * one runs, requests for another are refused.
 *
 *   /peer/state     both sides learn each other's history; a later epoch fences, a primary is followed
 *   /peer/promise   a replica gives itself to a promotion, durably, before it says where it is
 *   /peer/withdraw  the target gave that promotion up
 *   /peer/handover  the primary ends its epoch for a target
 *
 * Every second the members are asked who have no live stream to us, or all where we follow nobody.
 */
import { type EpochRef, type LogPoint } from '../base/epoch-history.ts';
import { type ErrorCode, ShiplogError, isShiplogError, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { type Timer } from '../env/clock.ts';
import { randomId } from '../env/random.ts';
import type { TransportRequest, TransportResponse } from '../env/transport.ts';
import { type Member } from '../replication/member-list.ts';
import type { FailoverHost } from './failover-host.ts';
import { judgePeer, sharedWith } from './judge-peer.ts';
import { PeerCalls, peerAnswer, readPeerCall } from './peer-calls.ts';
import { type PeerState, encodePeerState, isEpochRef, isId, parsePeerState, parsePromise } from './peer-state.ts';
import type { EpochPromise, HeardPosition, PromiseBook } from './promise-book.ts';

export const STATE_TIMEOUT_MS = 1_500;
const PROMISE_TIMEOUT_MS = 8_000;
const HANDOVER_TIMEOUT_MS = 15_000;
/** Looks, about one a second, of which one asks also those who are no members. */
const RIVALS_EVERY = 10;
/** While writes wait for the outcome, nobody should wait for a whole second. */
const HANDED_OVER_INTERVAL_MS = 200;
/** Of a target that asks for the handover: with writes stopped, it must not be far behind. */
const HANDOVER_BEHIND_MAX = 10_000;

export class Failover {
  readonly #host: FailoverHost;
  readonly #book: PromiseBook;
  readonly #calls: PeerCalls;
  /** What others told since the last round, by node id. */
  readonly #told = new Map<string, PeerState>();
  #change: string | undefined;
  #timer: Timer | undefined;
  #isRound = false;
  #looksAsPrimary = 0;
  #isWanted = false;
  #round: Promise<void> = Promise.resolve();
  #isStopped = false;
  #lastTrouble = '';

  constructor(host: FailoverHost, book: PromiseBook) {
    this.#host = host;
    this.#book = book;
    this.#calls = new PeerCalls(host.environment);
  }

  get promise(): EpochPromise | null {
    return this.#book.promise;
  }

  get book(): PromiseBook {
    return this.#book;
  }

  // ——— the watch ———

  start(): void {
    this.#schedule();
    this.wake();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    await this.#round;
  }

  #schedule(): void {
    const { clock, random } = this.#host.environment;
    // Jittered, so that nodes that lost the same primary don't ask in step.
    const intervalMs = this.#host.state === 'handed-over' ? HANDED_OVER_INTERVAL_MS : LIMITS.heartbeatIntervalMs;
    this.#timer = clock.setTimer(intervalMs * (0.75 + random.uniform() / 2), () => {
      this.wake();
      if (!this.#isStopped) this.#schedule();
    });
  }

  /** Looks at the members now: something has changed. */
  wake(): void {
    this.#isWanted = true;
    if (this.#isRound || this.#isStopped) return;
    this.#isRound = true;
    this.#round = this.#rounds();
  }

  async #rounds(): Promise<void> {
    while (this.#isWanted && !this.#isStopped) {
      this.#isWanted = false;
      try {
        await this.#look();
        this.#lastTrouble = '';
      } catch (error) {
        // The next round tries again; an operator reads why it takes so long.
        if (messageOf(error) !== this.#lastTrouble) this.#host.logger.warn('the change of role did not succeed; trying again', { reason: messageOf(error) });
        this.#lastTrouble = messageOf(error);
      }
    }
    this.#isRound = false;
  }

  async #look(): Promise<void> {
    // A withdrawal counts only in an answer to a question asked after the promise: older words of the
    // target, still on their way, know nothing of it.
    const before: Before = { promiseIds: this.#book.promises.map(({ epoch }) => epoch.id), endedId: this.#host.ended?.nextEpoch.id };
    const asked = await this.#askAround();
    const states = new Map([...this.#told, ...asked]);
    this.#told.clear();
    if (this.#isStopped || (states.size === 0 && !this.#hasOwnPromise())) return;
    const peers = [...states.values()];
    this.#judgeAsPrimary(peers);
    if (this.#change !== undefined) return;
    await this.exclusively('looking for the primary', async () => {
      await this.#settleOwnPromise(peers, before);
      await this.#decide(peers, asked, before);
    });
  }

  /** The members' states; where none of them is the primary, also those of nodes that are known otherwise. */
  async #askAround(): Promise<ReadonlyMap<string, PeerState>> {
    const urls = this.#urlsToAsk();
    const asked = await this.askStates(urls ?? []);
    if (urls === undefined || [...asked.values()].some((peer) => peer.state === 'primary')) return asked;
    const further = this.#isPrimary ? this.#rivalUrls() : this.#furtherUrls([...asked.values()]);
    const unasked = further.filter((url) => !urls.includes(url));
    return unasked.length === 0 ? asked : new Map([...asked, ...(await this.askStates(unasked))]);
  }

  get #isPrimary(): boolean {
    return this.#host.state === 'primary' || this.#host.state === 'handing-over';
  }

  /** Who was away for long may know nobody who knows the primary. */
  #furtherUrls(peers: readonly PeerState[]): readonly string[] {
    const { clusterId } = this.#host.peerState();
    const named = peers.flatMap((peer) => (peer.clusterId === clusterId ? peer.members.map((member) => member.url) : []));
    return this.#withoutOwn([...named, ...this.#host.members.formerUrls, ...this.#host.peerUrls]);
  }

  /** Where a primary that was forgotten may come back. Most never do: they are asked now and then. */
  #rivalUrls(): readonly string[] {
    const { members, peerUrls } = this.#host;
    this.#looksAsPrimary += 1;
    if (this.#looksAsPrimary % RIVALS_EVERY !== 1) return [];
    const memberUrls = members.all.map((member) => member.url);
    return this.#withoutOwn([...members.formerUrls, ...peerUrls]).filter((url) => !memberUrls.includes(url));
  }

  #withoutOwn(urls: readonly string[]): readonly string[] {
    return [...new Set(urls)].filter((url) => url !== this.#host.peerState().url);
  }

  /** Undefined where there is nothing to look for. */
  #urlsToAsk(): readonly string[] | undefined {
    const { state, members, nodeId, upstreamUrl } = this.#host;
    const own = this.#host.peerState();
    const others = members.all.filter((member) => member.nodeId !== nodeId);
    switch (state) {
      case 'primary':
      case 'handing-over':
        return others.filter((member) => !this.#host.isStreamingTo(member.nodeId)).map((member) => member.url);
      case 'following':
      case 'bootstrapping':
        if (own.isFollowing && !this.#host.isLeftBehind && !this.#hasOwnPromise()) return undefined;
        break;
      case 'handed-over':
      case 'promised':
      case 'fenced':
      case 'diverged':
        break;
      case 'starting':
      case 'stopping':
      case 'failed':
        return undefined;
    }
    const targets = this.#book.promises.map(({ targetUrl }) => targetUrl);
    return [...new Set([...others.map((member) => member.url), ...(upstreamUrl === null ? [] : [upstreamUrl]), ...targets])].filter((url) => url !== own.url);
  }

  /** Tells the nodes at `urls` our state, and returns what they answered, by node id. */
  async askStates(urls: readonly string[]): Promise<Map<string, PeerState>> {
    const answers = await Promise.all(urls.map((url) => this.#askState(url)));
    return new Map(answers.flatMap((answer) => (answer === undefined || answer.nodeId === this.#host.nodeId ? [] : [[answer.nodeId, answer] as const])));
  }

  async #askState(url: string): Promise<PeerState | undefined> {
    try {
      return parsePeerState(await this.#calls.ask(url, '/peer/state', encodePeerState(this.#host.peerState()), STATE_TIMEOUT_MS));
    } catch (error) {
      this.#host.logger.debug('a member does not answer', { url, reason: messageOf(error) });
      return undefined;
    }
  }

  /** Tells all members what has happened here. */
  async announce(): Promise<void> {
    const { members, nodeId } = this.#host;
    for (const state of (await this.askStates(members.all.filter((member) => member.nodeId !== nodeId).map((member) => member.url))).values()) {
      this.#told.set(state.nodeId, state);
    }
    this.#judgeAsPrimary([...this.#told.values()]);
  }

  // ——— what others' states mean ———

  /** Fencing waits for nobody: from the moment of evidence on nothing is acknowledged. */
  #judgeAsPrimary(peers: readonly PeerState[]): void {
    for (const peer of peers) {
      const { state } = this.#host;
      if (state !== 'primary' && state !== 'handing-over' && state !== 'starting') return;
      this.judgeRival(peer);
    }
  }

  /** @returns true where this node, primary or about to be, was fenced. */
  judgeRival(peer: PeerState): boolean {
    const own = this.#host.peerState();
    const verdict = judgePeer(own, peer);
    const who = `${peer.name} (${peer.url})`;
    switch (verdict.kind) {
      case 'superseded':
        this.#host.fence('superseded', `${who} holds epoch ${peer.history.current!.number}, which was opened after LSN ${verdict.forkLsn} of this node's history`);
        return true;
      case 'conflict':
        this.#host.fence('conflict', `${who} holds another epoch ${peer.history.current!.number} than this node: one of the two has to be promoted`);
        return true;
      case 'ahead':
        this.#host.fence('lost-data', `${who} holds epoch ${own.history.current!.number} up to LSN ${peer.end.lsn}, this node, its primary, only up to ${own.end.lsn}: this node has lost durable data; promote ${peer.url}`);
        return true;
      case 'foreign':
      case 'same-epoch':
      case 'behind':
        return false;
    }
  }

  async #decide(peers: readonly PeerState[], asked: ReadonlyMap<string, PeerState>, before: Before): Promise<void> {
    const { state } = this.#host;
    switch (state) {
      case 'following':
      case 'handed-over':
      case 'promised':
      case 'fenced':
      case 'diverged':
      case 'bootstrapping':
        break;
      case 'starting':
      case 'primary':
      case 'handing-over':
      case 'stopping':
      case 'failed':
        return;
    }
    const primary = this.#primaryAmong(peers);
    if (primary !== undefined) return this.#turnTo(primary, peers);
    // Also in a state that a promise does not change: it keeps the node from following a lower number.
    await this.#releaseIfWithdrawn(asked, before);
    if (state === 'handed-over') await this.#takeBackIfWithdrawn(asked, before);
    if (state === 'following' && !this.#host.peerState().isFollowing) this.#host.followAgain();
  }

  /** Has this node given itself to another node's promotion that has not come to its end? */
  get isPromised(): boolean {
    return this.#book.promises.some((promise) => promise !== this.#book.own && promise.kind === 'failover');
  }

  #hasOwnPromise(): boolean {
    return this.#book.own !== undefined;
  }

  /**
   * A promotion of this node that came to no end: an error in its middle, a crash of the primary that
   * promoted itself. Where the old epoch was ended for it, it is finished, else it is given up; nobody
   * who waits for its outcome would learn of one otherwise. Called while no promotion is under way here.
   */
  async #settleOwnPromise(peers: readonly PeerState[], before: Before): Promise<void> {
    const { own: promise } = this.#book;
    const { state, ended } = this.#host;
    // One that is younger than the question was made and left since: its time is the next round.
    if (promise === undefined || !before.promiseIds.includes(promise.epoch.id)) return;
    if (state === 'starting' || state === 'stopping' || state === 'failed') return;
    const own = this.#host.peerState();
    const isOvertaken = peers.some((peer) => judgePeer(own, peer).kind === 'superseded');
    if ((state === 'following' || state === 'promised') && ended?.nextEpoch.id === promise.epoch.id && !isOvertaken) {
      this.#host.logger.warn('finishing a promotion of this node that was interrupted', { epoch: promise.epoch.number });
      await this.#host.openEpoch('switchover', promise.epoch, 0);
      void this.announce();
      return;
    }
    if (own.history.find(promise.epoch.id) === undefined) this.#host.logger.warn('giving up a promotion of this node that was interrupted', { epoch: promise.epoch.number });
    await this.giveUp(promise);
  }

  /** From here on nothing can come of it; a node without any promise follows again. */
  async giveUp({ epoch }: EpochPromise): Promise<void> {
    await this.#book.withdraw(epoch.id);
    if (this.#host.state === 'promised' && this.#book.promise === null) this.#host.resumeFollowing();
  }

  /** The primary of the latest epoch that a promise allows us to follow. */
  #primaryAmong(peers: readonly PeerState[]): PeerState | undefined {
    const own = this.#host.peerState();
    let found: PeerState | undefined;
    for (const peer of peers) {
      if (peer.state !== 'primary') continue;
      const { kind } = judgePeer(own, peer);
      if (kind === 'foreign' || kind === 'behind' || kind === 'conflict') continue;
      const epoch = peer.history.current!;
      if (!this.#mayFollow(epoch)) continue;
      const best = found?.history.current;
      // Two of one number stop each other: whom to follow shows when one of them was promoted.
      if (best !== undefined && best.number === epoch.number && best.id !== epoch.id) return undefined;
      if (best === undefined || epoch.number > best.number) found = peer;
    }
    return found;
  }

  #mayFollow(epoch: EpochRef): boolean {
    return this.#book.promises.every((promise) => promise.kind === 'switchover' || epoch.id === promise.epoch.id || epoch.number > promise.epoch.number);
  }

  async #turnTo(primary: PeerState, peers: readonly PeerState[]): Promise<void> {
    const { state, reignEpochId, isRejoinAllowed, isDamaged, upstreamUrl, followsPrimary } = this.#host;
    const own = this.#host.peerState();
    const isSameEpoch = primary.history.current!.id === own.history.current?.id;
    // What made it stop is in this very epoch: only a later one, or an operator, can mend that.
    if (state === 'diverged' && isSameEpoch) return;
    const forkLsn = sharedWith(own, primary);
    if (state === 'following' && this.#keepsUpstream(isSameEpoch, forkLsn >= own.end.lsn)) return this.#host.followAgain();
    if (state === 'bootstrapping') {
      // It asks on by itself, and its next attempt goes to the primary.
      const isGivenThere = !followsPrimary && peers.some((peer) => peer.url === upstreamUrl && peer.isReady);
      if (upstreamUrl !== primary.url && !isGivenThere) await this.#host.follow(primary.url);
      return;
    }
    if (forkLsn >= own.end.lsn) {
      if (isDamaged) return this.#replaceDamaged(primary);
      if (state === 'following' && upstreamUrl === primary.url) return this.#host.followAgain();
      await this.#host.follow(primary.url);
      await this.#book.withdrawAll();
      return;
    }
    const beyond = own.history.epochs.filter((epoch) => (epoch.lastLsn ?? own.end.lsn) > forkLsn);
    if (isRejoinAllowed || beyond.every((epoch) => epoch.id === reignEpochId)) {
      if (state !== 'fenced') this.#host.fence('superseded', `${primary.name} (${primary.url}) has opened epoch ${primary.history.current!.number} after LSN ${forkLsn}`);
      const opened = primary.history.epochs.find((epoch) => epoch.firstLsn === forkLsn + 1);
      await this.#host.setAside(forkLsn, primary.url, opened);
      await this.#book.withdrawAll();
      return;
    }
    if (state === 'diverged') return;
    await this.#host.diverge(
      `this node holds operations from LSN ${forkLsn + 1} through ${own.end.lsn} that ${primary.name} (${primary.url}) does not have, and did not write them itself: shiplog rejoin ${own.url} sets them aside and follows`,
    );
  }

  /** Following again would only be refused again. Which log is damaged nobody can tell from here: an operator decides. */
  async #replaceDamaged(primary: PeerState): Promise<void> {
    if (!this.#host.isRejoinAllowed) return;
    await this.#host.replaceDamaged(primary.url);
    await this.#book.withdrawAll();
  }

  /** A link that is down for a moment is no reason to leave an upstream, and for one that was given nor is a new primary. */
  #keepsUpstream(isSameEpoch: boolean, isContained: boolean): boolean {
    const { isLeftBehind, followsPrimary } = this.#host;
    if (isLeftBehind || this.#host.upstreamSilentMs() >= LIMITS.peerSilentMs) return false;
    return isSameEpoch || (!followsPrimary && isContained);
  }

  async #releaseIfWithdrawn(asked: ReadonlyMap<string, PeerState>, before: Before): Promise<void> {
    for (const promise of this.#book.promises) {
      const target = asked.get(promise.targetNodeId);
      if (target === undefined || target.state === 'starting' || !before.promiseIds.includes(promise.epoch.id)) continue;
      if (target.promises.some(({ epoch }) => epoch.id === promise.epoch.id) || target.history.find(promise.epoch.id) !== undefined) continue;
      this.#host.logger.info('the promotion that this node was promised to was given up', { epoch: promise.epoch.number, target: promise.targetUrl });
      await this.giveUp(promise);
    }
  }

  /** The target has durably given up the epoch that we ended ours for: we go on in another one. */
  async #takeBackIfWithdrawn(asked: ReadonlyMap<string, PeerState>, before: Before): Promise<void> {
    const { ended } = this.#host;
    if (ended === undefined || ended.nextEpoch.id !== before.endedId || this.#book.promise !== null) return;
    const target = asked.get(ended.targetNodeId);
    if (target === undefined || target.state === 'starting') return;
    if (target.promises.length > 0 || target.history.find(ended.nextEpoch.id) !== undefined) return;
    const number = 1 + Math.max(ended.nextEpoch.number, this.#book.numberMax, ...[...asked.values()].map((peer) => numberMaxOf(peer)));
    this.#host.logger.warn('the target has given up the switchover: this node takes writes again', { target: target.url, epoch: number });
    await this.#host.openEpoch('switchover', { number, id: randomId(this.#host.environment.random) }, 0);
    void this.announce();
  }

  /** The upstream refused our history: it says what its own is. */
  refused(upstream: PeerState | undefined): void {
    if (upstream !== undefined) this.#told.set(upstream.nodeId, upstream);
    this.wake();
  }

  // ——— one change at a time ———

  get changeUnderWay(): string | undefined {
    return this.#change;
  }

  /** @throws ShiplogError `promotion-under-way` while another change runs. */
  async exclusively<Value>(what: string, work: () => Promise<Value>): Promise<Value> {
    if (this.#change !== undefined) throw this.busyWith(this.#change);
    this.#change = what;
    try {
      return await work();
    } finally {
      this.#change = undefined;
    }
  }

  /** Names the node, since it is read elsewhere too: by whoever asked another one for a promise. */
  busyWith(change: string): ShiplogError {
    const { name, url } = this.#host.peerState();
    return new ShiplogError('promotion-under-way', `${name} (${url}) is busy ${change}; try again in a moment`, { retryAfterS: 1 });
  }

  /** Like `exclusively`, for what has to happen: waits for its turn, a few times. */
  async exclusivelySoon<Value>(what: string, work: () => Promise<Value>): Promise<Value> {
    while (this.#change === 'looking for the primary') await this.#round;
    return this.exclusively(what, work);
  }

  // ——— what others ask ———

  async servePeer(path: string, request: TransportRequest): Promise<TransportResponse | undefined> {
    switch (path) {
      case '/peer/state':
        return this.#serveState(await readPeerCall(request));
      case '/peer/promise':
        return this.#servePromise(await readPeerCall(request));
      case '/peer/withdraw':
        return this.#serveWithdraw(await readPeerCall(request));
      case '/peer/handover':
        return this.#serveHandover(await readPeerCall(request));
      default:
        return undefined;
    }
  }

  #serveState(content: unknown): TransportResponse {
    const peer = parsePeerState(content);
    if (peer.nodeId !== this.#host.nodeId) {
      this.#told.set(peer.nodeId, peer);
      this.#judgeAsPrimary([peer]);
      // Whatever else it tells can wait for the next round: two that woke each other would never rest.
      if (peer.state === 'primary') this.wake();
    }
    return peerAnswer(encodePeerState(this.#host.peerState()));
  }

  async #servePromise(content: unknown): Promise<TransportResponse> {
    const { clusterId, promise: wanted, isForced } = content as Record<string, unknown>;
    const promise = parsePromise(wanted);
    return this.exclusivelySoon(`promising itself to ${promise.targetUrl}`, async () => {
      const own = this.#host.peerState();
      if (clusterId !== own.clusterId) throw new ShiplogError('other-cluster', `this node belongs to cluster ${own.clusterId}, the promotion to ${String(clusterId)}`);
      if (!this.#book.promises.some(({ epoch }) => epoch.id === promise.epoch.id)) {
        this.#refusePromise(own, promise, isForced === true);
        // Durable first, then nothing more is confirmed, and only then we say where we are.
        await this.#book.make(promise);
      }
      await this.#host.pauseFollowing();
      return peerAnswer(encodePeerState(this.#host.peerState()));
    });
  }

  #refusePromise(own: PeerState, promise: EpochPromise, isForced: boolean): void {
    const { state } = this.#host;
    const refuse = (why: string, code: ErrorCode = 'promotion-refused'): never => {
      throw new ShiplogError(code, `${own.name} (${own.url}) ${why}`, { extra: { state: encodePeerState(own) } });
    };
    if (state === 'primary' || state === 'handing-over') refuse(`is the primary of epoch ${own.history.current?.number}`);
    if (state === 'starting' || state === 'stopping' || state === 'failed') refuse(`is ${state}`);
    const highest = Math.max(numberMaxOf(own), this.#book.numberMax);
    // Made since the target chose its number, or given up since: the next number may do.
    if (promise.epoch.number <= highest) refuse(`has promised itself to epoch ${highest} already, asked for ${promise.epoch.number}: try again`, 'promotion-under-way');
    // A primary that promotes itself asks those that follow it.
    const isFromPrimary = own.heard?.primaryNodeId === promise.targetNodeId;
    if (own.isFollowing && state === 'following' && !isFromPrimary && !isForced) refuse('still has a live stream from the primary');
  }

  async #serveWithdraw(content: unknown): Promise<TransportResponse> {
    const { epoch, nodeId } = content as Record<string, unknown>;
    if (!isEpochRef(epoch) || !isId(nodeId)) throw new ShiplogError('bad-request', 'a withdrawal names an epoch and the target');
    await this.exclusivelySoon('ending a promise', async () => {
      const promise = this.#book.promises.find((each) => each.epoch.id === epoch.id && each.targetNodeId === nodeId);
      if (promise !== undefined) await this.giveUp(promise);
    });
    return peerAnswer({});
  }

  async #serveHandover(content: unknown): Promise<TransportResponse> {
    const { clusterId, epoch, target } = content as Record<string, unknown>;
    const state = parsePeerState(target);
    if (!isEpochRef(epoch)) throw new ShiplogError('bad-request', 'a handover names the next epoch');
    const nextEpoch = { number: epoch.number, id: epoch.id };
    const end = await this.exclusivelySoon(`handing over to ${state.url}`, async () => {
      const own = this.#host.peerState();
      const refuse = (why: string): never => {
        throw new ShiplogError('promotion-refused', `${own.name} (${own.url}) ${why}`);
      };
      if (clusterId !== own.clusterId) throw new ShiplogError('other-cluster', `this node belongs to cluster ${own.clusterId}`);
      if (this.#host.state !== 'primary') refuse(`is ${this.#host.state}, not the primary`);
      if (!this.#host.members.all.some((member) => member.nodeId === state.nodeId)) refuse(`does not know ${state.name} as a member`);
      if (epoch.number <= Math.max(numberMaxOf(own), this.#book.numberMax)) refuse(`is beyond epoch ${epoch.number} already`);
      const behind = own.end.lsn - (this.#host.confirmedLsn(state.nodeId) ?? state.end.lsn);
      if (behind > HANDOVER_BEHIND_MAX) refuse(`finds ${state.name} ${behind} operations behind: wait until it has caught up`);
      return this.#host.endEpoch(state.nodeId, nextEpoch);
    });
    this.wake();
    return peerAnswer({ end });
  }

  // ——— what the target of a promotion asks ———

  /** @throws ShiplogError or TransportError where the promise was not given, or may not have been. */
  async askPromise(member: Member, promise: EpochPromise, isForced: boolean): Promise<PeerState> {
    const { clusterId } = this.#host.peerState();
    return parsePeerState(await this.#calls.ask(member.url, '/peer/promise', { clusterId, promise, isForced }, PROMISE_TIMEOUT_MS));
  }

  async askWithdraw(member: Member, epoch: EpochRef): Promise<void> {
    await this.#calls.ask(member.url, '/peer/withdraw', { epoch, nodeId: this.#host.nodeId }, STATE_TIMEOUT_MS).catch(() => {
      // It asks us by itself whether the promise still holds.
    });
  }

  async askHandover(primary: PeerState, epoch: EpochRef): Promise<LogPoint> {
    const own = this.#host.peerState();
    const answer = (await this.#calls.ask(primary.url, '/peer/handover', { clusterId: own.clusterId, epoch, target: encodePeerState(own) }, HANDOVER_TIMEOUT_MS)) as { end: LogPoint };
    return answer.end;
  }

  // ——— after a restart ———

  /** What the others say, asked before a primary takes writes again. Those that don't answer delay it by a moment. */
  async askOthers(): Promise<ReadonlyMap<string, PeerState>> {
    const { members, nodeId, peerUrls } = this.#host;
    const memberUrls = members.all.filter((member) => member.nodeId !== nodeId).map((member) => member.url);
    // Who is gone for good need not delay every start: only whoever knows nobody else is asked for.
    return this.askStates(this.#withoutOwn([...memberUrls, ...peerUrls, ...(memberUrls.length === 0 ? members.formerUrls : [])]));
  }

  async noteHeard(heard: HeardPosition): Promise<void> {
    try {
      await this.#book.hear(heard);
    } catch (error) {
      // It only makes a later promotion more careful; the next heartbeat brings it again.
      if (isShiplogError(error)) throw error;
      this.#host.logger.warn('what the primary announced could not be written down', { reason: messageOf(error) });
    }
  }
}

/** What held when the members were asked. */
interface Before {
  readonly promiseIds: readonly string[];
  readonly endedId: string | undefined;
}

function numberMaxOf(peer: PeerState): number {
  return Math.max(peer.history.current?.number ?? 0, ...peer.promises.map(({ epoch }) => epoch.number));
}
