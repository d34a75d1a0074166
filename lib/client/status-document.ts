/** The part of a node's `GET /status` that a client shows or decides on. Positions are in their text form. */
export interface StatusDocument {
  readonly name: string;
  readonly nodeId: string;
  readonly version: string;
  readonly role: 'primary' | 'replica';
  readonly state: string;
  readonly url: string;
  readonly dataDirectory: string;
  readonly clusterId: string | null;
  readonly epoch: { readonly number: number; readonly id: string } | null;
  readonly positions: {
    readonly durable: string;
    readonly visible: string;
    readonly applied: string;
  };
  readonly uptimeMs: number;
  readonly upstream: {
    readonly url: string;
    readonly connected: boolean;
    readonly lagOperations: number | null;
    readonly lagMs: number | null;
    readonly lastError: string | null;
  } | null;
  /** Settled: every replica knows it, and it counts for acknowledgements. Nodes of 0.1 don't say it. */
  readonly members: readonly { readonly nodeId: string; readonly name: string; readonly url: string; readonly isSettled?: boolean }[];
  readonly followers: readonly { readonly nodeId: string; readonly name: string; readonly connected: boolean; readonly lagOperations: number }[];
  readonly tasks: readonly {
    readonly name: string;
    readonly doneBytes: number;
    readonly totalBytes: number | null;
    readonly etaS: number | null;
  }[];
  readonly promise: { readonly epoch: { readonly number: number; readonly id: string }; readonly targetUrl: string } | null;
  readonly fence: { readonly kind: string; readonly reason: string } | null;
  /** Names of salvage files. */
  readonly salvage: readonly string[];
}

/** What a node of 0.1 does not say, it does not have. */
export function readStatus(document: StatusDocument): StatusDocument {
  const said: Partial<StatusDocument> = document;
  return { ...document, epoch: said.epoch ?? null, promise: said.promise ?? null, fence: said.fence ?? null, salvage: said.salvage ?? [] };
}
