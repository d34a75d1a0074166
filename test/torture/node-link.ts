/**
 * The way on which other nodes reach a node: its advertised URL leads here, and from here to its port.
 * Cut, it takes a node away from the others while clients still reach it. What was in here does not arrive, in either direction.
 *
 * Sockets are destroyed, not reset: a reset that meets a shutdown under way fails and leaves the socket open.
 */
import { once } from 'node:events';
import { type Server, type Socket, connect, createServer } from 'node:net';

export class NodeLink {
  readonly #server: Server;
  readonly #port: number;
  readonly #sockets = new Set<Socket>();
  #isCut = false;

  /** From `port` of the loopback to `nodePort`. */
  static async open(port: number, nodePort: number): Promise<NodeLink> {
    const link = new NodeLink(port, nodePort);
    link.#server.listen(port, '127.0.0.1');
    await once(link.#server, 'listening');
    // It lives as long as whoever uses it: no reason of its own for the process to go on.
    link.#server.unref();
    return link;
  }

  private constructor(port: number, nodePort: number) {
    this.#port = port;
    this.#server = createServer((peer) => this.#join(peer, nodePort));
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Ends what is connected, and every new connection before a byte of it passes. */
  cut(): void {
    this.#isCut = true;
    this.#destroyAll();
  }

  restore(): void {
    this.#isCut = false;
  }

  /** Resolves when nothing is open any more. */
  async close(): Promise<void> {
    this.#isCut = true;
    this.#server.close();
    const closed = [...this.#sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve)));
    this.#destroyAll();
    await Promise.all(closed);
  }

  #destroyAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #join(peer: Socket, nodePort: number): void {
    if (this.#isCut) {
      peer.on('error', () => {});
      peer.destroy();
      return;
    }
    const node = connect(nodePort, '127.0.0.1');
    this.#carry(peer, node);
    this.#carry(node, peer);
  }

  #carry(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.setNoDelay(true);
    from.on('error', () => to.destroy());
    from.once('close', () => {
      this.#sockets.delete(from);
      to.destroy();
    });
    from.pipe(to);
  }
}
