import type { AckLevel } from '../base/ack-level.ts';
import type { Environment } from '../env/environment.ts';
import type { Logger } from '../observe/logger.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { StoreProvider } from './store-provider.ts';

export interface NodeOptions {
  readonly environment: Environment;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly stores: StoreProvider;
  readonly version: string;
  readonly name: string;
  readonly dataDirectory: string;
  /** URL under which other nodes reach this one. */
  readonly advertiseUrl: string;
  /** Upstream of a node that has no data yet; later on, of any replica. */
  readonly follow: string | undefined;
  readonly peers: readonly string[];
  readonly isNewCluster: boolean;
  readonly replicaWrites: 'forward' | 'redirect' | 'reject';
  readonly segmentBytes: number;
  /** Memory for rows that were read lately; 0 = none is kept. */
  readonly cacheBytes: number;
  readonly checkpointOperations: number;
  readonly checkpointIntervalMs: number;
  readonly retention: { readonly bytesMin: number; readonly msMin: number; readonly bytesMax: number; readonly msMax: number };
  /** Memory that request bodies take at the moment, for the metrics; whoever takes requests knows it. */
  readonly requestBodyBytes?: () => number;
  /** What a running node takes over when the configuration changes. */
  readonly live: LiveNodeOptions;
}

export interface LiveNodeOptions {
  readonly readyLagMs: number;
  readonly forwardTimeoutMs: number;
  readonly queueBytesMax: number;
  /** Where a write asks for no level. */
  readonly ackDefault: AckLevel;
  /** Writes that ask for less get this. */
  readonly ackMinimum: AckLevel;
}
