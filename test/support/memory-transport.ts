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
}

export interface Fault {
  /** No connection comes about: no byte leaves. */
  readonly refuse?: boolean;
  /** The handler gets the request, the client never gets the head of the answer. */
  readonly loseAnswer?: boolean;
  readonly requestBody?: FlowFault;
  readonly responseBody?: FlowFault;
  readonly delayMs?: number;
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
  readonly #blocked = new Set<string>();
  #healed = Promise.withResolvers<undefined>();
  #count = 0;
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
    this.#blocked.add(linkOf(url, otherUrl));
  }

  /** Everything passes again, also what waited. */
  heal(): void {
    this.#blocked.clear();
    this.#healed.resolve(undefined);
    this.#healed = Promise.withResolvers<undefined>();
  }

  async #request(from: string, to: string, request: TransportRequest): Promise<TransportResponse> {
    const info: ExchangeInfo = { index: this.#count, from, to, method: request.method, target: request.target };
    this.#count += 1;
    const fault = this.faultOf(info) ?? {};
    const exchange = new Exchange(info, fault, () => this.#passage(from, to));
    this.#live.add(exchange);
    void exchange.ended.then(() => this.#live.delete(exchange));
    const onAbort = (): void => exchange.breakOff(request.signal!.reason);
    if (request.signal?.aborted === true) onAbort();
    request.signal?.addEventListener('abort', onAbort, { once: true });
    void exchange.ended.then(() => request.signal?.removeEventListener('abort', onAbort));
    try {
      await exchange.whileWhole(this.#connect(fault, from, to));
    } catch (error) {
      exchange.breakOff(error);
      throw new TransportError(`${request.method} ${to}${request.target.split('?', 1)[0]}: ${(error as Error).message}`, { cause: error, mayHaveArrived: false });
    }
    return exchange.carryOut(this.#handlers.get(to)!, request);
  }

  async #connect(fault: Fault, from: string, to: string): Promise<void> {
    await nextTurn(this.#clock);
    await this.#passage(from, to);
    if (fault.delayMs !== undefined) await sleep(this.#clock, fault.delayMs);
    if (fault.refuse === true || !this.#handlers.has(to)) throw new Error('connection refused');
  }

  async #passage(from: string, to: string): Promise<void> {
    while (this.#blocked.has(linkOf(from, to))) await this.#healed.promise;
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

class Exchange {
  readonly info: ExchangeInfo;
  /** Resolves when neither side uses it any more. */
  readonly ended: Promise<void>;
  readonly #fault: Fault;
  readonly #passage: () => Promise<void>;
  readonly #server = new AbortController();
  readonly #broken = Promise.withResolvers<never>();
  readonly #end = Promise.withResolvers<void>();
  #isBroken = false;

  constructor(info: ExchangeInfo, fault: Fault, passage: () => Promise<void>) {
    this.info = info;
    this.#fault = fault;
    this.#passage = passage;
    this.ended = this.#end.promise;
    this.#broken.promise.catch(() => {});
  }

  breakOff(reason: unknown): void {
    if (this.#isBroken) return;
    this.#isBroken = true;
    this.#broken.reject(reason instanceof Error ? reason : new Error(String(reason)));
    this.#server.abort(reason);
    this.#end.resolve();
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
      ...(body === undefined ? {} : { body: body instanceof Uint8Array && this.#fault.requestBody === undefined ? body : this.#flow(body instanceof Uint8Array ? once(body) : body, this.#fault.requestBody) }),
    };
    try {
      const answered = answer(handler, received);
      void answered.then((late) => {
        // The client is gone: nobody will ever pull this body.
        if (this.#isBroken) void late.body[Symbol.asyncIterator]().return?.();
      });
      const response = await this.whileWhole(answered);
      if (this.#fault.loseAnswer === true) await this.whileWhole(new Promise<never>(() => {}));
      await this.whileWhole(this.#passage());
      const { abort } = response;
      const onAbort = (): void => this.breakOff(abort!.reason);
      if (abort?.aborted === true) onAbort();
      abort?.addEventListener('abort', onAbort, { once: true });
      void this.ended.then(() => abort?.removeEventListener('abort', onAbort));
      return { status: response.status, headers: response.headers, body: this.#flow(response.body, this.#fault.responseBody, () => this.#end.resolve()) };
    } catch (error) {
      throw this.#describe(error);
    }
  }

  #describe(error: unknown): TransportError {
    const { method, to, target } = this.info;
    return new TransportError(`${method} ${to}${target.split('?', 1)[0]}: ${(error as Error).message}`, { cause: error, mayHaveArrived: true });
  }

  #flow(source: AsyncIterable<Uint8Array>, fault: FlowFault = {}, onEnd: () => void = () => {}): AsyncIterable<Uint8Array> {
    const chunks = source[Symbol.asyncIterator]();
    const endByte = Math.min(fault.cutAfterBytes ?? Infinity, fault.stallAfterBytes ?? Infinity);
    let rest: Buffer = Buffer.alloc(0);
    let offset = 0;
    void this.ended.then(() => {
      // Not waited for: a writer in the middle of a wait without end would hold up everybody.
      chunks.return?.().catch(() => {});
    });
    const next = async (): Promise<IteratorResult<Uint8Array>> => {
      while (rest.length === 0) {
        await this.#passage();
        if (offset >= endByte) return await this.#stopHere(fault);
        const { done, value } = await chunks.next();
        if (done === true) {
          onEnd();
          return { done: true, value: undefined };
        }
        rest = Buffer.from(value);
      }
      await this.#passage();
      const count = Math.min(rest.length, endByte - offset, fault.pieceBytes ?? Infinity);
      if (count === 0) return await this.#stopHere(fault);
      const piece = rest.subarray(0, count);
      if (fault.flipByte !== undefined && fault.flipByte >= offset && fault.flipByte < offset + count) piece[fault.flipByte - offset]! ^= 0x10;
      rest = rest.subarray(count);
      offset += count;
      return { done: false, value: piece };
    };
    return {
      [Symbol.asyncIterator]: () => ({
        next: async () => {
          try {
            return await this.whileWhole(next());
          } catch (error) {
            this.breakOff(error);
            throw this.#describe(error);
          }
        },
        return: () => {
          this.breakOff(new Error('the reader left the body early'));
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

function linkOf(url: string, otherUrl: string): string {
  return [url, otherUrl].sort().join(' ');
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
