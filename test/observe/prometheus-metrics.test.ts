import { expect } from 'chai';
import type { Counter, FollowerGauges, Histogram, NodeGauges } from '../../lib/observe/metrics.ts';
import { createMetrics, type PrometheusMetrics } from '../../lib/observe/prometheus-metrics.ts';

const GAUGES: NodeGauges = {
  isPrimary: true,
  epochNumber: 3,
  appendedLsn: 105,
  durableLsn: 104,
  visibleLsn: 103,
  appliedLsn: 102,
  checkpointedLsn: 101,
  queueOperations: 7,
  queueBytes: 700,
  unappliedBytes: 800,
  logBytes: 900,
  segmentCount: 2,
  requestBodyBytes: 1000,
  upstreamLagOperations: null,
  upstreamLagSeconds: null,
  followers: [],
};

const FOLLOWER: FollowerGauges = { name: 'replica-1', connected: true, lagOperations: 5, lagBytes: 500, lagSeconds: 0.25 };

describe('createMetrics', () => {
  const open: PrometheusMetrics[] = [];
  let nowMs = 1_000;
  const clock = { monotonicMs: () => nowMs };

  afterEach(() => {
    for (const metrics of open.splice(0)) metrics.close();
  });

  it('has help for every metric, a unique name, and the right ending for its kind', async () => {
    const metrics = create({ followers: [FOLLOWER], upstreamLagOperations: 1, upstreamLagSeconds: 1 });
    const described = new Map<string, { help: string; kind: string }>();
    const lines = (await metrics.text()).trim().split('\n');
    for (const [index, line] of lines.entries()) {
      const help = /^# HELP (\S+) (.+)$/.exec(line);
      if (help === null) continue;
      const [, name, words] = help;
      expect(described.has(name!), `${name} appears twice`).to.equal(false);
      const kind = new RegExp(`^# TYPE ${name} (counter|gauge|histogram)$`).exec(lines[index + 1]!)?.[1];
      expect(kind, `type of ${name}`).to.be.a('string');
      described.set(name!, { help: words!, kind: kind! });
    }
    expect(described.size).to.be.greaterThan(35);

    for (const [name, { help, kind }] of described) {
      expect(name).to.match(/^shiplog_[a-z0-9_]+$/);
      expect(help, name).to.match(/^\S.{15,}\.$/);
      expect(name.endsWith('_total'), name).to.equal(kind === 'counter');
      // A figure that measures time or size says in what, in its name and in its help.
      if (/second/i.test(help)) expect(name).to.match(/_seconds(_total)?$/);
      if (/byte/i.test(help)) expect(name).to.match(/_bytes(_total)?$/);
      if (name.includes('_seconds')) expect(help).to.match(/second/i);
      if (name.includes('_bytes')) expect(help).to.match(/byte|memory|buffer/i);
    }
    for (const line of lines.filter((each) => each !== '' && !each.startsWith('#'))) {
      const name = /^[a-z0-9_]+/.exec(line)![0].replace(/_(bucket|sum|count)$/, '');
      expect(described.has(name), line).to.equal(true);
    }
  });

  it('keeps two nodes of one process apart', async () => {
    const one = create();
    const other = create();
    one.operationsCommitted.increment(3);
    expect(await valueOf(one, 'shiplog_operations_committed_total')).to.equal(3);
    expect(await valueOf(other, 'shiplog_operations_committed_total')).to.equal(0);
  });

  it('counts what is counted', async () => {
    const metrics = create();
    const counters: [Counter, string][] = [
      [metrics.operationsCommitted, 'shiplog_operations_committed_total'],
      [metrics.readsServed, 'shiplog_reads_served_total'],
      [metrics.writesRefused, 'shiplog_writes_refused_total'],
      [metrics.streamBytesSent, 'shiplog_stream_sent_bytes_total'],
      [metrics.streamBytesReceived, 'shiplog_stream_received_bytes_total'],
      [metrics.streamReconnects, 'shiplog_stream_reconnects_total'],
      [metrics.snapshotsServed, 'shiplog_snapshots_served_total'],
    ];
    for (const [index, [counter, name]] of counters.entries()) {
      expect(await valueOf(metrics, name), name).to.equal(0);
      counter.increment();
      counter.increment(index + 1);
      expect(await valueOf(metrics, name), name).to.equal(index + 2);
    }
  });

  it('shows requests by who answered them, and hand-overs by reason, each time as they are', async () => {
    const metrics = create();
    const counts = { fastRequests: 7, koaRequests: 2, handOvers: new Map([['field', 1], ['target', 0]]) };
    metrics.readRequestsFrom(() => counts);
    for (let time = 0; time < 2; time += 1) {
      const text = await metrics.text();
      expect(text).to.include('shiplog_http_requests_total{path="fast"} 7\nshiplog_http_requests_total{path="koa"} 2\n');
      expect(text).to.include('shiplog_http_handovers_total{reason="field"} 1\nshiplog_http_handovers_total{reason="target"} 0\n');
    }
  });

  it('sorts what is measured into buckets that rise and are wide enough', async () => {
    const metrics = create();
    const histograms: [Histogram, string, number, number][] = [
      [metrics.batchOperations, 'shiplog_batch_operations', 1, 4096],
      [metrics.groupBytes, 'shiplog_write_group_bytes', 256, 16 * 1024 * 1024],
      [metrics.syncSeconds, 'shiplog_log_sync_seconds', 0.0001, 10],
      [metrics.applySeconds, 'shiplog_store_apply_seconds', 0.0001, 10],
      [metrics.checkpointSeconds, 'shiplog_store_checkpoint_seconds', 0.001, 60],
    ];
    for (const [histogram, name, least, most] of histograms) {
      histogram.observe(least);
      histogram.observe(most);
      const text = await metrics.text();
      const buckets = [...text.matchAll(new RegExp(`^${name}_bucket\\{le="(.+)"\\} (\\d+)$`, 'gm'))].map(([, le, count]) => [Number(le), Number(count)]);
      // The last one is +Inf, which Number does not read.
      const finite = buckets.slice(0, -1);
      expect(finite[0], name).to.deep.equal([least, 1]);
      expect(finite.at(-1), name).to.deep.equal([most, 2]);
      expect(finite.every(([le], index) => index === 0 || le! > finite[index - 1]![0]!), name).to.equal(true);
      expect(await valueOf(metrics, `${name}_sum`)).to.equal(least + most);
      expect(await valueOf(metrics, `${name}_count`)).to.equal(2);
    }
  });

  it('asks for the gauges at each scrape and shows all of them', async () => {
    const metrics = create();
    let gauges = GAUGES;
    metrics.readGaugesFrom(() => gauges);
    const expected = {
      shiplog_primary: 1,
      shiplog_epoch_number: 3,
      shiplog_appended_lsn: 105,
      shiplog_durable_lsn: 104,
      shiplog_visible_lsn: 103,
      shiplog_applied_lsn: 102,
      shiplog_checkpointed_lsn: 101,
      shiplog_queue_operations: 7,
      shiplog_queue_bytes: 700,
      shiplog_unapplied_bytes: 800,
      shiplog_log_bytes: 900,
      shiplog_log_segments: 2,
      shiplog_request_body_bytes: 1000,
    };
    for (const [name, value] of Object.entries(expected)) expect(await valueOf(metrics, name), name).to.equal(value);
    gauges = { ...GAUGES, isPrimary: false, durableLsn: 200 };
    expect(await valueOf(metrics, 'shiplog_primary')).to.equal(0);
    expect(await valueOf(metrics, 'shiplog_durable_lsn')).to.equal(200);
  });

  it('shows no lag to the primary where none is known, instead of none', async () => {
    const metrics = create();
    let gauges: NodeGauges = { ...GAUGES, upstreamLagOperations: 0, upstreamLagSeconds: 1.5 };
    metrics.readGaugesFrom(() => gauges);
    expect(await valueOf(metrics, 'shiplog_upstream_lag_operations')).to.equal(0);
    expect(await valueOf(metrics, 'shiplog_upstream_lag_seconds')).to.equal(1.5);
    gauges = GAUGES;
    expect(await valueOf(metrics, 'shiplog_upstream_lag_operations')).to.equal(undefined);
    expect(await valueOf(metrics, 'shiplog_upstream_lag_seconds')).to.equal(undefined);
  });

  it('shows each follower by name, and forgets those that are gone', async () => {
    const metrics = create();
    let followers = [FOLLOWER, { ...FOLLOWER, name: 'a "quoted"\nname', connected: false }];
    metrics.readGaugesFrom(() => ({ ...GAUGES, followers }));
    expect(await valueOf(metrics, 'shiplog_follower_connected{follower="replica-1"}')).to.equal(1);
    expect(await valueOf(metrics, 'shiplog_follower_lag_operations{follower="replica-1"}')).to.equal(5);
    expect(await valueOf(metrics, 'shiplog_follower_lag_bytes{follower="replica-1"}')).to.equal(500);
    expect(await valueOf(metrics, 'shiplog_follower_lag_seconds{follower="replica-1"}')).to.equal(0.25);
    expect(await valueOf(metrics, 'shiplog_follower_connected{follower="a \\"quoted\\"\\nname"}')).to.equal(0);
    followers = [];
    expect(await metrics.text()).not.to.match(/^shiplog_follower_\w+\{/m);
  });

  it('tells how long the node has been up by the clock it was given', async () => {
    const metrics = create();
    nowMs += 2_500;
    expect(await valueOf(metrics, 'shiplog_uptime_seconds')).to.equal(2.5);
  });

  it('watches the process, unless told not to', async () => {
    const metrics = create();
    expect(await valueOf(metrics, 'shiplog_process_resident_memory_bytes')).to.be.greaterThan(1024 * 1024);
    expect(await valueOf(metrics, 'shiplog_process_cpu_seconds_total')).to.be.greaterThan(0);
    const without = createMetrics({ clock, defaultMetrics: false });
    expect(await without.text()).not.to.match(/shiplog_(process|event_loop)_/);
    without.close();
  });

  it('notices an event loop that was held up, and forgets it at the next scrape', async () => {
    const metrics = create();
    await new Promise((resolve) => setTimeout(resolve, 60));
    const until = performance.now() + 300;
    while (performance.now() < until);
    await new Promise((resolve) => setTimeout(resolve, 60));
    const held = (await valueOf(metrics, 'shiplog_event_loop_delay_max_seconds'))!;
    expect(held).to.be.greaterThan(0.2);
    expect(await valueOf(metrics, 'shiplog_event_loop_delay_max_seconds')).to.be.lessThan(held);
  });

  it('answers in the text format of Prometheus', () => {
    expect(create().contentType).to.match(/^text\/plain; version=0\.0\.4/);
  });

  function create(gauges?: Partial<NodeGauges>): PrometheusMetrics {
    const metrics = createMetrics({ clock });
    open.push(metrics);
    if (gauges !== undefined) metrics.readGaugesFrom(() => ({ ...GAUGES, ...gauges }));
    return metrics;
  }

  /** The value of one sample at a scrape now, or undefined where there is none. */
  async function valueOf(metrics: PrometheusMetrics, sample: string): Promise<number | undefined> {
    const lines = (await metrics.text()).split('\n');
    const line = lines.find((each) => each.startsWith(`${sample} `));
    return line === undefined ? undefined : Number(line.slice(sample.length + 1));
  }
});
