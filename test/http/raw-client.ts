/** A client that sends exactly the bytes it is told to, and reads answers one by one. */
import { type Socket, connect } from 'node:net';

export interface RawAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export class RawClient {
  readonly socket: Socket;
  #received: Buffer = Buffer.alloc(0);
  #ended = false;
  #wake: () => void = () => {};

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake();
    });
    const onEnd = (): void => {
      this.#ended = true;
      this.#wake();
    };
    socket.on('end', onEnd).on('close', onEnd).on('error', onEnd);
  }

  static async open(port: number): Promise<RawClient> {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new RawClient(socket);
  }

  /** Resolves once the kernel has the bytes; false where the connection broke meanwhile. */
  async send(bytes: string | Buffer): Promise<boolean> {
    if (this.socket.destroyed) return false;
    return await new Promise((resolve) => {
      const onClose = (): void => resolve(false);
      this.socket.once('close', onClose);
      this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes, (error) => {
        this.socket.off('close', onClose);
        resolve(error === null || error === undefined);
      });
    });
  }

  /** The next answer; undefined where the connection ends without one. */
  async answer(options: { readonly bodiless?: boolean } = {}): Promise<RawAnswer | undefined> {
    for (;;) {
      const parsed = this.#parse(options.bodiless ?? false);
      if (parsed !== undefined) return parsed;
      if (this.#ended) return undefined;
      await this.#more();
    }
  }

  /** Resolves once the server has ended its side; with what came before that and was not read as an answer. */
  async ended(): Promise<string> {
    while (!this.#ended) await this.#more();
    return this.#received.toString('latin1');
  }

  close(): void {
    this.socket.destroy();
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #parse(bodiless: boolean): RawAnswer | undefined {
    const end = this.#received.indexOf('\r\n\r\n');
    if (end === -1) return undefined;
    const [statusLine, ...lines] = this.#received.toString('latin1', 0, end).split('\r\n');
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(statusLine!)?.[1]);
    const headers: Record<string, string> = {};
    for (const line of lines) {
      const colon = line.indexOf(':');
      headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    }
    const rest = this.#received.subarray(end + 4);
    if (bodiless || status < 200 || status === 304) return this.#taken({ status, headers, body: '' }, rest);

    const length = Number(headers['content-length'] ?? 0);
    if (rest.length < length) return undefined;
    return this.#taken({ status, headers, body: rest.toString('utf8', 0, length) }, rest.subarray(length));
  }

  #taken(answer: RawAnswer, rest: Buffer): RawAnswer {
    this.#received = rest;
    return answer;
  }
}
