/** Instruments that nobody reads. */
import type { Metrics, NodeGauges } from '../../lib/observe/metrics.ts';

/** One per node: `gauges` are the node's own. */
export function noMetrics(): Metrics & { gauges: () => NodeGauges } {
  const ignored = { increment: () => {}, observe: () => {} };
  const metrics = {
    operationsCommitted: ignored,
    readsServed: ignored,
    writesRefused: ignored,
    batchOperations: ignored,
    groupBytes: ignored,
    syncSeconds: ignored,
    applySeconds: ignored,
    checkpointSeconds: ignored,
    streamBytesSent: ignored,
    streamBytesReceived: ignored,
    streamReconnects: ignored,
    snapshotsServed: ignored,
    gauges: (): NodeGauges => {
      throw new Error('no node has named its gauges');
    },
    readGaugesFrom: (read: () => NodeGauges): void => {
      metrics.gauges = read;
    },
    readRequestsFrom: () => {},
    text: () => Promise.resolve(''),
    contentType: 'text/plain',
  };
  return metrics;
}
