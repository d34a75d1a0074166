/** Errors as RFC 9457 documents, for both ends of the wire. */
import { ERROR_KINDS, type ErrorCode, ShiplogError } from './errors.ts';

export interface ProblemDocument {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: ErrorCode;
  readonly detail: string;
  readonly [member: string]: unknown;
}

export function problemOf(error: ShiplogError): ProblemDocument {
  const kind = ERROR_KINDS[error.code];
  return { type: 'about:blank', title: kind.title, status: kind.status, code: error.code, detail: error.message, ...error.extra };
}

/** The error that a peer answered with; `peer-protocol` where the body is no problem document of ours. */
export function errorFromProblem(status: number, body: Uint8Array): ShiplogError {
  const text = Buffer.from(body).toString('utf8');
  try {
    const { code, detail, type: _type, title: _title, status: _status, ...extra } = JSON.parse(text) as Record<string, unknown>;
    if (typeof code === 'string' && Object.hasOwn(ERROR_KINDS, code) && typeof detail === 'string') {
      return new ShiplogError(code as ErrorCode, detail, { extra });
    }
  } catch {
    // Not JSON: some proxy answered, or something that isn't Shiplog. Said below.
  }
  return new ShiplogError('peer-protocol', `the peer answered ${status}: ${text.slice(0, 200).trim()}`);
}
