/**
 * Fetches a snapshot from a peer and ends with a file that is whole, verified and durable.
 *
 * A cut is nothing special: what is held stays, and the next request asks for the rest of that same
 * file. Where the peer no longer has it the answer is another file, at a later position; then
 * everything starts over, and so must whoever stores the stream that follows the snapshot: `onBegin`
 * is called again.
 */
import { createHash, type Hash } from 'node:crypto';
import { dirname } from 'node:path';
import { ERROR_KINDS, messageOf, ShiplogError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { errorFromProblem } from '../base/problem.ts';
import { type Clock, sleep } from '../env/clock.ts';
import { type Disk, type DiskFile, writeFully } from '../env/disk.ts';
import type { Random } from '../env/random.ts';
import { readBody, type Transport, type TransportResponse } from '../env/transport.ts';
import type { Logger } from '../observe/logger.ts';
import { type Progress, ProgressMeter } from './progress-meter.ts';
import { etagOf, readSnapshotExtent, readSnapshotHeaders, type SnapshotDescription } from './snapshot-headers.ts';

/** How long the peer may wait with its answer while it makes the file; well below the bound on silence. */
const PREFERRED_WAIT_S = 5;
const ATTEMPTS_WITHOUT_PROGRESS_MAX = 10;
const BACKOFF_MS = 100;
const BACKOFF_MS_MAX = 5_000;

export interface SnapshotDownloadOptions {
  readonly transport: Transport;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly baseUrl: string;
  /** Sent with every request, names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Where the file ends up; a file that is there is replaced. Until it is whole it lies at `<path>.part`. */
  readonly path: string;
  /** Called before the first byte of a file is stored, and again for another file. What it throws ends the download. */
  readonly onBegin?: (description: SnapshotDescription) => void | Promise<void>;
  /** Attempts in a row that may bring no byte before it gives up. */
  readonly attemptsWithoutProgressMax?: number;
  readonly signal?: AbortSignal;
}

/** The file that is being fetched, and what is held of it. */
interface PartialFile {
  readonly description: SnapshotDescription;
  readonly file: DiskFile;
  /** Over exactly the bytes that are held. */
  hash: Hash;
  heldBytes: number;
  meter: ProgressMeter;
}

export class SnapshotDownload {
  readonly #options: SnapshotDownloadOptions;
  readonly #partPath: string;
  #partial: PartialFile | undefined;

  constructor(options: SnapshotDownloadOptions) {
    this.#options = options;
    this.#partPath = `${options.path}.part`;
  }

  get progress(): Progress {
    return this.#partial?.meter.progress ?? { doneBytes: 0, totalBytes: null, bytesPerS: 0, etaS: null };
  }

  /**
   * Resolves once the file is at `path`, synced, with the announced size and SHA-256.
   * @throws ShiplogError: the peer's refusal; `peer-protocol` where bytes arrived damaged; `timeout`
   * after too many attempts; `disk-full`. DiskFullError. Whatever `onBegin` or the signal throws.
   */
  async run(): Promise<SnapshotDescription> {
    const { disk, path } = this.#options;
    await disk.remove(this.#partPath);
    try {
      const partial = await this.#fetchAll();
      verify(partial, this.#options.baseUrl);
      await partial.file.sync();
      await partial.file.close();
      await disk.rename(this.#partPath, path);
      await disk.syncDirectory(dirname(path));
      return partial.description;
    } catch (error) {
      await this.#discard();
      throw error;
    }
  }

  async #fetchAll(): Promise<PartialFile> {
    const { clock, random, logger, baseUrl, signal } = this.#options;
    const attemptsMax = this.#options.attemptsWithoutProgressMax ?? ATTEMPTS_WITHOUT_PROGRESS_MAX;
    let fruitless = 0;
    for (;;) {
      const before = this.#partial?.heldBytes ?? 0;
      const outcome = await this.#attempt();
      signal?.throwIfAborted();
      if (outcome.kind === 'complete') return outcome.partial;
      if (outcome.kind === 'wait') {
        fruitless = 0;
      } else {
        fruitless = (this.#partial?.heldBytes ?? 0) > before ? 0 : fruitless + 1;
        if (fruitless >= attemptsMax) {
          throw new ShiplogError('timeout', `no snapshot from ${baseUrl}: ${attemptsMax} attempts in a row brought nothing, the last: ${outcome.reason}`);
        }
        logger.info('the snapshot was cut; going on', { peer: baseUrl, heldBytes: this.#partial?.heldBytes ?? 0, reason: outcome.reason });
      }
      const backoffMs = Math.min(BACKOFF_MS * 2 ** fruitless, BACKOFF_MS_MAX);
      await sleep(clock, backoffMs * (0.5 + random.uniform()), signal);
    }
  }

  /** One request. What can be tried again is an outcome, everything else is thrown. */
  async #attempt(): Promise<AttemptOutcome> {
    const { signal } = this.#options;
    const exchange = new AbortController();
    const onAbort = (): void => exchange.abort(signal!.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      signal?.throwIfAborted();
      return await this.#exchange(exchange.signal);
    } catch (error) {
      if (error instanceof Cut) return { kind: 'cut', reason: error.message };
      throw error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
      // A peer that was left in the middle must not go on sending.
      exchange.abort(new Error('the exchange is over'));
    }
  }

  async #exchange(signal: AbortSignal): Promise<AttemptOutcome> {
    const { transport, baseUrl, headers } = this.#options;
    const response = await this.#heard(
      transport.request(baseUrl, {
        method: 'GET',
        target: '/snapshot',
        headers: { ...headers, prefer: `wait=${PREFERRED_WAIT_S}`, ...this.#rangeHeaders() },
        signal,
      }),
      signal,
    );
    switch (response.status) {
      case 200:
      case 206:
        break;
      case 202:
        await this.#heard(readBody(response.body, LIMITS.controlPayloadBytesMax), signal);
        return { kind: 'wait' };
      default:
        return await this.#refused(response, signal);
    }
    const partial = await this.#accept(response);
    await this.#store(partial, response, signal);
    return { kind: 'complete', partial };
  }

  #rangeHeaders(): Record<string, string> {
    const partial = this.#partial;
    if (partial === undefined || partial.heldBytes === 0) return {};
    return { 'range': `bytes=${partial.heldBytes}-`, 'if-range': etagOf(partial.description) };
  }

  async #refused(response: TransportResponse, signal: AbortSignal): Promise<AttemptOutcome> {
    const body = await this.#heard(readBody(response.body, LIMITS.controlPayloadBytesMax), signal);
    const error = errorFromProblem(response.status, body);
    // A proxy's 502 is no problem document, but passes too. What needs other bytes doesn't.
    const passes = response.status >= 500 && (error.code === 'peer-protocol' || ERROR_KINDS[error.code].retryable);
    if (passes && error.code !== 'disk-full') return { kind: 'cut', reason: error.message };
    throw error;
  }

  /** Decides by the head of the answer whether it goes on with the file that is held, or begins one. */
  async #accept(response: TransportResponse): Promise<PartialFile> {
    const { fromByte, sizeBytes } = readSnapshotExtent(response.status, response.headers);
    const description = readSnapshotHeaders(response.headers, sizeBytes);
    const held = this.#partial;
    const isSame = held !== undefined && held.description.sha256 === description.sha256;
    if (isSame && fromByte === held.heldBytes && sizeBytes === held.description.sizeBytes) return held;
    if (fromByte !== 0) {
      throw new ShiplogError(
        'peer-protocol',
        `the peer sends bytes from ${fromByte} of ${etagOf(description)}, expected from ${held?.heldBytes ?? 0} of ${held === undefined ? 'any' : etagOf(held.description)}`,
      );
    }
    return await this.#begin(description, isSame);
  }

  async #begin(description: SnapshotDescription, isSame: boolean): Promise<PartialFile> {
    const { disk, clock, logger, baseUrl, onBegin } = this.#options;
    const previous = this.#partial;
    if (previous !== undefined) {
      logger.info('the snapshot starts over', { peer: baseUrl, lsn: description.lsn, heldBytes: previous.heldBytes });
    }
    const file = previous?.file ?? (await disk.open(this.#partPath, { mode: 'create' }));
    await file.truncate(0);
    const meter = new ProgressMeter(clock, description.sizeBytes);
    const partial: PartialFile = { description, file, hash: createHash('sha256'), heldBytes: 0, meter };
    this.#partial = partial;
    const freeBytes = await disk.freeBytes(dirname(this.#partPath));
    if (freeBytes < description.sizeBytes) {
      throw new ShiplogError('disk-full', `the snapshot has ${description.sizeBytes} bytes, only ${freeBytes} are free for ${this.#partPath}`);
    }
    if (!isSame) await onBegin?.(description);
    return partial;
  }

  async #store(partial: PartialFile, response: TransportResponse, signal: AbortSignal): Promise<void> {
    const { sizeBytes } = partial.description;
    const chunks = response.body[Symbol.asyncIterator]();
    while (partial.heldBytes < sizeBytes) {
      const { done, value } = await this.#heard(chunks.next(), signal);
      if (done === true) throw new Cut(`the body ended at byte ${partial.heldBytes} of ${sizeBytes}`);
      if (partial.heldBytes + value.length > sizeBytes) {
        throw new ShiplogError('peer-protocol', `the peer sends more than the ${sizeBytes} bytes it announced`);
      }
      await writeFully(partial.file, partial.heldBytes, value);
      // Only now it is held: a write that failed may be made again, the hash may not.
      partial.hash.update(value);
      partial.heldBytes += value.length;
      partial.meter.add(value.length);
    }
    // All is here. Asked once more, a connection that ended well goes back to where it can be used again.
    await this.#heard(chunks.next(), signal).catch(() => {});
  }

  /** Waits for something from the peer. Its silence and whatever breaks on the way are cuts. */
  #heard<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => finish(() => reject(signal.reason as Error));
      const timer = this.#options.clock.setTimer(LIMITS.peerSilentMs, () => {
        finish(() => reject(new Cut(`the peer said nothing for ${LIMITS.peerSilentMs} ms`)));
      });
      const finish = (settle: () => void): void => {
        timer.cancel();
        signal.removeEventListener('abort', onAbort);
        settle();
      };
      signal.addEventListener('abort', onAbort, { once: true });
      promise.then(
        (value) => finish(() => resolve(value)),
        (error: unknown) => finish(() => reject(new Cut(messageOf(error)))),
      );
    });
  }

  async #discard(): Promise<void> {
    try {
      await this.#partial?.file.close();
      await this.#options.disk.remove(this.#partPath);
    } catch (error) {
      // The next run removes it. What led here is the error that matters.
      this.#options.logger.warn('a partial snapshot could not be removed', { error: messageOf(error) });
    }
  }
}

type AttemptOutcome =
  | { readonly kind: 'complete'; readonly partial: PartialFile }
  /** The peer is still making the file. */
  | { readonly kind: 'wait' }
  | { readonly kind: 'cut'; readonly reason: string };

/** The exchange broke; what is held is good. */
class Cut extends Error {}

function verify(partial: PartialFile, baseUrl: string): void {
  const got = partial.hash.digest('hex');
  const { sha256 } = partial.description;
  if (got !== sha256) {
    throw new ShiplogError('peer-protocol', `the snapshot from ${baseUrl} arrived damaged: its SHA-256 is ${got}, announced ${sha256}`);
  }
}
