/**
 * Requests between nodes, in one shape for both sides. Bodies are pulled: whoever writes waits
 * until the reader has room, so back-pressure needs no further words.
 */
export interface TransportRequest {
  readonly method: string;
  /** Path and query, percent-encoded. */
  readonly target: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | AsyncIterable<Uint8Array>;
  /** Client side: aborts the exchange. Server side: aborted when the peer is gone. */
  readonly signal?: AbortSignal;
}

export interface TransportResponse {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Leaving a `for await` over it early drops the connection. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Server side: when aborted, the connection is dropped even while the peer reads nothing. */
  readonly abort?: AbortSignal;
}

/** The client side. */
export interface Transport {
  /**
   * Resolves with the head of the answer.
   * @throws TransportError when the peer can't be reached or breaks off before its head.
   */
  request(baseUrl: string, request: TransportRequest): Promise<TransportResponse>;
  close(): Promise<void>;
}

/** The server side: http/ adapts Koa to it, a simulation calls it directly. */
export type TransportHandler = (request: TransportRequest) => Promise<TransportResponse>;

export class TransportError extends Error {
  /** False only where it is certain that no byte of the request left this node. */
  readonly mayHaveArrived: boolean;

  constructor(message: string, options: { cause?: unknown; mayHaveArrived: boolean }) {
    super(message, { cause: options.cause });
    this.name = 'TransportError';
    this.mayHaveArrived = options.mayHaveArrived;
  }
}

/** Collects a body that is expected to be small. @throws TransportError above `bytesMax`. */
export async function readBody(body: AsyncIterable<Uint8Array>, bytesMax: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > bytesMax) throw new TransportError(`the body is larger than ${bytesMax} bytes`, { mayHaveArrived: true });
    chunks.push(chunk);
  }
  return chunks.length === 1 ? Buffer.from(chunks[0]!) : Buffer.concat(chunks);
}
