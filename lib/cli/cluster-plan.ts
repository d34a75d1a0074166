/**
 * The nodes of a local cluster: names, ports and places, who follows whom, and what to paste into a
 * shell. A name says which role a node had when the cluster began; a promotion may have changed it.
 */
import { ShiplogError } from '../base/errors.ts';

export interface PlannedNode {
  /** `primary`, `replica-1`, `replica-2`, … */
  readonly name: string;
  readonly port: number;
  readonly url: string;
  readonly dataDirectory: string;
  readonly logFile: string;
  /** Undefined where the node knows by itself what to do. */
  readonly follow: string | undefined;
}

/** What the data directory of a node says, before the node is started. */
export interface FoundData {
  /**
   * `none`: it will found a cluster, or join one. `primary`: it was the primary when it stopped;
   * `fenced`: until another one was promoted.
   */
  readonly role: 'none' | 'primary' | 'fenced' | 'replica';
  /** Highest epoch number that the node ever promised itself to. */
  readonly promisedNumberMax: number;
}

export interface StartOrder {
  /** Starts alone. The primary, where the data directories say who that is. */
  readonly first: PlannedNode;
  readonly others: readonly PlannedNode[];
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
    port: port + index * PORT_STEP,
    url: `http://${HOST}:${port + index * PORT_STEP}`,
    dataDirectory: `${dataDirectory}/${name}`,
    // Beside the data directory, which is the node's alone.
    logFile: `${dataDirectory}/${name}.log`,
    follow: index === 0 ? undefined : primaryUrl,
  });
  return [planNode('primary', 0), ...Array.from({ length: replicas }, (_, index) => planNode(replicaName(index + 1), index + 1))];
}

/** `number`: 1 for the first. */
export function replicaName(number: number): string {
  return `replica-${number}`;
}

/**
 * Who starts first, and whom the others follow. Two primaries are in the directories when one was down
 * while the other was promoted: whoever was promoted has promised itself to a higher number, so it comes
 * first, and the other learns of it before it takes a write. That is only courtesy; fencing is the nodes' own.
 * @throws ShiplogError `data-directory-invalid` where a second cluster would be founded.
 */
export function orderStart(nodes: readonly [PlannedNode, ...PlannedNode[]], foundIn: (node: PlannedNode) => FoundData): StartOrder {
  const claims = nodes.filter((node) => foundIn(node).role === 'primary');
  const primary = claims.toSorted((one, other) => foundIn(other).promisedNumberMax - foundIn(one).promisedNumberMax)[0];
  if (primary === undefined) {
    const holder = nodes.find((node) => foundIn(node).role !== 'none');
    if (foundIn(nodes[0]).role === 'none' && holder !== undefined) throw lostPrimary(nodes[0], holder);
    const [first, ...others] = nodes.map((node) => (foundIn(node).role === 'none' ? node : { ...node, follow: undefined }));
    return { first: first!, others };
  }
  const takesFollow = (node: PlannedNode): boolean => ['none', 'replica'].includes(foundIn(node).role);
  return {
    first: { ...primary, follow: undefined },
    others: nodes.filter((node) => node !== primary).map((node) => ({ ...node, follow: takesFollow(node) ? primary.url : undefined })),
  };
}

function lostPrimary(primary: PlannedNode, replica: PlannedNode): ShiplogError {
  return new ShiplogError(
    'data-directory-invalid',
    `${primary.dataDirectory} holds no data, but ${replica.dataDirectory} does: put the first directory back, or move those of all nodes away to begin with nothing`,
  );
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
