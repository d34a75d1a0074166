/** The nodes of a local cluster: names, ports and places, and what to paste into a shell. */
import { ShiplogError } from '../base/errors.ts';

export interface PlannedNode {
  /** `primary`, `replica-1`, `replica-2`, … */
  readonly name: string;
  readonly role: 'primary' | 'replica';
  readonly port: number;
  readonly url: string;
  readonly dataDirectory: string;
  readonly logFile: string;
  /** On a replica: the primary. */
  readonly follow: string | undefined;
}

export interface ClusterPlanInput {
  readonly replicas: number;
  readonly port: number;
  readonly dataDirectory: string;
}

const HOST = '127.0.0.1';
const PORT_STEP = 11;
export const REPLICAS_MAX = 12;

/** The primary comes first. @throws ShiplogError `bad-config` where the ports don't fit. */
export function planCluster({ replicas, port, dataDirectory }: ClusterPlanInput): readonly [PlannedNode, ...PlannedNode[]] {
  const lastPort = port + replicas * PORT_STEP;
  if (lastPort > 65_535) {
    throw new ShiplogError('bad-config', `the last of ${replicas + 1} nodes would listen on port ${lastPort}, expected at most 65535: choose a lower --port`);
  }
  const primaryUrl = `http://${HOST}:${port}`;
  const planNode = (name: string, index: number): PlannedNode => ({
    name,
    role: index === 0 ? 'primary' : 'replica',
    port: port + index * PORT_STEP,
    url: `http://${HOST}:${port + index * PORT_STEP}`,
    dataDirectory: `${dataDirectory}/${name}`,
    // Beside the data directory, which is the node's alone.
    logFile: `${dataDirectory}/${name}.log`,
    follow: index === 0 ? undefined : primaryUrl,
  });
  return [planNode('primary', 0), ...Array.from({ length: replicas }, (_, index) => planNode(`replica-${index + 1}`, index + 1))];
}

/** Flags of `shiplog serve` for one node. */
export function serveFlags(node: PlannedNode): readonly string[] {
  return [
    ...['--name', node.name],
    ...['--data-dir', node.dataDirectory],
    ...['--host', HOST],
    ...['--port', String(node.port)],
    ...(node.follow === undefined ? [] : ['--follow', node.follow]),
    ...['--log-format', 'json'],
    '--exit-with-parent',
  ];
}

/** Variables that would make all nodes the same node, or point them somewhere else. */
const OWN_VARIABLES: ReadonlySet<string> = new Set([
  'SHIPLOG_CONFIG',
  'SHIPLOG_NAME',
  'SHIPLOG_DATA_DIR',
  'SHIPLOG_HOST',
  'SHIPLOG_PORT',
  'SHIPLOG_ADVERTISE',
  'SHIPLOG_FOLLOW',
  'SHIPLOG_PEERS',
  'SHIPLOG_NEW_CLUSTER',
]);

/** The environment of one node: log level, limits and the like are for all of them. */
export function serveVariables(variables: Readonly<Record<string, string | undefined>>): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(variables).filter(([name]) => !OWN_VARIABLES.has(name) && !name.startsWith('NOTIFY_') && !name.startsWith('WATCHDOG_')));
}

/** Three calls that work as they are: a write, a read of it elsewhere, and a write on the node farthest from the primary. */
export function curlLines(nodes: readonly PlannedNode[]): readonly string[] {
  const first = nodes[0]!;
  const second = nodes[1] ?? first;
  const last = nodes.at(-1)!;
  return [
    `curl -XPOST ${first.url}/set/key -H 'Content-type: application/json' -d '"value"'`,
    `curl ${second.url}/get/key -H 'Accept: application/json'`,
    `curl ${last.url}/set/key1 -d 'value=val1'`,
  ];
}
