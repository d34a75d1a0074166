import type { ServerResponse } from 'node:http';

/**
 * Writes a response in chunks and waits until the kernel has taken each: whatever a client does or
 * fails to do, one chunk is all that waits for it in this process. (`write` returning true only says
 * that Node's own buffer has room.)
 */
export class ResponseWriter {
  readonly #res: ServerResponse;
  #wake: () => void = () => {};

  constructor(res: ServerResponse) {
    this.#res = res;
    res.once('close', () => this.#wake());
  }

  /** Resolves to false once the connection is gone. */
  async write(chunk: Uint8Array): Promise<boolean> {
    if (this.#res.destroyed) return false;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      this.#res.write(chunk, () => resolve());
    });
    return !this.#res.destroyed;
  }
}
