/**
 * Answers that come before the end of the request. To close a socket that still holds unread bytes
 * makes the kernel send a reset, and a reset makes the client's kernel throw away an answer that was
 * not read yet. So: answer, close our half, read on for a while and drop what comes, then close
 * (RFC 9112, 9.6). Whatever else is sent over such a connection is never looked at.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

import type { Clock } from '../env/clock.ts';

export class LingeringClose {
  readonly #clock: Clock;
  readonly #lingerMs: number;
  readonly #sockets = new WeakSet<Socket>();

  constructor(clock: Clock, lingerMs: number) {
    this.#clock = clock;
    this.#lingerMs = lingerMs;
  }

  /** True where the connection had its last answer: a request that still comes must not be carried out. */
  has(socket: Socket): boolean {
    return this.#sockets.has(socket);
  }

  /**
   * Makes the answer to come the connection's last. To be called while the request is still being
   * handed over: the next one may lie in the same bytes, and would be carried out otherwise.
   */
  refuseFurther(socket: Socket): void {
    this.#sockets.add(socket);
  }

  /** Sends `body` with the status and headers that `res` has, and ends the connection. */
  answer(req: IncomingMessage, res: ServerResponse, body: string | Buffer): void {
    const { socket } = req;
    this.#sockets.add(socket);
    res.setHeader('Connection', 'close');
    res.setHeader('Content-Length', Buffer.byteLength(body));
    if (res.socket === null) {
      // Pipelined, and earlier answers are not out yet: Node sends this one in its turn, then closes.
      res.end(body);
      return;
    }
    res.flushHeaders();
    if (body.length > 0) res.write(body);
    socket.end();
    this.#drain(req, socket);
  }

  /**
   * For an answer that is complete: gives the rest of the request a while to end, so that the
   * connection can be used again, then drops it.
   */
  drainAfter(req: IncomingMessage): void {
    const { socket } = req;
    const timer = this.#clock.setTimer(this.#lingerMs, () => socket.destroy());
    req.once('end', () => timer.cancel());
    req.once('close', () => timer.cancel());
    req.resume();
  }

  #drain(req: IncomingMessage, socket: Socket): void {
    const timer = this.#clock.setTimer(this.#lingerMs, () => socket.destroy());
    socket.once('close', () => timer.cancel());
    if (req.readableEnded) socket.destroySoon();
    req.once('end', () => socket.destroySoon());
    req.resume();
  }
}
