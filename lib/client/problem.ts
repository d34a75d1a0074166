/** Turns a node's refusal (RFC 9457, `application/problem+json`) back into the error that the node raised. */
import { ERROR_KINDS, type ErrorCode, ShiplogError } from '../base/errors.ts';
import { type TransportResponse, readBody } from '../env/transport.ts';

const PROBLEM_BYTES_MAX = 64 * 1024;
/** Members that the standard defines, or that became part of the error itself. */
const STANDARD_MEMBERS: ReadonlySet<string> = new Set(['type', 'title', 'status', 'detail', 'instance', 'code']);

/** Reads the body of an answer that is no success. A code that this version doesn't know becomes `peer-protocol`. */
export async function problemOf(response: TransportResponse): Promise<ShiplogError> {
  const body = (await readBody(response.body, PROBLEM_BYTES_MAX)).toString('utf8');
  const document = parseObject(body);
  const code = document?.['code'];
  if (document === undefined || typeof code !== 'string' || !Object.hasOwn(ERROR_KINDS, code)) {
    const said = body.trim().slice(0, 200);
    return new ShiplogError('peer-protocol', `got HTTP ${response.status}${said === '' ? '' : ` (${said})`}, expected an answer of Shiplog`);
  }
  const retryAfterS = Number(response.headers['retry-after']);
  const detail = document['detail'];
  return new ShiplogError(code as ErrorCode, typeof detail === 'string' ? detail : ERROR_KINDS[code as ErrorCode].title, {
    ...(Number.isSafeInteger(retryAfterS) && retryAfterS > 0 ? { retryAfterS } : {}),
    extra: Object.fromEntries(Object.entries(document).filter(([name]) => !STANDARD_MEMBERS.has(name))),
  });
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
