/** The instruments that the rest of the program sees. prom-client stands behind them. */
export interface Counter {
  increment(count?: number): void;
}

export interface Histogram {
  observe(value: number): void;
}

export interface Metrics {
  /** Put and delete operations that became durable here, on either role. */
  readonly operationsCommitted: Counter;
  readonly readsServed: Counter;
  /** Writes answered 503 because a bound was reached. */
  readonly writesRefused: Counter;
  readonly batchOperations: Histogram;
  readonly groupBytes: Histogram;
  /** One write and its sync, in seconds. */
  readonly syncSeconds: Histogram;
  /** One store transaction, in seconds. */
  readonly applySeconds: Histogram;
  readonly checkpointSeconds: Histogram;
  readonly streamBytesSent: Counter;
  readonly streamBytesReceived: Counter;
  readonly streamReconnects: Counter;
  readonly snapshotsServed: Counter;
  /** Names the function that is asked for all gauges whenever the metrics are read. */
  readGaugesFrom(read: () => NodeGauges): void;
  /** Names the function that is asked for the counts of HTTP requests whenever the metrics are read. */
  readRequestsFrom(read: () => RequestCounts): void;
  /** The whole registry in Prometheus' text format. */
  text(): Promise<string>;
  readonly contentType: string;
}

/** Since the start. */
export interface RequestCounts {
  /** Answered in front of Koa. */
  readonly fastRequests: number;
  readonly koaRequests: number;
  /** Connections that went from the fast path to Koa, by reason: a bounded set. */
  readonly handOvers: ReadonlyMap<string, number>;
}

export interface NodeGauges {
  readonly isPrimary: boolean;
  readonly epochNumber: number;
  readonly appendedLsn: number;
  readonly durableLsn: number;
  readonly visibleLsn: number;
  readonly appliedLsn: number;
  readonly checkpointedLsn: number;
  readonly queueOperations: number;
  readonly queueBytes: number;
  readonly unappliedBytes: number;
  readonly logBytes: number;
  readonly segmentCount: number;
  readonly requestBodyBytes: number;
  /** On a replica: behind the primary, as its last heartbeat told. */
  readonly upstreamLagOperations: number | null;
  readonly upstreamLagSeconds: number | null;
  /** Labels are node names: a bounded set. */
  readonly followers: readonly FollowerGauges[];
}

export interface FollowerGauges {
  readonly name: string;
  readonly connected: boolean;
  readonly lagOperations: number;
  readonly lagBytes: number;
  readonly lagSeconds: number;
}
