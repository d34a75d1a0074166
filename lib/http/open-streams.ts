import type { ServerResponse } from 'node:http';

/**
 * The answers that have no end of their own. The listener finishes everything else before it asks
 * these to end; each hears of that, and of a client that left, by the signal it was given.
 */
export class OpenStreams {
  readonly #open = new Map<ServerResponse, AbortController>();
  #ended = false;

  has(res: ServerResponse): boolean {
    return this.#open.has(res);
  }

  get count(): number {
    return this.#open.size;
  }

  responses(): Iterable<ServerResponse> {
    return this.#open.keys();
  }

  /** Counts `res` as a stream until its connection is done with it. */
  open(res: ServerResponse): AbortSignal {
    const controller = new AbortController();
    this.#open.set(res, controller);
    res.once('close', () => {
      this.#open.delete(res);
      controller.abort(new Error('the connection was closed'));
    });
    if (this.#ended || res.destroyed) controller.abort(new Error('this node is stopping'));
    return controller.signal;
  }

  /** Asks all streams to end, those that are opened later too. */
  end(): void {
    this.#ended = true;
    for (const controller of this.#open.values()) controller.abort(new Error('this node is stopping'));
  }
}
