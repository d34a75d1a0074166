/** One keep-alive connection, one request at a time, at the least cost for the generator's core. */
import { once } from 'node:events';
import { type Socket, connect } from 'node:net';

export interface RawAnswer {
  readonly status: number;
  readonly body: string;
}

export class RawConnection {
  readonly #socket: Socket;
  readonly #host: string;
  #received = '';
  #waiting: { resolve: (answer: RawAnswer) => void; reject: (error: Error) => void } | undefined;

  static async open(url: string): Promise<RawConnection> {
    const { hostname, port, host } = new URL(url);
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    await once(socket, 'connect');
    return new RawConnection(socket, host);
  }

  private constructor(socket: Socket, host: string) {
    this.#socket = socket;
    this.#host = host;
    // Everything here is ASCII, so characters are bytes.
    socket.setEncoding('latin1');
    socket.on('data', (chunk) => this.#take(String(chunk)));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error(`${host} closed the connection`)));
  }

  get(path: string): Promise<RawAnswer> {
    return this.#send(`GET ${path} HTTP/1.1\r\nHost: ${this.#host}\r\n\r\n`);
  }

  /** @throws Error unless the answer is 200. */
  async set(key: string, value: string): Promise<void> {
    const { status, body } = await this.#send(
      `POST /set/${key} HTTP/1.1\r\nHost: ${this.#host}\r\nContent-Type: text/plain\r\nContent-Length: ${value.length}\r\n\r\n${value}`,
    );
    if (status !== 200) throw new Error(`POST /set/${key} answered ${status} ${body}`);
  }

  close(): void {
    this.#socket.removeAllListeners('close').destroy();
  }

  #send(request: string): Promise<RawAnswer> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#socket.write(request);
    });
  }

  #take(chunk: string): void {
    this.#received += chunk;
    const headEnd = this.#received.indexOf('\r\n\r\n');
    if (headEnd < 0) return;
    const head = this.#received.slice(0, headEnd);
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? Number.NaN);
    if (Number.isNaN(length)) return this.#fail(new Error(`an answer without Content-Length:\n${head}`));
    const bodyStart = headEnd + 4;
    if (this.#received.length < bodyStart + length) return;
    const body = this.#received.slice(bodyStart, bodyStart + length);
    this.#received = this.#received.slice(bodyStart + length);
    const { resolve } = this.#waiting!;
    this.#waiting = undefined;
    resolve({ status: Number(head.slice(9, 12)), body });
  }

  #fail(error: Error): void {
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }
}
