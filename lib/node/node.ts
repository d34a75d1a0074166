/**
 * One node, put together. Reads top to bottom: start, the way of a read and of a write, what other
 * nodes ask for, what operators ask for, stop.
 */
import { type AckLevel, strongerAck } from '../base/ack-level.ts';
import { Broadcast } from '../base/broadcast.ts';
import { EpochHistory, type EpochRef, type LogPoint } from '../base/epoch-history.ts';
import { type ErrorCode, ShiplogError, assert, isShiplogError, messageOf, unreachable } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { DataOperation, EpochBeginKind, EpochEndOperation, PutOperation } from '../base/operation.ts';
import { type Position, POSITION_ZERO, formatPosition } from '../base/position.ts';
import type { Watermark } from '../base/watermark.ts';
import type { TransportRequest, TransportResponse } from '../env/transport.ts';
import { DiskFullError } from '../env/disk.ts';
import { randomId } from '../env/random.ts';
import { Acknowledgements, type ConfirmedMember } from '../commit/acknowledgements.ts';
import { type CommitCondition, GroupCommit } from '../commit/group-commit.ts';
import type { FailoverHost, FenceKind } from '../failover/failover-host.ts';
import { Failover } from '../failover/failover.ts';
import type { PeerState } from '../failover/peer-state.ts';
import { PromiseBook } from '../failover/promise-book.ts';
import type { PromoteEvent, PromoteOptions } from '../failover/promote-events.ts';
import { Promotion } from '../failover/promotion.ts';
import { salvageNames } from '../failover/salvage-directory.ts';
import { writeSalvage } from '../failover/salvage-writer.ts';
import type { NodeGauges } from '../observe/metrics.ts';
import { LogSender } from '../replication/log-sender.ts';
import { type Member, MemberList } from '../replication/member-list.ts';
import type { HeartbeatFrame } from '../replication/stream-protocol.ts';
import { type RoleEffect, type RoleEvent, type RoleState, commitsWrites, servesReads, transition } from '../role/role-machine.ts';
import type { StoredRow } from '../store/store.ts';
import { TableExports } from '../snapshot/table-exports.ts';
import { SnapshotService } from '../snapshot/snapshot-service.ts';
import { Bootstrap, type OwnData } from './bootstrap.ts';
import { DataDirectory, type Fence } from './data-directory.ts';
import { Engine } from './engine.ts';
import { judgePosition } from './judge-position.ts';
import { forwardWrite } from './forwarding.ts';
import type { BatchResult, BatchWrite, ForwardedResponse, HotReads, NodeApi, NodeRole, NodeStatus, ReachedAck, ReadResult, TableExport, UpstreamStatus, Verdict, WriteCondition, WriteDurability, WriteListener, WriteResult, WriteRoute } from './node-api.ts';
import type { LiveNodeOptions, NodeOptions } from './node-options.ts';
import { findUpstream } from './peer-search.ts';
import { serveDigest } from './digest-route.ts';
import { planStart } from './start-plan.ts';
import { UpstreamLink } from './upstream-link.ts';

export class Node implements NodeApi {
  readonly #options: NodeOptions;
  readonly #directory: DataDirectory;
  readonly #members: MemberList;
  readonly #snapshots: SnapshotService;
  readonly #exports: TableExports;
  readonly #startedMs: number;
  #live: LiveNodeOptions;
  #state: RoleState = 'starting';
  #upstreamUrl: string | null = null;
  #engine: Engine | undefined;
  #sender: LogSender | undefined;
  readonly #upstream: UpstreamLink;
  #groupCommit: GroupCommit | undefined;
  #bootstrap: Bootstrap | undefined;
  /** Settles, never rejects, when the bootstrap that is under way has come to its end. */
  #bootstrapping: Promise<void> = Promise.resolve();
  #own: OwnData | undefined;
  #failover!: Failover;
  #isRejoinAllowed = false;
  #begin: RoleEvent = 'recovered-as-primary';
  /** Names of salvage files that wait for somebody to decide. */
  #salvage: readonly string[] = [];
  /** Fires when the role or the history has changed: whoever waits judges again. */
  readonly #changes = new Broadcast();
  readonly #acknowledgements: Acknowledgements;
  #failure: Error | undefined;
  #onFailed: (error: Error) => void = () => {};
  /** Resolves, with the reason, when the node can't go on: the process has to end. */
  readonly failed: Promise<Error>;

  private constructor(options: NodeOptions, directory: DataDirectory, members: MemberList, book: PromiseBook) {
    const { environment, logger, metrics } = options;
    this.#options = options;
    this.#live = options.live;
    this.#directory = directory;
    this.#members = members;
    this.#startedMs = environment.clock.monotonicMs();
    this.#snapshots = new SnapshotService({
      store: () => this.#engine?.store,
      disk: environment.disk,
      clock: environment.clock,
      directory: directory.snapshotDirectory,
      logger,
      metrics,
    });
    // The service of the snapshots empties it at start.
    this.#exports = new TableExports({ disk: environment.disk, directory: directory.snapshotDirectory });
    this.failed = new Promise((resolve) => {
      this.#onFailed = resolve;
    });
    metrics.readGaugesFrom(() => this.#gauges());
    this.#acknowledgements = new Acknowledgements({ clock: environment.clock, others: () => this.#confirmedMembers() });
    this.#upstream = new UpstreamLink({
      node: options,
      nodeId: directory.identity.nodeId,
      onHeartbeat: (heartbeat) => this.#heardPrimary(heartbeat),
      onMembers: (list) => void this.#replaceMembers(list),
      membersDigest: () => members.savedDigest,
      onHistory: () => this.#changes.fire(),
      onRefused: (error) => this.#refused(error),
      onSinkFailed: (error) => this.#fail(error),
    });
    this.#failover = new Failover(this.#failoverHost(), book);
  }

  /**
   * Takes the data directory and recovers. What the node is shows when its port is open: see `takeUpRole`.
   * @throws ShiplogError for everything that keeps a node from starting; nothing is left open then.
   */
  static async start(options: NodeOptions): Promise<Node> {
    const { environment, logger } = options;
    const directory = await DataDirectory.open({
      disk: environment.disk,
      logger,
      path: options.dataDirectory,
      newNodeId: () => randomId(environment.random),
    });
    let node: Node | undefined;
    try {
      node = new Node(options, directory, await MemberList.load(environment.disk, directory.path), await PromiseBook.load(environment.disk, directory.path, directory.identity.nodeId));
      await node.#snapshots.start();
      await node.#listSalvage();
      await node.#recover();
      return node;
    } catch (error) {
      // What led here is the error that matters, whatever closing says to it.
      if (node !== undefined) await node.#closeEngine('this node could not start').catch(() => {});
      await directory.close();
      throw error;
    }
  }

  async #recover(): Promise<void> {
    const { environment, logger, follow, peers, isNewCluster } = this.#options;
    const { identity, current } = this.#directory;
    const facts = { hasData: current !== undefined, storedRole: identity.role, storedUpstreamUrl: identity.upstreamUrl, storedFollow: identity.configuredFollow, follow, peers, isNewCluster };
    const plan = planStart(facts);
    switch (plan.kind) {
      case 'open-primary':
        if (plan.isFollowIgnored) logger.warn('this data directory is a primary\'s: follow in the configuration is ignored');
        return this.#openAsPrimary();
      case 'open-replica':
        return this.#openAsReplica(plan.upstreamUrl);
      case 'found':
        await this.#found();
        return this.#openAsPrimary();
      case 'join':
        return this.#join(plan.upstreamUrl, this.#storedFollowsPrimary(plan.upstreamUrl));
      case 'ask-peers':
        return this.#join(await findUpstream(plan.peers, { ...environment, logger }), true);
      default:
        return unreachable(plan);
    }
  }

  /** A new cluster: an empty database, durable before CURRENT names it. */
  async #found(): Promise<void> {
    const { environment, stores, logger } = this.#options;
    const clusterId = randomId(environment.random);
    const generation = await this.#directory.newGeneration();
    await stores.create(generation.databasePath, clusterId);
    await this.#directory.setCurrent({ generation, clusterId, base: { lsn: 0, chain: 0 }, history: EpochHistory.EMPTY, kept: [] });
    logger.info('founded a cluster', { clusterId });
  }

  async #openAsPrimary(): Promise<void> {
    if (this.#directory.identity.role === null) await this.#directory.setIdentity({ role: 'primary' });
    await this.#openEngine();
    const { wal } = this.#engine!;
    // A crash may have come between the first segment and its first frame: what counts is the log's content.
    if (wal.end.lsn === this.#directory.current!.base.lsn) await this.#openFirstEpoch();
    const reignEpochId = wal.history.current!.id;
    if (this.#directory.identity.reignEpochId !== reignEpochId) await this.#directory.setIdentity({ reignEpochId });
    await this.#members.add({ nodeId: this.nodeId, name: this.nodeName, url: this.#options.advertiseUrl });
    this.#throwIfFailed();
    this.#begin = wal.ended === undefined ? 'recovered-as-primary' : 'recovered-handed-over';
  }

  /**
   * The second half of a start, once other nodes can reach this one: a primary asks the members what
   * happened meanwhile before it takes writes; those that don't answer delay it by a moment.
   */
  async takeUpRole(): Promise<void> {
    const { fence } = this.#directory.identity;
    if (this.#state !== 'starting') return;
    if (fence !== null) this.#on(fence.kind === 'diverged' ? 'history-diverged' : 'superseded');
    else await this.#begun();
    this.#failover.start();
  }

  async #begun(): Promise<void> {
    if (this.#begin !== 'recovered-as-primary') return this.#on(this.#begin);
    for (const peer of (await this.#failover.askOthers()).values()) {
      if (this.#state !== 'starting' || this.#failover.judgeRival(peer)) return;
    }
    if (this.#state === 'starting') this.#on('recovered-as-primary');
  }

  /** What was replayed is applied beside all this, and that may have failed. */
  #throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** The first epoch of a cluster, also of one that begins with a restored snapshot. */
  async #openFirstEpoch(): Promise<void> {
    const { environment } = this.#options;
    const { wal, committer, table } = this.#engine!;
    const parent = wal.history.current;
    const epoch = { number: (parent?.number ?? 0) + 1, id: randomId(environment.random) };
    await committer.commit([
      {
        type: 'operations',
        epoch,
        wallMs: environment.clock.wallMs(),
        operations: [
          {
            kind: 'epoch-begin',
            begin: 'first',
            epoch,
            parent: parent === undefined ? null : { number: parent.number, id: parent.id },
            parentEnd: wal.end,
            acceptedLoss: 0,
          },
        ],
      },
    ]);
    // From here on every snapshot belongs to an epoch.
    await Promise.race([table.appliedThrough(wal.end.lsn), this.failed]);
  }

  async #openAsReplica(upstreamUrl: string): Promise<void> {
    const { book } = this.#failover;
    const { fence, configuredFollow } = this.#directory.identity;
    // Whoever names another upstream has looked at why it stopped; the handshake judges anew.
    if (fence?.kind === 'diverged' && (this.#options.follow ?? null) !== configuredFollow) await this.#directory.setIdentity({ fence: null });
    await this.#setUpstream(upstreamUrl, this.#storedFollowsPrimary(upstreamUrl));
    await this.#openEngine();
    this.#throwIfFailed();
    this.#begin = 'recovered-as-replica';
    const { own } = book;
    if (this.#failover.isPromised) this.#begin = 'recovered-promised';
    if (own === undefined) return;
    // A promotion of this node that a crash interrupted: it is done, or it is given up. Where the old epoch was
    // ended for it, it may be finished once the others were asked whether they have gone on without it.
    const { wal } = this.#engine!;
    if (wal.history.current?.id === own.epoch.id) {
      await this.#becomePrimary(own.epoch);
      this.#begin = 'recovered-as-primary';
    } else if (wal.ended?.nextEpoch.id !== own.epoch.id) await book.withdraw(own.epoch.id);
  }

  async #join(upstreamUrl: string, followsPrimary: boolean): Promise<void> {
    await this.#setUpstream(upstreamUrl, followsPrimary);
    this.#begin = 'recovered-without-data';
  }

  /** What is known of the upstream from before; of one that is new to this node, nothing. */
  #storedFollowsPrimary(upstreamUrl: string): boolean {
    const { identity } = this.#directory;
    return identity.upstreamUrl === upstreamUrl && identity.followsPrimary;
  }

  async #setUpstream(upstreamUrl: string, followsPrimary: boolean): Promise<void> {
    // Durable first: what could not be written down is not followed, but tried again.
    await this.#directory.setIdentity({ role: 'replica', upstreamUrl, configuredFollow: this.#options.follow ?? null, followsPrimary });
    this.#upstreamUrl = upstreamUrl;
  }

  async #openEngine(): Promise<void> {
    const { environment, metrics } = this.#options;
    const engine = await Engine.open({
      node: this.#options,
      current: this.#directory.current!,
      neededAfterLsn: () => this.#sender?.neededAfterLsn() ?? null,
      onFailed: (error) => this.#fail(error),
    });
    this.#engine = engine;
    this.#own = undefined;
    this.#sender = this.#newSender(engine);
    this.#groupCommit = new GroupCommit({
      committer: engine.committer,
      table: engine.table,
      clock: environment.clock,
      metrics,
      writableEpoch: () => (commitsWrites(this.#state) || (this.#state === 'stopping' && this.#directory.identity.role === 'primary') ? engine.history.current : undefined),
      queueBytesMax: () => this.#live.queueBytesMax,
    });
  }

  #newSender(engine: Engine): LogSender {
    const { environment, logger, metrics } = this.#options;
    return new LogSender({
      wal: engine.wal,
      disk: environment.disk,
      clock: environment.clock,
      random: environment.random,
      logger,
      metrics,
      clusterId: engine.clusterId,
      nodeId: this.nodeId,
      nodeName: this.nodeName,
      members: this.#members,
      heartbeat: () => this.#heartbeat(),
      // Also in the moment in which it becomes the primary: see addFollowers.
      keepsMembers: () => this.#directory.identity.role === 'primary',
      onConfirmed: () => this.#acknowledgements.noteChange(),
    });
  }

  #confirmedMembers(): readonly ConfirmedMember[] {
    if (this.#sender !== undefined) return this.#sender.confirmedMembers;
    return this.#members.all.filter((member) => member.nodeId !== this.nodeId).map(({ nodeId }) => ({ nodeId, durableLsn: null }));
  }

  // ——— role ———

  #on(event: RoleEvent): void {
    const { state, effects } = transition(this.#state, event);
    if (state !== this.#state) this.#options.logger.info('the node changes its state', { from: this.#state, to: state, because: event });
    this.#state = state;
    this.#changes.fire();
    for (const effect of effects) this.#carryOut(effect);
  }

  #carryOut(effect: RoleEffect): void {
    switch (effect) {
      case 'take-writes':
      case 'stop-serving':
        return;
      case 'start-receiver':
        if (this.#engine !== undefined) this.#upstream.start(this.#upstreamUrl!, this.#engine);
        return;
      case 'stop-receiver':
        // Mostly it has ended by itself, or whoever changed the role has waited for that: fencing waits for nothing.
        void this.#upstream.stop();
        return;
      case 'drop-followers':
        this.#sender?.close('this node is not the primary any more');
        this.#sender?.drop();
        return;
      case 'bootstrap':
        this.#bootstrapping = this.#runBootstrap().catch((error: unknown) => this.#bootstrapFailed(error));
        return;
      default:
        unreachable(effect);
    }
  }

  async #replaceMembers(members: readonly Member[]): Promise<void> {
    const contain = (list: readonly Member[]): boolean => list.some((member) => member.nodeId === this.nodeId);
    // A replica that was given as upstream has been the primary for a moment: who became a member there follows the primary.
    if (contain(members) && !contain(this.#members.all)) this.#followPrimaryFromHereOn();
    try {
      await this.#members.replace(members);
      // Until the primary knows that it is durable here, those who are new in it count for nothing.
      this.#upstream.confirm();
    } catch (error) {
      this.#membersNotSaved(error);
    }
  }

  #membersNotSaved(error: unknown): void {
    // The list in memory is what counts until the next start; it is saved when there is room.
    if (error instanceof DiskFullError) this.#options.logger.warn('no disk space for the list of members', { reason: error.message });
    else this.#fail(error);
  }

  /** What did not fit on the disk when it came: until the members are there, newcomers among them count for nothing. */
  #saveAgain(): void {
    const unlessFull = (error: unknown): void => {
      if (!(error instanceof DiskFullError)) this.#fail(error);
    };
    if (!this.#directory.isIdentitySaved) void this.#directory.setIdentity({}).catch(unlessFull);
    if (!this.#members.isSaved) void this.#members.save().then(() => this.#upstream.confirm(), unlessFull);
  }

  /** What the primary has and we lack is written down: a promotion has to know of it. */
  #heardPrimary(heartbeat: HeartbeatFrame): void {
    const { epoch, lsn, path } = heartbeat;
    this.#noteUpstream(heartbeat);
    this.#saveAgain();
    const { heard } = this.#failover.book;
    const primaryNodeId = path[0];
    const isNews = heard === null || heard.epoch.id !== epoch.id || heard.primaryNodeId !== primaryNodeId || (lsn > heard.lsn && lsn > (this.#engine?.wal.end.lsn ?? 0));
    if (primaryNodeId !== undefined && isNews) void this.#failover.noteHeard({ epoch, lsn, primaryNodeId }).catch((error: unknown) => this.#fail(error));
  }

  /** Its heartbeats tell whether the upstream is the primary, or a replica that somebody chose. */
  #noteUpstream({ path }: HeartbeatFrame): void {
    if (path.length === 1) this.#followPrimaryFromHereOn();
  }

  #followPrimaryFromHereOn(): void {
    if (this.#directory.identity.followsPrimary) return;
    void this.#directory.setIdentity({ followsPrimary: true }).catch((error: unknown) => this.#upstreamNotSaved(error));
  }

  #upstreamNotSaved(error: unknown): void {
    // It is known until the next start, and saved when there is room.
    if (error instanceof DiskFullError) this.#options.logger.warn('no disk space to note what the upstream is', { reason: error.message });
    else this.#fail(error);
  }

  #refused(error: ShiplogError): void {
    if (this.#state !== 'following') return;
    if (this.#failover.changeUnderWay !== undefined && error.code === 'position-gone') return;
    switch (error.code) {
      case 'position-gone':
        this.#options.logger.warn('the upstream no longer has this node\'s position: fetching a snapshot', { reason: error.message });
        return this.#on('position-gone');
      case 'history-diverged':
      case 'follower-ahead':
        this.#upstream.noteRefused();
        // Whether we have left the history, or the upstream has, is judged from all members' histories.
        this.#options.logger.warn('the upstream has another history', { code: error.code, reason: error.message });
        return this.#failover.wake();
      default:
        void this.#diverge(error.message, error.code).catch((cause: unknown) => this.#fail(cause));
    }
  }

  async #diverge(reason: string, code?: ErrorCode): Promise<void> {
    await this.#upstream.stop();
    if (this.#state === 'stopping' || this.#state === 'failed' || this.#state === 'diverged') return;
    this.#options.logger.error('this node does not follow any more, and keeps everything as it is', { reason });
    const fence: Fence = { kind: 'diverged', reason, isDamage: code === 'chain-mismatch', isForeign: code === 'other-cluster' };
    this.#on('history-diverged');
    await this.#directory.setIdentity({ fence });
  }

  #bootstrapFailed(error: unknown): void {
    const isForeign = isShiplogError(error, 'history-diverged') || isShiplogError(error, 'other-cluster');
    if (!isForeign || this.#state !== 'bootstrapping') return this.#fail(error);
    void this.#reopenDiverged(error).catch((cause: unknown) => this.#fail(cause));
  }

  async #reopenDiverged({ message, code }: ShiplogError): Promise<void> {
    if (this.#directory.current !== undefined) await this.#openEngine();
    await this.#diverge(message, code);
  }

  // ——— change of the primary ———

  #failoverHost(): FailoverHost {
    // oxlint-disable-next-line typescript/no-this-alias -- the getters below have a `this` of their own
    const node = this;
    return {
      environment: this.#options.environment,
      logger: this.#options.logger,
      members: this.#members,
      failed: this.failed,
      peerUrls: this.#options.peers,
      get nodeId() {
        return node.nodeId;
      },
      get state() {
        return node.#state;
      },
      get upstreamUrl() {
        return node.#upstreamUrl;
      },
      get followsPrimary() {
        return node.#directory.identity.followsPrimary;
      },
      get isLeftBehind() {
        return node.#isLeftBehind();
      },
      get ended() {
        return node.#ended();
      },
      get reignEpochId() {
        return node.#directory.identity.reignEpochId;
      },
      get fenceReason() {
        const { fence } = node.#directory.identity;
        return fence === null || fence.isForeign === true ? null : fence.reason;
      },
      get isDamaged() {
        return node.#directory.identity.fence?.isDamage === true;
      },
      get isRejoinAllowed() {
        return node.#isRejoinAllowed;
      },
      peerState: () => this.#peerState(),
      isStreamingTo: (nodeId) => this.#sender?.followers.some((follower) => follower.nodeId === nodeId && follower.streamId !== null) ?? false,
      upstreamSilentMs: () => this.#upstream.silentMs,
      confirmedLsn: (nodeId) => this.#sender?.followers.find((follower) => follower.nodeId === nodeId)?.durableLsn ?? null,
      fence: (kind, reason) => this.#fence(kind, reason),
      diverge: (reason) => this.#diverge(reason),
      follow: (url) => this.#follow(url),
      followAgain: () => this.#followAgain(),
      pauseFollowing: () => this.#pauseFollowing(),
      resumeFollowing: () => this.#resumeFollowing(),
      setAside: (forkLsn, url, openedEpoch) => this.#setAside(forkLsn, url, openedEpoch),
      replaceDamaged: (url) => this.#replaceDamaged(url),
      endEpoch: (targetNodeId, nextEpoch) => this.#endEpoch(targetNodeId, nextEpoch),
      untilEnded: (epochId, signal) => this.#untilEnded(epochId, signal),
      openEpoch: (begin, epoch, acceptedLoss) => this.#openEpoch(begin, epoch, acceptedLoss),
    };
  }

  #isLeftBehind(): boolean {
    const path = this.#upstream.status?.heartbeat?.path;
    return this.#state === 'following' && this.#directory.identity.followsPrimary && path !== undefined && path.length > 1;
  }

  #ended(): EpochEndOperation | undefined {
    return this.#engine?.wal.ended;
  }

  #peerState(): PeerState {
    const engine = this.#engine;
    const { book } = this.#failover;
    return {
      nodeId: this.nodeId,
      name: this.nodeName,
      url: this.#options.advertiseUrl,
      state: this.#state,
      clusterId: engine?.clusterId ?? this.#own?.clusterId ?? null,
      history: engine?.history ?? this.#own?.history ?? EpochHistory.EMPTY,
      end: engine?.wal.end ?? this.#own?.end ?? { lsn: 0, chain: 0 },
      isEnded: this.#ended() !== undefined,
      isReady: engine !== undefined && servesReads(this.#state),
      isFollowing: this.#upstream.isFollowingPrimary,
      promises: book.promises,
      heard: book.heard,
      members: this.#members.all,
    };
  }

  #fence(kind: FenceKind, reason: string): void {
    if (this.#state === 'fenced') return;
    this.#options.logger.error('this node is fenced: it acknowledges nothing more', { kind, reason });
    this.#on('superseded');
    this.#acknowledgements.release((lsn) => this.#releasedError('outcome-unknown', lsn, 'this node is not the primary any more, and does not know whether the write survives'));
    // A restart must not take writes either, also where nobody answers then.
    void this.#directory.setIdentity({ fence: { kind, reason } }).catch((error: unknown) => this.#fail(error));
    this.#failover.wake();
  }

  #followAgain(): void {
    if (this.#engine !== undefined) this.#upstream.startAgain(this.#upstreamUrl!, this.#engine);
  }

  async #follow(url: string): Promise<void> {
    await this.#upstream.stop();
    await this.#setUpstream(url, true);
    await this.#directory.setIdentity({ fence: null });
    this.#isRejoinAllowed = false;
    // Whoever we follow holds all that we do.
    this.#acknowledgements.release((lsn) => this.#releasedError('ack-timeout', lsn, 'the primary has changed: the new one has the write, but too few others have confirmed it'), 1);
    if (this.#state === 'bootstrapping' || isEnding(this.#state)) return;
    if (this.#sender?.isClosed === true && this.#engine !== undefined) this.#sender = this.#newSender(this.#engine);
    // A bootstrap may have come to its end meanwhile, and have begun to follow.
    await this.#upstream.stop();
    if (isEnding(this.#state)) return;
    this.#on('primary-found');
  }

  #releasedError(code: 'outcome-unknown' | 'ack-timeout', lsn: number, reason: string): ShiplogError {
    const position = formatPosition(this.#engine?.history.positionOf(lsn) ?? POSITION_ZERO);
    return new ShiplogError(code, `${position}: ${reason}`, { extra: { position } });
  }

  async #pauseFollowing(): Promise<void> {
    await this.#upstream.stop();
    if (this.#state === 'following' || this.#state === 'handed-over') this.#on('promised');
  }

  #resumeFollowing(): void {
    if (this.#state !== 'promised') return;
    // A primary that handed over has nobody to follow until its target, or it itself, opens an epoch.
    this.#on(this.#directory.identity.role === 'primary' ? 'released-handed-over' : 'released');
  }

  async #setAside(forkLsn: number, url: string, openedEpoch: EpochRef | undefined): Promise<void> {
    await this.#upstream.stop();
    const { environment, logger } = this.#options;
    const engine = this.#engine!;
    const reason = this.#directory.identity.fence?.reason;
    const name = await writeSalvage({
      disk: environment.disk,
      dataDirectory: this.#directory.path,
      wal: engine.wal,
      store: engine.store,
      clusterId: engine.clusterId,
      nodeId: this.nodeId,
      forkLsn,
      ...(openedEpoch !== undefined && { openedEpoch: { number: openedEpoch.number, id: openedEpoch.id } }),
      ...(reason !== undefined && { reason }),
      generation: this.#directory.current!.generation.name,
      writtenAtMs: environment.clock.wallMs(),
    });
    logger.warn('operations that are in no surviving history were set aside', { file: `salvage/${name}`, afterLsn: forkLsn, throughLsn: engine.wal.end.lsn });
    await this.#listSalvage();
    await this.#reseed(url, forkLsn);
  }

  /** Nothing lies beyond the primary's history, so nothing is set aside; the generation is kept, for whoever wants to know. */
  async #replaceDamaged(url: string): Promise<void> {
    this.#options.logger.warn('this node\'s content differs from the primary\'s: its data is replaced, and kept aside', { generation: this.#directory.current!.generation.name, url });
    await this.#reseed(url, this.#engine!.wal.end.lsn);
  }

  async #reseed(url: string, salvagedAfterLsn: number): Promise<void> {
    const engine = this.#engine!;
    await this.#setUpstream(url, true);
    if (this.#state !== 'fenced') return;
    this.#own = { clusterId: engine.clusterId, history: engine.history, end: engine.wal.end, salvagedAfterLsn };
    this.#on('reseed');
  }

  async #listSalvage(): Promise<void> {
    this.#salvage = await salvageNames(this.#options.environment.disk, this.#directory.path);
  }

  async #endEpoch(targetNodeId: string, nextEpoch: EpochRef): Promise<LogPoint> {
    const { environment } = this.#options;
    const { committer, history, wal } = this.#engine!;
    this.#on('handover-begun');
    try {
      // Taken writes are finished: from here on new ones wait outside.
      await this.#groupCommit!.idle();
      if (this.#state !== 'handing-over') throw new ShiplogError('promotion-refused', `this node is ${this.#state}`);
      const epoch = history.current!;
      await committer.commit([{ type: 'operations', epoch, wallMs: environment.clock.wallMs(), operations: [{ kind: 'epoch-end', targetNodeId, nextEpoch }] }]);
    } catch (error) {
      if (this.#state === 'handing-over' && !isShiplogError(error, 'log-poisoned')) this.#on('handover-failed');
      throw error;
    }
    if (this.#state === 'handing-over') this.#on('epoch-ended');
    return wal.end;
  }

  async #untilEnded(epochId: string, signal: AbortSignal): Promise<void> {
    const { wal } = this.#engine!;
    while (wal.ended?.nextEpoch.id !== epochId) await wal.durable.reached(wal.end.lsn + 1, signal);
  }

  async #openEpoch(begin: EpochBeginKind, epoch: EpochRef, acceptedLoss: number | null): Promise<LogPoint> {
    await this.#upstream.stop();
    if (this.#state === 'primary') {
      this.#on('handover-begun');
      await this.#groupCommit!.idle();
    }
    this.#refuseWhenEnding();
    const end = await this.#beginEpoch(begin, epoch, acceptedLoss);
    try {
      await this.#becomePrimary(epoch);
      this.#refuseWhenEnding();
    } catch (error) {
      // The epoch has begun: only a restart brings role and log together again.
      this.#fail(error);
      throw new ShiplogError('outcome-unknown', `epoch ${epoch.number} is in this node's log, but the node could not take it up: ${messageOf(error)}; it finishes that when it starts again`, { cause: error });
    }
    if (this.#sender?.isClosed === true) this.#sender = this.#newSender(this.#engine!);
    this.#on('epoch-opened');
    return end;
  }

  async #beginEpoch(begin: EpochBeginKind, epoch: EpochRef, acceptedLoss: number | null): Promise<LogPoint> {
    try {
      return await this.#commitEpochBegin(begin, epoch, acceptedLoss);
    } catch (error) {
      if (isShiplogError(error, 'log-poisoned')) {
        throw new ShiplogError('outcome-unknown', `epoch ${epoch.number} may have begun: ${error.message}; when this node starts again it finishes it or gives it up`, { cause: error });
      }
      // A primary that promoted itself goes on in its old epoch.
      if (this.#state === 'handing-over') this.#on('handover-failed');
      throw error;
    }
  }

  #refuseWhenEnding(): void {
    if (isEnding(this.#state)) throw new ShiplogError('stopping', 'this node is stopping');
  }

  async #commitEpochBegin(begin: EpochBeginKind, epoch: EpochRef, acceptedLoss: number | null): Promise<LogPoint> {
    const { wal, committer } = this.#engine!;
    const parent = wal.history.current;
    await committer.commit([
      {
        type: 'operations',
        epoch,
        wallMs: this.#options.environment.clock.wallMs(),
        operations: [{ kind: 'epoch-begin', begin, epoch, parent: parent === undefined ? null : { number: parent.number, id: parent.id }, parentEnd: wal.end, acceptedLoss }],
      },
    ]);
    return wal.end;
  }

  /** After the epoch-begin record: a crash between the two is finished by the promise to oneself. */
  async #becomePrimary(epoch: EpochRef): Promise<void> {
    if (this.#upstreamUrl !== null) await this.#members.keepUrl(this.#upstreamUrl);
    await this.#directory.setIdentity({ role: 'primary', upstreamUrl: null, reignEpochId: epoch.id, fence: null });
    await this.#failover.book.withdrawAll();
    this.#upstreamUrl = null;
    this.#isRejoinAllowed = false;
    await this.#members.add({ nodeId: this.nodeId, name: this.nodeName, url: this.#options.advertiseUrl });
    await this.#sender?.addFollowers();
  }

  async *promote(options: PromoteOptions): AsyncGenerator<PromoteEvent> {
    const events: PromoteEvent[] = [];
    let wake = (): void => {};
    let isOver = false;
    const running = new Promotion(this.#failoverHost(), this.#failover, options, (event) => {
      events.push(event);
      wake();
    }).run();
    void running.then(() => {
      isOver = true;
      wake();
    });
    for (;;) {
      const event = events.shift();
      if (event !== undefined) yield event;
      else if (isOver) return;
      else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  }

  async forget(nodeIdOrName: string): Promise<void> {
    if (this.#state !== 'primary') throw new ShiplogError('not-primary', 'only the primary can forget a node');
    const member = this.#members.all.find((each) => each.nodeId === nodeIdOrName || each.name === nodeIdOrName);
    if (member === undefined || member.nodeId === this.nodeId) throw new ShiplogError('not-found', `no other member is called ${nodeIdOrName}`);
    if (this.#failoverHost().isStreamingTo(member.nodeId)) throw new ShiplogError('bad-request', `${member.name} follows this node at this moment: stop it first`);
    await this.#members.remove(member.nodeId);
    this.#sender?.forget(member.nodeId);
  }

  rejoin(): Promise<void> {
    if (this.#state !== 'diverged' || this.#engine === undefined) return Promise.reject(new ShiplogError('bad-request', `this node is ${this.#state}: there is nothing to allow`));
    this.#isRejoinAllowed = true;
    this.#on('rejoin-allowed');
    this.#failover.wake();
    return Promise.resolve();
  }

  /** Resolves when the primary is not changing any more, or when waiting for it makes no sense. */
  async #untilRoleSettled(): Promise<void> {
    const deadline = new AbortController();
    const timer = this.#options.environment.clock.setTimer(this.#live.forwardTimeoutMs, () => deadline.abort(new Error('the deadline')));
    while (isChanging(this.#state) && !deadline.signal.aborted) await this.#changes.next(deadline.signal).catch(() => {});
    timer.cancel();
  }

  /** Fetches a snapshot, stores the stream beside it, and begins anew from both. */
  async #runBootstrap(): Promise<void> {
    const engine = this.#engine;
    const own: OwnData | undefined = this.#own ?? (engine === undefined ? undefined : { clusterId: engine.clusterId, history: engine.history, end: engine.wal.end, salvagedAfterLsn: null });
    this.#own = own;
    await this.#upstream.stop();
    await this.#closeEngine('this node fetches a snapshot');
    if (this.#state !== 'bootstrapping') return;
    this.#bootstrap = new Bootstrap({ node: this.#options, directory: this.#directory, upstreamUrl: () => this.#upstreamUrl!, own, onHeartbeat: (heartbeat) => this.#noteUpstream(heartbeat) });
    const current = await this.#bootstrap.run();
    this.#bootstrap = undefined;
    if (current === undefined || this.#state !== 'bootstrapping') return;
    await this.#directory.setCurrent(current);
    await this.#directory.setIdentity({ fence: null });
    this.#isRejoinAllowed = false;
    await this.#openEngine();
    if (this.#state !== 'bootstrapping') return;
    // Promised meanwhile: from then on it confirms nothing, also of the history that it has now.
    this.#on(this.#failover.isPromised ? 'snapshot-installed-promised' : 'snapshot-installed');
  }

  async #closeEngine(reason: string): Promise<void> {
    const engine = this.#engine;
    if (engine === undefined) return;
    this.#sender?.close(reason);
    this.#sender?.drop();
    this.#sender = undefined;
    engine.beginClose();
    await this.#groupCommit?.close();
    this.#acknowledgements.release((lsn) => this.#releasedError('ack-timeout', lsn, 'stored by this node, which ends before enough replicas have confirmed it'));
    this.#groupCommit = undefined;
    this.#engine = undefined;
    await engine.close();
  }

  #fail(error: unknown): void {
    if (this.#failure !== undefined || this.#state === 'stopping') {
      this.#options.logger.error('another failure while the node ends', { reason: messageOf(error) });
      return;
    }
    this.#failure = error instanceof Error ? error : new Error(messageOf(error));
    this.#options.logger.error('the node can not go on', { reason: messageOf(error) });
    this.#on('fault');
    this.#onFailed(this.#failure);
  }

  // ——— reads and writes ———

  get nodeId(): string {
    return this.#directory.identity.nodeId;
  }

  get nodeName(): string {
    return this.#options.name;
  }

  /** What others may take this node for. The role in the data directory outlives the power that it gave: see `#state`. */
  get role(): NodeRole {
    return commitsWrites(this.#state) ? 'primary' : 'replica';
  }

  visiblePosition(): Position {
    const engine = this.#engine;
    return engine === undefined ? POSITION_ZERO : engine.history.positionOf(engine.table.visible.lsn);
  }

  read(key: string): ReadResult | undefined {
    const engine = this.#readableEngine();
    const row = this.#readRow(engine, key);
    this.#options.metrics.readsServed.increment();
    return row === undefined ? undefined : { value: row.value, position: engine.history.positionOf(row.lsn) };
  }

  hotReads(): HotReads | undefined {
    return servesReads(this.#state) ? this.#engine : undefined;
  }

  readAll(keys: readonly string[], onValue: (value: string, index: number) => void = () => {}): readonly (ReadResult | undefined)[] {
    // One turn of the event loop: nothing becomes visible between the first key and the last.
    return keys.map((key, index) => {
      const found = this.read(key);
      if (found !== undefined) onValue(found.value, index);
      return found;
    });
  }

  /** A database that can't be read ends the node: another one has the data. */
  #readRow(engine: Engine, key: string): StoredRow | undefined {
    try {
      return engine.table.get(key);
    } catch (error) {
      if (isShiplogError(error, 'store-failed')) this.#fail(error);
      throw error;
    }
  }

  #readableEngine(): Engine {
    if (this.#engine === undefined || !servesReads(this.#state)) throw this.#notReady();
    return this.#engine;
  }

  #notReady(): ShiplogError {
    const { fence } = this.#directory.identity;
    if (fence !== null) return new ShiplogError('not-ready', `this node is ${this.#state}: ${fence.reason}`);
    return new ShiplogError('not-ready', `this node is ${this.#state}; ask another one, or wait`);
  }

  writeRoute(): WriteRoute | Promise<WriteRoute> {
    return isChanging(this.#state) ? this.#untilRoleSettled().then(() => this.#writeRoute()) : this.#writeRoute();
  }

  #writeRoute(): WriteRoute {
    switch (this.#state) {
      case 'primary':
        return { kind: 'local' };
      case 'stopping':
        throw new ShiplogError('stopping', 'this node is stopping; ask another one');
      case 'following':
        break;
      case 'handing-over':
      case 'handed-over':
      case 'promised':
        throw new ShiplogError('no-primary', `the primary is changing: this node is ${this.#state}`);
      default:
        throw this.#notReady();
    }
    const primaryUrl = this.#primaryUrl();
    switch (this.#options.replicaWrites) {
      case 'forward':
        return { kind: 'forward', primaryUrl };
      case 'redirect':
        return { kind: 'redirect', primaryUrl };
      case 'reject':
        throw new ShiplogError('read-only-replica', `this replica takes no writes; the primary is ${primaryUrl}`);
      default:
        return unreachable(this.#options.replicaWrites);
    }
  }

  #primaryUrl(): string {
    const primaryId = this.#upstream.status?.heartbeat?.path[0];
    return this.#members.all.find((member) => member.nodeId === primaryId)?.url ?? this.#upstreamUrl!;
  }

  async write(operation: DataOperation, condition: WriteCondition, durability: WriteDurability = {}): Promise<WriteResult> {
    if (isChanging(this.#state)) await this.#untilRoleSettled();
    if (this.#state !== 'primary' || this.#groupCommit === undefined) throw new ShiplogError('not-primary', 'this node is not the primary');
    const engine = this.#engine!;
    const level = this.#acknowledgements.admit(durability.ack, this.#live);
    const result = await this.#groupCommit.submit(operation, this.#commitCondition(condition, engine), { awaitsSync: level !== 'memory' });
    switch (result.outcome) {
      case 'taken':
        return { outcome: 'written', position: null, ack: 'memory' };
      case 'written': {
        const ack = await this.#acknowledged(result.lsn, level, durability.timeoutMs, true);
        return { outcome: 'written', position: engine.history.positionOf(result.lsn), ack };
      }
      case 'absent':
        await this.#acknowledged(result.restsOnLsn, level, durability.timeoutMs, false);
        return { outcome: 'absent' };
      case 'precondition-failed':
        await this.#acknowledged(result.restsOnLsn, level, durability.timeoutMs, false);
        return { outcome: 'precondition-failed', current: result.currentLsn === null ? null : engine.history.positionOf(result.currentLsn) };
      default:
        return unreachable(result);
    }
  }

  put(operation: PutOperation, listener: WriteListener): void {
    const engine = this.#engine;
    const { ackDefault, ackMinimum } = this.#live;
    if (this.#state !== 'primary' || this.#groupCommit === undefined || engine === undefined || strongerAck(ackDefault, ackMinimum) !== 'local') {
      this.write(operation, {}).then(
        (result) => listener.onOther(result),
        (error: unknown) => listener.onFailed(error),
      );
      return;
    }
    this.#groupCommit.put(operation, listener);
  }

  async writeBatch(writes: readonly BatchWrite[], durability: WriteDurability = {}, { awaitsSync = false }: { readonly awaitsSync?: boolean } = {}): Promise<BatchResult> {
    if (isChanging(this.#state)) await this.#untilRoleSettled();
    if (this.#state !== 'primary' || this.#groupCommit === undefined) throw new ShiplogError('not-primary', 'this node is not the primary');
    const engine = this.#engine!;
    const isTooWeak = awaitsSync && (durability.ack ?? this.#live.ackDefault) === 'memory';
    const level = this.#acknowledgements.admit(isTooWeak ? 'local' : durability.ack, this.#live);
    const operations = writes.map(({ operation, condition }) => ({ operation, condition: this.#commitCondition(condition, engine) }));
    const result = await this.#groupCommit.submitBatch(operations, { awaitsSync: level !== 'memory' });
    switch (result.outcome) {
      case 'taken':
        return { outcome: 'written', position: null, ack: 'memory', results: result.isWritten.map((isWritten) => (isWritten ? { outcome: 'written', position: null } : { outcome: 'absent' })) };
      case 'written': {
        const isWritten = result.lsns.some((lsn) => lsn !== null);
        const ack = await this.#acknowledged(result.endLsn, level, durability.timeoutMs, isWritten);
        const { history } = engine;
        return {
          outcome: 'written',
          position: history.positionOf(result.endLsn),
          ack,
          // Whoever sends thousands mostly does not ask.
          get results() {
            return result.lsns.map((lsn) => (lsn === null ? { outcome: 'absent' as const } : { outcome: 'written' as const, position: history.positionOf(lsn) }));
          },
        };
      }
      case 'precondition-failed':
        await this.#acknowledged(result.restsOnLsn, level, durability.timeoutMs, false);
        return { outcome: 'precondition-failed', index: result.index, current: result.currentLsn === null ? null : engine.history.positionOf(result.currentLsn) };
      default:
        return unreachable(result);
    }
  }

  /** Resolves once what is durable here up to `lsn` has reached the level. */
  #acknowledged(lsn: number, level: AckLevel, givenMs: number | undefined, isWritten: boolean): ReachedAck | Promise<ReachedAck> {
    if (level === 'memory' || level === 'local') return 'local';
    const timeoutMs = givenMs ?? LIMITS.ackTimeoutMs;
    return this.#acknowledgements.reached(lsn, level, timeoutMs, () => {
      const position = formatPosition(this.#engine?.history.positionOf(lsn) ?? POSITION_ZERO);
      const what = isWritten ? 'the write is stored here' : 'nothing is written, but that rests on writes which are stored here';
      return new ShiplogError('ack-timeout', `${what} at ${position}: ack=${level} was not confirmed within ${timeoutMs} ms`, { extra: { position, outcome: isWritten ? 'written' : 'not-written' } });
    });
  }

  async waitFor(position: Position, waitMs: number): Promise<void> {
    const deadline = new AbortController();
    const timer = this.#options.environment.clock.setTimer(waitMs, () => {
      deadline.abort(new ShiplogError('position-not-reached', `this node is at ${formatPosition(this.visiblePosition())}, and did not reach ${formatPosition(position)} within ${waitMs} ms`));
    });
    try {
      await this.#shown(position, deadline.signal);
    } finally {
      timer.cancel();
    }
  }

  /** Resolves once reads show the position. What may still come is judged again at every change of history. */
  async #shown(position: Position, signal: AbortSignal): Promise<void> {
    for (;;) {
      const engine = this.#readableEngine();
      const { visible } = engine.table;
      switch (judgePosition(position, { history: engine.history, visibleLsn: visible.lsn })) {
        case 'reached':
          return;
        case 'lost':
          throw new ShiplogError('position-lost', `${formatPosition(position)} is in no history that survives: this node is at ${formatPosition(this.visiblePosition())}`, {
            extra: { position: formatPosition(position) },
          });
        case 'possible':
          break;
      }
      await this.#untilChanged(visible, position.lsn, signal);
    }
  }

  /** Resolves when the mark gets to `lsn`, or history or role have changed. */
  async #untilChanged(visible: Watermark, lsn: number, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const either = AbortSignal.any([signal, over.signal]);
    const ways = [this.#changes.next(either)];
    // An epoch that is not here yet may well have LSNs that are.
    if (lsn > visible.lsn) ways.push(visible.reached(lsn, either));
    try {
      await Promise.race(ways);
    } finally {
      over.abort();
      for (const way of ways) way.catch(() => {});
    }
  }

  async exportTable(): Promise<TableExport> {
    const engine = this.#readableEngine();
    const { visible } = engine.table;
    const deadline = new AbortController();
    const timer = this.#options.environment.clock.setTimer(LIMITS.positionWaitMs, () => {
      deadline.abort(new ShiplogError('position-not-reached', `the database did not reach ${formatPosition(engine.history.positionOf(visible.lsn))} within ${LIMITS.positionWaitMs} ms`));
    });
    await engine.table.appliedThrough(visible.lsn, deadline.signal).finally(() => timer.cancel());
    const opened = await this.#exports.open(engine.store);
    const { clusterId, rowCount } = opened;
    return { clusterId, rowCount, position: opened.history.positionOf(opened.lsn), rows: (prefix) => opened.rows(prefix), close: () => opened.close() };
  }

  #commitCondition(condition: WriteCondition, engine: Engine): CommitCondition | undefined {
    const { ifMatch, ifNoneMatch } = condition;
    if (ifMatch === undefined && ifNoneMatch === undefined) return undefined;
    const names = (list: '*' | readonly Position[], lsn: number | null): boolean => {
      if (lsn === null) return false;
      if (list === '*') return true;
      const current = formatPosition(engine.history.positionOf(lsn));
      return list.some((position) => formatPosition(position) === current);
    };
    return (lsn) => (ifMatch === undefined || names(ifMatch, lsn)) && (ifNoneMatch === undefined || !names(ifNoneMatch, lsn));
  }

  forward(primaryUrl: string, request: TransportRequest, { ack, timeoutMs }: WriteDurability = {}): Promise<ForwardedResponse> {
    const { environment } = this.#options;
    const { ackDefault, ackMinimum, forwardTimeoutMs } = this.#live;
    const level = strongerAck(ack ?? ackDefault, ackMinimum);
    const ackTimeoutMs = level === 'memory' || level === 'local' ? 0 : (timeoutMs ?? LIMITS.ackTimeoutMs);
    return forwardWrite(request, {
      transport: environment.transport,
      clock: environment.clock,
      nodeId: this.nodeId,
      primaryUrl,
      timeoutMs: forwardTimeoutMs + ackTimeoutMs,
      shown: (position, signal) => this.#shown(position, signal),
    });
  }

  // ——— what other nodes ask for ———

  async serveLog(request: TransportRequest): Promise<TransportResponse> {
    if (this.#sender === undefined || this.#state === 'failed') throw this.#notReady();
    return this.#sender.serve(request);
  }

  async serveSnapshot(request: TransportRequest): Promise<TransportResponse> {
    this.#readableEngine();
    return this.#snapshots.serve(request);
  }

  async servePeer(request: TransportRequest): Promise<TransportResponse> {
    const path = request.target.split('?')[0];
    if (path === '/peer/confirm' && request.method === 'POST') {
      if (this.#sender === undefined) throw this.#notReady();
      return this.#sender.takeConfirmations(request);
    }
    if (path === '/peer/digest' && request.method === 'GET') return serveDigest(request, this.#readableEngine(), this.#options.environment.clock);
    const answer = path === undefined ? undefined : await this.#failover.servePeer(path, request);
    if (answer !== undefined) return answer;
    throw new ShiplogError('no-such-route', `there is nothing at ${path}`);
  }

  #heartbeat(): HeartbeatFrame {
    const { wal } = this.#engine!;
    const epoch = wal.history.current!;
    const own: HeartbeatFrame = { kind: 'heartbeat', lsn: wal.end.lsn, epoch: { number: epoch.number, id: epoch.id }, wallMs: 0, path: [] };
    if (this.#directory.identity.role === 'primary') return { ...own, wallMs: this.#options.environment.clock.wallMs(), path: [this.nodeId] };
    // A replica speaks for the primary only: with its last words, which grow old, or with nobody's.
    const last = this.#upstream.lastHeartbeat;
    return last === undefined || last.path.length === 0 ? own : { ...last, path: [...last.path, this.nodeId] };
  }

  // ——— what operators ask for ———

  /** Takes over what may change while the node runs. */
  reconfigure(live: LiveNodeOptions): void {
    this.#live = live;
  }

  status(): NodeStatus {
    const engine = this.#engine;
    const current = engine?.history.current;
    const position = (lsn: number | undefined): string => formatPosition(engine === undefined || lsn === undefined ? POSITION_ZERO : engine.history.positionOf(lsn));
    return {
      name: this.nodeName,
      nodeId: this.nodeId,
      version: this.#options.version,
      role: this.role,
      state: this.#state,
      url: this.#options.advertiseUrl,
      dataDirectory: this.#directory.path,
      clusterId: engine?.clusterId ?? null,
      epoch: current === undefined ? null : { number: current.number, id: current.id },
      history: engine?.history ?? EpochHistory.EMPTY,
      positions: {
        appended: position(engine?.wal.end.lsn),
        durable: position(engine?.wal.end.lsn),
        visible: position(engine?.table.visible.lsn),
        applied: position(engine?.table.applied.lsn),
        checkpointed: position(engine?.wal.checkpointedLsn),
      },
      uptimeMs: Math.round(this.#options.environment.clock.monotonicMs() - this.#startedMs),
      upstream: this.#upstreamStatus(),
      members: this.#members.all,
      followers: (this.#sender?.followers ?? []).map((follower) => ({
        nodeId: follower.nodeId,
        name: follower.name,
        connected: follower.streamId !== null,
        sent: position(follower.sentLsn),
        durable: position(follower.durableLsn),
        applied: position(follower.appliedLsn),
        lagOperations: engine!.wal.end.lsn - follower.appliedLsn,
        lagBytes: engine!.wal.bytesAfter(follower.durableLsn),
        lagMs: Math.round(this.#sender!.lagMs(follower)),
      })),
      promise: this.#failover.promise,
      fence: this.#directory.identity.fence,
      salvage: this.#salvage,
      tasks: [...this.#snapshots.tasks, ...(this.#bootstrap?.tasks ?? [])],
      log: { segments: engine?.wal.segments.length ?? 0, bytes: engine?.wal.sizeBytes ?? 0, firstLsn: (engine?.wal.start.lsn ?? 0) + 1 },
    };
  }

  /** Whoever decides about a salvage file moves it away while this node runs. */
  async freshStatus(): Promise<NodeStatus> {
    if (this.#salvage.length > 0 && !isEnding(this.#state)) {
      await this.#listSalvage().catch((error: unknown) => this.#options.logger.warn('the salvage files could not be listed', { reason: messageOf(error) }));
    }
    return this.status();
  }

  #upstreamStatus(): UpstreamStatus | null {
    if (this.#upstreamUrl === null) return null;
    const { status } = this.#upstream;
    const heartbeat = status?.heartbeat;
    return {
      url: this.#upstreamUrl,
      connected: status?.isConnected ?? false,
      primaryPosition: heartbeat === undefined ? null : formatPosition({ epochNumber: heartbeat.epoch.number, epochTag: heartbeat.epoch.id.slice(0, 4), lsn: heartbeat.lsn }),
      lagOperations: heartbeat === undefined ? null : Math.max(0, heartbeat.lsn - (this.#engine?.table.visible.lsn ?? 0)),
      lagMs: this.#upstream.lagMs,
      lastError: this.#directory.identity.fence?.reason ?? status?.lastError ?? null,
    };
  }

  health(): Verdict {
    if (this.#failure !== undefined) return { ok: false, reason: this.#failure.message };
    if (this.#engine === undefined || !servesReads(this.#state)) return { ok: false, reason: this.#notReady().message };
    if (this.#state === 'stopping') return { ok: false, reason: 'this node is stopping' };
    return { ok: true, reason: this.#state };
  }

  readiness(lagMsMax = this.#live.readyLagMs): Verdict {
    const health = this.health();
    if (!health.ok || this.role === 'primary') return health;
    const lagMs = this.#upstream.lagMs;
    if (lagMs === null) return { ok: false, reason: 'this replica has not heard of the primary yet' };
    if (lagMs > lagMsMax) return { ok: false, reason: `this replica is ${lagMs} ms behind, allowed are ${lagMsMax} ms` };
    return { ok: true, reason: `${lagMs} ms behind` };
  }

  async metricsText(): Promise<{ contentType: string; text: string }> {
    const { metrics } = this.#options;
    return { contentType: metrics.contentType, text: await metrics.text() };
  }

  #gauges(): NodeGauges {
    const engine = this.#engine;
    const upstream = this.#upstreamStatus();
    const endLsn = engine?.wal.end.lsn ?? 0;
    return {
      isPrimary: this.role === 'primary',
      epochNumber: engine?.history.current?.number ?? 0,
      appendedLsn: endLsn,
      durableLsn: endLsn,
      visibleLsn: engine?.table.visible.lsn ?? 0,
      appliedLsn: engine?.table.applied.lsn ?? 0,
      checkpointedLsn: engine?.wal.checkpointedLsn ?? 0,
      queueOperations: this.#groupCommit?.queueOperations ?? 0,
      queueBytes: this.#groupCommit?.queueBytes ?? 0,
      unappliedBytes: engine?.table.unappliedBytes ?? 0,
      logBytes: engine?.wal.sizeBytes ?? 0,
      segmentCount: engine?.wal.segments.length ?? 0,
      requestBodyBytes: this.#options.requestBodyBytes?.() ?? 0,
      upstreamLagOperations: upstream?.lagOperations ?? null,
      upstreamLagSeconds: upstream?.lagMs == null ? null : upstream.lagMs / 1000,
      followers: (this.#sender?.followers ?? []).map((follower) => ({
        name: follower.name,
        connected: follower.streamId !== null,
        lagOperations: endLsn - follower.appliedLsn,
        lagBytes: engine!.wal.bytesAfter(follower.durableLsn),
        lagSeconds: this.#sender!.lagMs(follower) / 1000,
      })),
    };
  }

  // ——— stop ———

  /** First half of a clean stop: no new writes, streams end with an end frame. What is in flight goes on. */
  beginStop(): void {
    if (this.#state !== 'stopping') this.#on('stop-requested');
    this.#sender?.close('the node is stopping');
  }

  /** Second half: finish, sync, close. Call it when no request is being answered any more. */
  async stop(): Promise<void> {
    assert(this.#state === 'stopping' || this.#state === 'failed', 'beginStop comes first');
    await this.#failover.stop();
    await this.#bootstrap?.stop();
    await this.#bootstrapping;
    // A commit that waits for room which may never come must not hold up the end.
    this.#engine?.beginClose();
    await this.#upstream.stop();
    await this.#snapshots.close();
    await this.#closeEngine('the node is stopping');
    await this.#directory.close();
  }
}

/** While the primary changes, whoever writes waits for the outcome. */
function isChanging(state: RoleState): boolean {
  return state === 'handing-over' || state === 'handed-over';
}

function isEnding(state: RoleState): boolean {
  return state === 'stopping' || state === 'failed';
}
