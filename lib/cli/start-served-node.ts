/** A node with its HTTP listener: what `shiplog serve` runs. */
import { LIMITS } from '../base/limits.ts';
import type { Config } from '../config/schema.ts';
import type { Clock } from '../env/clock.ts';
import { createApp } from '../http/app.ts';
import { BodyBudget } from '../http/body-budget.ts';
import { HttpListener, type ListenerOptions } from '../http/listener.ts';
import { ImportAccounts } from '../http/import-accounts.ts';
import { OpenStreams } from '../http/open-streams.ts';
import { WriteGuard } from '../http/write-guard.ts';
import type { LiveNodeOptions } from '../node/node-options.ts';
import { Node } from '../node/node.ts';
import { SQLITE_STORES } from '../node/store-provider.ts';
import type { Logger } from '../observe/logger.ts';
import { createMetrics } from '../observe/prometheus-metrics.ts';
import type { ServeInput, ServedNode } from './serve-node.ts';

export async function startServedNode({ config, name, version, environment, logger }: ServeInput): Promise<ServedNode> {
  const { clock } = environment;
  const port = await freePort(config, environment.clock, logger);
  const metrics = createMetrics({ clock });
  const localUrl = `http://${urlHost(config.host)}:${port}`;
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
    cacheBytes: config.cacheBytes,
    checkpointIntervalMs: config.checkpointIntervalMs,
    retention: { bytesMin: config.retentionBytesMin, msMin: config.retentionMsMin, bytesMax: config.retentionBytesMax, msMax: config.retentionMsMax },
    requestBodyBytes: () => requestBodies.usedBytes,
    live: liveOptions(config),
  });
  const streams = new OpenStreams();
  const imports = new ImportAccounts();
  const ownHosts = ({ allowedHosts }: Config): readonly string[] => [...allowedHosts, config.host, new URL(advertiseUrl).host];
  const handlerFor = (changed: Config): ListenerOptions['handler'] =>
    createApp({
      node,
      clock,
      logger,
      allowedHosts: ownHosts(changed),
      requestBodies,
      streams,
      imports,
      bodyIdleMs: changed.bodyIdleMs,
    }).callback();
  // The application is cheap, so a change of its options makes a new one; requests in flight keep theirs.
  let handler = handlerFor(config);
  let guard = new WriteGuard(ownHosts(config));
  const listener = new HttpListener({
    host: config.host,
    port,
    handler: (request, response) => handler(request, response),
    streams,
    clock,
    logger,
    limits: { connectionsMax: config.connectionsMax, waitingRequestsMax: config.waitingRequestsMax },
    fast: { node, requestBodies, guard: () => guard },
  });
  metrics.readRequestsFrom(() => listener.counts);
  const stopNode = async (): Promise<void> => {
    await node.stop();
    metrics.close();
  };
  try {
    await listener.listen();
    await node.takeUpRole();
  } catch (error) {
    node.beginStop();
    await stopNode();
    throw error;
  }
  return {
    url: localUrl,
    role: node.role,
    failed: node.failed,
    applyConfig: (changed) => {
      node.reconfigure(liveOptions(changed));
      handler = handlerFor(changed);
      guard = new WriteGuard(ownHosts(changed));
    },
    stop: async () => {
      // Requests in flight are finished first: they may be writes that wait for their sync.
      await listener.close({ graceMs: LIMITS.cleanStopMs / 2, endStreams: () => node.beginStop() });
      await stopNode();
    },
  };
}

/**
 * The port to listen on later, after recovery: a taken one is noticed before anything is founded,
 * and where any port will do, the node knows its own URL from the start.
 */
async function freePort({ host, port }: Config, clock: Clock, logger: Logger): Promise<number> {
  const probe = new HttpListener({ host, port, handler: async (_request, response) => void response.destroy(), streams: new OpenStreams(), clock, logger });
  const address = await probe.listen();
  await probe.close({ graceMs: 0 });
  return address.port;
}

function liveOptions(config: Config): LiveNodeOptions {
  const { readyLagMs, forwardTimeoutMs, queueBytesMax, ackDefault, ackMinimum } = config;
  return { readyLagMs, forwardTimeoutMs, queueBytesMax, ackDefault, ackMinimum };
}

function urlHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
