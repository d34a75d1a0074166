import type { ServerResponse } from 'node:http';

import { KIB } from '../base/limits.ts';
import type { Clock, Timer } from '../env/clock.ts';
import { ResponseWriter } from './response-writer.ts';

const SLICE_BYTES = 256 * KIB;

/** Writes a long answer as fast as its client takes it, and drops a client that takes nothing for a while. */
export class PacedWriter {
  readonly #res: ServerResponse;
  readonly #writer: ResponseWriter;
  readonly #clock: Clock;
  readonly #stallMs: number;

  constructor(res: ServerResponse, { clock, stallMs }: { readonly clock: Clock; readonly stallMs: number }) {
    this.#res = res;
    this.#writer = new ResponseWriter(res);
    this.#clock = clock;
    this.#stallMs = stallMs;
  }

  /** Resolves to false once the connection is gone. */
  async write(bytes: Uint8Array): Promise<boolean> {
    for (let offset = 0; offset < bytes.length; offset += SLICE_BYTES) {
      const timer: Timer = this.#clock.setTimer(this.#stallMs, () => this.#res.destroy());
      const isOpen = await this.#writer.write(bytes.subarray(offset, offset + SLICE_BYTES));
      timer.cancel();
      if (!isOpen) return false;
    }
    return !this.#res.destroyed;
  }
}
