/**
 * Requests between nodes over node:http.
 *
 * Both bodies flow at the same time and either may be endless: the log arrives in a response that
 * never ends, confirmations leave in a request that never ends. So a response is handed over as soon
 * as its head is here, and the request goes on behind it.
 *
 * No time-out but the one for connecting: whoever waits knows better how long, and has `signal`.
 */
import http from 'node:http';
import { assert, messageOf } from '../base/errors.ts';
import type { Clock, Timer } from './clock.ts';
import { type Transport, TransportError, type TransportRequest, type TransportResponse } from './transport.ts';

/** Connections kept for the next request, per peer. */
const IDLE_CONNECTIONS_MAX = 16;

export interface RealTransportOptions {
  readonly clock: Clock;
  /** Name look-up and TCP handshake together. */
  readonly connectTimeoutMs: number;
}

/** A response holds its connection until its body is read to the end or left, or the signal aborts. */
export class RealTransport implements Transport {
  readonly #clock: Clock;
  readonly #connectTimeoutMs: number;
  readonly #agent = new http.Agent({
    keepAlive: true,
    // Endless streams hold their connections for ever: any limit per peer would let them starve the rest.
    maxSockets: Infinity,
    maxFreeSockets: IDLE_CONNECTIONS_MAX,
  });
  readonly #exchanges = new Set<Exchange>();
  #isClosed = false;

  constructor(options: RealTransportOptions) {
    this.#clock = options.clock;
    this.#connectTimeoutMs = options.connectTimeoutMs;
  }

  async request(baseUrl: string, request: TransportRequest): Promise<TransportResponse> {
    const label = `${request.method} ${baseUrl}${request.target.split('?', 1)[0]}`;
    if (this.#isClosed) throw notSent(label, new Error('the transport is closed'));
    if (request.signal?.aborted === true) throw notSent(label, request.signal.reason);

    let outgoing: http.ClientRequest;
    try {
      outgoing = http.request({
        ...addressOf(baseUrl, request.target),
        method: request.method,
        headers: headersOf(request),
        agent: this.#agent,
      });
    } catch (error) {
      throw notSent(label, error);
    }

    const exchange = new Exchange(label, outgoing, request);
    this.#exchanges.add(exchange);
    outgoing.once('close', () => this.#exchanges.delete(exchange));
    exchange.limitConnecting(this.#clock, this.#connectTimeoutMs);
    return await exchange.response;
  }

  /** Breaks off what is under way; resolves when all connections are gone. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#exchanges].map((exchange) => exchange.breakOff(new Error('the transport is closed'))));
    this.#agent.destroy();
  }
}

/** One request and its response, from the first byte to the last of both. */
class Exchange {
  /** The head of the answer. */
  readonly response: Promise<TransportResponse>;

  readonly #label: string;
  readonly #outgoing: http.ClientRequest;
  readonly #incoming = Promise.withResolvers<TransportResponse>();
  #isConnected = false;
  #isRequestComplete = false;
  #connectTimer: Timer | undefined;
  /** Why this side broke it off: says more than the `socket hang up` that follows. */
  #brokenOffBy: unknown;

  constructor(label: string, outgoing: http.ClientRequest, request: TransportRequest) {
    this.#label = label;
    this.#outgoing = outgoing;
    this.response = this.#incoming.promise;

    outgoing.on('socket', (socket) => {
      if (socket.connecting) socket.once('connect', () => this.#connected());
      else this.#connected();
    });
    outgoing.on('response', (message) => this.#incoming.resolve(this.#accept(message)));
    // After the head has arrived this changes nothing; the body reports its own end.
    outgoing.on('error', (error) => this.#incoming.reject(this.describe(error)));
    outgoing.once('close', () => {
      this.#connectTimer?.cancel();
      this.#incoming.reject(this.describe(new Error('the connection was closed before the answer')));
    });

    const { signal } = request;
    if (signal !== undefined) {
      const onAbort = (): void => void this.breakOff(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      outgoing.once('close', () => signal.removeEventListener('abort', onAbort));
    }
    this.#send(request.body);
  }

  limitConnecting(clock: Clock, connectTimeoutMs: number): void {
    if (this.#isConnected) return;
    this.#connectTimer = clock.setTimer(connectTimeoutMs, () => {
      void this.breakOff(new Error(`no connection within ${connectTimeoutMs} ms`));
    });
  }

  /** Destroys the connection; resolves when it is gone. */
  breakOff(reason: unknown): Promise<void> {
    this.#brokenOffBy ??= reason;
    return new Promise((resolve) => {
      if (this.#outgoing.closed) {
        resolve();
        return;
      }
      this.#outgoing.once('close', resolve);
      // Where the response happens to end in this same turn, Node takes its own listener off the socket
      // before the error comes, which would then end the process.
      this.#outgoing.socket?.on('error', () => {});
      this.#outgoing.destroy(this.describe(reason));
    });
  }

  describe(error: unknown): TransportError {
    const cause = this.#brokenOffBy ?? error;
    // Node keeps the whole request back until there is a connection.
    return new TransportError(`${this.#label}: ${reasonOf(cause)}`, { cause, mayHaveArrived: this.#isConnected });
  }

  #connected(): void {
    this.#isConnected = true;
    this.#connectTimer?.cancel();
  }

  #accept(message: http.IncomingMessage): TransportResponse {
    message.once('end', () => {
      // The peer has said all it had to say. To go on sending would hold the connection for ever.
      if (!this.#isRequestComplete) void this.breakOff(new Error('the peer answered without reading the whole request'));
    });
    return {
      status: message.statusCode!,
      headers: Object.fromEntries(Object.entries(message.headers).map(([name, value]) => [name, String(value)])),
      body: new ResponseBody(message, this),
    };
  }

  #send(body: TransportRequest['body']): void {
    if (body === undefined || body instanceof Uint8Array) {
      this.#isRequestComplete = true;
      this.#outgoing.end(body);
    } else {
      // The peer shall see the head now, not together with a first chunk that may be minutes away.
      this.#outgoing.flushHeaders();
      void this.#pump(body[Symbol.asyncIterator]());
    }
  }

  /** Never rejects: a source that fails breaks the exchange off. */
  async #pump(source: AsyncIterator<Uint8Array>): Promise<void> {
    const outgoing = this.#outgoing;
    // When the exchange ends first, the source may be in the middle of a wait without end: tell it,
    // but don't wait for it.
    outgoing.once('close', () => {
      if (!this.#isRequestComplete) source.return?.().catch(() => {});
    });
    try {
      while (!outgoing.destroyed) {
        const { done, value } = await source.next();
        if (outgoing.destroyed) return;
        if (done === true) {
          this.#isRequestComplete = true;
          outgoing.end();
          return;
        }
        if (!outgoing.write(value)) await this.#drained();
      }
    } catch (error) {
      await this.breakOff(error);
    }
  }

  #drained(): Promise<void> {
    const outgoing = this.#outgoing;
    return new Promise((resolve) => {
      const done = (): void => {
        outgoing.off('drain', done);
        outgoing.off('close', done);
        resolve();
      };
      outgoing.once('drain', done);
      outgoing.once('close', done);
    });
  }
}

/** Pulls from the connection only what is asked for, so a slow reader slows the peer down. */
class ResponseBody implements AsyncIterable<Uint8Array> {
  readonly #message: http.IncomingMessage;
  readonly #exchange: Exchange;
  #isTaken = false;

  constructor(message: http.IncomingMessage, exchange: Exchange) {
    this.#message = message;
    this.#exchange = exchange;
    // A break between two reads is reported by the next read; unheard, it would end the process.
    message.on('error', () => {});
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    assert(!this.#isTaken, 'a response body can be read once');
    this.#isTaken = true;
    const chunks: AsyncIterator<Uint8Array> = this.#message.iterator({ destroyOnReturn: true });
    return {
      next: async () => {
        try {
          return await chunks.next();
        } catch (error) {
          throw this.#exchange.describe(error);
        }
      },
      return: async () => {
        // A body that was read to its end leaves its connection to the next request.
        if (!this.#message.readableEnded) await this.#exchange.breakOff(new Error('the reader left the body early'));
        return { done: true, value: undefined };
      },
    };
  }
}

/** @throws Error where the URL is not one this transport can reach. */
function addressOf(baseUrl: string, target: string): http.RequestOptions {
  assert(target.startsWith('/'), `target ${target} does not begin with /`);
  const url = URL.parse(baseUrl);
  if (url === null) throw new Error(`${JSON.stringify(baseUrl)} is not a URL; expected one like http://host:4455`);
  if (url.protocol !== 'http:') {
    throw new Error(`${url.protocol}// is not supported; expected http:// (for TLS, put a tunnel or a proxy between the nodes)`);
  }
  return {
    // A URL writes an IPv6 address in brackets, a socket wants it without.
    hostname: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? 80 : Number(url.port),
    // As it came: URL would normalise a key that contains `..` or a bare `%`.
    path: url.pathname.replace(/\/$/, '') + target,
  };
}

/** A body whose length nobody named is chunked, also where Node would not expect one (GET). */
function headersOf({ body, headers }: TransportRequest): Record<string, string> {
  if (body === undefined || 'content-length' in headers) return headers;
  if (body instanceof Uint8Array) return { ...headers, 'content-length': String(body.length) };
  return { ...headers, 'transfer-encoding': 'chunked' };
}

function notSent(label: string, cause: unknown): TransportError {
  return new TransportError(`${label}: ${reasonOf(cause)}`, { cause, mayHaveArrived: false });
}

function reasonOf(cause: unknown): string {
  // Several addresses of one name, and none of them answered: the message of the sum is empty.
  if (cause instanceof AggregateError && cause.message === '') return cause.errors.map(messageOf).join('; ');
  return messageOf(cause);
}
