/**
 * How a replica gets its first consistent state, or a new one when its position is gone:
 *
 *   snapshot ══▶ generation/store.sqlite        both into a generation that CURRENT does not name yet
 *   stream   ══▶ generation/wal, from the snapshot's position on, while the snapshot downloads
 *
 * What was there before stays until the new generation is complete and CURRENT names it.
 */
import { EpochHistory, type LogPoint } from '../base/epoch-history.ts';
import { ShiplogError, isShiplogError, messageOf } from '../base/errors.ts';
import { sleep } from '../env/clock.ts';
import type { FrameSource } from '../wal/wal.ts';
import { Wal } from '../wal/wal.ts';
import { LogReceiver } from '../replication/log-receiver.ts';
import type { HeartbeatFrame } from '../replication/stream-protocol.ts';
import { SnapshotDownload } from '../snapshot/snapshot-download.ts';
import type { SnapshotDescription } from '../snapshot/snapshot-headers.ts';
import type { Current, DataDirectory, Generation } from './data-directory.ts';
import type { TaskStatus } from './node-api.ts';
import type { NodeOptions } from './node-options.ts';

export interface BootstrapOptions {
  readonly node: NodeOptions;
  readonly directory: DataDirectory;
  /** Asked for each attempt: the primary may change meanwhile. */
  readonly upstreamUrl: () => string;
  /** What this node holds now, if anything: it is replaced only by a history that contains it. */
  readonly own: OwnData | undefined;
  readonly onHeartbeat: (heartbeat: HeartbeatFrame) => void;
}

/** What a node holds while its engine is closed for a bootstrap. */
export interface OwnData {
  readonly clusterId: string;
  readonly history: EpochHistory;
  readonly end: LogPoint;
  /**
   * Operations after this LSN are in a salvage file: the new history need not contain them, and the
   * generation is kept. The end, where all is damaged. Null where it has to contain everything.
   */
  readonly salvagedAfterLsn: number | null;
}

const RETRY_MS = 1_000;

export class Bootstrap {
  readonly #options: BootstrapOptions;
  readonly #stopping = new AbortController();
  #download: SnapshotDownload | undefined;
  #stored: StoredStream | undefined;
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: BootstrapOptions) {
    this.#options = options;
  }

  get tasks(): readonly TaskStatus[] {
    const progress = this.#download?.progress;
    return [progress === undefined ? { name: 'bootstrap', doneBytes: 0, totalBytes: null, bytesPerS: 0, etaS: null } : { name: 'bootstrap', ...progress }];
  }

  /**
   * Tries until it has a complete generation; undefined when stopped.
   * @throws ShiplogError for what asking again does not mend: another cluster, a history that lacks what this node holds.
   */
  run(): Promise<Current | undefined> {
    const running = this.#tryUntilDone();
    this.#running = running.catch(() => {});
    return running;
  }

  async #tryUntilDone(): Promise<Current | undefined> {
    const { environment, logger } = this.#options.node;
    let lastReason = '';
    while (!this.#stopping.signal.aborted) {
      try {
        return await this.#once();
      } catch (error) {
        if (this.#stopping.signal.aborted) return undefined;
        if (isShiplogError(error, 'other-cluster') || isShiplogError(error, 'history-diverged')) throw error;
        const reason = messageOf(error);
        if (reason !== lastReason) logger.warn('the bootstrap failed; trying again', { upstream: this.#options.upstreamUrl(), reason });
        lastReason = reason;
        await sleep(environment.clock, RETRY_MS * (0.5 + environment.random.uniform()), this.#stopping.signal).catch(() => {});
      }
    }
    return undefined;
  }

  async #once(): Promise<Current> {
    const { directory, node } = this.#options;
    const { environment, logger } = node;
    const upstreamUrl = this.#options.upstreamUrl();
    const generation = await directory.newGeneration();
    const attempt = new AbortController();
    const signal = AbortSignal.any([attempt.signal, this.#stopping.signal]);
    this.#download = new SnapshotDownload({
      baseUrl: upstreamUrl,
      path: generation.databasePath,
      ...environment,
      logger,
      signal,
      onBegin: async (description) => {
        await this.#stored?.end();
        this.#stored = await StoredStream.begin({ ...this.#options, upstreamUrl, generation }, description, (error) => attempt.abort(error));
      },
    });
    try {
      const description = await this.#download.run();
      logger.info('the snapshot is complete', { lsn: description.lsn, bytes: description.sizeBytes });
      const applied = await node.stores.verifySnapshot(generation.databasePath, description);
      this.#refuseForeign(applied, upstreamUrl);
      await this.#stored?.end();
      this.#stored = undefined;
      return { generation, clusterId: applied.clusterId, base: { lsn: applied.lsn, chain: applied.chain }, history: applied.history, kept: this.#kept() };
    } catch (error) {
      await this.#stored?.end();
      this.#stored = undefined;
      throw attempt.signal.aborted ? attempt.signal.reason : error;
    }
  }

  /** A node never lets an empty, older or foreign history overwrite its data. */
  #refuseForeign(snapshot: { readonly clusterId: string; readonly lsn: number; readonly history: EpochHistory }, upstreamUrl: string): void {
    const { own } = this.#options;
    if (own === undefined) return;
    if (own.clusterId !== snapshot.clusterId) {
      throw new ShiplogError('other-cluster', `${upstreamUrl} belongs to cluster ${snapshot.clusterId}, this node's data to ${own.clusterId}`);
    }
    const endLsn = own.salvagedAfterLsn ?? own.end.lsn;
    const epoch = own.history.epochAt(endLsn);
    const theirs = epoch === undefined ? undefined : snapshot.history.find(epoch.id);
    const isContained = endLsn <= snapshot.lsn && (epoch === undefined || (theirs !== undefined && endLsn <= (theirs.lastLsn ?? snapshot.lsn)));
    if (isContained) return;
    if (own.salvagedAfterLsn !== null && isOlder(snapshot, own)) {
      throw new ShiplogError('not-ready', `the snapshot of ${upstreamUrl} at LSN ${snapshot.lsn} is older than what this node shares with it, up to LSN ${endLsn}`);
    }
    throw new ShiplogError('history-diverged', `this node holds operations up to LSN ${endLsn} that the snapshot of ${upstreamUrl} at LSN ${snapshot.lsn} does not contain`);
  }

  #kept(): readonly string[] {
    const { directory, own } = this.#options;
    const current = directory.current;
    if (current === undefined) return [];
    return own === undefined || own.salvagedAfterLsn === null ? current.kept : [...current.kept, current.generation.name];
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error('the bootstrap was stopped'));
    await this.#running;
  }
}

/**
 * A file that was made before the fork, which is handed out for a while: the next one is newer. Where
 * nothing was set aside, an older snapshot may mean that the upstream has lost something.
 */
function isOlder(snapshot: { readonly lsn: number; readonly history: EpochHistory }, own: OwnData): boolean {
  const last = snapshot.history.current;
  const held = last === undefined ? undefined : own.history.find(last.id);
  return snapshot.lsn < own.salvagedAfterLsn! && held !== undefined && snapshot.lsn <= (held.lastLsn ?? own.end.lsn);
}

interface StoredStreamOptions extends Omit<BootstrapOptions, 'upstreamUrl'> {
  readonly upstreamUrl: string;
  readonly generation: Generation;
}

/** The stream from a snapshot's position on, in a bare log: nothing can be read from it yet. */
class StoredStream {
  readonly #wal: Wal;
  readonly #receiver: LogReceiver;

  private constructor(wal: Wal, receiver: LogReceiver) {
    this.#wal = wal;
    this.#receiver = receiver;
  }

  static async begin(options: StoredStreamOptions, description: SnapshotDescription, onFailed: (error: unknown) => void): Promise<StoredStream> {
    const { node, upstreamUrl, directory, generation } = options;
    const { environment, logger, metrics } = node;
    const { disk } = environment;
    // A new file is a new position: what was stored for another one does not continue it.
    await disk.remove(generation.walDirectory);
    await disk.makeDirectory(generation.walDirectory);
    await disk.syncDirectory(generation.directory);
    const base = { lsn: description.lsn, chain: description.chain };
    const wal = await Wal.open({
      disk,
      clock: environment.clock,
      random: environment.random,
      logger,
      metrics,
      directory: generation.walDirectory,
      clusterId: description.clusterId,
      base,
      // Earlier epochs are in the snapshot; to judge what follows, the last one is enough.
      applied: { ...base, history: new EpochHistory([{ ...description.epoch, firstLsn: description.lsn, lastLsn: null, endChain: null }]) },
      segmentBytes: node.segmentBytes,
      tailBytesMax: 0,
    });
    const receiver = new LogReceiver({
      transport: environment.transport,
      clock: environment.clock,
      random: environment.random,
      logger,
      metrics,
      upstreamUrl,
      sink: {
        get end() {
          return wal.end;
        },
        get history() {
          return wal.history;
        },
        visibleLsn: 0,
        isReady: false,
        commit: (sources: readonly FrameSource[]) => wal.append(sources),
      },
      clusterId: description.clusterId,
      nodeId: directory.identity.nodeId,
      nodeName: node.name,
      advertiseUrl: node.advertiseUrl,
      onMembers: () => {},
      onHeartbeat: options.onHeartbeat,
      // It says something about the snapshot, whose upstream has changed since, and nothing about what this node holds.
      onRefused: (error) => onFailed(new ShiplogError('not-ready', `${upstreamUrl} refused to continue its snapshot: ${error.message}`, { cause: error })),
      onSinkFailed: onFailed,
    });
    receiver.start();
    return new StoredStream(wal, receiver);
  }

  async end(): Promise<void> {
    await this.#receiver.stop();
    await this.#wal.close();
  }
}
