/**
 * Every option of a node, once: its type, default, description, and whether a running node takes a
 * new value. The configuration file (`dataDir`), the environment (`SHIPLOG_DATA_DIR`) and the flags
 * (`--data-dir`) all come from this table.
 */
import { z } from 'zod';
import { GIB, LIMITS, MIB } from '../base/limits.ts';
import { ackLevel, duration, flag, integer, listOf, nodeUrl, oneOf, size, text } from './option-types.ts';

const DAY_MS = 86_400_000;
/** The largest value, its key, and room for how they are written. */
const LARGEST_WRITE_BYTES = LIMITS.valueBytesMax + 1 * MIB;

const hostName = text('a host name or address', /^[A-Za-z0-9._:-]{1,253}$/);

/** Options by their name in the file. Those marked `live` take effect without a restart. */
export const OPTIONS = {
  name: optional({
    type: text('1 to 64 letters, digits, dots, dashes or underscores', /^[A-Za-z0-9._-]{1,64}$/),
    group: 'node',
    description: "the node's name in status, logs and metrics (default: host name and port)",
  }),
  dataDir: option({
    type: text('the path of a directory', /^[^\0]+$/),
    fallback: 'data/node',
    group: 'node',
    description: 'directory of the log and the database',
  }),
  host: option({ type: hostName, fallback: '127.0.0.1', group: 'node', description: 'address to listen on' }),
  port: option({ type: integer(0, 65_535), fallback: 4455, group: 'node', description: 'port to listen on; 0 takes a free one' }),
  advertise: optional({
    type: nodeUrl(),
    group: 'node',
    description: 'URL under which other nodes reach this one (default: from host and port)',
  }),
  follow: optional({ type: nodeUrl(), group: 'node', description: 'be a replica of the node at this URL' }),
  peers: option({
    type: listOf(nodeUrl()),
    fallback: [],
    group: 'node',
    description: 'nodes to ask for a cluster to join, before founding one',
  }),
  newCluster: option({
    type: flag(),
    fallback: false,
    group: 'node',
    description: 'found a cluster where there is no data, although peers are named',
  }),
  insecure: option({
    type: flag(),
    fallback: false,
    group: 'node',
    description: 'listen beyond loopback although anyone there may read and write',
  }),
  allowedHosts: option({
    type: listOf(hostName),
    fallback: [],
    group: 'node',
    live: true,
    description: "Host headers to accept for changes, beside loopback names and the node's own",
  }),
  replicaWrites: option({
    type: oneOf('forward', 'redirect', 'reject'),
    fallback: 'forward',
    group: 'node',
    description: 'what a replica does with a write: forward, redirect or reject',
  }),
  ackDefault: option({
    type: ackLevel(),
    fallback: 'local',
    group: 'node',
    live: true,
    description: 'how durable a write has to be where the request does not say: memory, local, a number of replicas, or all',
  }),
  ackMinimum: option({
    type: ackLevel(),
    fallback: 'memory',
    group: 'node',
    live: true,
    description: 'how durable every write has to be, whatever the request says',
  }),
  logLevel: option({
    type: oneOf('error', 'warn', 'info', 'debug'),
    fallback: 'info',
    group: 'node',
    live: true,
    description: 'least important messages to log: error, warn, info or debug',
  }),
  logFormat: option({
    type: oneOf('auto', 'human', 'json'),
    fallback: 'auto',
    group: 'node',
    description: 'auto, human or json; auto is human on a terminal, JSON lines otherwise',
  }),

  cacheBytes: option({
    type: size(0, 16 * GIB),
    fallback: LIMITS.cacheBytes,
    group: 'node',
    description: 'memory for rows that were read lately; 0 keeps none',
  }),
  segmentBytes: option({
    type: size(LIMITS.segmentBytesMin, 1 * GIB),
    fallback: LIMITS.segmentBytes,
    group: 'log',
    description: 'size of a log file',
  }),
  checkpointOperations: option({
    type: integer(1, 10_000_000),
    fallback: 100_000,
    group: 'log',
    description: 'operations between two checkpoints of the database',
  }),
  checkpointIntervalMs: option({
    type: duration(100, DAY_MS),
    fallback: 10_000,
    group: 'log',
    description: 'longest time between two checkpoints while there are writes',
  }),
  retentionBytesMin: option({
    type: size(0, 1024 * GIB),
    fallback: LIMITS.retentionBytesMin,
    group: 'log',
    description: 'log that is always kept',
  }),
  retentionBytesMax: option({
    type: size(0, 1024 * GIB),
    fallback: LIMITS.retentionBytesMax,
    group: 'log',
    description: 'log that is kept at most for a replica that is behind',
  }),
  retentionMsMin: option({
    type: duration(0, 365 * DAY_MS),
    fallback: LIMITS.retentionMsMin,
    group: 'log',
    description: 'age up to which log is always kept',
  }),
  retentionMsMax: option({
    type: duration(0, 365 * DAY_MS),
    fallback: LIMITS.retentionMsMax,
    group: 'log',
    description: 'age up to which log is kept at most for a replica that is behind',
  }),

  readyLagMs: option({
    type: duration(0, DAY_MS),
    fallback: 5_000,
    group: 'limits',
    live: true,
    description: 'how far a replica may be behind and still be ready',
  }),
  forwardTimeoutMs: option({
    type: duration(100, 60_000),
    fallback: LIMITS.forwardTimeoutMs,
    group: 'limits',
    live: true,
    description: 'how long a replica waits for the primary to answer a write',
  }),
  queueBytesMax: option({
    type: size(LARGEST_WRITE_BYTES, 4 * GIB),
    fallback: LIMITS.queueBytesMax,
    group: 'limits',
    live: true,
    description: 'writes that wait for the log; above it 503',
  }),
  requestBodiesBytesMax: option({
    type: size(LARGEST_WRITE_BYTES, 16 * GIB),
    fallback: LIMITS.requestBodiesBytesMax,
    group: 'limits',
    description: 'memory for request bodies, all together; above it 503',
  }),
  connectionsMax: option({
    type: integer(1, 1_000_000),
    fallback: LIMITS.connectionsMax,
    group: 'limits',
    description: 'open connections',
  }),
  waitingRequestsMax: option({
    type: integer(1, 1_000_000),
    fallback: LIMITS.waitingRequestsMax,
    group: 'limits',
    description: 'requests that wait for something; above it 503',
  }),
  bodyIdleMs: option({
    type: duration(100, 600_000),
    fallback: LIMITS.bodyIdleMs,
    group: 'limits',
    live: true,
    description: 'a request body that stands still for this long is given up',
  }),
} as const;

export type OptionName = keyof typeof OPTIONS;
export type OptionGroup = 'node' | 'log' | 'limits';

/** Values of all options: sizes in bytes, durations in milliseconds. */
export type Config = { readonly [Name in OptionName]: ValueOf<(typeof OPTIONS)[Name]> };

export const OPTION_NAMES = Object.keys(OPTIONS) as readonly OptionName[];

/** One source of values: a file, the environment, or the flags. Every option may be missing, none may be unknown. */
export const layerSchema = z.strictObject(
  Object.fromEntries(OPTION_NAMES.map((name) => [name, (OPTIONS[name].type as z.ZodType).optional()])),
);

/** `dataDir` → `--data-dir` */
export function flagOf(name: OptionName): string {
  return `--${inWords(name).join('-')}`;
}

/** `dataDir` → `SHIPLOG_DATA_DIR` */
export function variableOf(name: OptionName): string {
  return `SHIPLOG_${inWords(name).join('_').toUpperCase()}`;
}

export function isLive(name: OptionName): boolean {
  return OPTIONS[name].live;
}

/** What contradicts itself although every single value is acceptable: pairs of an option and what is wrong with it. */
export function contradictions(config: Config): readonly (readonly [OptionName, string])[] {
  const found: [OptionName, string][] = [];
  if (!config.insecure && !isLoopback(config.host)) {
    found.push([
      'host',
      `${config.host} is not loopback, and this version has no access control: whoever reaches it may read and write everything. ` +
        'Listen on 127.0.0.1, or set insecure (--insecure) if every machine that can connect is trusted',
    ]);
  }
  if (config.insecure && isEveryAddress(config.host) && config.advertise === undefined) {
    found.push(['advertise', `host ${config.host} is no address that another node could use: set advertise to the URL under which others reach this node`]);
  }
  if (config.follow !== undefined && config.follow === (config.advertise ?? urlOf(config))) {
    found.push(['follow', `${config.follow} is this node itself, expected the URL of another one`]);
  }
  if (config.follow !== undefined && config.newCluster) {
    found.push(['newCluster', 'a node either follows another one or founds a cluster: drop follow or newCluster']);
  }
  if (config.retentionBytesMin > config.retentionBytesMax) {
    found.push(['retentionBytesMin', `${config.retentionBytesMin} bytes is more than retentionBytesMax, ${config.retentionBytesMax} bytes`]);
  }
  if (config.retentionMsMin > config.retentionMsMax) {
    found.push(['retentionMsMin', `${config.retentionMsMin} ms is more than retentionMsMax, ${config.retentionMsMax} ms`]);
  }
  return found;
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

function isEveryAddress(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

function urlOf({ host, port }: Config): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

interface Option<Value> {
  readonly type: z.ZodType<Value>;
  readonly fallback: Value;
  readonly group: OptionGroup;
  readonly live: boolean;
  readonly description: string;
}

/** An option whose missing value has a meaning of its own. */
interface OptionalOption<Value> extends Omit<Option<Value>, 'fallback'> {
  readonly fallback: undefined;
}

type ValueOf<Spec> =
  Spec extends OptionalOption<infer Value> ? Value | undefined : Spec extends Option<infer Value> ? Value : never;

type Described<Value> = Pick<Option<Value>, 'type' | 'group' | 'description'>;

function option<Value>(spec: Described<Value> & { readonly fallback: NoInfer<Value>; readonly live?: boolean }): Option<Value> {
  return { live: false, ...spec };
}

function optional<Value>(spec: Described<Value>): OptionalOption<Value> {
  return { live: false, fallback: undefined, ...spec };
}

function inWords(name: OptionName): readonly string[] {
  return name.split(/(?=[A-Z])/).map((word) => word.toLowerCase());
}
