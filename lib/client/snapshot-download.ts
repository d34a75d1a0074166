/**
 * Brings a node's snapshot into a file: `FILE.partial` beside it while it is under way, with the
 * snapshot's ETag in `FILE.partial-etag`, so that also a later run goes on where this one was cut.
 *
 * 1. Ask for what is missing (`Range`), but only of the same snapshot (`If-Range`); another one starts over.
 * 2. Append. After a cut, go on with 1; give up when no byte came ATTEMPTS_WITHOUT_PROGRESS_MAX times in a row.
 * 3. Hash what the disk has; the ETag is the SHA-256 of the whole file.
 * 4. Sync, rename, sync the directory.
 */
import { createHash } from 'node:crypto';
import { dirname } from 'node:path';
import { ShiplogError, messageOf } from '../base/errors.ts';
import { type Clock, sleep } from '../env/clock.ts';
import { type Disk, DiskFullError, type DiskFile, readWhole, writeFully } from '../env/disk.ts';
import { TransportError, type TransportResponse } from '../env/transport.ts';
import { problemOf } from './problem.ts';
import type { ShiplogClient } from './shiplog-client.ts';

export interface SnapshotDownloadOptions {
  readonly client: ShiplogClient;
  readonly clock: Clock;
  readonly disk: Disk;
  /** Where the snapshot goes; must not exist. */
  readonly file: string;
  readonly onProgress?: (progress: SnapshotProgress) => void;
}

export interface SnapshotProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface DownloadedSnapshot {
  readonly file: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  /** The position that the snapshot shows. */
  readonly position: string;
}

const ATTEMPTS_WITHOUT_PROGRESS_MAX = 6;
const RETRY_DELAY_MS = 500;
/** A connection that brings nothing for this long is taken for dead. */
const SILENCE_MS_MAX = 60_000;
const HASH_CHUNK_BYTES = 1024 * 1024;

/** @throws ShiplogError as the node refused; TransportError when it can't be reached any more; the disk's errors. */
export async function downloadSnapshot(options: SnapshotDownloadOptions): Promise<DownloadedSnapshot> {
  const { disk, file } = options;
  if (await disk.exists(file)) {
    throw new ShiplogError('bad-request', `${file} exists already: name another file, or remove it first`);
  }
  const partial = await disk.open(`${file}.partial`, { mode: 'create' });
  try {
    const head = await receive(options, partial);
    const sha256 = await hashOf(partial);
    if (sha256 !== head.sha256) {
      await discard(options);
      throw new ShiplogError('peer-protocol', `the snapshot arrived with SHA-256 ${sha256}, expected ${head.sha256}: it was discarded, try again`);
    }
    await partial.sync();
    await disk.rename(`${file}.partial`, file);
    await disk.remove(etagFileOf(file));
    await disk.syncDirectory(dirname(file));
    return { file, sizeBytes: head.totalBytes, sha256, position: head.position };
  } finally {
    await partial.close();
  }
}

interface SnapshotHead {
  readonly etag: string;
  readonly sha256: string;
  readonly totalBytes: number;
  readonly position: string;
}

async function receive(options: SnapshotDownloadOptions, partial: DiskFile): Promise<SnapshotHead> {
  let attemptsWithoutProgress = 0;
  for (;;) {
    const sizeBefore = await partial.size();
    try {
      return await receiveOnce(options, partial);
    } catch (error) {
      const isWorthAnother = error instanceof TransportError || (error instanceof ShiplogError && error.retryAfterS !== undefined);
      attemptsWithoutProgress = (await partial.size()) > sizeBefore ? 0 : attemptsWithoutProgress + 1;
      if (!isWorthAnother || attemptsWithoutProgress >= ATTEMPTS_WITHOUT_PROGRESS_MAX) throw error;
      const retryAfterMs = error instanceof ShiplogError ? error.retryAfterS! * 1_000 : RETRY_DELAY_MS;
      await sleep(options.clock, retryAfterMs);
    }
  }
}

async function receiveOnce(options: SnapshotDownloadOptions, partial: DiskFile): Promise<SnapshotHead> {
  const { client, clock, disk, file, onProgress } = options;
  const abort = new AbortController();
  const giveUp = (): void => abort.abort(new Error(`nothing came for ${SILENCE_MS_MAX} ms`));
  let silence = clock.setTimer(SILENCE_MS_MAX, giveUp);

  try {
    const knownEtag = await readEtag(disk, file);
    const have = knownEtag === undefined ? 0 : await partial.size();
    const headers = have > 0 ? { range: `bytes=${have}-`, 'if-range': knownEtag! } : {};
    const response = await client.openSnapshot(headers, abort.signal);
    // 416 for a range that begins at the end: all of it is here, if it is the same snapshot.
    if (response.status === 416 && response.headers['content-range'] === `bytes */${have}` && response.headers['etag'] === knownEtag) {
      return readHead(response, have);
    }
    // 416 for anything else: what is here belongs to something that the node no longer has.
    if (response.status === 416) {
      await discard(options);
      throw new TransportError(`${client.url} has another snapshot now`, { mayHaveArrived: true });
    }
    if (response.status !== 200 && response.status !== 206) throw await problemOf(response);

    const head = readHead(response, have);
    let offset = response.status === 206 ? have : 0;
    if (offset === 0) {
      await partial.truncate(0);
      await writeEtag(disk, file, head.etag);
    }
    onProgress?.({ doneBytes: offset, totalBytes: head.totalBytes });
    for await (const chunk of response.body) {
      silence.cancel();
      silence = clock.setTimer(SILENCE_MS_MAX, giveUp);
      if (offset + chunk.length > head.totalBytes) {
        throw new ShiplogError('peer-protocol', `the snapshot has more than the ${head.totalBytes} bytes that ${client.url} announced`);
      }
      await writeFully(partial, offset, chunk);
      offset += chunk.length;
      onProgress?.({ doneBytes: offset, totalBytes: head.totalBytes });
    }
    if (offset < head.totalBytes) {
      throw new TransportError(`the snapshot ended after ${offset} of ${head.totalBytes} bytes`, { mayHaveArrived: true });
    }
    return head;
  } catch (error) {
    if (error instanceof DiskFullError) {
      throw new ShiplogError('disk-full', `${messageOf(error)}; run the same command again when there is space, it goes on from here`, { cause: error });
    }
    throw error;
  } finally {
    silence.cancel();
  }
}

function readHead(response: TransportResponse, have: number): SnapshotHead {
  const { etag, 'content-length': length, 'content-range': range, 'shiplog-position': position } = response.headers;
  const sha256 = /"(?:sha256[:-])?([0-9a-f]{64})"$/.exec(etag ?? '')?.[1];
  const total = response.status === 200 ? length : /\/(\d+)$/.exec(range ?? '')?.[1];
  if (etag === undefined || sha256 === undefined || total === undefined || position === undefined) {
    throw new ShiplogError(
      'peer-protocol',
      `got a snapshot with ETag ${etag ?? 'missing'}, ${total ?? 'no'} bytes and position ${position ?? 'missing'}, expected all three`,
    );
  }
  const start = /^bytes (\d+)-/.exec(range ?? '')?.[1];
  if (response.status === 206 && start !== String(have)) {
    throw new ShiplogError('peer-protocol', `asked for the snapshot from byte ${have}, got ${range ?? 'no Content-Range'}`);
  }
  return { etag, sha256, totalBytes: Number(total), position };
}

function etagFileOf(file: string): string {
  return `${file}.partial-etag`;
}

async function readEtag(disk: Disk, file: string): Promise<string | undefined> {
  if (!(await disk.exists(etagFileOf(file)))) return undefined;
  const etag = (await readWhole(disk, etagFileOf(file))).toString('latin1');
  return /^"[\x21\x23-\x7e]+"$/.test(etag) ? etag : undefined;
}

async function writeEtag(disk: Disk, file: string, etag: string): Promise<void> {
  const etagFile = await disk.open(etagFileOf(file), { mode: 'create' });
  try {
    await etagFile.truncate(0);
    await writeFully(etagFile, 0, Buffer.from(etag, 'latin1'));
  } finally {
    await etagFile.close();
  }
}

/** Without its ETag a partial file is worth nothing: the next attempt starts over. */
async function discard({ disk, file }: SnapshotDownloadOptions): Promise<void> {
  await disk.remove(etagFileOf(file));
}

/** Of what the disk gives back, not of what went in. */
async function hashOf(file: DiskFile): Promise<string> {
  const hash = createHash('sha256');
  const chunk = Buffer.alloc(HASH_CHUNK_BYTES);
  for (let offset = 0; ; ) {
    const count = await file.readAt(offset, chunk);
    if (count === 0) return hash.digest('hex');
    hash.update(chunk.subarray(0, count));
    offset += count;
  }
}
