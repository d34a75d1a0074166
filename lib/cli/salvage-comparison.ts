/** A salvage file beside the cluster that it was set aside from: read whole, then compared key by key. */
import { ShiplogError } from '../base/errors.ts';
import { parsePosition } from '../base/position.ts';
import { findPrimary } from '../client/find-primary.ts';
import type { ShiplogClient } from '../client/shiplog-client.ts';
import { SalvageReader } from '../failover/salvage-reader.ts';
import { type CommandContext, clientOf } from './command-context.ts';
import { type JudgedWrite, LastWrites, judgePortion } from './salvage-judgement.ts';
import type { LocatedSalvage } from './salvage-location.ts';

export interface ComparisonOptions {
  /** The node to ask for the primary. */
  readonly url?: string;
  /** Only these keys. */
  readonly keys?: readonly string[];
  /** Without a primary, any node will do, though it may be behind. */
  readonly needsPrimary: boolean;
}

export class SalvageComparison {
  readonly reader: SalvageReader;
  /** The primary, or the node that was asked where there is none. */
  readonly client: ShiplogClient;
  readonly nodeName: string;
  readonly isPrimary: boolean;
  readonly #context: CommandContext;
  readonly #lastWrites: LastWrites;
  readonly #keys: ReadonlySet<string> | undefined;

  private constructor(context: CommandContext, reader: SalvageReader, node: { client: ShiplogClient; name: string; isPrimary: boolean }, lastWrites: LastWrites, keys: ReadonlySet<string> | undefined) {
    this.#context = context;
    this.reader = reader;
    this.client = node.client;
    this.nodeName = node.name;
    this.isPrimary = node.isPrimary;
    this.#lastWrites = lastWrites;
    this.#keys = keys;
  }

  /**
   * @throws ShiplogError `data-directory-invalid` where the file is damaged, `other-cluster`, `no-primary`, `not-found` for
   * a key that the file does not have; TransportError.
   */
  static async open(context: CommandContext, file: LocatedSalvage, options: ComparisonOptions): Promise<SalvageComparison> {
    if (file.state === 'damaged') throw file.error;
    const lastWrites = new LastWrites();
    const bar = context.terminal.progress('reading');
    let reader: SalvageReader;
    try {
      reader = await SalvageReader.open(context.environment.disk, file.path, {
        onProgress: (doneBytes, totalBytes) => bar.show(doneBytes, totalBytes),
        onOperation: (operation) => lastWrites.note(operation),
      });
    } finally {
      bar.stop();
    }
    const missing = options.keys?.find((key) => !lastWrites.has(key));
    if (missing !== undefined) throw new ShiplogError('not-found', `${file.path} has no operation on the key ${JSON.stringify(missing)}`);
    const node = await nodeToAsk(context, reader, options);
    return new SalvageComparison(context, reader, node, lastWrites, options.keys === undefined ? undefined : new Set(options.keys));
  }

  /** Keys of the file, each with one operation that counts. */
  get keyCount(): number {
    return this.#lastWrites.keyCount;
  }

  /** Keys that were not asked for. */
  get leftOutCount(): number {
    return this.#keys === undefined ? 0 : this.keyCount - this.#keys.size;
  }

  /** What has become of each key, in the order of the file, in portions. */
  async *judged(): AsyncGenerator<readonly JudgedWrite[], void> {
    const givenUp = { history: this.reader.history, forkLsn: parsePosition(this.reader.header.forkPosition)!.lsn };
    for await (const portion of this.portions('comparing')) yield await judgePortion(portion, this.client, givenUp);
  }

  /** The operations that count, in the order of the file. */
  async *portions(label: string): ReturnType<LastWrites['portions']> {
    const bar = this.#context.terminal.progress(label);
    try {
      yield* this.#lastWrites.portions(this.reader, this.#keys, (doneBytes) => bar.show(doneBytes, this.reader.sizeBytes));
    } finally {
      bar.stop();
    }
  }
}

async function nodeToAsk(context: CommandContext, { path, header }: SalvageReader, { url, needsPrimary }: ComparisonOptions): Promise<{ client: ShiplogClient; name: string; isPrimary: boolean }> {
  const first = clientOf(context, url);
  const { start, primary } = await findPrimary(first, (each) => clientOf(context, each));
  if (start.clusterId !== header.clusterId) {
    throw new ShiplogError('other-cluster', `${path} is of cluster ${header.clusterId}, ${start.name} (${first.url}) belongs to ${start.clusterId ?? 'none yet'}: name a node of that cluster with --url`);
  }
  if (primary !== undefined) return { client: primary.client, name: primary.status.name, isPrimary: true };
  if (needsPrimary) throw new ShiplogError('no-primary', `none of the nodes that ${start.name} knows is the primary: promote one first`);
  return { client: first, name: start.name, isPrimary: false };
}
