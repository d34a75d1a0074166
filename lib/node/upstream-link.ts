/** The node's stream from its upstream: at most one at a time, whatever happens to its role meanwhile. */
import type { ShiplogError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { LogReceiver, type LogSink, type ReceiverStatus } from '../replication/log-receiver.ts';
import type { Member } from '../replication/member-list.ts';
import type { HeartbeatFrame } from '../replication/stream-protocol.ts';
import type { Engine } from './engine.ts';
import type { NodeOptions } from './node-options.ts';

export interface UpstreamLinkOptions {
  readonly node: NodeOptions;
  readonly nodeId: string;
  readonly onHeartbeat: (heartbeat: HeartbeatFrame) => void;
  readonly onMembers: (members: readonly Member[]) => void;
  readonly membersDigest: () => string;
  /** What came has changed the epoch history. */
  readonly onHistory: () => void;
  /** The upstream refused what asking again does not mend; the stream has ended. */
  readonly onRefused: (error: ShiplogError) => void;
  readonly onSinkFailed: (error: unknown) => void;
}

export class UpstreamLink {
  readonly #options: UpstreamLinkOptions;
  #receiver: LogReceiver | undefined;
  /** Monotonic ms at which the upstream said that our history is not its own. */
  #refusedMs = Number.NEGATIVE_INFINITY;
  #lastHeartbeat: HeartbeatFrame | undefined;

  constructor(options: UpstreamLinkOptions) {
    this.#options = options;
  }

  /** Does nothing where a stream is there, or on its way. */
  start(url: string, engine: Engine): void {
    if (this.#receiver !== undefined) return;
    const { node, nodeId, onMembers, membersDigest, onRefused, onSinkFailed } = this.#options;
    const { environment, logger, metrics, name, advertiseUrl } = node;
    this.#receiver = new LogReceiver({
      ...environment,
      logger,
      metrics,
      upstreamUrl: url,
      sink: this.#sinkOf(engine),
      clusterId: engine.clusterId,
      nodeId,
      nodeName: name,
      advertiseUrl,
      onMembers,
      membersDigest,
      onHeartbeat: (heartbeat) => this.#heard(heartbeat),
      onRefused: (error) => {
        this.#receiver = undefined;
        onRefused(error);
      },
      onSinkFailed,
    });
    this.#receiver.start();
  }

  /** An upstream that has just refused would refuse again: it is asked once a second, not as fast as it answers. */
  startAgain(url: string, engine: Engine): void {
    if (this.#nowMs() - this.#refusedMs >= LIMITS.heartbeatIntervalMs) this.start(url, engine);
  }

  noteRefused(): void {
    this.#refusedMs = this.#nowMs();
  }

  #sinkOf(engine: Engine): LogSink {
    return {
      get end() {
        return engine.wal.end;
      },
      get history() {
        return engine.history;
      },
      get visibleLsn() {
        return engine.table.visible.lsn;
      },
      isReady: true,
      commit: async (sources) => {
        const { history } = engine;
        await engine.committer.commit(sources);
        if (engine.history !== history) this.#options.onHistory();
      },
    };
  }

  #heard(heartbeat: HeartbeatFrame): void {
    this.#lastHeartbeat = heartbeat;
    this.#options.onHeartbeat(heartbeat);
  }

  /** Resolves when nothing comes any more. Until then nothing else is started. */
  async stop(): Promise<void> {
    for (let receiver = this.#receiver; receiver !== undefined; receiver = this.#receiver) {
      await receiver.stop();
      if (this.#receiver === receiver) this.#receiver = undefined;
    }
  }

  /** The list of members on this node's disk is another one: the upstream hears of it now. */
  confirm(): void {
    this.#receiver?.confirm();
  }

  get status(): ReceiverStatus | undefined {
    return this.#receiver?.status;
  }

  /** Also after the stream has ended: the primary's last words, through whichever upstream. */
  get lastHeartbeat(): HeartbeatFrame | undefined {
    return this.#lastHeartbeat;
  }

  /** Is the primary alive at the other end, as far as its heartbeats tell? */
  get isFollowingPrimary(): boolean {
    return this.#receiver?.isFollowingPrimary() ?? false;
  }

  /** How long nothing new has come of the primary; for ever where nothing is asked for. */
  get silentMs(): number {
    return this.#receiver?.primarySilentMs() ?? Number.POSITIVE_INFINITY;
  }

  /** How long ago this node last knew that it had all that the primary had; null = never yet. */
  get lagMs(): number | null {
    const receiver = this.#receiver;
    const caughtUpMs = receiver?.status.caughtUpMs;
    if (receiver === undefined || caughtUpMs === undefined) return null;
    return receiver.hasCaughtUp ? 0 : Math.round(this.#nowMs() - caughtUpMs);
  }

  #nowMs(): number {
    return this.#options.node.environment.clock.monotonicMs();
  }
}
