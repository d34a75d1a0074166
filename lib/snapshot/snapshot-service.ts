/**
 * `GET /snapshot`: the whole table at one position, as a plain SQLite file.
 *
 * One file serves all who ask: who comes while one is being made waits for that one, who comes
 * right after gets the same. A transfer that was cut names the file it had by its ETag and gets the
 * rest of exactly that file, or a whole new one — never the rest of another.
 */
import { isShiplogError, messageOf, ShiplogError } from '../base/errors.ts';
import { MIB } from '../base/limits.ts';
import { problemText } from '../base/problem.ts';
import type { Clock, Timer } from '../env/clock.ts';
import { type Disk, DiskFullError } from '../env/disk.ts';
import type { TransportRequest, TransportResponse } from '../env/transport.ts';
import type { Logger } from '../observe/logger.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { SnapshotFile, Store } from '../store/store.ts';
import { parseByteRange } from './byte-range.ts';
import { type Progress, ProgressMeter } from './progress-meter.ts';
import { SnapshotBody } from './snapshot-body.ts';
import { etagOf, snapshotHeaders } from './snapshot-headers.ts';

/** Two: one that a slow reader is still fetching, one that is new. */
const FILES_MAX = 2;
/** A file this young is new enough for the next who asks. */
const FRESH_MS = 5_000;
/** A cut transfer can be resumed this long. */
const IDLE_MS_MAX = 10 * 60_000;
/** A reader that asked for nothing this long loses its file when the room is needed. */
const STALLED_MS = 60_000;
/** Left free beside a snapshot, for the log. */
const FREE_BYTES_MARGIN = 64 * MIB;
const WAIT_S_MAX = 60;

export interface SnapshotServiceOptions {
  /** The store of now, or undefined while there is no consistent state. */
  readonly store: () => Store | undefined;
  readonly disk: Disk;
  readonly clock: Clock;
  /** For the files; nothing else may be in it. */
  readonly directory: string;
  readonly logger: Logger;
  readonly metrics: Pick<Metrics, 'snapshotsServed'>;
}

export interface SnapshotTask extends Progress {
  readonly name: string;
}

interface ServedFile {
  readonly snapshot: SnapshotFile;
  /** What it was made of. A node that reseeded has another store, maybe of another history. */
  readonly store: Store;
  readonly madeAtMs: number;
  lastUsedMs: number;
  readonly readers: Set<SnapshotBody>;
  /** Readers to be: the file must not go while it is being opened for them. */
  opening: number;
}

export class SnapshotService {
  readonly #options: SnapshotServiceOptions;
  /** Oldest first. */
  #files: ServedFile[] = [];
  #exporting: { readonly file: Promise<ServedFile>; readonly meter: ProgressMeter } | undefined;
  #fileCount = 0;
  #sweepTimer: Timer | undefined;
  #closed = false;

  constructor(options: SnapshotServiceOptions) {
    this.#options = options;
  }

  /** Makes the directory, and removes what an earlier process left in it. */
  async start(): Promise<void> {
    const { disk, directory } = this.#options;
    await disk.makeDirectory(directory);
    for (const name of await disk.list(directory)) await disk.remove(`${directory}/${name}`);
  }

  /**
   * Answers GET and HEAD. Waits while the file is being made; with `Prefer: wait=<seconds>` it waits
   * no longer than that and then answers 202, so that a node can tell a long export from a dead peer.
   * @throws ShiplogError `not-ready`, `disk-full`, `precondition-failed`, `stopping`, `store-failed`.
   */
  async serve(request: TransportRequest): Promise<TransportResponse> {
    const file = this.#named(request) ?? (await this.#newest(request));
    if (file === undefined) return { status: 202, headers: { 'content-length': '0' }, body: nothing() };
    return await this.#respond(request, file);
  }

  /** What is under way, for `/status`. */
  get tasks(): readonly SnapshotTask[] {
    const making = this.#exporting === undefined ? [] : [{ name: 'make snapshot', ...this.#exporting.meter.progress }];
    const sending = this.#files.flatMap((file) =>
      [...file.readers].map((reader) => ({ name: 'send snapshot', ...reader.progress })),
    );
    return [...making, ...sending];
  }

  /** Cuts those who are reading, and removes the files. An export that is under way is waited for. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#sweepTimer?.cancel();
    await this.#exporting?.file.catch(() => {});
    for (const file of [...this.#files]) await this.#remove(file);
  }

  /** The file that the request says it wants a part of, where it is still there. */
  #named({ headers }: TransportRequest): ServedFile | undefined {
    const files = this.#files.filter((each) => each.store === this.#options.store());
    const ifMatch = headers['if-match'];
    if (ifMatch !== undefined && ifMatch.trim() !== '*') {
      const file = files.find(({ snapshot }) => ifMatch.includes(etagOf(snapshot)));
      if (file === undefined) throw new ShiplogError('precondition-failed', 'this snapshot is no longer here: fetch a new one from its beginning');
      return file;
    }
    if (headers['range'] === undefined) return undefined;
    return files.find(({ snapshot }) => headers['if-range'] === etagOf(snapshot));
  }

  /** A file that is new enough. Undefined where that took longer than the request wanted to wait. */
  async #newest(request: TransportRequest): Promise<ServedFile | undefined> {
    const { store, clock } = this.#options;
    if (this.#closed) throw new ShiplogError('stopping', 'this node is stopping');
    if (this.#exporting === undefined) {
      const current = store();
      if (current === undefined) throw new ShiplogError('not-ready', 'there is no consistent state yet to make a snapshot of');
      const newest = this.#files.at(-1);
      if (newest?.store === current && (clock.monotonicMs() - newest.madeAtMs <= FRESH_MS || isOf(newest.snapshot, current))) return newest;
      this.#startExport(current);
    }
    return await this.#waitFor(this.#exporting!.file, request);
  }

  #startExport(store: Store): void {
    const meter = new ProgressMeter(this.#options.clock, store.sizeBytes());
    const file = this.#export(store).finally(() => {
      this.#exporting = undefined;
    });
    this.#exporting = { file, meter };
    // All who wait may have gone by the time it fails.
    file.catch((error: unknown) => this.#options.logger.warn('no snapshot could be made', { error: messageOf(error) }));
  }

  async #export(store: Store): Promise<ServedFile> {
    const { disk, clock, directory, logger } = this.#options;
    const kept = await this.#makeRoom(store);
    if (kept !== undefined) return kept;
    const neededBytes = store.sizeBytes() + FREE_BYTES_MARGIN;
    const freeBytes = await disk.freeBytes(directory);
    if (freeBytes < neededBytes) {
      throw new ShiplogError('disk-full', `a snapshot needs ${neededBytes} free bytes in ${directory}, there are ${freeBytes}`);
    }
    this.#fileCount += 1;
    const path = `${directory}/snapshot-${this.#fileCount}.sqlite`;
    const startedMs = clock.monotonicMs();
    const snapshot = await exportTo(store, path);
    const nowMs = clock.monotonicMs();
    logger.info('made a snapshot', { lsn: snapshot.lsn, bytes: snapshot.sizeBytes, ms: Math.round(nowMs - startedMs) });
    const file: ServedFile = { snapshot, store, madeAtMs: nowMs, lastUsedMs: nowMs, readers: new Set(), opening: 0 };
    this.#files.push(file);
    this.#sweepLater();
    return file;
  }

  /** Removes a file if there are too many. Where every one is being read, the newest has to do: it is returned. */
  async #makeRoom(store: Store): Promise<ServedFile | undefined> {
    if (this.#files.length < FILES_MAX) return undefined;
    const stalledBeforeMs = this.#options.clock.monotonicMs() - STALLED_MS;
    const removable = this.#files.find(
      (file) =>
        file.store !== store ||
        (file.opening === 0 && [...file.readers].every((reader) => reader.lastPulledMs < stalledBeforeMs)),
    );
    if (removable === undefined) return this.#files.at(-1);
    await this.#remove(removable);
    return undefined;
  }

  /** The export goes on when one of those who wait for it leaves. */
  #waitFor(file: Promise<ServedFile>, { headers, signal }: TransportRequest): Promise<ServedFile | undefined> {
    const waitS = /(?:^|[,;\s])wait=(\d{1,4})(?:$|[,;\s])/.exec(headers['prefer'] ?? '')?.[1];
    return new Promise((resolve, reject) => {
      const onAbort = (): void => reject(signal!.reason as Error);
      const timer =
        waitS === undefined
          ? undefined
          : this.#options.clock.setTimer(Math.min(Number(waitS), WAIT_S_MAX) * 1000, () => resolve(undefined));
      signal?.addEventListener('abort', onAbort, { once: true });
      if (signal?.aborted === true) onAbort();
      file.then(resolve, reject).finally(() => {
        timer?.cancel();
        signal?.removeEventListener('abort', onAbort);
      });
    });
  }

  async #respond({ method, headers, signal }: TransportRequest, file: ServedFile): Promise<TransportResponse> {
    const { snapshot } = file;
    file.lastUsedMs = this.#options.clock.monotonicMs();
    const common = snapshotHeaders(snapshot);
    if (method === 'HEAD') {
      return { status: 200, headers: { ...common, 'content-length': String(snapshot.sizeBytes) }, body: nothing() };
    }
    // A range that doesn't say of which file is answered with a whole file: `curl -C -` asks so, and
    // would append the end of a new snapshot to the beginning of an old one. So it stops with an error.
    const isNamed = headers['if-range'] === common['etag'] || (headers['if-match'] ?? '').includes(common['etag']!);
    const range = parseByteRange(isNamed ? headers['range'] : undefined, snapshot.sizeBytes);
    if (range.kind === 'unsatisfiable') return unsatisfiable(snapshot.sizeBytes);

    const fromByte = range.kind === 'part' ? range.fromByte : 0;
    const endByte = range.kind === 'part' ? range.throughByte + 1 : snapshot.sizeBytes;
    const body = await this.#open(file, fromByte, endByte, signal);
    const extent = { 'content-length': String(endByte - fromByte) };
    if (range.kind === 'whole') return { status: 200, headers: { ...common, ...extent }, body };
    const contentRange = `bytes ${fromByte}-${endByte - 1}/${snapshot.sizeBytes}`;
    return { status: 206, headers: { ...common, ...extent, 'content-range': contentRange }, body };
  }

  async #open(file: ServedFile, fromByte: number, endByte: number, signal: AbortSignal | undefined): Promise<SnapshotBody> {
    const { disk, clock, metrics } = this.#options;
    file.opening += 1;
    const opened = await disk.open(file.snapshot.path, { mode: 'read' }).finally(() => {
      file.opening -= 1;
    });
    const body = new SnapshotBody({
      file: opened,
      fromByte,
      endByte,
      clock,
      signal,
      onReleased: (complete) => {
        file.readers.delete(body);
        file.lastUsedMs = clock.monotonicMs();
        if (complete) metrics.snapshotsServed.increment();
      },
    });
    // The peer may have left while the file was being opened.
    if (signal?.aborted !== true) file.readers.add(body);
    return body;
  }

  async #remove(file: ServedFile): Promise<void> {
    // First out of the list: nobody may find it while it goes.
    this.#files = this.#files.filter((each) => each !== file);
    for (const reader of file.readers) await reader.cut();
    await this.#options.disk.remove(file.snapshot.path);
  }

  #sweepLater(): void {
    if (this.#closed || this.#sweepTimer !== undefined || this.#files.length === 0) return;
    const nowMs = this.#options.clock.monotonicMs();
    const nextMs = Math.min(...this.#files.map((file) => usedMs(file) + IDLE_MS_MAX));
    this.#sweepTimer = this.#options.clock.setTimer(Math.max(1, nextMs - nowMs), () => {
      this.#sweepTimer = undefined;
      this.#sweep().catch((error: unknown) => {
        this.#options.logger.warn('an idle snapshot could not be removed', { error: messageOf(error) });
      });
    });
  }

  async #sweep(): Promise<void> {
    const idleSinceMs = this.#options.clock.monotonicMs() - IDLE_MS_MAX;
    try {
      for (const file of this.#files.filter((each) => usedMs(each) <= idleSinceMs)) await this.#remove(file);
    } finally {
      this.#sweepLater();
    }
  }
}

function usedMs(file: ServedFile): number {
  return Math.max(file.lastUsedMs, ...[...file.readers].map((reader) => reader.lastPulledMs));
}

function isOf(snapshot: SnapshotFile, store: Store): boolean {
  const { lsn, chain } = store.applied;
  return snapshot.lsn === lsn && snapshot.chain === chain;
}

async function exportTo(store: Store, path: string): Promise<SnapshotFile> {
  try {
    return await store.exportSnapshot(path);
  } catch (error) {
    if (error instanceof DiskFullError) throw new ShiplogError('disk-full', `no space for a snapshot: ${error.message}`, { cause: error });
    if (isShiplogError(error)) throw error;
    throw new ShiplogError('store-failed', `no snapshot could be made: ${messageOf(error)}`, { cause: error });
  }
}

function unsatisfiable(sizeBytes: number): TransportResponse {
  const error = new ShiplogError('range-not-satisfiable', `the range lies outside the file, which has ${sizeBytes} bytes`);
  const content = Buffer.from(`${problemText(error)}\n`);
  return {
    status: error.status,
    headers: {
      'content-type': 'application/problem+json',
      'content-length': String(content.length),
      'content-range': `bytes */${sizeBytes}`,
    },
    body: once(content),
  };
}

async function* once(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content;
}

async function* nothing(): AsyncGenerator<Uint8Array> {}
