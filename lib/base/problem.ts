/** Errors as RFC 9457 documents, for both ends of the wire. */
import { ERROR_KINDS, type ErrorCode, ShiplogError } from './errors.ts';

/** One line of JSON. `detail` stands in for the message where that is not for clients. */
export function problemText(error: ShiplogError, detail: string = error.message): string {
  const { title, status } = ERROR_KINDS[error.code];
  return JSON.stringify({ ...error.extra, type: `urn:shiplog:error:${error.code}`, title, status, detail, code: error.code });
}

/**
 * The error that a peer answered with; `peer-protocol` where the body is no problem document, or of a
 * code that this version doesn't know. `retryAfter` is the header of that name.
 */
export function errorFromProblem(status: number, body: Uint8Array, retryAfter?: string): ShiplogError {
  const text = Buffer.from(body).toString('utf8');
  try {
    const { code, detail, type: _type, title: _title, status: _status, ...extra } = JSON.parse(text) as Record<string, unknown>;
    if (typeof code === 'string' && Object.hasOwn(ERROR_KINDS, code) && typeof detail === 'string') {
      const retryAfterS = Number(retryAfter);
      return new ShiplogError(code as ErrorCode, detail, { ...(Number.isSafeInteger(retryAfterS) && retryAfterS > 0 ? { retryAfterS } : {}), extra });
    }
  } catch {
    // Not JSON: some proxy answered, or something that isn't Shiplog. Said below.
  }
  return new ShiplogError('peer-protocol', `the peer answered HTTP ${status}, not as Shiplog does: ${text.slice(0, 200).trim()}`);
}
