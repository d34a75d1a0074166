/**
 * The data directory of one node.
 *
 *   node.json         who this node is and which role it has; wins over the configuration
 *   CURRENT           which generation holds the data, and where its log began
 *   members.json      the nodes of the cluster
 *   lock              held while a process uses the directory
 *   gen-000001/       one generation: a database and the log that continues it
 *     store.sqlite    (and SQLite's own -wal, -shm)
 *     wal/
 *   snapshots/        files being served
 *
 * A reseed builds the next generation aside and switches CURRENT by one rename: a database is never
 * replaced in place, because SQLite would replay the old -wal into the new file and call it fine.
 */
import { dirname } from 'node:path';
import { EpochHistory, type Epoch, type LogPoint } from '../base/epoch-history.ts';
import { ShiplogError, messageOf } from '../base/errors.ts';
import { readDurableJson, writeDurableJson } from '../env/durable-file.ts';
import type { Disk, DiskLock } from '../env/disk.ts';
import type { Logger } from '../observe/logger.ts';
import type { NodeRole } from './node-api.ts';

const FORMAT = 1;
const NODE_FILE = 'node.json';
const CURRENT_FILE = 'CURRENT';

export interface Identity {
  readonly nodeId: string;
  /** Null until the first start has decided it. */
  readonly role: NodeRole | null;
  /** A replica's upstream as it last was. */
  readonly upstreamUrl: string | null;
  /** What the configuration said of `follow` when the upstream was chosen: a later change counts, an old file does not. */
  readonly configuredFollow: string | null;
  /**
   * Has this upstream been the primary while it was followed? Then it is left when it is not any more:
   * who follows a primary is its member. False for a replica that was given, and in old files.
   */
  readonly followsPrimary: boolean;
  /** Id of the last epoch in which this node was the primary: operations of it are its own to set aside. */
  readonly reignEpochId: string | null;
  /** Why this node must not take part as it was, also after a restart. */
  readonly fence: Fence | null;
}

export interface Fence {
  readonly kind: 'superseded' | 'conflict' | 'lost-data' | 'diverged';
  readonly reason: string;
  /** The content differs where the histories agree: following again would be refused again. */
  readonly isDamage?: boolean;
  /** The upstream belongs to another cluster, which says nothing about this node's own. */
  readonly isForeign?: boolean;
}

export interface Generation {
  readonly name: string;
  readonly directory: string;
  readonly databasePath: string;
  readonly walDirectory: string;
}

export interface Current {
  readonly generation: Generation;
  readonly clusterId: string;
  /** Where the generation's log began: the position of its first database. */
  readonly base: LogPoint;
  readonly history: EpochHistory;
  /** Names of generations that a rejoin left beside the salvage file, until somebody removes them. */
  readonly kept: readonly string[];
}

export class DataDirectory {
  readonly path: string;
  readonly #disk: Disk;
  readonly #logger: Logger;
  readonly #lock: DiskLock;
  #identity: Identity;
  /** What the file holds. */
  #savedIdentity: Identity;
  #current: Current | undefined;
  #saving: Promise<void> = Promise.resolve();

  private constructor(disk: Disk, logger: Logger, path: string, lock: DiskLock, identity: Identity, current: Current | undefined) {
    this.#disk = disk;
    this.#logger = logger;
    this.path = path;
    this.#lock = lock;
    this.#identity = identity;
    this.#savedIdentity = identity;
    this.#current = current;
  }

  /**
   * Takes the directory for this process and reads what it says; makes it where it is missing.
   * @throws ShiplogError `data-directory-in-use`, `data-directory-invalid`.
   */
  static async open(options: { disk: Disk; logger: Logger; path: string; newNodeId: () => string }): Promise<DataDirectory> {
    const { disk, path } = options;
    try {
      await makeDurableDirectory(disk, path);
    } catch (error) {
      throw new ShiplogError('data-directory-invalid', `the data directory ${path} can not be used: ${messageOf(error)}`, { cause: error });
    }
    await refuseForeignContent(disk, path);
    const lock = await disk.lock(`${path}/lock`);
    try {
      const stored = parseIdentity(path, await readDurableJson(disk, path, NODE_FILE));
      const identity = stored ?? { nodeId: options.newNodeId(), role: null, upstreamUrl: null, configuredFollow: null, followsPrimary: false, reignEpochId: null, fence: null };
      const current = parseCurrent(path, await readDurableJson(disk, path, CURRENT_FILE));
      await refuseLostFile(disk, path, identity.role, current);
      const directory = new DataDirectory(disk, options.logger, path, lock, identity, current);
      // Also shows that the directory can be written, before anything depends on it.
      if (identity.role !== null) await directory.setIdentity({});
      return directory;
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  get identity(): Identity {
    return this.#identity;
  }

  get current(): Current | undefined {
    return this.#current;
  }

  get snapshotDirectory(): string {
    return `${this.path}/snapshots`;
  }

  /** False while a change is on its way to the disk, and after one that found no room there. */
  get isIdentitySaved(): boolean {
    return this.#identity === this.#savedIdentity;
  }

  /** Makes a change of role durable. From here on it wins over the configuration. */
  async setIdentity(change: Partial<Omit<Identity, 'nodeId'>>): Promise<void> {
    this.#identity = { ...this.#identity, ...change };
    // One after another: a fence doesn't wait for the change of role that it comes across.
    const saving = this.#saving.then(async () => {
      const identity = this.#identity;
      await writeDurableJson(this.#disk, this.path, NODE_FILE, { format: FORMAT, ...identity });
      this.#savedIdentity = identity;
    });
    this.#saving = saving.catch(() => {});
    await saving;
  }

  /** An empty generation with a name that was never used. What an interrupted attempt left is removed. */
  async newGeneration(): Promise<Generation> {
    await this.#removeOtherGenerations();
    // Those that are kept hold their names too, also where CURRENT has moved on.
    const names = [...(await this.#generationNames()), ...(this.#current === undefined ? [] : [this.#current.generation.name])];
    const last = Math.max(0, ...names.map((name) => Number(name.slice('gen-'.length))));
    const generation = generationNamed(this.path, `gen-${String(last + 1).padStart(6, '0')}`);
    await this.#disk.makeDirectory(generation.walDirectory);
    await this.#disk.syncDirectory(generation.directory);
    await this.#disk.syncDirectory(this.path);
    return generation;
  }

  /** The switch: after it, the generation is the data. Its files must be synced. */
  async setCurrent(current: Current): Promise<void> {
    await this.#disk.syncDirectory(current.generation.directory);
    await writeDurableJson(this.#disk, this.path, CURRENT_FILE, {
      format: FORMAT,
      generation: current.generation.name,
      database: 'store.sqlite',
      clusterId: current.clusterId,
      lsn: current.base.lsn,
      chain: current.base.chain,
      firstSegment: current.base.lsn + 1,
      history: current.history.toJSON(),
      kept: current.kept,
    });
    this.#current = current;
    await this.#removeOtherGenerations();
  }

  async #removeOtherGenerations(): Promise<void> {
    for (const name of await this.#generationNames()) {
      if (name === this.#current?.generation.name || this.#current?.kept.includes(name) === true) continue;
      this.#logger.info('removing a generation that is not current', { path: `${this.path}/${name}` });
      await this.#disk.remove(`${this.path}/${name}`);
    }
    await this.#disk.syncDirectory(this.path);
  }

  async #generationNames(): Promise<string[]> {
    return (await this.#disk.list(this.path)).filter((name) => /^gen-\d{6}$/.test(name));
  }

  async close(): Promise<void> {
    await this.#lock.release();
  }
}

/** Its name, and those of parents that are missing too, are durable afterwards: what is acknowledged lies below them. */
async function makeDurableDirectory(disk: Disk, path: string): Promise<void> {
  const parents: string[] = [];
  for (let each = path; !(await disk.exists(each)) && dirname(each) !== each; each = dirname(each)) parents.push(dirname(each));
  await disk.makeDirectory(path);
  for (const parent of parents) await disk.syncDirectory(parent);
}

export function generationNamed(path: string, name: string): Generation {
  const directory = `${path}/${name}`;
  return { name, directory, databasePath: `${directory}/store.sqlite`, walDirectory: `${directory}/wal` };
}

/** Who a data directory belongs to, without taking it: for tools that only read. */
export async function readIdentity(disk: Disk, path: string): Promise<Identity | undefined> {
  return parseIdentity(path, await readDurableJson(disk, path, NODE_FILE));
}

/** What CURRENT says, without taking the directory: for tools that only read. */
export async function readCurrent(disk: Disk, path: string): Promise<Current | undefined> {
  return parseCurrent(path, await readDurableJson(disk, path, CURRENT_FILE));
}

/** What a data directory may hold; also what mkfs makes, and dot files. */
const OWN_NAME = /^(\..*|lost\+found|lock|snapshots|salvage|gen-\d{6}|(node\.json|CURRENT|members\.json|promises\.json)(\.tmp)?)$/;

/** A slip in a path must not turn somebody's directory into a data directory. */
async function refuseForeignContent(disk: Disk, path: string): Promise<void> {
  const foreign = (await disk.list(path)).find((name) => !OWN_NAME.test(name));
  if (foreign === undefined || (await disk.exists(`${path}/${NODE_FILE}`))) return;
  throw new ShiplogError('data-directory-invalid', `${path} holds ${foreign}, but no data of Shiplog: name an empty directory`);
}

/**
 * Founding over data whose CURRENT was lost would wipe it, and data without node.json would take its
 * role from the configuration. A founding or restore that was interrupted leaves neither a role nor a
 * segment behind; a replica's data can be had again.
 */
async function refuseLostFile(disk: Disk, path: string, role: NodeRole | null, current: Current | undefined): Promise<void> {
  if (current !== undefined ? role !== null : role === 'replica') return;
  let hasSegments = false;
  for (const name of await disk.list(path)) {
    if (!/^gen-\d{6}$/.test(name)) continue;
    const files = await disk.list(generationNamed(path, name).walDirectory);
    hasSegments ||= files.some((file) => file.endsWith('.wal'));
  }
  if (!hasSegments && role === null) return;
  const missing = current === undefined ? CURRENT_FILE : NODE_FILE;
  throw new ShiplogError('data-directory-invalid', `${path} holds data, but its ${missing} file is missing: put back a copy of the file, or restore the node from a snapshot`);
}

function parseIdentity(path: string, stored: unknown): Identity | undefined {
  if (stored === undefined) return undefined;
  const { format, nodeId, role, upstreamUrl, configuredFollow, followsPrimary, reignEpochId, fence } = stored as Record<string, unknown>;
  if (format !== FORMAT) throw unknownFormat(`${path}/${NODE_FILE}`, format);
  if (typeof nodeId !== 'string' || (role !== 'primary' && role !== 'replica' && role !== null)) {
    throw new ShiplogError('data-directory-invalid', `${path}/${NODE_FILE} lacks a node id or has an unknown role`);
  }
  return {
    nodeId,
    role,
    upstreamUrl: textOrNull(upstreamUrl),
    configuredFollow: textOrNull(configuredFollow),
    followsPrimary: followsPrimary === true,
    reignEpochId: textOrNull(reignEpochId),
    fence: (fence ?? null) as Fence | null,
  };
}

function textOrNull(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

function parseCurrent(path: string, stored: unknown): Current | undefined {
  if (stored === undefined) return undefined;
  const { format, generation, clusterId, lsn, chain, history, kept } = stored as Record<string, unknown>;
  if (format !== FORMAT) throw unknownFormat(`${path}/${CURRENT_FILE}`, format);
  if (typeof generation !== 'string' || !/^gen-\d{6}$/.test(generation) || typeof clusterId !== 'string' || typeof lsn !== 'number' || typeof chain !== 'number') {
    throw new ShiplogError('data-directory-invalid', `${path}/${CURRENT_FILE} lacks a generation, cluster id or position`);
  }
  return { generation: generationNamed(path, generation), clusterId, base: { lsn, chain }, history: new EpochHistory(history as readonly Epoch[]), kept: Array.isArray(kept) ? kept.filter((name) => typeof name === 'string') : [] };
}

function unknownFormat(path: string, format: unknown): ShiplogError {
  return new ShiplogError('data-directory-invalid', `${path} has format ${String(format)}, this program reads ${FORMAT}: it needs a newer Shiplog`);
}
