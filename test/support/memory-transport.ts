/**
 * A network in one process: requests go straight to the handlers of other nodes, and break as the
 * test says, at any byte of either direction. Bodies are pulled by their readers, so a reader that
 * stops, stops the writer, as a full socket would.
 *
 *   client ──request──▶ [link] ──▶ handler          link: refuse, cut, stall, flip a bit, delay
 *          ◀──body───── [link] ◀── response
 */
import { ShiplogError, assert } from '../../lib/base/errors.ts';
import { problemText } from '../../lib/base/problem.ts';
import { type Clock, nextTurn, sleep } from '../../lib/env/clock.ts';
import { type Transport, TransportError, type TransportHandler, type TransportRequest, type TransportResponse } from '../../lib/env/transport.ts';

/** What happens to the bytes of one direction of one exchange. Offsets count bytes of the body. */
export interface FlowFault {
  /** Breaks the connection after this many bytes. */
  readonly cutAfterBytes?: number;
  /** Says nothing more after this many bytes, and keeps the connection. */
  readonly stallAfterBytes?: number;
  /** Flips one bit of this byte. */
  readonly flipByte?: number;
  /** Hands on pieces of at most this many bytes. */
  readonly pieceBytes?: number;
  /** Hands on every piece twice, as a proxy does that tries again what had arrived. */
  readonly repeats?: boolean;
}

export interface Fault {
  /** No connection comes about: no byte leaves. */
  readonly refuse?: boolean;
  /** The handler gets the request, the client never gets the head of the answer. */
  readonly loseAnswer?: boolean;
  readonly requestBody?: FlowFault;
  readonly responseBody?: FlowFault;
  readonly delayMs?: number;
  /** The handler gets a request whose body is all there once more, so much later: an echo of something that is long over. */
  readonly repeatAfterMs?: number;
}

/** One request and its answer, as the test sees it. */
export interface ExchangeInfo {
  /** 0, 1, 2 … over the whole network. */
  readonly index: number;
  readonly from: string;
  readonly to: string;
  readonly method: string;
  readonly target: string;
}

export class MemoryNetwork {
  readonly #clock: Clock;
  readonly #handlers = new Map<string, TransportHandler>();
  readonly #live = new Set<Exchange>();
  /** Directions in which nothing passes. */
  readonly #blocked = new Set<string>();
  /** Machines whose process is frozen: nothing gets in or out. */
  readonly #frozen = new Set<string>();
  /** Machines without power: nobody answers there, not even to refuse. */
  readonly #dark = new Set<string>();
  #changed = Promise.withResolvers<undefined>();
  #count = 0;
  /** How long a piece is on its way, asked for each. */
  latencyMs: (from: string, to: string) => number = () => 0;
  /** Asked once for every exchange, before it begins. */
  faultOf: (exchange: ExchangeInfo) => Fault | undefined = () => undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Begins to answer at `url`, as a node whose port has opened. */
  listen(url: string, handler: TransportHandler): void {
    assert(!this.#handlers.has(url), `${url} is taken`);
    this.#handlers.set(url, handler);
  }

  /** Ends answering there; what is under way there and from there is cut, as when a process dies. */
  unlisten(url: string): void {
    this.#handlers.delete(url);
    this.cut((exchange) => exchange.from === url || exchange.to === url);
  }

  /** The client side of the node at `url`. After `end` its requests come to nothing, as after a crash. */
  transportOf(url: string): Transport & { readonly end: () => void } {
    let isOver = false;
    return {
      request: (baseUrl, request) => (isOver ? new Promise(() => {}) : this.#request(url, baseUrl.replace(/\/$/, ''), request)),
      close: () => {
        this.cut((exchange) => exchange.from === url);
        return Promise.resolve();
      },
      end: () => {
        isOver = true;
      },
    };
  }

  /** Exchanges that are under way. */
  get live(): readonly ExchangeInfo[] {
    return [...this.#live].map((exchange) => exchange.info);
  }

  /** Breaks connections that are under way: both sides notice. @returns how many. */
  cut(which: (exchange: ExchangeInfo) => boolean = () => true): number {
    const chosen = [...this.#live].filter((exchange) => which(exchange.info));
    for (const exchange of chosen) exchange.breakOff(new Error('connection reset'));
    return chosen.length;
  }

  /** Nothing passes between the two any more, in neither direction, and nobody is told: a half-open link. */
  partition(url: string, otherUrl: string): void {
    this.partitionOneWay(url, otherUrl);
    this.partitionOneWay(otherUrl, url);
  }

  /** What `from` says does not reach `to` any more; what `to` says still arrives. */
  partitionOneWay(from: string, to: string): void {
    this.#blocked.add(linkOf(from, to));
  }

  /** What was blocked between the two passes again, also what waited. */
  join(url: string, otherUrl: string): void {
    this.#blocked.delete(linkOf(url, otherUrl));
    this.#blocked.delete(linkOf(otherUrl, url));
    this.#wake();
  }

  /** Everything passes again, also what waited. */
  heal(): void {
    this.#blocked.clear();
    this.#wake();
  }

  /** The process at `url` does not run for a while: its connections stay. */
  freeze(url: string): void {
    this.#frozen.add(url);
  }

  thaw(url: string): void {
    this.#frozen.delete(url);
    this.#wake();
  }

  /** The power goes there: connections fall silent, new ones come to nothing, and nobody is told. */
  darken(url: string): void {
    this.#dark.add(url);
    this.#handlers.delete(url);
    for (const exchange of this.#live) if (exchange.info.from === url || exchange.info.to === url) exchange.fallSilent();
  }

  isDark(url: string): boolean {
    return this.#dark.has(url);
  }

  /** The machine is up again: it knows nothing of its old connections, and says so. */
  lighten(url: string): void {
    if (!this.#dark.delete(url)) return;
    this.cut((exchange) => exchange.from === url || exchange.to === url);
    this.#wake();
  }

  #wake(): void {
    this.#changed.resolve(undefined);
    this.#changed = Promise.withResolvers<undefined>();
  }

  async #request(from: string, to: string, request: TransportRequest): Promise<TransportResponse> {
    const info: ExchangeInfo = { index: this.#count, from, to, method: request.method, target: request.target };
    this.#count += 1;
    const fault = this.faultOf(info) ?? {};
    const exchange = new Exchange(info, fault, {
      passage: (isRequest) => (isRequest ? this.#passage(from, to) : this.#passage(to, from)),
      open: (isRequest) => (isRequest ? this.open(from, to) : this.open(to, from)),
    });
    this.#live.add(exchange);
    void exchange.ended.then(() => this.#live.delete(exchange));
    const onAbort = (): void => exchange.leave('client', request.signal!.reason);
    if (request.signal?.aborted === true) onAbort();
    request.signal?.addEventListener('abort', onAbort, { once: true });
    void exchange.ended.then(() => request.signal?.removeEventListener('abort', onAbort));
    try {
      await exchange.whileWhole(this.#connect(fault, from, to));
    } catch (error) {
      exchange.breakOff(error);
      throw new TransportError(`${request.method} ${to}${request.target.split('?', 1)[0]}: ${(error as Error).message}`, { cause: error, mayHaveArrived: false });
    }
    const handler = this.#handlers.get(to)!;
    if (fault.repeatAfterMs !== undefined) this.#repeat(to, request, fault.repeatAfterMs);
    return exchange.carryOut(handler, request);
  }

  #repeat(to: string, request: TransportRequest, afterMs: number): void {
    if (request.body !== undefined && !(request.body instanceof Uint8Array)) return;
    const { signal: _signal, ...rest } = request;
    this.#clock.setTimer(afterMs, () => {
      const handler = this.#handlers.get(to);
      if (handler === undefined || this.#frozen.has(to)) return;
      // Nobody reads the answer, as nobody does whose connection has broken.
      void answer(handler, { ...rest, signal: new AbortController().signal }).then((response) => response.body[Symbol.asyncIterator]().return?.());
    });
  }

  async #connect(fault: Fault, from: string, to: string): Promise<void> {
    await nextTurn(this.#clock);
    // Both have to hear each other before a byte of the request leaves.
    await this.#passage(from, to);
    await this.#passage(to, from);
    if (fault.delayMs !== undefined) await sleep(this.#clock, fault.delayMs);
    while (this.#dark.has(to)) await this.#changed.promise;
    if (fault.refuse === true || !this.#handlers.has(to)) throw new Error('connection refused');
  }

  async #passage(from: string, to: string): Promise<void> {
    const latencyMs = this.latencyMs(from, to);
    if (latencyMs > 0) await sleep(this.#clock, latencyMs);
    await this.open(from, to);
  }

  /** Resolves when a byte of `from` would reach `to`. */
  async open(from: string, to: string): Promise<void> {
    while (this.#blocked.has(linkOf(from, to)) || this.#frozen.has(from) || this.#frozen.has(to)) await this.#changed.promise;
  }
}

/** Answers a request as a listener would: what a handler throws becomes a problem document. */
async function answer(handler: TransportHandler, request: TransportRequest): Promise<TransportResponse> {
  try {
    return await handler(request);
  } catch (error) {
    const known = error instanceof ShiplogError ? error : new ShiplogError('internal', String(error), { cause: error });
    const content = Buffer.from(`${problemText(known)}\n`);
    return { status: known.status, headers: { 'content-type': 'application/problem+json' }, body: once(content) };
  }
}

/** What an exchange asks of the link below it. `isRequest`: in the direction of the request. */
interface Link {
  /** Carries one piece over: resolves when it is there. */
  passage(isRequest: boolean): Promise<void>;
  /** Resolves when something could be carried over. */
  open(isRequest: boolean): Promise<void>;
}

class Exchange {
  readonly info: ExchangeInfo;
  /** Resolves when neither side uses it any more. */
  readonly ended: Promise<unknown>;
  readonly #fault: Fault;
  readonly #link: Link;
  readonly #server = new AbortController();
  readonly #broken = Promise.withResolvers<never>();
  readonly #serverBroken = Promise.withResolvers<never>();
  readonly #clientEnd = Promise.withResolvers<void>();
  readonly #serverEnd = Promise.withResolvers<void>();
  #isBroken = false;
  #isSilent = false;

  constructor(info: ExchangeInfo, fault: Fault, link: Link) {
    this.info = info;
    this.#fault = fault;
    this.#link = link;
    this.ended = Promise.all([this.#clientEnd.promise, this.#serverEnd.promise]);
    this.#broken.promise.catch(() => {});
    this.#serverBroken.promise.catch(() => {});
  }

  /** Nothing passes any more, and nobody is told. */
  fallSilent(): void {
    this.#isSilent = true;
  }

  /** Both sides notice at once. */
  breakOff(reason: unknown): void {
    this.#clientNotices(reason);
    this.#serverNotices(reason);
  }

  /** One side drops the connection. The other side notices when that reaches it: over a dead link, not before it heals. */
  leave(side: 'client' | 'server', reason: unknown): void {
    const [here, there] = [(): void => this.#clientNotices(reason), (): void => this.#serverNotices(reason)];
    const isClient = side === 'client';
    (isClient ? here : there)();
    if (!this.#isSilent) void this.#link.open(isClient).then(isClient ? there : here);
  }

  #clientNotices(reason: unknown): void {
    if (this.#isBroken) return;
    this.#isBroken = true;
    this.#broken.reject(reason instanceof Error ? reason : new Error(String(reason)));
    this.#clientEnd.resolve();
  }

  #serverNotices(reason: unknown): void {
    if (!this.#server.signal.aborted) this.#server.abort(reason);
    this.#serverBroken.reject(reason instanceof Error ? reason : new Error(String(reason)));
    this.#serverEnd.resolve();
  }

  async #pass(isRequest: boolean): Promise<void> {
    await this.#link.passage(isRequest);
    if (this.#isSilent) await new Promise<never>(() => {});
  }

  /** Settles as the promise does, unless the connection breaks first. */
  whileWhole<Value>(promise: Promise<Value>): Promise<Value> {
    promise.catch(() => {});
    return Promise.race([promise, this.#broken.promise]);
  }

  async carryOut(handler: TransportHandler, request: TransportRequest): Promise<TransportResponse> {
    const { body } = request;
    const received: TransportRequest = {
      method: request.method,
      target: request.target,
      headers: request.headers,
      signal: this.#server.signal,
      ...(body === undefined ? {} : { body: body instanceof Uint8Array && this.#fault.requestBody === undefined ? body : this.#flow(true, body instanceof Uint8Array ? once(body) : body, this.#fault.requestBody) }),
    };
    const answered = answer(handler, received);
    try {
      const response = await this.whileWhole(answered);
      if (this.#fault.loseAnswer === true) await this.whileWhole(new Promise<never>(() => {}));
      await this.whileWhole(this.#pass(false));
      const { abort } = response;
      const onAbort = (): void => this.leave('server', abort!.reason);
      if (abort?.aborted === true) onAbort();
      abort?.addEventListener('abort', onAbort, { once: true });
      void this.ended.then(() => abort?.removeEventListener('abort', onAbort));
      return { status: response.status, headers: response.headers, body: this.#flow(false, response.body, this.#fault.responseBody, () => this.#finish()) };
    } catch (error) {
      // The client is gone, maybe while the head was on its way: nobody will ever pull this body.
      void answered.then((late) => this.#serverEnd.promise.then(() => late.body[Symbol.asyncIterator]().return?.()));
      throw this.#describe(error);
    }
  }

  #finish(): void {
    this.#clientEnd.resolve();
    this.#serverEnd.resolve();
  }

  #describe(error: unknown): TransportError {
    const { method, to, target } = this.info;
    return new TransportError(`${method} ${to}${target.split('?', 1)[0]}: ${(error as Error).message}`, { cause: error, mayHaveArrived: true });
  }

  #flow(isRequest: boolean, source: AsyncIterable<Uint8Array>, fault: FlowFault = {}, onEnd: () => void = () => {}): AsyncIterable<Uint8Array> {
    const chunks = source[Symbol.asyncIterator]();
    const endByte = Math.min(fault.cutAfterBytes ?? Infinity, fault.stallAfterBytes ?? Infinity);
    let rest: Buffer = Buffer.alloc(0);
    let offset = 0;
    let isRepeated = false;
    void (isRequest ? this.#clientEnd : this.#serverEnd).promise.then(() => {
      // Not waited for: a writer in the middle of a wait without end would hold up everybody.
      chunks.return?.().catch(() => {});
    });
    const next = async (): Promise<IteratorResult<Uint8Array>> => {
      while (rest.length === 0) {
        await this.#link.open(isRequest);
        if (offset >= endByte) return await this.#stopHere(fault);
        const { done, value } = await chunks.next();
        if (done === true) {
          onEnd();
          return { done: true, value: undefined };
        }
        rest = Buffer.from(value);
      }
      await this.#pass(isRequest);
      const count = Math.min(rest.length, endByte - offset, fault.pieceBytes ?? Infinity);
      if (count === 0) return await this.#stopHere(fault);
      const piece = rest.subarray(0, count);
      if (fault.repeats === true && !isRepeated) {
        isRepeated = true;
        return { done: false, value: Buffer.from(piece) };
      }
      isRepeated = false;
      if (fault.flipByte !== undefined && fault.flipByte >= offset && fault.flipByte < offset + count) piece[fault.flipByte - offset]! ^= 0x10;
      rest = rest.subarray(count);
      offset += count;
      return { done: false, value: piece };
    };
    return {
      [Symbol.asyncIterator]: () => ({
        next: async () => {
          try {
            return await (isRequest ? Promise.race([next(), this.#serverBroken.promise]) : this.whileWhole(next()));
          } catch (error) {
            this.breakOff(error);
            throw this.#describe(error);
          }
        },
        return: () => {
          this.leave(isRequest ? 'server' : 'client', new Error('the reader left the body early'));
          return Promise.resolve({ done: true as const, value: undefined });
        },
      }),
    };
  }

  async #stopHere(fault: FlowFault): Promise<never> {
    if ((fault.cutAfterBytes ?? Infinity) <= (fault.stallAfterBytes ?? Infinity)) throw new Error('connection reset');
    return await new Promise<never>(() => {});
  }
}

function linkOf(from: string, to: string): string {
  return `${from} ${to}`;
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
