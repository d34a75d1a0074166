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
  readonly members: readonly { readonly nodeId: string; readonly name: string; readonly url: string }[];
  readonly followers: readonly { readonly name: string; readonly connected: boolean }[];
  readonly tasks: readonly {
    readonly name: string;
    readonly doneBytes: number;
    readonly totalBytes: number | null;
    readonly etaS: number | null;
  }[];
}
