/**
 * Gives what a socket receives to its only reader without the stream's own bookkeeping, which costs as much
 * as reading and answering a hot request. Node's socket pushes each chunk into its stream; a stream that flows
 * and holds nothing would only emit it at once. Just that case is shortened: whatever is paused, put back or
 * ended goes the usual way and comes as an event.
 */
import type { Socket } from 'node:net';

export class ReadShortcut {
  readonly #socket: Socket;

  constructor(socket: Socket, onData: (chunk: Buffer) => void) {
    this.#socket = socket;
    const push = socket.push.bind(socket);
    socket.push = (chunk: Buffer | null): boolean => {
      if (chunk === null || socket.readableFlowing !== true || socket.readableLength > 0) return push(chunk);
      onData(chunk);
      // As `push` says: go on reading.
      return true;
    };
  }

  /** From here on everything comes as an event. */
  end(): void {
    // What is set on the socket itself hides what it has from its class.
    Reflect.deleteProperty(this.#socket, 'push');
  }
}
