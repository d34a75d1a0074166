/** A TCP proxy on the loopback that breaks what passes: cuts at a byte, flips a bit, on the way back to the client. */
import { once } from 'node:events';
import { type AddressInfo, type Socket, connect, createServer, type Server } from 'node:net';

export interface TcpFault {
  /** Resets both sides after this many bytes towards the client. */
  readonly cutAfterBytes?: number;
  /** Flips a bit of this byte towards the client. */
  readonly flipByte?: number;
}

export class TcpProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Asked for each connection, 0, 1, 2 … */
  faultOf: (index: number) => TcpFault = () => ({});
  connectionCount = 0;

  static async to(port: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(port);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  private constructor(port: number) {
    this.#server = createServer((client) => this.#join(client, connect(port, '127.0.0.1')));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  cutAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.#server.close();
    this.cutAll();
    await once(this.#server, 'close');
  }

  #join(client: Socket, server: Socket): void {
    const { cutAfterBytes = Infinity, flipByte = -1 } = this.faultOf(this.connectionCount);
    this.connectionCount += 1;
    const cut = (): void => {
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', cut);
      socket.once('close', () => {
        this.#sockets.delete(socket);
        cut();
      });
    }
    client.pipe(server);
    let offset = 0;
    server.on('data', (chunk: Buffer) => {
      if (flipByte >= offset && flipByte < offset + chunk.length) chunk[flipByte - offset]! ^= 0x04;
      const passed = chunk.subarray(0, Math.max(0, cutAfterBytes - offset));
      offset += chunk.length;
      const hasRoom = client.write(passed);
      if (offset > cutAfterBytes) cut();
      else if (!hasRoom) {
        server.pause();
        client.once('drain', () => server.resume());
      }
    });
  }
}
