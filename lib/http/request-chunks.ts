/** A request body, pulled chunk by chunk: while nobody asks, the socket is paused and the client has to wait. */
import type { IncomingMessage } from 'node:http';

import { ShiplogError } from '../base/errors.ts';
import type { Clock } from '../env/clock.ts';
import { ClientGoneError, PROGRESS_BYTES_MIN } from './request-body.ts';

export interface RequestChunksOptions {
  readonly clock: Clock;
  /** While it is waited for, the body has to bring at least `PROGRESS_BYTES_MIN` in such a period. */
  readonly idleMs: number;
}

export class RequestChunks {
  readonly #req: IncomingMessage;
  readonly #options: RequestChunksOptions;
  readonly #queue: Buffer[] = [];
  #hasEnded = false;
  #failure: Error | undefined;
  #wake: () => void = () => {};
  #waitedMs = 0;
  #bytesSince = 0;

  constructor(req: IncomingMessage, options: RequestChunksOptions) {
    this.#req = req;
    this.#options = options;
    req.pause();
    req.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose).on('error', this.#onClose);
  }

  /** Undefined at the end. @throws ClientGoneError, ShiplogError `body-timeout`, or what `stop` was called with. */
  async next(): Promise<Buffer | undefined> {
    while (this.#queue.length === 0 && !this.#hasEnded && this.#failure === undefined) await this.#more();
    const chunk = this.#queue.shift();
    if (chunk !== undefined) return chunk;
    if (this.#failure !== undefined) throw this.#failure;
    return undefined;
  }

  /** Reads no more, and says so to who waits. What the client still sends is somebody else's business. */
  stop(reason: Error): void {
    this.#failure ??= reason;
    this.#queue.length = 0;
    this.#req.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose).off('error', this.#onClose);
    this.#req.pause();
    this.#wake();
  }

  async #more(): Promise<void> {
    const { clock, idleMs } = this.#options;
    const begunMs = clock.monotonicMs();
    const timer = clock.setTimer(Math.max(0, idleMs - this.#waitedMs), () => {
      this.#failure ??= new ShiplogError('body-timeout', `the body brought ${this.#bytesSince} bytes within ${idleMs} ms, expected at least ${PROGRESS_BYTES_MIN} or its end`);
      this.#wake();
    });
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      this.#req.resume();
    });
    timer.cancel();
    this.#waitedMs += clock.monotonicMs() - begunMs;
    if (this.#bytesSince < PROGRESS_BYTES_MIN) return;
    this.#waitedMs = 0;
    this.#bytesSince = 0;
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#queue.push(chunk);
    this.#bytesSince += chunk.length;
    this.#req.pause();
    this.#wake();
  };

  readonly #onEnd = (): void => {
    this.#hasEnded = true;
    this.#wake();
  };

  readonly #onClose = (): void => {
    if (!this.#hasEnded) this.#failure ??= new ClientGoneError();
    this.#wake();
  };
}
