/**
 * The metrics of one node. Every node has a registry of its own, as several may live in one process.
 * What only matters when somebody looks (watermarks, queues, followers, the process) is read when the
 * metrics are read; what has to be caught in the act (counters, histograms) is recorded as it happens.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Metrics, NodeGauges, RequestCounts } from './metrics.ts';

/** What is needed of env's Clock; observe knows env as little as env knows observe. */
export interface MonotonicClock {
  monotonicMs(): number;
}

export interface PrometheusMetricsOptions {
  readonly clock: MonotonicClock;
  /** Also event-loop delay, memory and CPU of this process. Default: true. */
  readonly defaultMetrics?: boolean;
}

export interface PrometheusMetrics extends Metrics {
  /** Stops watching the event loop. */
  close(): void;
}

export function createMetrics(options: PrometheusMetricsOptions): PrometheusMetrics {
  const registry = new Registry();
  const registers = [registry];
  const counter = (name: string, help: string) => {
    let uncounted = 0;
    const counter = new Counter({
      name,
      help,
      registers,
      collect: () => {
        counter.inc(uncounted);
        uncounted = 0;
      },
    });
    // Some are counted a hundred thousand times a second, and read every fifteen.
    return {
      increment: (count = 1) => {
        uncounted += count;
      },
    };
  };
  const histogram = (name: string, help: string, buckets: readonly number[]) => {
    const histogram = new Histogram({ name, help, buckets: [...buckets], registers });
    return { observe: (value: number) => histogram.observe(value) };
  };

  const fillUptime = uptimeGauge(registry, options.clock);
  const fillNode = nodeGauges(registry);
  const processGauges = options.defaultMetrics === false ? undefined : new ProcessGauges(registry);
  const fillRequests = requestCounters(registry);
  let readRequests: (() => RequestCounts) | undefined;
  let readGauges: (() => NodeGauges) | undefined;

  return {
    operationsCommitted: counter(
      'shiplog_operations_committed_total',
      'Put and delete operations that became durable on this node, as primary or replica.',
    ),
    readsServed: counter('shiplog_reads_served_total', 'Reads of a key that this node answered.'),
    writesRefused: counter('shiplog_writes_refused_total', 'Writes answered 503 because a bound was reached.'),
    batchOperations: histogram('shiplog_batch_operations', 'Operations committed together as one frame.', COUNT_BUCKETS),
    groupBytes: histogram('shiplog_write_group_bytes', 'Bytes of log covered by one sync.', BYTE_BUCKETS),
    syncSeconds: histogram('shiplog_log_sync_seconds', 'Seconds for one write to the log and its sync.', SHORT_BUCKETS_S),
    applySeconds: histogram('shiplog_store_apply_seconds', 'Seconds for one transaction of the store.', SHORT_BUCKETS_S),
    checkpointSeconds: histogram('shiplog_store_checkpoint_seconds', 'Seconds for one checkpoint of the store.', LONG_BUCKETS_S),
    streamBytesSent: counter('shiplog_stream_sent_bytes_total', 'Bytes of log sent to followers.'),
    streamBytesReceived: counter('shiplog_stream_received_bytes_total', 'Bytes of log received from the upstream node.'),
    streamReconnects: counter('shiplog_stream_reconnects_total', 'Times that this node opened its stream again after it broke.'),
    snapshotsServed: counter('shiplog_snapshots_served_total', 'Snapshot requests that this node answered with data.'),

    readGaugesFrom: (read) => {
      readGauges = read;
    },
    readRequestsFrom: (read) => {
      readRequests = read;
    },
    text: async () => {
      fillUptime();
      processGauges?.fill();
      if (readGauges !== undefined) fillNode(readGauges());
      if (readRequests !== undefined) fillRequests(readRequests());
      return await registry.metrics();
    },
    contentType: registry.contentType,
    close: () => processGauges?.close(),
  };
}

const COUNT_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096];
/** 256 B to 16 MiB: from one small operation to the largest one. */
const BYTE_BUCKETS = [8, 10, 12, 14, 16, 18, 20, 22, 24].map((exponent) => 2 ** exponent);
/** From a fast disk's cache to a disk that is about to die. */
const SHORT_BUCKETS_S = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const LONG_BUCKETS_S = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

function uptimeGauge(registry: Registry, clock: MonotonicClock): () => void {
  const startedMs = clock.monotonicMs();
  const uptime = gauge(registry, 'shiplog_uptime_seconds', 'Seconds since this node was started.');
  return () => uptime.set((clock.monotonicMs() - startedMs) / 1000);
}

/** @returns the function that brings all gauges to the state it is given. */
function nodeGauges(registry: Registry): (node: NodeGauges) => void {
  const isPrimary = gauge(registry, 'shiplog_primary', '1 while this node is the primary, 0 while it is a replica.');
  const epochNumber = gauge(registry, 'shiplog_epoch_number', 'Number of the current epoch.');
  const appended = gauge(registry, 'shiplog_appended_lsn', 'LSN of the last operation in the log file, synced or not.');
  const durable = gauge(registry, 'shiplog_durable_lsn', 'LSN of the last operation that survives a power cut.');
  const visible = gauge(registry, 'shiplog_visible_lsn', 'LSN of the last operation that reads show.');
  const applied = gauge(registry, 'shiplog_applied_lsn', 'LSN of the last operation in the store.');
  const checkpointed = gauge(registry, 'shiplog_checkpointed_lsn', 'LSN of the last operation that the store holds without the log.');
  const queueOperations = gauge(registry, 'shiplog_queue_operations', 'Operations that wait to be written to the log.');
  const queueBytes = gauge(registry, 'shiplog_queue_bytes', 'Bytes of operations that wait to be written to the log.');
  const unappliedBytes = gauge(registry, 'shiplog_unapplied_bytes', 'Bytes of visible operations that the store does not have yet.');
  const logBytes = gauge(registry, 'shiplog_log_bytes', 'Bytes of all segments of the log.');
  const segments = gauge(registry, 'shiplog_log_segments', 'Number of segments of the log.');
  const bodyBytes = gauge(registry, 'shiplog_request_body_bytes', 'Bytes reserved for request bodies.');
  const upstreamLagOperations = gauge(
    registry,
    'shiplog_upstream_lag_operations',
    'On a replica: operations behind the primary, as its last heartbeat told. Absent while unknown.',
  );
  const upstreamLagSeconds = gauge(
    registry,
    'shiplog_upstream_lag_seconds',
    'On a replica: seconds behind the primary, as its last heartbeat told. Absent while unknown.',
  );
  const fillFollowers = followerGauges(registry);

  return (node) => {
    isPrimary.set(node.isPrimary ? 1 : 0);
    epochNumber.set(node.epochNumber);
    appended.set(node.appendedLsn);
    durable.set(node.durableLsn);
    visible.set(node.visibleLsn);
    applied.set(node.appliedLsn);
    checkpointed.set(node.checkpointedLsn);
    queueOperations.set(node.queueOperations);
    queueBytes.set(node.queueBytes);
    unappliedBytes.set(node.unappliedBytes);
    logBytes.set(node.logBytes);
    segments.set(node.segmentCount);
    bodyBytes.set(node.requestBodyBytes);
    setOrRemove(upstreamLagOperations, node.upstreamLagOperations);
    setOrRemove(upstreamLagSeconds, node.upstreamLagSeconds);
    fillFollowers(node.followers);
  };
}

/** Counted by the listener itself, in plain numbers: those cost nothing on the way of a request. */
function requestCounters(registry: Registry): (counts: RequestCounts) => void {
  const registers = [registry];
  const requests = new Counter({
    name: 'shiplog_http_requests_total',
    help: 'HTTP requests, by whether the fast path in front of Koa took them.',
    labelNames: ['path'],
    registers,
  });
  const handOvers = new Counter({
    name: 'shiplog_http_handovers_total',
    help: 'Connections that went from the fast path to Koa, by what their first other request was.',
    labelNames: ['reason'],
    registers,
  });
  return (counts) => {
    for (const each of [requests, handOvers]) each.reset();
    requests.inc({ path: 'fast' }, counts.fastRequests);
    requests.inc({ path: 'koa' }, counts.koaRequests);
    for (const [reason, count] of counts.handOvers) handOvers.inc({ reason }, count);
  };
}

function followerGauges(registry: Registry): (followers: NodeGauges['followers']) => void {
  const perFollower = (name: string, help: string) => new Gauge({ name, help, labelNames: ['follower'], registers: [registry] });
  const connected = perFollower('shiplog_follower_connected', '1 while the follower has a live stream, otherwise 0.');
  const lagOperations = perFollower('shiplog_follower_lag_operations', 'Durable operations that the follower has not confirmed.');
  const lagBytes = perFollower('shiplog_follower_lag_bytes', 'Bytes of log that the follower has not confirmed.');
  const lagSeconds = perFollower('shiplog_follower_lag_seconds', 'Seconds that the follower is behind.');

  return (followers) => {
    // Afresh each time, so that a follower that was forgotten does not stay for ever.
    for (const each of [connected, lagOperations, lagBytes, lagSeconds]) each.reset();
    for (const follower of followers) {
      const labels = { follower: follower.name };
      connected.set(labels, follower.connected ? 1 : 0);
      lagOperations.set(labels, follower.lagOperations);
      lagBytes.set(labels, follower.lagBytes);
      lagSeconds.set(labels, follower.lagSeconds);
    }
  };
}

/** How often the event loop is asked whether it is late. */
const EVENT_LOOP_RESOLUTION_MS = 20;

/** prom-client's own set can't be stopped, so it would outlive its node. */
class ProcessGauges {
  readonly #eventLoopDelay: ReturnType<typeof monitorEventLoopDelay>;
  readonly #delayMedian: Gauge;
  readonly #delayP99: Gauge;
  readonly #delayMax: Gauge;
  readonly #residentBytes: Gauge;
  readonly #heapBytes: Gauge;
  readonly #externalBytes: Gauge;
  readonly #cpuSeconds: Counter;
  #countedCpuSeconds = 0;

  constructor(registry: Registry) {
    this.#eventLoopDelay = monitorEventLoopDelay({ resolution: EVENT_LOOP_RESOLUTION_MS });
    this.#eventLoopDelay.enable();
    const delay = (name: string, which: string) =>
      gauge(registry, `shiplog_event_loop_delay_${name}_seconds`, `${which} of the event loop since the last scrape, in seconds.`);
    this.#delayMedian = delay('p50', 'Median delay');
    this.#delayP99 = delay('p99', '99th percentile of the delay');
    this.#delayMax = delay('max', 'Largest delay');
    this.#residentBytes = gauge(registry, 'shiplog_process_resident_memory_bytes', 'Resident memory of the process in bytes.');
    this.#heapBytes = gauge(registry, 'shiplog_process_heap_used_bytes', 'Used JavaScript heap in bytes.');
    this.#externalBytes = gauge(registry, 'shiplog_process_external_memory_bytes', 'Memory of buffers outside the heap, in bytes.');
    this.#cpuSeconds = new Counter({
      name: 'shiplog_process_cpu_seconds_total',
      help: 'Processor time that the process has used, user and system together, in seconds.',
      registers: [registry],
    });
  }

  fill(): void {
    this.#delayMedian.set(this.#delaySeconds(this.#eventLoopDelay.percentile(50)));
    this.#delayP99.set(this.#delaySeconds(this.#eventLoopDelay.percentile(99)));
    this.#delayMax.set(this.#delaySeconds(this.#eventLoopDelay.max));
    this.#eventLoopDelay.reset();

    const memory = process.memoryUsage();
    this.#residentBytes.set(memory.rss);
    this.#heapBytes.set(memory.heapUsed);
    this.#externalBytes.set(memory.external);

    const { user, system } = process.cpuUsage();
    const cpuSeconds = (user + system) / 1e6;
    this.#cpuSeconds.inc(Math.max(0, cpuSeconds - this.#countedCpuSeconds));
    this.#countedCpuSeconds = cpuSeconds;
  }

  close(): void {
    this.#eventLoopDelay.disable();
  }

  /** Node reports the time between two looks, which without any delay is the resolution. */
  #delaySeconds(nanoseconds: number): number {
    return this.#eventLoopDelay.count === 0 ? 0 : Math.max(0, nanoseconds / 1e6 - EVENT_LOOP_RESOLUTION_MS) / 1000;
  }
}

function gauge(registry: Registry, name: string, help: string): Gauge {
  return new Gauge({ name, help, registers: [registry] });
}

/** A value that is not known is absent: 0 would say that there is no lag. */
function setOrRemove(gauge: Gauge, value: number | null): void {
  if (value === null) gauge.remove();
  else gauge.set(value);
}
