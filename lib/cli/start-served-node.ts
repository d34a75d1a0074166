/** A node with its HTTP listener: what `shiplog serve` runs. */
import { LIMITS } from '../base/limits.ts';
import type { Config } from '../config/schema.ts';
import { createApp } from '../http/app.ts';
import { BodyBudget } from '../http/body-budget.ts';
import { HttpListener } from '../http/listener.ts';
import { OpenStreams } from '../http/open-streams.ts';
import type { LiveNodeOptions } from '../node/node-options.ts';
import { Node } from '../node/node.ts';
import { SQLITE_STORES } from '../node/store-provider.ts';
import { createMetrics } from '../observe/prometheus-metrics.ts';
import type { ServeInput, ServedNode } from './serve-node.ts';

export async function startServedNode({ config, name, version, environment, logger }: ServeInput): Promise<ServedNode> {
  const { clock } = environment;
  const metrics = createMetrics({ clock });
  const localUrl = `http://${urlHost(config.host)}:${config.port}`;
  const advertiseUrl = config.advertise ?? localUrl;
  const requestBodies = new BodyBudget(config.requestBodiesBytesMax);
  const node = await Node.start({
    environment,
    logger,
    metrics,
    stores: SQLITE_STORES,
    version,
    name,
    dataDirectory: config.dataDir,
    advertiseUrl,
    follow: config.follow,
    peers: config.peers,
    isNewCluster: config.newCluster,
    replicaWrites: config.replicaWrites,
    segmentBytes: config.segmentBytes,
    checkpointOperations: config.checkpointOperations,
    checkpointIntervalMs: config.checkpointIntervalMs,
    retention: { bytesMin: config.retentionBytesMin, msMin: config.retentionMsMin, bytesMax: config.retentionBytesMax, msMax: config.retentionMsMax },
    live: liveOptions(config),
  });
  const streams = new OpenStreams();
  const app = createApp({
    node,
    clock,
    logger,
    allowedHosts: [...config.allowedHosts, config.host, new URL(advertiseUrl).host],
    requestBodies,
    streams,
    bodyIdleMs: config.bodyIdleMs,
  });
  const listener = new HttpListener({
    host: config.host,
    port: config.port,
    handler: app.callback(),
    streams,
    clock,
    logger,
    limits: { connectionsMax: config.connectionsMax, waitingRequestsMax: config.waitingRequestsMax },
  });
  const stopNode = async (): Promise<void> => {
    await node.stop();
    metrics.close();
  };
  try {
    await listener.listen();
  } catch (error) {
    node.beginStop();
    await stopNode();
    throw error;
  }
  return {
    url: localUrl,
    role: node.role,
    failed: node.failed,
    applyConfig: (changed) => node.reconfigure(liveOptions(changed)),
    stop: async () => {
      // Requests in flight are finished first: they may be writes that wait for their sync.
      await listener.close({ graceMs: LIMITS.cleanStopMs / 2, endStreams: () => node.beginStop() });
      await stopNode();
    },
  };
}

function liveOptions(config: Config): LiveNodeOptions {
  return { readyLagMs: config.readyLagMs, forwardTimeoutMs: config.forwardTimeoutMs, queueBytesMax: config.queueBytesMax };
}

function urlHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
