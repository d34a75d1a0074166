import { type Socket, connect } from 'node:net';
import { messageOf } from '../base/errors.ts';
import type { Clock } from './clock.ts';
import type { RawConnect, RawConnection, RawHandlers } from './raw-connection.ts';
import { TransportError } from './transport.ts';

const CONNECT_TIMEOUT_MS = 3_000;
/** Many small answers, or a piece of a large one. */
const READ_BUFFER_BYTES = 16 * 1024;

export function realRawConnect(clock: Clock): RawConnect {
  return async (baseUrl, handlers) => {
    const connection = new RealRawConnection(baseUrl, handlers);
    const timer = clock.setTimer(CONNECT_TIMEOUT_MS, () => connection.giveUp(new Error(`no connection within ${CONNECT_TIMEOUT_MS} ms`)));
    try {
      await connection.opened;
    } catch (error) {
      throw new TransportError(`${baseUrl}: ${messageOf(error)}`, { cause: error, mayHaveArrived: false });
    } finally {
      timer.cancel();
    }
    return connection;
  };
}

class RealRawConnection implements RawConnection {
  readonly opened: Promise<void>;
  readonly #socket: Socket;
  readonly #opening = Promise.withResolvers<void>();
  #isClosed = false;

  constructor(baseUrl: string, { onBytes, onLost }: RawHandlers) {
    const url = new URL(baseUrl);
    this.opened = this.#opening.promise;
    this.#socket = connect({
      // A URL writes an IPv6 address in brackets, a socket wants it without.
      host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: url.port === '' ? 80 : Number(url.port),
      noDelay: true,
      // One buffer for all reads: a new one for each would be most of the garbage.
      onread: {
        buffer: Buffer.allocUnsafeSlow(READ_BUFFER_BYTES),
        callback: (byteCount, buffer) => {
          if (!this.#isClosed) onBytes((buffer as Buffer).subarray(0, byteCount));
          return true;
        },
      },
    });
    let failure: Error | undefined;
    this.#socket.once('connect', () => this.#opening.resolve());
    this.#socket.on('error', (error) => (failure = error));
    this.#socket.once('close', () => {
      const reason = failure ?? new Error('the connection was closed');
      this.#opening.reject(reason);
      if (!this.#isClosed) onLost(reason);
    });
    // Whoever closes before there is a connection does not wait for it.
    this.opened.catch(() => {});
  }

  write(buffers: readonly Uint8Array[]): void {
    const socket = this.#socket;
    if (buffers.length === 1) {
      socket.write(buffers[0]!);
      return;
    }
    socket.cork();
    for (const buffer of buffers) socket.write(buffer);
    socket.uncork();
  }

  close(): void {
    this.#isClosed = true;
    this.#socket.destroy();
  }

  giveUp(reason: Error): void {
    this.#opening.reject(reason);
    this.close();
  }
}
