/**
 * Three kinds of errors: a programmer's error asserts and crashes; an operating error is a
 * ShiplogError with a stable code and a cause; bad input is a ShiplogError with a 4xx code.
 * This table is the only place that knows how a code looks over HTTP.
 */
import { AssertionError } from 'node:assert';

interface ErrorKind {
  readonly status: number;
  readonly title: string;
  /** True where the same request may succeed later without being changed, and was not carried out. */
  readonly retryable: boolean;
}

export const ERROR_KINDS = {
  // input
  'bad-request': { status: 400, title: 'The request is malformed', retryable: false },
  'bad-key': { status: 400, title: 'The key is not acceptable', retryable: false },
  'bad-json': { status: 400, title: 'The body is not the JSON that is expected', retryable: false },
  'bad-form': { status: 400, title: 'The form body is not exactly one field named value', retryable: false },
  'bad-utf8': { status: 400, title: 'The text is not valid UTF-8', retryable: false },
  'export-incomplete': { status: 400, title: 'The export is not complete', retryable: false },
  'unknown-parameter': { status: 400, title: 'The query has an unknown parameter', retryable: false },
  'too-few-members': { status: 400, title: 'The cluster is smaller than what the request asks for', retryable: false },
  'foreign-origin': { status: 403, title: 'A page of another origin may not change data', retryable: false },
  'foreign-host': { status: 403, title: 'The Host header does not name this node', retryable: false },
  'not-found': { status: 404, title: 'There is no such key', retryable: false },
  'no-such-route': { status: 404, title: 'There is nothing at this path', retryable: false },
  'method-not-allowed': { status: 405, title: 'This path does not take this method', retryable: false },
  'head-timeout': { status: 408, title: 'The request head did not arrive in time', retryable: true },
  'body-timeout': { status: 408, title: 'The body did not arrive in time', retryable: true },
  'history-diverged': { status: 409, title: 'Your history has left mine', retryable: false },
  'chain-mismatch': { status: 409, title: 'The same position has another checksum here', retryable: false },
  'follower-ahead': { status: 409, title: 'You hold operations that I do not have', retryable: false },
  'duplicate-node': { status: 409, title: 'Another live stream has this node id', retryable: true },
  'position-gone': { status: 410, title: 'The log no longer reaches back to this position', retryable: false },
  'position-lost': { status: 410, title: 'This position is in no surviving history', retryable: false },
  'length-required': { status: 411, title: 'The request has no body', retryable: false },
  'precondition-failed': { status: 412, title: 'The condition does not hold', retryable: false },
  'value-too-large': { status: 413, title: 'The value is too large', retryable: false },
  'batch-too-large': { status: 413, title: 'The batch is too large', retryable: false },
  'answer-too-large': { status: 413, title: 'The answer would be too large', retryable: false },
  'unsupported-media-type': { status: 415, title: 'This content type is not supported', retryable: false },
  'range-not-satisfiable': { status: 416, title: 'The range lies outside the file', retryable: false },
  'expectation-failed': { status: 417, title: 'Only Expect: 100-continue is understood', retryable: false },
  'promotion-refused': { status: 409, title: 'The promotion was refused', retryable: false },
  'promotion-under-way': { status: 409, title: 'Another change of the primary is under way', retryable: true },
  'other-cluster': { status: 421, title: 'This node belongs to another cluster', retryable: false },
  'head-too-large': { status: 431, title: 'The request head is too large', retryable: false },
  // state
  'not-ready': { status: 503, title: 'This node has no consistent state yet', retryable: true },
  'not-primary': { status: 503, title: 'This node is not the primary', retryable: true },
  'no-primary': { status: 503, title: 'The primary can not be reached', retryable: true },
  'read-only-replica': { status: 503, title: 'This replica is configured to reject writes', retryable: false },
  'too-few-replicas': { status: 503, title: 'Fewer replicas can confirm a write than the server requires', retryable: true },
  'position-not-reached': { status: 503, title: 'This node does not show this position yet', retryable: true },
  'overloaded': { status: 503, title: 'Too much is waiting already', retryable: true },
  'stopping': { status: 503, title: 'This node is stopping', retryable: true },
  'outcome-unknown': { status: 504, title: 'It is not known whether the write was carried out', retryable: false },
  'not-shown-yet': { status: 504, title: 'The write was carried out, but this node does not show it yet', retryable: false },
  'ack-timeout': { status: 504, title: 'Stored here, but not confirmed by as many as asked for', retryable: false },
  'timeout': { status: 504, title: 'The node did not get there in time', retryable: true },
  'disk-full': { status: 507, title: 'The disk is full', retryable: true },
  'internal': { status: 500, title: 'The node failed', retryable: false },
  // never over HTTP
  'log-damaged': { status: 500, title: 'The log is damaged', retryable: false },
  'log-poisoned': { status: 500, title: 'A write to disk failed; the log takes no more writes', retryable: false },
  'store-failed': { status: 500, title: 'SQLite reported an error', retryable: false },
  'data-directory-in-use': { status: 500, title: 'Another process uses the data directory', retryable: false },
  'data-directory-invalid': { status: 500, title: 'The data directory can not be used', retryable: false },
  'bad-config': { status: 500, title: 'The configuration is wrong', retryable: false },
  'port-in-use': { status: 500, title: 'The port is taken', retryable: false },
  'peer-protocol': { status: 502, title: 'The peer sent something that does not fit', retryable: true },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof ERROR_KINDS;

export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(ERROR_KINDS, code);
}

interface ErrorDetails {
  readonly cause?: unknown;
  /** Seconds after which a retry makes sense; goes out as Retry-After. */
  readonly retryAfterS?: number;
  /** More members for the problem document, e.g. the server's history with a 409. */
  readonly extra?: Readonly<Record<string, unknown>>;
}

export class ShiplogError extends Error {
  readonly code: ErrorCode;
  readonly retryAfterS: number | undefined;
  readonly extra: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'ShiplogError';
    this.code = code;
    this.retryAfterS = details.retryAfterS ?? (ERROR_KINDS[code].retryable && ERROR_KINDS[code].status === 503 ? 1 : undefined);
    this.extra = details.extra ?? {};
  }

  get status(): number {
    return ERROR_KINDS[this.code].status;
  }
}

export function isShiplogError(error: unknown, code?: ErrorCode): error is ShiplogError {
  return error instanceof ShiplogError && (code === undefined || error.code === code);
}

/** For what can only be wrong if this program is wrong. Stays on in production: better down than wrong. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError({ message });
}

/** The `default:` of every switch over a union. */
export function unreachable(value: never): never {
  throw new AssertionError({ message: `unexpected ${JSON.stringify(value)}` });
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
