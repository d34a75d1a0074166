/**
 * The receiving end of replication: follows one upstream's `GET /wal`, hands frames to a sink in
 * groups, confirms what is durable, and connects again after every cut from exactly where its own
 * log ends.
 */
import type { EpochHistory, LogPoint } from '../base/epoch-history.ts';
import { ShiplogError, isShiplogError, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { errorFromProblem } from '../base/problem.ts';
import { type Clock, type Timer, sleep } from '../env/clock.ts';
import type { Random } from '../env/random.ts';
import { type Transport, type TransportResponse, readBody } from '../env/transport.ts';
import type { Logger } from '../observe/logger.ts';
import type { Metrics } from '../observe/metrics.ts';
import { decodeOperations } from '../wal/operation-codec.ts';
import type { FrameSource } from '../wal/wal.ts';
import type { Member } from './member-list.ts';
import { encodeConfirmation } from './log-sender.ts';
import { type ControlFrame, type HeartbeatFrame, StreamDecoder, type StreamRecord } from './stream-protocol.ts';

/** Where received frames go: a committer, or while a snapshot is fetched, the bare log. */
export interface LogSink {
  /** Durable end of the sink's log: where the stream continues. */
  readonly end: LogPoint;
  readonly history: EpochHistory;
  /** What reads on this node show. */
  readonly visibleLsn: number;
  /** False while this node has no consistent state. */
  readonly isReady: boolean;
  commit(sources: readonly FrameSource[]): Promise<unknown>;
}

export interface LogReceiverOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly upstreamUrl: string;
  readonly sink: LogSink;
  /** Undefined until a first snapshot has told which cluster this is. */
  readonly clusterId: string;
  readonly nodeId: string;
  readonly nodeName: string;
  readonly advertiseUrl: string;
  readonly onMembers: (members: readonly Member[]) => void;
  /** Of the list of members on this node's disk; absent where it keeps none. */
  readonly membersDigest?: () => string;
  readonly onHeartbeat?: (heartbeat: HeartbeatFrame) => void;
  /**
   * The upstream refused for good: `position-gone`, `history-diverged`, `chain-mismatch`,
   * `follower-ahead` or `other-cluster`. The receiver has stopped.
   */
  readonly onRefused: (error: ShiplogError) => void;
  /** The sink failed: the node decides. The receiver has stopped. */
  readonly onSinkFailed: (error: unknown) => void;
}

export interface ReceiverStatus {
  readonly isConnected: boolean;
  /** Where the primary was at its last heartbeat. */
  readonly heartbeat: HeartbeatFrame | undefined;
  /** Monotonic ms of the last moment at which this node had all that the primary had. */
  readonly caughtUpMs: number | undefined;
  readonly lastError: string | undefined;
}

/** These don't get better by asking again. */
const FINAL_REFUSALS = ['position-gone', 'history-diverged', 'chain-mismatch', 'follower-ahead', 'other-cluster'] as const;
const BACKOFF_MS_MIN = 50;
const BACKOFF_MS_MAX = 3_000;
/** Frames that wait for the sink; above it the stream is not read. */
const PENDING_BYTES_MAX = LIMITS.batchBytesMax;
const DISK_FULL_RETRY_MS = 1_000;

class SinkFailure extends Error {}

export class LogReceiver {
  readonly #options: LogReceiverOptions;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;
  #isConnected = false;
  #heartbeat: HeartbeatFrame | undefined;
  #caughtUpMs: number | undefined;
  /** Monotonic ms of the last heartbeat that was a new one: a replica between hands on old ones too. */
  #primaryHeardMs = Number.NEGATIVE_INFINITY;
  #startedMs = 0;
  #lastError: string | undefined;
  #session: StreamSession | undefined;

  constructor(options: LogReceiverOptions) {
    this.#options = options;
  }

  /** The list of members on this node's disk is another one: the upstream hears of it now. */
  confirm(): void {
    this.#session?.confirm();
  }

  get status(): ReceiverStatus {
    return { isConnected: this.#isConnected, heartbeat: this.#heartbeat, caughtUpMs: this.#caughtUpMs, lastError: this.#lastError };
  }

  /** Is the primary alive at the other end, as far as its heartbeats tell? */
  isFollowingPrimary(): boolean {
    return this.#isConnected && this.#options.clock.monotonicMs() - this.#primaryHeardMs < LIMITS.primarySilentMs;
  }

  /** Since the last new heartbeat of the primary, or since the start. */
  primarySilentMs(): number {
    return this.#options.clock.monotonicMs() - Math.max(this.#primaryHeardMs, this.#startedMs);
  }

  start(): void {
    this.#startedMs = this.#options.clock.monotonicMs();
    this.#running = this.#run();
  }

  /** Resolves when nothing more goes to the sink. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error('the receiver was stopped'));
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, random, logger, metrics, upstreamUrl } = this.#options;
    let backoffMs = BACKOFF_MS_MIN;
    while (!this.#stopping.signal.aborted) {
      const endBefore = this.#options.sink.end.lsn;
      const connectedMs = clock.monotonicMs();
      try {
        await this.#followOnce();
      } catch (error) {
        if (this.#stopping.signal.aborted) return;
        if (error instanceof SinkFailure) return this.#options.onSinkFailed(error.cause);
        if (isShiplogError(error) && (FINAL_REFUSALS as readonly string[]).includes(error.code)) return this.#options.onRefused(error);
        if (this.#lastError !== messageOf(error)) logger.warn('the stream from the upstream broke; connecting again', { upstream: upstreamUrl, reason: messageOf(error) });
        this.#lastError = messageOf(error);
      }
      metrics.streamReconnects.increment();
      const madeProgress = this.#options.sink.end.lsn > endBefore || clock.monotonicMs() - connectedMs > LIMITS.peerSilentMs;
      backoffMs = madeProgress ? BACKOFF_MS_MIN : Math.min(backoffMs * 2, BACKOFF_MS_MAX);
      // Jittered, so that replicas don't come back all at once.
      await sleep(clock, backoffMs * (0.5 + random.uniform()), this.#stopping.signal).catch(() => {});
    }
  }

  async #followOnce(): Promise<void> {
    const { transport, upstreamUrl, clock } = this.#options;
    const connection = new AbortController();
    const stop = (): void => connection.abort(this.#stopping.signal.reason);
    this.#stopping.signal.addEventListener('abort', stop, { once: true });
    const silence = new SilenceWatch(clock, LIMITS.peerSilentMs, () => {
      connection.abort(new Error(`${upstreamUrl} was silent for ${LIMITS.peerSilentMs} ms`));
    });
    try {
      const response = await transport.request(upstreamUrl, { method: 'GET', target: this.#target(), headers: {}, signal: connection.signal });
      if (response.status !== 200) throw errorFromProblem(response.status, await readBody(response.body, LIMITS.controlPayloadBytesMax));
      this.#session = new StreamSession(this.#options, response, connection, silence, (control) => this.#takeControl(control), () => this.#noteProgress());
      await this.#session.run();
    } catch (error) {
      // The reason for which we broke off says more than the broken connection.
      throw connection.signal.aborted && !(error instanceof SinkFailure) ? connection.signal.reason : error;
    } finally {
      silence.end();
      this.#session = undefined;
      this.#isConnected = false;
      this.#stopping.signal.removeEventListener('abort', stop);
      connection.abort(new Error('the stream has ended'));
    }
  }

  #target(): string {
    const { sink, clusterId, nodeId, nodeName, advertiseUrl } = this.#options;
    const epoch = sink.history.epochAt(sink.end.lsn);
    const parameters = new URLSearchParams({ after: String(sink.end.lsn) });
    if (epoch !== undefined) {
      parameters.set('epoch', epoch.id);
      parameters.set('chain', sink.end.chain.toString(16).padStart(8, '0'));
    }
    parameters.set('cluster', clusterId);
    parameters.set('node', nodeId);
    parameters.set('name', nodeName);
    parameters.set('advertise', advertiseUrl);
    return `/wal?${parameters.toString()}`;
  }

  #takeControl(control: ControlFrame): void {
    const { nodeId, onMembers, logger, upstreamUrl, clusterId } = this.#options;
    switch (control.kind) {
      case 'hello':
        if (control.clusterId !== clusterId) throw new ShiplogError('other-cluster', `${upstreamUrl} belongs to cluster ${control.clusterId}, this node to ${clusterId}`);
        this.#isConnected = true;
        this.#lastError = undefined;
        logger.info('following', { upstream: upstreamUrl, upstreamName: control.nodeName, afterLsn: this.#options.sink.end.lsn });
        onMembers(control.members);
        return;
      case 'heartbeat':
        if (control.path.includes(nodeId)) throw new ShiplogError('peer-protocol', `${upstreamUrl} gets its log from this node: a circle`);
        // Words without a path are no primary's, and those that were heard before say nothing about now.
        if (control.path.length > 0 && (control.wallMs !== this.#heartbeat?.wallMs || control.lsn !== this.#heartbeat.lsn)) this.#primaryHeardMs = this.#options.clock.monotonicMs();
        this.#heartbeat = control;
        this.#options.onHeartbeat?.(control);
        this.#noteProgress();
        return;
      case 'members':
        return onMembers(control.members);
      case 'end':
        throw new ShiplogError('stopping', `${upstreamUrl} ended the stream: ${control.reason}`);
      case 'salt':
        return;
    }
  }

  /** Everything the primary had at its last heartbeat is visible here, and it is alive: not behind at this moment. */
  get hasCaughtUp(): boolean {
    return this.isFollowingPrimary() && this.#heartbeat !== undefined && this.#options.sink.visibleLsn >= this.#heartbeat.lsn;
  }

  #noteProgress(): void {
    if (this.hasCaughtUp) this.#caughtUpMs = this.#options.clock.monotonicMs();
  }
}

/** One connection: reads the stream, commits in groups, confirms. */
class StreamSession {
  readonly #options: LogReceiverOptions;
  readonly #response: TransportResponse;
  readonly #connection: AbortController;
  readonly #silence: SilenceWatch;
  readonly #onControl: (control: ControlFrame) => void;
  readonly #onProgress: () => void;
  #pending: FrameSource[] = [];
  #pendingBytes = 0;
  #isCommitting = false;
  #committing: Promise<void> = Promise.resolve();
  #sinkError: SinkFailure | ShiplogError | undefined;
  #confirmable: (() => void) | undefined;

  constructor(
    options: LogReceiverOptions,
    response: TransportResponse,
    connection: AbortController,
    silence: SilenceWatch,
    onControl: (control: ControlFrame) => void,
    onProgress: () => void,
  ) {
    this.#options = options;
    this.#response = response;
    this.#connection = connection;
    this.#silence = silence;
    this.#onControl = onControl;
    this.#onProgress = onProgress;
  }

  async run(): Promise<void> {
    const decoder = new StreamDecoder();
    try {
      for await (const bytes of this.#response.body) {
        this.#silence.heard();
        this.#options.metrics.streamBytesReceived.increment(bytes.length);
        for (const record of decoder.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))) this.#take(record);
        this.#startCommitting();
        while (this.#pendingBytes > PENDING_BYTES_MAX && this.#isCommitting) await this.#committing;
        if (this.#sinkError !== undefined) throw this.#sinkError;
      }
    } finally {
      // What was received whole is kept, also when the connection broke right after it.
      while (this.#isCommitting) await this.#committing;
      this.#confirmable?.();
    }
    if (this.#sinkError !== undefined) throw this.#sinkError;
    throw new ShiplogError('peer-protocol', 'the stream ended without an end frame');
  }

  #take(record: StreamRecord): void {
    if (record.type === 'control') {
      this.#onControl(record.control);
      if (record.control.kind === 'hello') void this.#confirmFor(record.control.streamId);
      return;
    }
    const { header, bytes } = record;
    const operations = decodeOperations(bytes.subarray(bytes.length - header.payloadBytes), header.operationCount);
    this.#pending.push({ type: 'frame', header, bytes, operations });
    this.#pendingBytes += bytes.length;
  }

  #startCommitting(): void {
    if (this.#isCommitting || this.#pending.length === 0 || this.#sinkError !== undefined) return;
    this.#isCommitting = true;
    this.#committing = this.#commitAll();
  }

  /** While one group syncs, the next one gathers: as on the primary. */
  async #commitAll(): Promise<void> {
    while (this.#pending.length > 0 && this.#sinkError === undefined) {
      const group = this.#pending;
      this.#pending = [];
      this.#pendingBytes = 0;
      await this.#commit(group);
    }
    // In the same turn in which nothing was pending: a frame that arrives later starts the next loop.
    this.#isCommitting = false;
  }

  async #commit(group: readonly FrameSource[]): Promise<void> {
    const { sink, clock, logger } = this.#options;
    for (;;) {
      try {
        await sink.commit(group);
        this.#onProgress();
        this.#confirmable?.();
        return;
      } catch (error) {
        if (isShiplogError(error, 'disk-full') && !this.#connection.signal.aborted) {
          // Not reading is the back-pressure: the primary keeps what we can't take.
          logger.warn('no disk space for the log; the stream waits', { retryMs: DISK_FULL_RETRY_MS });
          await sleep(clock, DISK_FULL_RETRY_MS);
          continue;
        }
        const isPeersFault = isShiplogError(error) && ['peer-protocol', 'history-diverged', 'disk-full'].includes(error.code);
        this.#sinkError = isPeersFault ? error : new SinkFailure('the sink failed', { cause: error });
        this.#connection.abort(this.#sinkError);
        return;
      }
    }
  }

  /** Something is to be said that no commit has brought about. */
  confirm(): void {
    this.#confirmable?.();
  }

  /** Sends confirmations for as long as the stream lives; if they can't be sent, the stream ends too. */
  async #confirmFor(streamId: string): Promise<void> {
    const { transport, upstreamUrl } = this.#options;
    try {
      const response = await transport.request(upstreamUrl, {
        method: 'POST',
        target: `/peer/confirm?stream=${streamId}`,
        headers: { 'content-type': 'application/x-ndjson' },
        body: this.#confirmations(),
        signal: this.#connection.signal,
      });
      const body = await readBody(response.body, LIMITS.controlPayloadBytesMax);
      throw response.status < 300 ? new ShiplogError('peer-protocol', 'the upstream takes no more confirmations') : errorFromProblem(response.status, body);
    } catch (error) {
      this.#connection.abort(error);
    }
  }

  async *#confirmations(): AsyncGenerator<Buffer> {
    const { sink, clock } = this.#options;
    while (!this.#connection.signal.aborted) {
      const durableLsn = sink.end.lsn;
      const appliedLsn = Math.min(sink.visibleLsn, durableLsn);
      const membersDigest = this.#options.membersDigest?.() ?? '';
      yield encodeConfirmation({ epochId: sink.history.current?.id ?? '', durableLsn, appliedLsn, isReady: sink.isReady, membersDigest });
      // What became durable or visible while the last line was on its way is said at once.
      if (sink.end.lsn > durableLsn || Math.min(sink.visibleLsn, durableLsn) > appliedLsn || membersDigest !== (this.#options.membersDigest?.() ?? '')) continue;
      await new Promise<void>((resolve) => {
        const timer = clock.setTimer(LIMITS.heartbeatIntervalMs, resolve);
        this.#confirmable = () => {
          timer.cancel();
          resolve();
        };
      });
    }
  }
}

/** Calls back when nothing was heard for too long. */
class SilenceWatch {
  readonly #clock: Clock;
  readonly #silentMs: number;
  readonly #onSilent: () => void;
  #heardMs: number;
  #timer: Timer | undefined;

  constructor(clock: Clock, silentMs: number, onSilent: () => void) {
    this.#clock = clock;
    this.#silentMs = silentMs;
    this.#onSilent = onSilent;
    this.#heardMs = clock.monotonicMs();
    this.#watch(silentMs);
  }

  heard(): void {
    this.#heardMs = this.#clock.monotonicMs();
  }

  #watch(delayMs: number): void {
    this.#timer = this.#clock.setTimer(delayMs, () => {
      const leftMs = this.#heardMs + this.#silentMs - this.#clock.monotonicMs();
      if (leftMs > 0) this.#watch(leftMs);
      else this.#onSilent();
    });
  }

  end(): void {
    this.#timer?.cancel();
  }
}
