/** `shiplog cluster`, and so `npm start`: a primary and its replicas on this machine, one process each. */
import { relative, resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { ShiplogError, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { ShiplogClient } from '../client/shiplog-client.ts';
import { sleep } from '../env/clock.ts';
import type { Environment } from '../env/environment.ts';
import { TransportError } from '../env/transport.ts';
import { printable } from '../observe/printable.ts';
import { ClusterNode, type NodeExit } from './cluster-node.ts';
import { type PlannedNode, REPLICAS_MAX, curlLines, planCluster, serveFlags, serveVariables } from './cluster-plan.ts';
import type { CommandContext } from './command-context.ts';
import { EXIT_CODES, exitCodeOf } from './exit-codes.ts';

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

export function addClusterCommand(program: Command, context: CommandContext, options: ClusterCommandOptions): void {
  program
    .command('cluster')
    .summary('start a primary and its replicas on this machine')
    .description('Starts a primary and its replicas on this machine, each a process with a data directory of its own, until Ctrl-C.')
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
    await checkPrimaryData(this.#environment, this.#plans);
    await this.#environment.disk.makeDirectory(dataDirectory);

    const signals = this.#context.takeSignals();
    void signals.stopNow.then(() => {
      terminal.fail('ended at once; the logs keep all that was acknowledged');
      for (const node of this.#nodes) node.kill();
    });
    try {
      const isUp = await Promise.race([this.#start().then(() => true), signals.stop.then(() => false), this.#failed.promise]);
      if (isUp) {
        this.#phase = 'running';
        this.#showBanner();
        await Promise.race([signals.stop, this.#failed.promise]);
      }
      terminal.note('stopping');
    } catch (error) {
      terminal.fail(messageOf(error));
      this.#context.exitWith(error instanceof NodeEndedError ? error.exitCode : exitCodeOf(error));
    }
    await this.#stop();
  }

  /** A primary that can't start shall be the only one that complains, so the replicas come after it. */
  async #start(): Promise<void> {
    const [primary, ...replicas] = this.#plans;
    const impatience = this.#environment.clock.setTimer(PATIENCE_MS, () => {
      this.#context.terminal.note(`still starting; ${primary.logFile} and the logs beside it say more`);
    });
    try {
      await this.#startNode(primary);
      await Promise.all(replicas.map((plan) => this.#startNode(plan)));
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
    if (!(await node.healthy())) throw new NodeEndedError(plan, await node.exited);
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

  #showBanner(): void {
    const { terminal } = this.#context;
    terminal.note('');
    terminal.table(
      ['node', 'url', 'data'],
      this.#plans.map((plan) => [plan.name, plan.url, this.#shortPath(plan.dataDirectory)]),
    );
    const lines = curlLines(this.#plans).map((line) => `  ${terminal.colors.cyan(line)}`);
    terminal.note(['', 'Try:', ...lines, '', 'Ctrl-C stops all nodes; their data stays.', ''].join('\n'));
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

/**
 * A primary whose directory was moved away would found another cluster, which no replica follows.
 * @throws ShiplogError `data-directory-invalid`
 */
async function checkPrimaryData({ disk }: Environment, [primary, ...replicas]: readonly [PlannedNode, ...PlannedNode[]]): Promise<void> {
  const holdsData = ({ dataDirectory }: PlannedNode): Promise<boolean> => disk.exists(`${dataDirectory}/CURRENT`);
  if (await holdsData(primary)) return;
  for (const replica of replicas) {
    if (!(await holdsData(replica))) continue;
    throw new ShiplogError(
      'data-directory-invalid',
      `${primary.dataDirectory} holds no data, but ${replica.dataDirectory} does: put the primary's directory back, or move that of every replica away to begin with nothing`,
    );
  }
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
