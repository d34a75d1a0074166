/** `shiplog cluster`, and so `npm start`: a primary and its replicas on this machine, one process each. */
import { relative, resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { ShiplogError, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { takesWrites } from '../client/find-primary.ts';
import { ShiplogClient } from '../client/shiplog-client.ts';
import type { StatusDocument } from '../client/status-document.ts';
import { sleep } from '../env/clock.ts';
import type { Environment } from '../env/environment.ts';
import { TransportError } from '../env/transport.ts';
import { PromiseBook } from '../failover/promise-book.ts';
import { readCurrent, readIdentity } from '../node/data-directory.ts';
import { printable } from '../observe/printable.ts';
import { ClusterNode, type NodeExit } from './cluster-node.ts';
import { type FoundData, type PlannedNode, REPLICAS_MAX, type StartOrder, curlLines, orderStart, planCluster, replicaName, serveFlags, serveVariables } from './cluster-plan.ts';
import type { CommandContext } from './command-context.ts';
import { EXIT_CODES, exitCodeOf } from './exit-codes.ts';
import { remarksOn } from './status-table.ts';

export interface ClusterCommandOptions {
  /** Program and arguments that run this command line. */
  readonly self: readonly [string, ...string[]];
  readonly defaultDataDirectory: string;
  readonly workingDirectory: string;
}

/** Above what a node allows itself, so that it gets to say what held it up. */
const KILL_AFTER_MS = LIMITS.cleanStopMs + 2_000;
const PORT_CHECK_TIMEOUT_MS = 1_000;
const PATIENCE_MS = 3_000;
/** A change of the primary that was interrupted by the last stop comes to its end by then. */
const PRIMARY_PATIENCE_MS = 3_000;
const PRIMARY_INTERVAL_MS = 100;

export function addClusterCommand(program: Command, context: CommandContext, options: ClusterCommandOptions): void {
  program
    .command('cluster')
    .summary('start a primary and its replicas on this machine')
    .description(
      'Starts a primary and its replicas on this machine, each a process with a data directory of its own, until Ctrl-C. ' +
        'Which node is the primary is what the data directories say: after a promotion it need not be the one of that name.',
    )
    .option('--replicas <count>', `number of replicas, 0 to ${REPLICAS_MAX}`, integerOption(0, REPLICAS_MAX), 1)
    .option('--port <port>', 'port of the primary; each replica has one that is higher by 11', integerOption(1, 65_535), 4455)
    .option('--data-dir <directory>', "where the nodes' data directories are (default: data, in the project)")
    .addHelpText(
      'after',
      `
Examples:
  $ npm start
  $ npm start -- --replicas 3
  $ shiplog cluster --port 5000 --data-dir /tmp/try`,
    )
    .action(async ({ replicas, port, dataDir }: { replicas: number; port: number; dataDir?: string }) => {
      const dataDirectory = dataDir === undefined ? options.defaultDataDirectory : resolve(options.workingDirectory, dataDir);
      await new LocalCluster(context, options, planCluster({ replicas, port, dataDirectory })).run(dataDirectory);
    });
}

class LocalCluster {
  readonly #context: CommandContext;
  readonly #environment: Environment;
  readonly #options: ClusterCommandOptions;
  readonly #plans: readonly [PlannedNode, ...PlannedNode[]];
  readonly #nodes: ClusterNode[] = [];
  readonly #failed = Promise.withResolvers<never>();
  #phase: 'starting' | 'running' | 'stopping' = 'starting';

  constructor(context: CommandContext, options: ClusterCommandOptions, plans: readonly [PlannedNode, ...PlannedNode[]]) {
    this.#context = context;
    this.#environment = context.environment;
    this.#options = options;
    this.#plans = plans;
    this.#failed.promise.catch(() => {});
  }

  /** Resolves when all processes are gone. */
  async run(dataDirectory: string): Promise<void> {
    const { terminal } = this.#context;
    await Promise.all(this.#plans.map((plan) => checkPort(this.#environment, plan)));
    const order = await findOrder(this.#environment, this.#plans, dataDirectory);
    await this.#environment.disk.makeDirectory(dataDirectory);

    const signals = this.#context.takeSignals();
    void signals.stopNow.then(() => {
      terminal.fail('ended at once; the logs keep all that was acknowledged');
      for (const node of this.#nodes) node.kill();
    });
    try {
      const statuses = await Promise.race([this.#start(order), signals.stop.then(() => undefined), this.#failed.promise]);
      if (statuses !== undefined) {
        this.#phase = 'running';
        this.#showBanner(statuses);
        await Promise.race([signals.stop, this.#failed.promise]);
      }
      terminal.note('stopping');
    } catch (error) {
      terminal.fail(messageOf(error));
      this.#context.exitWith(error instanceof NodeEndedError ? error.exitCode : exitCodeOf(error));
    }
    await this.#stop();
  }

  /**
   * Resolves with what each node is. A primary that can't start shall be the only one that complains, so
   * the replicas come after it.
   */
  async #start({ first, others }: StartOrder): Promise<readonly (StatusDocument | undefined)[]> {
    const impatience = this.#environment.clock.setTimer(PATIENCE_MS, () => {
      this.#context.terminal.note(`still starting; ${first.logFile} and the logs beside it say more`);
    });
    try {
      await this.#startNode(first);
      await Promise.all(others.map((plan) => this.#startNode(plan)));
      return await this.#statuses();
    } finally {
      impatience.cancel();
    }
  }

  async #startNode(plan: PlannedNode): Promise<void> {
    const { transport, clock } = this.#environment;
    const { terminal } = this.#context;
    if (this.#isStopping()) return;
    const node = await ClusterNode.start({
      plan,
      environment: this.#environment,
      client: new ShiplogClient({ transport, clock, url: plan.url, timeoutMs: PORT_CHECK_TIMEOUT_MS }),
      command: [...this.#options.self, 'serve', ...serveFlags(plan)],
      variables: serveVariables(this.#context.variables),
      onTrouble: (line) => {
        // While all nodes stop, each complains of the others.
        if (!this.#isStopping()) terminal.note(`${terminal.colors.yellow(plan.name)}  ${printable(line)}`);
      },
    });
    this.#nodes.push(node);
    // A stop that came while the log file was opened did not see this node.
    if (this.#isStopping()) node.stop();
    void node.exited.then((exit) => this.#onExit(node, exit));
    if (!(await node.ready())) throw new NodeEndedError(plan, await node.exited);
  }

  #isStopping(): boolean {
    return this.#phase === 'stopping';
  }

  /**
   * A node that can't start ends the cluster. One that is lost later doesn't: that the others go on
   * is what replicas are for, and what people try first.
   */
  #onExit(node: ClusterNode, exit: NodeExit): void {
    if (this.#phase === 'stopping') return;
    const error = new NodeEndedError(node.plan, exit);
    const isLast = this.#nodes.every((each) => each.hasExited);
    if (this.#phase === 'starting' || isLast) {
      this.#failed.reject(error);
      return;
    }
    this.#context.terminal.fail(error.message);
    this.#context.terminal.note('the other nodes go on; to have it back, press Ctrl-C and start the cluster again');
    this.#context.exitWith(error.exitCode);
  }

  /** What each node is now, in the order of the plan; once there is a primary, if that doesn't take too long. */
  async #statuses(): Promise<readonly (StatusDocument | undefined)[]> {
    const { clock } = this.#environment;
    const nodes = this.#plans.map((plan) => this.#nodes.find((node) => node.plan.name === plan.name));
    const beganMs = clock.monotonicMs();
    for (;;) {
      const statuses = await Promise.all(nodes.map(async (node) => node?.status()));
      const hasPrimary = statuses.some((status) => status !== undefined && takesWrites(status));
      if (hasPrimary || clock.monotonicMs() - beganMs >= PRIMARY_PATIENCE_MS || this.#nodes.some((node) => node.hasExited)) return statuses;
      await sleep(clock, PRIMARY_INTERVAL_MS);
    }
  }

  #showBanner(statuses: readonly (StatusDocument | undefined)[]): void {
    const { terminal } = this.#context;
    terminal.note('');
    terminal.table(
      ['node', 'role', 'url', 'data'],
      this.#plans.map((plan, index) => [plan.name, roleOf(statuses[index]), plan.url, this.#shortPath(plan.dataDirectory)]),
    );
    const lines = curlLines(this.#plans).map((line) => `  ${terminal.colors.cyan(line)}`);
    terminal.note(['', 'Try:', ...lines, '', 'Ctrl-C stops all nodes; their data stays.', ''].join('\n'));
    for (const remark of remarksOn(this.#plans.map(({ url }, index) => ({ url, status: statuses[index] ?? null })), true)) terminal.warn(remark);
    terminal.success(`${this.#plans.length === 1 ? 'the node is' : `all ${this.#plans.length} nodes are`} ready`);
  }

  #shortPath(path: string): string {
    const short = relative(this.#options.workingDirectory, path);
    return short.startsWith('..') ? path : short;
  }

  async #stop(): Promise<void> {
    const { clock, transport } = this.#environment;
    this.#phase = 'stopping';
    const kill = clock.setTimer(KILL_AFTER_MS, () => {
      for (const node of this.#nodes.filter((each) => !each.hasExited)) {
        this.#context.terminal.fail(`${node.plan.name} did not stop within ${KILL_AFTER_MS} ms and was killed`);
        node.kill();
        this.#context.exitWith('failed');
      }
    });
    for (const node of this.#nodes) node.stop();
    // Promises of nodes that are only just being started are in the list one turn later.
    await sleep(clock, 0);
    await Promise.all(this.#nodes.map((node) => node.exited));
    kill.cancel();
    await transport.close();
  }
}

class NodeEndedError extends Error {
  readonly exitCode: number;

  constructor(plan: PlannedNode, { code, signal, lastError }: NodeExit) {
    const how = signal === null ? `exit code ${code}` : signal;
    super(`${plan.name} ended (${how})${lastError === undefined ? `; its log is ${plan.logFile}` : `: ${lastError}`}`);
    this.name = 'NodeEndedError';
    this.exitCode = code === null || code === 0 ? EXIT_CODES.failed.code : code;
  }
}

/** @throws ShiplogError `port-in-use`, before any process is started. */
async function checkPort({ transport, clock }: Environment, plan: PlannedNode): Promise<void> {
  const client = new ShiplogClient({ transport, clock, url: plan.url, timeoutMs: PORT_CHECK_TIMEOUT_MS });
  try {
    const status = await client.status();
    throw portInUse(plan, `by another Shiplog node (${status.name}, data in ${status.dataDirectory})`);
  } catch (error) {
    if (error instanceof TransportError && !error.mayHaveArrived) return;
    if (error instanceof ShiplogError && error.code === 'port-in-use') throw error;
    throw portInUse(plan, 'by another program');
  }
}

/** @throws ShiplogError `data-directory-invalid`, before any process is started. */
async function findOrder(environment: Environment, plans: readonly [PlannedNode, ...PlannedNode[]], dataDirectory: string): Promise<StartOrder> {
  const found = new Map<string, FoundData>();
  for (const plan of plans) found.set(plan.name, await findData(environment, plan.dataDirectory));
  if (![...found.values()].some(({ role }) => role === 'primary')) await refuseAbsentPrimary(environment, plans.length - 1, dataDirectory);
  return orderStart(plans, (plan) => found.get(plan.name)!);
}

async function findData({ disk }: Environment, directory: string): Promise<FoundData> {
  const current = await readCurrent(disk, directory);
  const identity = await readIdentity(disk, directory);
  const { numberMax: promisedNumberMax } = await PromiseBook.load(disk, directory, identity?.nodeId ?? '');
  if (current === undefined) return { role: 'none', promisedNumberMax };
  if (identity?.role === 'replica') return { role: 'replica', promisedNumberMax };
  // Data without a role: a restored snapshot, which the first node that is started on it is the primary of.
  return { role: (identity?.fence ?? null) === null ? 'primary' : 'fenced', promisedNumberMax };
}

/** The primary may be one of the replicas that were asked for last time, and are not now. */
async function refuseAbsentPrimary(environment: Environment, replicas: number, dataDirectory: string): Promise<void> {
  for (let number = replicas + 1; number <= REPLICAS_MAX; number += 1) {
    const directory = `${dataDirectory}/${replicaName(number)}`;
    if ((await findData(environment, directory)).role !== 'primary') continue;
    throw new ShiplogError('data-directory-invalid', `${directory} is the primary's, and it would not be started: add --replicas ${number}, or more`);
  }
}

/** What it does, rather than what its directory is called. */
function roleOf(status: StatusDocument | undefined): string {
  if (status === undefined) return '-';
  return status.fence === null ? status.role : status.state;
}

function portInUse({ port, name }: PlannedNode, by: string): ShiplogError {
  return new ShiplogError('port-in-use', `port ${port}, meant for ${name}, is taken ${by}: stop that, or choose other ports with --port`);
}

function integerOption(from: number, through: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= from && value <= through) return value;
    throw new InvalidArgumentError(`Expected an integer from ${from} to ${through}.`);
  };
}
