/**
 * A TCP connection as it is, for who speaks a protocol by hand: a load generator must cost less than
 * what it measures, and every layer costs.
 */
export interface RawConnection {
  /** Sent in this order, where possible with one call of the system. The bytes must stay as they are until they are on their way. */
  write(buffers: readonly Uint8Array[]): void;
  /** No handler is called any more. */
  close(): void;
}

export interface RawHandlers {
  /** What has arrived. The memory is used again after the call. */
  readonly onBytes: (bytes: Buffer) => void;
  /** Once, when the connection is gone for any reason but `close`. */
  readonly onLost: (error: Error) => void;
}

/** @throws TransportError where there is no connection. */
export type RawConnect = (baseUrl: string, handlers: RawHandlers) => Promise<RawConnection>;
