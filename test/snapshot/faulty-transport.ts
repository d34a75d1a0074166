import { ShiplogError } from '../../lib/base/errors.ts';
import { problemText } from '../../lib/base/problem.ts';
import { type Transport, TransportError, type TransportHandler, type TransportRequest, type TransportResponse } from '../../lib/env/transport.ts';

/** What happens to one exchange. */
export interface Fault {
  /** No connection comes about. */
  readonly refuse?: boolean;
  /** Breaks off after this many bytes of the body. */
  readonly cutAfterBytes?: number;
  /** Says nothing more after this many bytes of the body, and keeps the connection. */
  readonly silentAfterBytes?: number;
  /** Flips a bit of this byte of the body. */
  readonly flipByte?: number;
}

/** Calls the server's handler directly, as a network in between that breaks where the test says. */
export class FaultyTransport implements Transport {
  readonly requests: TransportRequest[] = [];
  readonly responses: TransportResponse[] = [];
  readonly #handler: TransportHandler;
  readonly #faultOf: (requestIndex: number) => Fault;

  constructor(handler: TransportHandler, faultOf: (requestIndex: number) => Fault = () => ({})) {
    this.#handler = handler;
    this.#faultOf = faultOf;
  }

  async request(_baseUrl: string, request: TransportRequest): Promise<TransportResponse> {
    const fault = this.#faultOf(this.requests.length);
    this.requests.push(request);
    if (fault.refuse === true) throw new TransportError('connection refused', { mayHaveArrived: false });
    const response = await this.#answer(request);
    this.responses.push(response);
    return { ...response, body: broken(response.body, fault, request.signal) };
  }

  async close(): Promise<void> {}

  async #answer(request: TransportRequest): Promise<TransportResponse> {
    try {
      return await this.#handler(request);
    } catch (error) {
      if (!(error instanceof ShiplogError)) throw error;
      const content = Buffer.from(problemText(error));
      return { status: error.status, headers: { 'content-type': 'application/problem+json' }, body: pieces([content]) };
    }
  }
}

export async function* pieces(contents: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* contents;
}

async function* broken(body: AsyncIterable<Uint8Array>, fault: Fault, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  const endByte = Math.min(fault.cutAfterBytes ?? Infinity, fault.silentAfterBytes ?? Infinity);
  let offset = 0;
  for await (const chunk of body) {
    const piece = Buffer.from(chunk.subarray(0, Math.max(0, endByte - offset)));
    if (fault.flipByte !== undefined && fault.flipByte >= offset && fault.flipByte < offset + piece.length) {
      piece[fault.flipByte - offset]! ^= 0x10;
    }
    if (piece.length > 0) yield piece;
    offset += chunk.length;
    if (offset <= endByte) continue;
    if (fault.silentAfterBytes !== undefined) {
      await new Promise<void>((_resolve, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      });
    }
    throw new TransportError('connection reset', { mayHaveArrived: true });
  }
}
