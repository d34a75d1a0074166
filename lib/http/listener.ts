/**
 * The one place that listens. Bounds what a connection may do before there is a request to judge:
 * how long a head may take and be, how many connections there are, and what is answered to bytes that
 * are no HTTP.
 */
import { type IncomingMessage, type Server, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

import { ShiplogError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { Clock } from '../env/clock.ts';
import type { Logger } from '../observe/logger.ts';
import type { RequestCounts } from '../observe/metrics.ts';
import { FastPath, type FastPathOptions } from './fast/fast-path.ts';
import type { OpenStreams } from './open-streams.ts';
import { problemAsHttp, problemOf } from './problem.ts';

export interface ListenerOptions {
  readonly host: string;
  /** 0 = any free one. */
  readonly port: number;
  /** `app.callback()`; answers every request itself, failures included. */
  readonly handler: (req: IncomingMessage, res: ServerResponse) => Promise<void>;
  readonly streams: OpenStreams;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits?: Partial<ListenerLimits>;
  /** Default: every request goes to the handler. */
  readonly fast?: FastPathOptions;
}

export interface ListenerLimits {
  readonly connectionsMax: number;
  /** Requests that wait for their answer, streams included. */
  readonly waitingRequestsMax: number;
  readonly headBytesMax: number;
  readonly headersTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
}

export interface CloseOptions {
  /** After this, connections are cut. */
  readonly graceMs: number;
  /**
   * Called once when nothing but streams is in flight: the place to end them properly. Whatever is
   * still open then hears it by its signal.
   */
  readonly endStreams?: () => void;
}

export class HttpListener {
  readonly #server: Server;
  readonly #options: ListenerOptions;
  readonly #limits: ListenerLimits;
  readonly #inFlight = new Set<ServerResponse>();
  readonly #broken = new WeakSet<Socket>();
  readonly #fast: FastPath | undefined;
  #handledCount = 0;
  #closing = false;
  #onProgress: () => void = () => {};

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#server = createServer({
      insecureHTTPParser: false,
      maxHeaderSize: this.#limits.headBytesMax,
      headersTimeout: this.#limits.headersTimeoutMs,
      // Bodies have bounds of their own, by route; a stream may take for ever.
      requestTimeout: 0,
      keepAliveTimeout: this.#limits.keepAliveTimeoutMs,
      connectionsCheckingInterval: Math.min(1_000, this.#limits.headersTimeoutMs),
      // Judged by the application, which answers with a problem document.
      requireHostHeader: false,
      noDelay: true,
    });
    this.#server.maxConnections = this.#limits.connectionsMax;
    // Node would write `100 Continue` by itself; here it is written when the body is really wanted.
    for (const event of ['request', 'checkContinue', 'checkExpectation'] as const) {
      this.#server.on(event, (req: IncomingMessage, res: ServerResponse) => this.#handle(req, res));
    }
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => this.#refuseGarbage(error, socket));
    if (options.fast !== undefined) this.#fast = this.#putInFront(options.fast);
  }

  /** Requests whose answer is not out yet. */
  get inFlightCount(): number {
    return this.#inFlight.size + (this.#fast?.pendingCount ?? 0);
  }

  /** Since the start. */
  get counts(): RequestCounts {
    return { fastRequests: this.#fast?.requestCount ?? 0, koaRequests: this.#handledCount, handOvers: this.#fast?.handOvers ?? new Map() };
  }

  /** @throws ShiplogError `port-in-use`, or `bad-config` where the address can't be used at all. */
  async listen(): Promise<{ readonly host: string; readonly port: number }> {
    const { host, port } = this.#options;
    await new Promise<void>((resolve, reject) => {
      const onError = (error: NodeJS.ErrnoException): void => reject(listenError(error, host, port));
      this.#server.once('error', onError);
      this.#server.listen({ host, port, backlog: BACKLOG }, () => {
        this.#server.off('error', onError);
        this.#server.on('error', (error) => this.#options.logger.error('the listener reported an error', { error: error.message }));
        resolve();
      });
    });
    const address = this.#server.address() as AddressInfo;
    return { host: address.address, port: address.port };
  }

  /**
   * Stops accepting, finishes what is in flight, then ends the streams; resolves when the last
   * connection is closed. What isn't done within the grace is cut.
   */
  async close({ graceMs, endStreams }: CloseOptions): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    const { clock, streams } = this.#options;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const res of this.#inFlight) lastOfConnection(res);

    this.#fast?.close();

    const cut = clock.setTimer(graceMs, () => this.#cutConnections());
    await this.#until(() => this.#ordinaryCount() === 0);
    endStreams?.();
    streams.end();
    await this.#until(() => this.#inFlight.size === 0);
    cut.cancel();
    // Left are connections without a request: their clients have nothing to lose.
    this.#cutConnections();
    await closed;
  }

  #cutConnections(): void {
    this.#fast?.destroyAll();
    this.#server.closeAllConnections();
  }

  /** Connections still count as those of the server, which also bounds their number. */
  #putInFront(options: FastPathOptions): FastPath {
    const [accept] = this.#server.listeners('connection') as ((this: Server, socket: Socket) => void)[];
    const fast = new FastPath(options, {
      clock: this.#options.clock,
      logger: this.#options.logger,
      limits: this.#limits,
      accept: (socket) => accept!.call(this.#server, socket),
      isFull: () => this.inFlightCount >= this.#limits.waitingRequestsMax,
      onProgress: () => this.#onProgress(),
    });
    this.#server.removeAllListeners('connection').on('connection', (socket: Socket) => fast.take(socket));
    return fast;
  }

  #handle(req: IncomingMessage, res: ServerResponse): void {
    this.#handledCount += 1;
    this.#inFlight.add(res);
    res.once('close', () => {
      this.#inFlight.delete(res);
      this.#onProgress();
    });
    if (this.#closing) lastOfConnection(res);
    if (this.inFlightCount > this.#limits.waitingRequestsMax) {
      const problem = problemOf(new ShiplogError('overloaded', `${this.#limits.waitingRequestsMax} requests are waiting already; try again shortly`));
      res.writeHead(problem.status, { ...problem.headers, 'Content-Length': Buffer.byteLength(problem.body), 'Connection': 'close' }).end(problem.body);
      return;
    }
    void this.#options.handler(req, res);
  }

  /** Answers bytes that are no HTTP, in its turn: an answer must never be taken for that of an earlier request. */
  #refuseGarbage(error: NodeJS.ErrnoException, socket: Socket): void {
    if (this.#broken.has(socket)) return;
    this.#broken.add(socket);
    if (error.code === 'ECONNRESET' || socket.bytesRead === 0) {
      // Gone, or one that connected and never said a word: nothing to answer.
      socket.destroy();
      return;
    }
    if (!socket.writable) {
      // Has its last answer already (see LingeringClose), and time to read it.
      this.#destroySoon(socket);
      return;
    }
    const earlier = [...this.#inFlight].filter((res) => res.req.socket === socket && res.req.complete);
    const answer = (): void => {
      if (!socket.writable || [...this.#inFlight].some((res) => res.req.socket === socket && res.headersSent && !res.writableFinished)) {
        socket.destroy();
        return;
      }
      socket.end(problemAsHttp(garbageError(error, this.#limits)));
      this.#destroySoon(socket);
    };
    let left = earlier.length;
    if (left === 0) answer();
    for (const res of earlier) {
      res.once('finish', () => {
        left -= 1;
        if (left === 0) answer();
      });
    }
  }

  #destroySoon(socket: Socket): void {
    const timer = this.#options.clock.setTimer(GARBAGE_LINGER_MS, () => socket.destroy());
    socket.once('close', () => timer.cancel());
  }

  #ordinaryCount(): number {
    // Each has something to answer: the others end when the listener begins to close.
    let count = this.#fast?.connectionCount ?? 0;
    for (const res of this.#inFlight) if (!this.#options.streams.has(res)) count += 1;
    return count;
  }

  #until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#onProgress = () => {
        if (condition()) resolve();
      };
      this.#onProgress();
    });
  }
}

const DEFAULT_LIMITS: ListenerLimits = {
  connectionsMax: LIMITS.connectionsMax,
  waitingRequestsMax: LIMITS.waitingRequestsMax,
  headBytesMax: LIMITS.requestHeadBytesMax,
  headersTimeoutMs: LIMITS.headersTimeoutMs,
  keepAliveTimeoutMs: LIMITS.keepAliveTimeoutMs,
};

/** Connections that wait to be accepted; the kernel has a bound of its own. With Node's 511, a burst waits for seconds. */
const BACKLOG = 4_096;

/** Long enough for the answer to be read. */
const GARBAGE_LINGER_MS = 1_000;

function lastOfConnection(res: ServerResponse): void {
  if (!res.headersSent) res.setHeader('Connection', 'close');
}

function garbageError(error: NodeJS.ErrnoException, limits: ListenerLimits): ShiplogError {
  switch (error.code) {
    case 'HPE_HEADER_OVERFLOW':
      return new ShiplogError('head-too-large', `the request line and headers take more than ${limits.headBytesMax} bytes together`);
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new ShiplogError('head-timeout', `the head of the request was not complete after ${limits.headersTimeoutMs} ms`);
    default:
      return new ShiplogError('bad-request', `this is not valid HTTP/1.1: ${(error as { reason?: string }).reason ?? error.message}`);
  }
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number): ShiplogError {
  switch (error.code) {
    case 'EADDRINUSE':
      return new ShiplogError('port-in-use', `port ${port} of ${host} is taken by another process: stop that one, or choose another port`, { cause: error });
    case 'EACCES':
      return new ShiplogError('bad-config', `no permission to listen on port ${port} of ${host}: choose one above 1023`, { cause: error });
    default:
      return new ShiplogError('bad-config', `can't listen on port ${port} of ${host}: ${error.message}; expected an address of this machine (ip addr lists them), or a name of one`, { cause: error });
  }
}
