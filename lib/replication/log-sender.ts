/**
 * The sending end of replication: serves `GET /wal`, takes confirmations, and keeps one record per
 * follower. Only durable frames leave. A stream is pulled by whoever writes it to the socket, so a
 * slow follower costs one chunk and its place in the log.
 */
import { crc32 } from 'node:zlib';
import { ShiplogError, assert, isShiplogError, messageOf, unreachable } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { ConfirmedMember } from '../commit/acknowledgements.ts';
import type { Clock, Timer } from '../env/clock.ts';
import type { Disk } from '../env/disk.ts';
import { type Random, randomId } from '../env/random.ts';
import type { TransportRequest, TransportResponse } from '../env/transport.ts';
import type { Logger } from '../observe/logger.ts';
import type { Metrics } from '../observe/metrics.ts';
import { WalCursor } from '../wal/wal-cursor.ts';
import type { Wal } from '../wal/wal.ts';
import { type Confirmation, type Follower, confirmed, connected, disconnected, lagMs } from './follower.ts';
import { type FollowerClaim, planHandshake } from './handshake.ts';
import type { Member, MemberList } from './member-list.ts';
import { type HeartbeatFrame, encodeControl } from './stream-protocol.ts';

export interface LogSenderOptions {
  readonly wal: Wal;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly clusterId: string;
  readonly nodeId: string;
  readonly nodeName: string;
  readonly members: MemberList;
  /** Position of the primary as this node knows it, and the way it came. */
  readonly heartbeat: () => HeartbeatFrame;
  /** True on the primary: its list of members is everybody's. */
  readonly keepsMembers: () => boolean;
  /** A follower has confirmed something, counts from now on, or does not any more. */
  readonly onConfirmed: () => void;
}


interface LiveStream {
  readonly streamId: string;
  /** Undefined for a watcher, which keeps no log and confirms nothing. */
  readonly nodeId: string | undefined;
  readonly cursor: WalCursor;
  /** Aborted to end the stream: with an end frame where the peer still reads. */
  readonly ending: AbortController;
  /** Aborted to drop the connection at once. */
  readonly dropping: AbortController;
}

const CONFIRMATION_LINE_BYTES_MAX = 1024;
const HEADERS = { 'content-type': 'application/vnd.shiplog.wal', 'cache-control': 'no-store' } as const;

export class LogSender {
  readonly #options: LogSenderOptions;
  readonly #streams = new Map<string, LiveStream>();
  readonly #followers = new Map<string, Follower>();
  #silenceTimer: Timer | undefined;
  #isClosed = false;

  constructor(options: LogSenderOptions) {
    this.#options = options;
    this.#watchSilence();
  }

  /** Drops the record of a node that left the members; of one that came back meanwhile, and is a member again, it stays. */
  forget(nodeId: string): void {
    if (this.#followers.get(nodeId)?.streamId === null) this.#followers.delete(nodeId);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get followers(): readonly Follower[] {
    return [...this.#followers.values()];
  }

  /** The LSN after which somebody may still need the log: replicas, also those not heard of since the start, and readers. */
  neededAfterLsn(): number | null {
    const needs: number[] = [];
    for (const member of this.#options.members.all) {
      if (member.nodeId !== this.#options.nodeId) needs.push(this.#followers.get(member.nodeId)?.durableLsn ?? this.#options.wal.start.lsn);
    }
    for (const stream of this.#streams.values()) needs.push(stream.cursor.point.lsn);
    return needs.length === 0 ? null : Math.min(...needs);
  }

  /**
   * `GET /wal?after=<lsn>&epoch=&chain=&cluster=&node=&name=&advertise=`.
   * @throws ShiplogError `other-cluster`, `history-diverged`, `follower-ahead`, `chain-mismatch`, `position-gone`, `duplicate-node`.
   */
  async serve(request: TransportRequest): Promise<TransportResponse> {
    const { wal, disk } = this.#options;
    this.#refuseWhenClosed();
    const query = parseQuery(request.target);
    this.#judge(query);
    if (query.node !== undefined) this.#admit(query.node.nodeId);
    const cursor = await WalCursor.open(wal, disk, query.afterLsn);
    let stream: LiveStream | undefined;
    try {
      this.#refuseOtherChain(query, cursor);
      if (request.method === 'HEAD') {
        await cursor.close();
        return { status: 200, headers: HEADERS, body: emptyBody() };
      }
      stream = this.#begin(query, cursor);
      if (query.node !== undefined) await this.#addMember(query.node);
    } catch (error) {
      if (stream !== undefined) this.#forget(stream);
      await cursor.close();
      throw error;
    }
    return {
      status: 200,
      headers: { ...HEADERS, 'shiplog-stream': stream.streamId },
      body: this.#bodyOf(stream, request.signal),
      abort: stream.dropping.signal,
    };
  }

  async #addMember(node: Member): Promise<void> {
    if (node.url !== '' && this.#options.keepsMembers()) await this.#options.members.add(node);
  }

  /** Whoever follows a node that becomes the primary is a member from then on. */
  async addFollowers(): Promise<void> {
    for (const follower of this.followers) if (follower.streamId !== null) await this.#addMember(follower);
  }

  /** What the other members have of this log. */
  get confirmedMembers(): readonly ConfirmedMember[] {
    return this.#others().map((member) => {
      const follower = this.#followers.get(member.nodeId);
      const counts = member.isSettled === true && follower !== undefined && follower.streamId !== null && follower.isReady;
      return { nodeId: member.nodeId, durableLsn: counts ? follower.durableLsn : null };
    });
  }

  #others(): readonly Member[] {
    return this.#options.members.all.filter((member) => member.nodeId !== this.#options.nodeId);
  }

  /** Once every other member has the same list on its disk, all who are in it are known to everybody. */
  #settleMembers(): void {
    const { members, keepsMembers, logger } = this.#options;
    if (!keepsMembers() || members.all.every((member) => member.isSettled === true)) return;
    const { digest } = members;
    if (!this.#others().every((member) => this.#followers.get(member.nodeId)?.membersDigest === digest)) return;
    // What it says is true already; should the file not be written, it is found out again.
    members.settle().catch((error: unknown) => logger.warn('the list of members could not be written', { reason: messageOf(error) }));
  }

  #refuseWhenClosed(): void {
    if (this.#isClosed) throw new ShiplogError('stopping', 'this node is stopping');
  }

  #refuseOtherChain({ afterLsn, chain }: FollowerClaim, { point }: WalCursor): void {
    if (chain === undefined || chain === point.chain) return;
    throw new ShiplogError('chain-mismatch', `at LSN ${afterLsn} this node's chain is ${hex(point.chain)}, yours is ${hex(chain)}: one of the logs is damaged`);
  }

  /** From here on the stream counts. Asks again what was asked before, since opening the cursor gave others a turn. */
  #begin({ node, afterLsn }: WalQuery, cursor: WalCursor): LiveStream {
    const { random, wal, clock } = this.#options;
    this.#refuseWhenClosed();
    if (node !== undefined) this.#admit(node.nodeId);
    const stream: LiveStream = { streamId: randomId(random), nodeId: node?.nodeId, cursor, ending: new AbortController(), dropping: new AbortController() };
    if (node !== undefined) {
      const claim = { ...node, streamId: stream.streamId, afterLsn, ownDurableLsn: wal.end.lsn, nowMs: clock.monotonicMs() };
      this.#followers.set(node.nodeId, connected(this.#followers.get(node.nodeId), claim));
    }
    this.#streams.set(stream.streamId, stream);
    return stream;
  }

  /** A generator that is left before its first step does not run its `finally`: leaving this does what that would have done. */
  #bodyOf(stream: LiveStream, signal: AbortSignal | undefined): AsyncIterable<Buffer> {
    const chunks = this.#send(stream, signal);
    return {
      [Symbol.asyncIterator]: () => ({
        next: () => chunks.next(),
        return: async () => {
          await chunks.return(undefined);
          this.#forget(stream);
          await stream.cursor.close();
          return { done: true, value: undefined };
        },
      }),
    };
  }

  #judge(claim: FollowerClaim): void {
    const { wal, clusterId, logger } = this.#options;
    const history = wal.history;
    const plan = planHandshake(claim, { clusterId, history, durable: wal.end, startLsn: wal.start.lsn });
    const extra = { history: history.toJSON(), durableLsn: wal.end.lsn, clusterId };
    switch (plan.verdict) {
      case 'stream':
        return;
      case 'other-cluster':
        throw new ShiplogError('other-cluster', `this node belongs to cluster ${clusterId}, you to ${claim.clusterId}`, { extra: { clusterId } });
      case 'history-diverged':
        throw new ShiplogError('history-diverged', `the histories part after LSN ${plan.forkLsn}`, { extra });
      case 'follower-ahead':
        logger.error('a follower holds operations that this node does not have: has this node lost durable data?', { afterLsn: claim.afterLsn, durableLsn: wal.end.lsn });
        throw new ShiplogError('follower-ahead', `you are at LSN ${claim.afterLsn}, this node's log ends at ${wal.end.lsn}`, { extra });
      case 'position-gone':
        throw new ShiplogError('position-gone', `the log begins at LSN ${wal.start.lsn + 1}, asked for ${claim.afterLsn + 1}; take a snapshot`);
      default:
        unreachable(plan);
    }
  }

  /** Refuses a second live stream of one node id, a cloned data directory, which must not count twice. */
  #admit(nodeId: string): void {
    const follower = this.#followers.get(nodeId);
    if (follower === undefined) this.#makeRoomForFollower();
    const live = follower?.streamId == null ? undefined : this.#streams.get(follower.streamId);
    if (follower === undefined || live === undefined || live.dropping.signal.aborted) return;
    if (this.#options.clock.monotonicMs() - follower.heardMs < 2 * LIMITS.heartbeatIntervalMs) {
      throw new ShiplogError('duplicate-node', `node ${nodeId} has a live stream already; is its data directory a copy?`, { retryAfterS: 2 });
    }
    live.dropping.abort(new Error('replaced by a newer stream of the same node'));
    this.#forget(live);
  }

  /** Ids are for the asking, so the records are bounded: one of a node that is away makes room. */
  #makeRoomForFollower(): void {
    if (this.#followers.size < LIMITS.membersMax) return;
    const members = new Set(this.#options.members.all.map((member) => member.nodeId));
    const away = this.followers.filter((follower) => follower.streamId === null);
    const leaving = away.find((follower) => !members.has(follower.nodeId)) ?? away[0];
    if (leaving === undefined) throw new ShiplogError('overloaded', `${this.#followers.size} nodes follow this one already`);
    this.#followers.delete(leaving.nodeId);
  }

  async *#send(stream: LiveStream, signal: AbortSignal | undefined): AsyncGenerator<Buffer> {
    const { clock, metrics, members, logger } = this.#options;
    const { cursor } = stream;
    const gone = AbortSignal.any([stream.ending.signal, stream.dropping.signal, ...(signal === undefined ? [] : [signal])]);
    let salt: Buffer | undefined;
    let sentMembers = members.all;
    let heartbeatDueMs = 0;
    let isBetweenFrames = true;
    try {
      yield this.#hello(stream);
      while (!gone.aborted) {
        const chunk = await cursor.next();
        if (chunk !== undefined) {
          isBetweenFrames = chunk.endsFrame;
          if (salt === undefined || !salt.equals(chunk.salt)) {
            salt = chunk.salt;
            yield encodeControl({ kind: 'salt', salt: salt.toString('hex') });
          }
          this.#noteSent(stream, chunk.throughLsn);
          metrics.streamBytesSent.increment(chunk.bytes.length);
          yield chunk.bytes;
          if (!isBetweenFrames) continue;
        }
        if (members.all !== sentMembers) {
          sentMembers = members.all;
          yield encodeControl({ kind: 'members', members: sentMembers });
        }
        if (clock.monotonicMs() >= heartbeatDueMs) {
          heartbeatDueMs = clock.monotonicMs() + LIMITS.heartbeatIntervalMs;
          yield encodeControl(this.#options.heartbeat());
        }
        if (chunk === undefined) await this.#more(cursor.point.lsn, heartbeatDueMs - clock.monotonicMs(), gone);
      }
      // Within a frame the end of the connection has to say it.
      if (stream.ending.signal.aborted && isBetweenFrames) yield encodeControl({ kind: 'end', reason: messageOf(stream.ending.signal.reason) });
    } catch (error) {
      logger.warn('a stream ended', { nodeId: stream.nodeId, reason: messageOf(error) });
      throw error;
    } finally {
      this.#forget(stream);
      await cursor.close();
    }
  }

  #hello(stream: LiveStream): Buffer {
    const { clusterId, nodeId, nodeName, members } = this.#options;
    return encodeControl({ kind: 'hello', streamId: stream.streamId, clusterId, nodeId, nodeName, members: members.all });
  }

  /** Resolves when there is more to send, the next heartbeat is due, or the stream is to end. */
  async #more(afterLsn: number, waitMs: number, gone: AbortSignal): Promise<void> {
    if (gone.aborted) return;
    const waiting = new AbortController();
    const stop = (): void => waiting.abort();
    const timer = this.#options.clock.setTimer(Math.max(waitMs, 0), stop);
    gone.addEventListener('abort', stop, { once: true });
    await this.#options.wal.durable.reached(afterLsn + 1, waiting.signal).catch(() => {});
    timer.cancel();
    gone.removeEventListener('abort', stop);
  }

  #noteSent(stream: LiveStream, sentLsn: number): void {
    const follower = stream.nodeId === undefined ? undefined : this.#followers.get(stream.nodeId);
    if (follower?.streamId === stream.streamId) this.#followers.set(follower.nodeId, { ...follower, sentLsn });
  }

  #forget(stream: LiveStream): void {
    this.#streams.delete(stream.streamId);
    const follower = stream.nodeId === undefined ? undefined : this.#followers.get(stream.nodeId);
    if (follower?.streamId === stream.streamId) this.#followers.set(follower.nodeId, disconnected(follower));
  }

  /**
   * `POST /peer/confirm?stream=<id>`: one line of JSON per confirmation, for as long as the stream
   * lives. Every line is a sign of life.
   */
  async takeConfirmations(request: TransportRequest): Promise<TransportResponse> {
    const streamId = new URLSearchParams(request.target.split('?')[1] ?? '').get('stream') ?? '';
    const stream = this.#streams.get(streamId);
    if (stream?.nodeId === undefined) throw new ShiplogError('bad-request', `there is no stream ${streamId} that takes confirmations`);
    if (request.body === undefined || request.body instanceof Uint8Array) throw new ShiplogError('bad-request', 'confirmations come as an endless body');
    try {
      // A peer that was dropped may be a half-open link, from which no end ever comes.
      for await (const line of linesOf(untilAborted(request.body, stream.dropping.signal))) {
        if (!this.#streams.has(streamId)) break;
        this.#confirm(stream.nodeId, streamId, parseConfirmation(line));
      }
    } catch (error) {
      // A connection that breaks is how most streams end.
      if (isShiplogError(error)) throw error;
    } finally {
      // The two connections live and die together.
      stream.dropping.abort(new Error('the confirmations ended'));
    }
    return { status: 204, headers: {}, body: emptyBody() };
  }

  #confirm(nodeId: string, streamId: string, confirmation: Confirmation): void {
    const follower = this.#followers.get(nodeId);
    if (follower?.streamId !== streamId) return;
    const { wal, clock } = this.#options;
    // What it has of another epoch than ours says nothing about our log.
    const isOurs = wal.history.find(confirmation.epochId) !== undefined || confirmation.durableLsn === 0;
    const state = { ownDurableLsn: wal.end.lsn, nowMs: clock.monotonicMs() };
    const nothingNew = { ...confirmation, durableLsn: 0, appliedLsn: 0, isReady: false };
    this.#followers.set(nodeId, confirmed(follower, isOurs ? confirmation : nothingNew, state));
    this.#settleMembers();
    this.#options.onConfirmed();
  }

  /** Drops followers that have said nothing for too long: half-open links, frozen processes. */
  #watchSilence(): void {
    const { clock, logger } = this.#options;
    this.#silenceTimer = clock.setTimer(LIMITS.heartbeatIntervalMs, () => {
      for (const follower of this.#followers.values()) {
        const stream = follower.streamId === null ? undefined : this.#streams.get(follower.streamId);
        if (stream === undefined || clock.monotonicMs() - follower.heardMs <= LIMITS.peerSilentMs) continue;
        logger.warn('dropping a follower that has been silent', { node: follower.name, silentMs: LIMITS.peerSilentMs });
        stream.dropping.abort(new Error('the follower was silent'));
        this.#forget(stream);
      }
      if (!this.#isClosed) this.#watchSilence();
    });
  }

  /** Milliseconds for which a follower has lacked something. */
  lagMs(follower: Follower): number {
    return lagMs(follower, { ownDurableLsn: this.#options.wal.end.lsn, nowMs: this.#options.clock.monotonicMs() });
  }

  /** Ends all streams with an end frame, and for good. */
  close(reason: string): void {
    this.#isClosed = true;
    this.#silenceTimer?.cancel();
    for (const stream of this.#streams.values()) stream.ending.abort(new Error(reason));
  }

  /** Drops what is left of the streams. */
  drop(): void {
    assert(this.#isClosed, 'streams are asked to end before they are dropped');
    for (const stream of this.#streams.values()) stream.dropping.abort(new Error('this node is stopping'));
  }
}

interface WalQuery extends FollowerClaim {
  readonly node: { readonly nodeId: string; readonly name: string; readonly url: string } | undefined;
}

const KNOWN_PARAMETERS = new Set(['after', 'epoch', 'chain', 'cluster', 'node', 'name', 'advertise']);

function parseQuery(target: string): WalQuery {
  const parameters = new URLSearchParams(target.split('?')[1] ?? '');
  for (const name of parameters.keys()) {
    if (!KNOWN_PARAMETERS.has(name)) throw new ShiplogError('unknown-parameter', `/wal does not know the parameter ${name}; it takes ${[...KNOWN_PARAMETERS].join(', ')}`);
  }
  const text = (name: string, pattern: RegExp): string | undefined => {
    const value = parameters.get(name) ?? undefined;
    if (value !== undefined && !pattern.test(value)) throw new ShiplogError('bad-request', `the parameter ${name} must match ${pattern.source}, got ${JSON.stringify(value)}`);
    return value;
  };
  const nodeId = text('node', /^[0-9a-f]{32}$/);
  const chain = text('chain', /^[0-9a-f]{8}$/);
  return {
    afterLsn: Number(text('after', /^\d{1,15}$/) ?? '0'),
    epochId: text('epoch', /^[0-9a-f]{32}$/),
    chain: chain === undefined ? undefined : Number.parseInt(chain, 16),
    clusterId: text('cluster', /^[0-9a-f]{32}$/),
    node: nodeId === undefined ? undefined : { nodeId, name: text('name', /^[\w.-]{1,64}$/) ?? nodeId.slice(0, 8), url: text('advertise', /^https?:\/\/[^\s]{1,256}$/) ?? '' },
  };
}

/** `<crc32 of what follows> <JSON>`: acknowledged writes rest on these digits. */
function parseConfirmation(line: string): Confirmation {
  const [checksum, text] = [line.slice(0, 8), line.slice(9)];
  try {
    const value = JSON.parse(text) as Record<string, unknown>;
    const { epoch, durable, applied, ready, members } = value;
    const isComplete = typeof epoch === 'string' && Number.isSafeInteger(durable) && Number.isSafeInteger(applied) && typeof ready === 'boolean' && typeof members === 'string';
    if (isComplete && checksum === hex(crc32(text))) {
      return { epochId: epoch, durableLsn: durable as number, appliedLsn: applied as number, isReady: ready, membersDigest: members };
    }
  } catch {
    // Said below, together with what parsed but doesn't fit.
  }
  throw new ShiplogError('bad-request', `not a confirmation: ${line.slice(0, 100)}`);
}

/** Inverse of `parseConfirmation`, kept beside it. */
export function encodeConfirmation(confirmation: Confirmation): Buffer {
  const { epochId, durableLsn, appliedLsn, isReady, membersDigest } = confirmation;
  const text = JSON.stringify({ epoch: epochId, durable: durableLsn, applied: appliedLsn, ready: isReady, members: membersDigest });
  return Buffer.from(`${hex(crc32(text))} ${text}\n`);
}

async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of body) {
    const lines = (rest + Buffer.from(chunk).toString('latin1')).split('\n');
    rest = lines.pop()!;
    if (rest.length > CONFIRMATION_LINE_BYTES_MAX) throw new ShiplogError('bad-request', 'a confirmation is too long');
    yield* lines;
  }
}

/** Ends where the body ends, or with the signal, whichever comes first. */
async function* untilAborted(body: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const chunks = body[Symbol.asyncIterator]();
  const aborted = Promise.withResolvers<undefined>();
  const onAbort = (): void => aborted.resolve(undefined);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    for (;;) {
      const next = chunks.next();
      const result = await Promise.race([next, aborted.promise]);
      if (result === undefined) {
        // Its reader is gone: how it ends, if it ever does, is nobody's concern.
        next.catch(() => {});
        return;
      }
      if (result.done === true) return;
      yield result.value;
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

async function* emptyBody(): AsyncGenerator<Uint8Array> {
  // Nothing to say.
}

function hex(chain: number): string {
  return chain.toString(16).padStart(8, '0');
}

