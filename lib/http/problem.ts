import { ERROR_KINDS, type ErrorCode, ShiplogError } from '../base/errors.ts';

/** An error as it goes over the wire: RFC 9457, one line, newline at the end. */
export interface Problem {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What an internal error was is for the log: clients learn where to look, never paths or stacks. */
export function problemOf(error: unknown): Problem {
  if (!(error instanceof ShiplogError)) return problem('internal', INTERNAL_DETAIL, {}, undefined);
  const detail = error.status === 500 ? INTERNAL_DETAIL : error.message;
  return problem(error.code, detail, error.extra, error.retryAfterS);
}

/** The same as a whole answer, for where there is no response object. The connection ends with it. */
export function problemAsHttp(error: unknown): string {
  const { status, headers, body } = problemOf(error);
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} ${REASONS[status] ?? 'Error'}\r\n${lines.join('')}Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`;
}

const INTERNAL_DETAIL = 'an internal error; the log of this node says more';
const REASONS: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
  503: 'Service Unavailable',
};

function problem(code: ErrorCode, detail: string, extra: Readonly<Record<string, unknown>>, retryAfterS: number | undefined): Problem {
  const { status, title } = ERROR_KINDS[code];
  return {
    status,
    headers: {
      'Content-Type': 'application/problem+json',
      'Cache-Control': 'no-cache, no-transform',
      'X-Content-Type-Options': 'nosniff',
      ...(retryAfterS === undefined ? {} : { 'Retry-After': String(Math.max(1, Math.ceil(retryAfterS))) }),
    },
    body: `${JSON.stringify({ ...extra, type: `urn:shiplog:error:${code}`, title, status, detail, code })}\n`,
  };
}
