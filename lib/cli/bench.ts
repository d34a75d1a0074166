/** `shiplog bench`: puts a load on a node and says how fast it was. Only keys with a prefix of its own are touched. */
import { type Command, InvalidArgumentError } from 'commander';
import type { AckLevel } from '../base/ack-level.ts';
import { ShiplogError, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { HttpProtocol } from '../bench/http-protocol.ts';
import { type LagFigures, LagProbe, markerKey } from '../bench/lag-probe.ts';
import type { LoadFigures } from '../bench/load-figures.ts';
import { LoadGenerator, type LoadPlan } from '../bench/load-generator.ts';
import { KEY_COUNT_MAX, KEY_PREFIX, keyAt } from '../bench/protocol.ts';
import { type Workload, eachKeyOnce, mixedWorkload } from '../bench/workload.ts';
import { ShiplogClient } from '../client/shiplog-client.ts';
import type { RawConnect } from '../env/raw-connection.ts';
import { realRawConnect } from '../env/real-raw-connection.ts';
import { TransportError } from '../env/transport.ts';
import { type BenchDocument, LAG_HEADING, LATENCY_HEADING, lagRow, latencyRows, remarksOnBench, wholeNumber } from './bench-report.ts';
import { ACK_OPTION, type CommandContext, DEFAULT_URL, JSON_OPTION, clientOf, parseUrl } from './command-context.ts';
import { LoadBar } from './load-bar.ts';

interface BenchOptions {
  readonly connections: number;
  readonly requests?: number;
  readonly seconds?: number;
  readonly rate?: number;
  readonly reads: number;
  readonly keys: number;
  readonly valueSize: number;
  readonly pipeline: number;
  readonly ack?: AckLevel;
  readonly replica: readonly string[];
  readonly fill: boolean;
  readonly clean?: boolean;
  readonly json?: boolean;
}

const SECONDS_DEFAULT = 10;
/** Keys are written before and deleted after the load on no more connections than that: they are not measured. */
const SIDE_CONNECTIONS_MAX = 64;

export function addBenchCommand(program: Command, context: CommandContext): void {
  program
    .command('bench')
    .summary('measure how fast a node is')
    .description(`Puts a load on a node and measures throughput and latency. It writes keys that begin with ${KEY_PREFIX} and touches no others.`)
    .argument('[url]', `the node; SHIPLOG_URL does not count here (default: ${DEFAULT_URL})`, parseUrl)
    .option('--connections <count>', 'connections', integerIn(1, LIMITS.connectionsMax), 50)
    .option('--requests <count>', 'end after so many requests; 0 = none, with --clean', integerIn(0, 1e12))
    .option('--seconds <seconds>', `end after so many seconds (default: ${SECONDS_DEFAULT})`, secondsIn(0.1, 86_400))
    .option('--rate <per second>', 'requests per second in all; latency counts from when a request was due (default: as fast as answers come)', integerIn(1, 10_000_000))
    .option('--reads <percent>', 'share of reads; the rest are writes', integerIn(0, 100), 50)
    .option('--keys <count>', 'keys, chosen at random', integerIn(1, KEY_COUNT_MAX), 10_000)
    .option('--value-size <bytes>', 'bytes of a value', integerIn(0, LIMITS.valueBytesMax), 32)
    .option('--pipeline <count>', 'requests on their way on each connection', integerIn(1, 1_000), 1)
    .option(...ACK_OPTION)
    .option('--replica <url>', 'also measure how far this replica is behind; may be given again', (url: string, before: readonly string[]) => [...before, parseUrl(url)], [])
    .option('--no-fill', 'do not write all keys once before a load with reads')
    .option('--clean', 'delete the keys afterwards')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `
Examples:
  $ shiplog bench
  $ shiplog bench http://127.0.0.1:4455 --connections 64 --reads 0 --seconds 30
  $ shiplog bench http://127.0.0.1:4455 --rate 2000 --replica http://127.0.0.1:4466 --clean
  $ shiplog bench http://127.0.0.1:4455 --requests 0 --clean

Without --rate each connection sends its next request when it has an answer: a slow answer then makes the
load smaller, and percentiles look better than they are. With it, waiting counts.
Ctrl-C ends it with the figures so far. Exit code 1: some requests failed; 4: nobody was there, or not any more.`,
    )
    .action(async (url: string | undefined, options: BenchOptions) => new BenchRun(context, targetOf(context, url), options).run());
}

/** A load is only put on a node that the command line names, or on the local one that `npm start` starts. */
function targetOf({ variables }: CommandContext, url: string | undefined): string {
  if (url !== undefined) return url;
  const named = variables['SHIPLOG_URL'] ?? '';
  if (named !== '') throw new ShiplogError('bad-config', `SHIPLOG_URL is set, but a load is only put on a node that the command line names: shiplog bench ${named}`);
  return DEFAULT_URL;
}

class BenchRun {
  readonly #context: CommandContext;
  readonly #url: string;
  readonly #options: BenchOptions;
  readonly #connect: RawConnect;
  readonly #stop = new AbortController();
  #stoppedBy: string | null = null;

  constructor(context: CommandContext, url: string, options: BenchOptions) {
    this.#context = context;
    this.#url = url;
    this.#options = options;
    this.#connect = realRawConnect(context.environment.clock);
  }

  async run(): Promise<void> {
    await this.#look();
    const { stop, stopNow } = this.#context.takeSignals();
    void stop.then((signal) => {
      this.#stoppedBy = signal;
      this.#stop.abort();
    });
    void stopNow.then(() => this.#context.exitNow('failed'));

    const { requests, fill, reads, clean } = this.#options;
    const isLoaded = requests !== 0;
    if (isLoaded && fill && reads > 0) await this.#fill();
    const cpuBefore = process.cpuUsage();
    const [load, lag] = isLoaded && !this.#stop.signal.aborted ? await this.#load() : [null, []];
    const cpu = process.cpuUsage(cpuBefore);
    const cleaned = clean === true ? await this.#clean() : null;
    this.#report({ ...this.#described(), load, lag, wrote: this.#wrote(isLoaded), cleaned, stoppedBy: this.#stoppedBy }, (cpu.user + cpu.system) / 1_000 / (load?.elapsedMs ?? Infinity));
  }

  /** Whether they are there, before anything is written. @throws TransportError, ShiplogError. */
  async #look(): Promise<void> {
    const { transport, clock } = this.#context.environment;
    const status = await clientOf(this.#context, this.#url).status();
    if (this.#options.json !== true) this.#context.terminal.note(`${this.#url}: ${status.role}`);
    for (const url of this.#options.replica) await new ShiplogClient({ transport, clock, url }).status();
  }

  async #fill(): Promise<void> {
    const { failed, errors, gaveUp } = await this.#runAside('writing keys', eachKeyOnce('set'), this.#stop.signal);
    if (gaveUp !== null) throw new TransportError(gaveUp, { mayHaveArrived: true });
    if (failed > 0) throw new ShiplogError('bad-request', `${wholeNumber(failed)} keys could not be written first: ${Object.keys(errors).join(', ')}`);
  }

  async #load(): Promise<[LoadFigures, readonly LagFigures[]]> {
    const { clock, random } = this.#context.environment;
    const { connections, pipeline, requests, rate, reads, keys, replica } = this.#options;
    const seconds = this.#options.seconds ?? (requests === undefined ? SECONDS_DEFAULT : undefined);
    const plan: LoadPlan = {
      connections,
      pipeline,
      ...(requests !== undefined && { requestsMax: requests }),
      ...(seconds !== undefined && { durationMs: seconds * 1_000 }),
      ...(rate !== undefined && { requestsPerS: rate }),
    };
    const loadEnded = new AbortController();
    const probes = replica.map((replicaUrl, index) => new LagProbe({ clock, connect: this.#connect, url: this.#url, replicaUrl, index }).run(loadEnded.signal));
    try {
      const load = await this.#generate('load', plan, mixedWorkload(random, reads, keys), this.#stop.signal);
      loadEnded.abort();
      return [load, await Promise.all(probes)];
    } finally {
      loadEnded.abort();
    }
  }

  async #clean(): Promise<NonNullable<BenchDocument['cleaned']>> {
    // Also after Ctrl-C: the keys are to go. Who insists ends it at once.
    const { keys, replica } = this.#options;
    let deleted = 0;
    let absent = 0;
    try {
      const { answered, missing } = await this.#runAside('deleting keys', eachKeyOnce('del'));
      deleted = answered - missing;
      absent = missing;
      const client = clientOf(this.#context, this.#url);
      for (const index of replica.keys()) {
        if ((await client.del(markerKey(index))) === undefined) absent += 1;
        else deleted += 1;
      }
    } catch (error) {
      // What was measured is said all the same.
      this.#context.terminal.fail(messageOf(error));
    }
    return { deleted, absent, failed: keys + replica.length - deleted - absent };
  }

  #runAside(label: string, workload: Workload, signal?: AbortSignal): Promise<LoadFigures> {
    const { connections, keys } = this.#options;
    return this.#generate(label, { connections: Math.min(connections, SIDE_CONNECTIONS_MAX, keys), pipeline: 1, requestsMax: keys }, workload, signal);
  }

  async #generate(label: string, plan: LoadPlan, workload: Workload, signal?: AbortSignal): Promise<LoadFigures> {
    const { valueSize, ack } = this.#options;
    const protocol = new HttpProtocol({ url: this.#url, valueBytes: valueSize, ...(ack !== undefined && { ack }) });
    const generator = new LoadGenerator({ clock: this.#context.environment.clock, connect: this.#connect, url: this.#url, protocol, workload, plan });
    const bar = new LoadBar(label, this.#context.stderr);
    bar.start(() => generator.progress);
    try {
      return await generator.run(signal);
    } finally {
      bar.stop();
    }
  }

  #described(): Pick<BenchDocument, 'url' | 'connections' | 'pipeline' | 'valueBytes' | 'keys' | 'readPercent' | 'rate'> {
    const { connections, pipeline, valueSize, keys, reads, rate } = this.#options;
    return { url: this.#url, connections, pipeline, valueBytes: valueSize, keys, readPercent: reads, rate: rate ?? null };
  }

  #wrote(isLoaded: boolean): BenchDocument['wrote'] {
    const { reads, fill, keys, replica } = this.#options;
    if (!isLoaded || (reads === 100 && !fill && replica.length === 0)) return null;
    const hasKeys = reads < 100 || fill;
    return { firstKey: hasKeys ? keyAt(0) : null, lastKey: hasKeys ? keyAt(keys - 1) : null, markers: replica.map((_, index) => markerKey(index)) };
  }

  #report(document: BenchDocument, cpuShare: number): void {
    const { terminal } = this.#context;
    if (this.#options.json === true) terminal.json(document);
    else {
      if (document.load !== null) terminal.table(LATENCY_HEADING, latencyRows(document.load));
      if (document.lag.length > 0) terminal.table(LAG_HEADING, document.lag.map(lagRow));
    }
    for (const { kind, text } of remarksOnBench(document, cpuShare)) {
      if (kind === 'warning') terminal.warn(text);
      else if (this.#options.json !== true) terminal.note(text);
    }
    const failed = (document.load?.failed ?? 0) + (document.load?.unsent ?? 0) + (document.cleaned?.failed ?? 0);
    if (document.load !== null && document.load.gaveUp !== null) this.#context.exitWith('unreachable');
    else if (failed > 0 || document.lag.some(({ error }) => error !== null)) this.#context.exitWith('failed');
  }
}

function integerIn(from: number, through: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= from && value <= through) return value;
    throw new InvalidArgumentError(`Expected an integer from ${from} to ${through}.`);
  };
}

function secondsIn(from: number, through: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+(\.\d+)?$/.test(text) && value >= from && value <= through) return value;
    throw new InvalidArgumentError(`Expected seconds, ${from} to ${through}.`);
  };
}
