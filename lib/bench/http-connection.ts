/** One keep-alive connection, one request at a time, at the least cost for the core of whoever measures. */
import type { RawConnect, RawConnection } from '../env/raw-connection.ts';

export interface HttpAnswer {
  readonly status: number;
  /** One character a byte, as the body. */
  readonly head: string;
  readonly body: string;
}

export class HttpConnection {
  readonly #url: string;
  readonly #host: string;
  #raw: RawConnection | undefined;
  #received = '';
  #waiting: PromiseWithResolvers<HttpAnswer> | undefined;
  #lost: Error | undefined;

  /** @throws TransportError where there is no connection. */
  static async open(connect: RawConnect, url: string): Promise<HttpConnection> {
    const connection = new HttpConnection(url);
    connection.#raw = await connect(url, {
      onBytes: (bytes) => connection.#take(bytes.toString('latin1')),
      onLost: (error) => connection.#lose(error),
    });
    return connection;
  }

  private constructor(url: string) {
    this.#url = url;
    this.#host = new URL(url).host;
  }

  /** @throws Error where the connection is gone. */
  get(target: string): Promise<HttpAnswer> {
    return this.#send(`GET ${target} HTTP/1.1\r\nHost: ${this.#host}\r\n\r\n`);
  }

  /** @param value ASCII. @throws Error unless the answer is 200. */
  async set(key: string, value: string): Promise<HttpAnswer> {
    const answer = await this.#send(
      `POST /set/${key} HTTP/1.1\r\nHost: ${this.#host}\r\nContent-Type: text/plain\r\nContent-Length: ${value.length}\r\n\r\n${value}`,
    );
    if (answer.status !== 200) throw new Error(`POST /set/${key} to ${this.#url} answered ${answer.status} ${answer.body}`);
    return answer;
  }

  close(): void {
    this.#raw?.close();
    this.#lose(new Error('the connection was closed here'));
  }

  #send(request: string): Promise<HttpAnswer> {
    if (this.#lost !== undefined) return Promise.reject(this.#lost);
    this.#waiting = Promise.withResolvers();
    this.#raw!.write([Buffer.from(request, 'latin1')]);
    return this.#waiting.promise;
  }

  #take(text: string): void {
    this.#received += text;
    const headEnd = this.#received.indexOf('\r\n\r\n');
    if (headEnd < 0) return;
    const head = this.#received.slice(0, headEnd);
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    if (length === undefined) {
      this.#lose(new Error(`an answer of ${this.#url} without Content-Length`));
      return;
    }
    const bodyStart = headEnd + 4;
    const bodyEnd = bodyStart + Number(length);
    if (this.#received.length < bodyEnd) return;
    const body = this.#received.slice(bodyStart, bodyEnd);
    this.#received = this.#received.slice(bodyEnd);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.resolve({ status: Number(head.slice(9, 12)), head, body });
  }

  #lose(error: Error): void {
    this.#lost ??= error;
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }
}

/** What a header says, undefined where there is none. @param name in lower case. */
export function headerOf({ head }: HttpAnswer, name: string): string | undefined {
  return head
    .split('\r\n')
    .find((line) => line.slice(0, name.length + 1).toLowerCase() === `${name}:`)
    ?.slice(name.length + 1)
    .trim();
}
