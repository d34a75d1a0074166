import { STATUS_CODES } from 'node:http';

import { ShiplogError } from '../base/errors.ts';
import { problemText } from '../base/problem.ts';

/** An error as it goes over the wire: RFC 9457, one line, newline at the end. */
export interface Problem {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What an internal error was is for the log: clients learn where to look, never paths or stacks. */
export function problemOf(error: unknown): Problem {
  const known = error instanceof ShiplogError ? error : new ShiplogError('internal', INTERNAL_DETAIL);
  const { retryAfterS, status } = known;
  return {
    status,
    headers: {
      'Content-Type': 'application/problem+json',
      'Cache-Control': 'no-cache, no-transform',
      'X-Content-Type-Options': 'nosniff',
      ...(retryAfterS === undefined ? {} : { 'Retry-After': String(Math.max(1, Math.ceil(retryAfterS))) }),
    },
    body: `${status === 500 ? problemText(known, INTERNAL_DETAIL) : problemText(known)}\n`,
  };
}

/** The same as a whole answer, for where there is no response object. The connection ends with it. */
export function problemAsHttp(error: unknown): string {
  const { status, headers, body } = problemOf(error);
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} ${reasonOf(status)}\r\n${lines.join('')}Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`;
}

const INTERNAL_DETAIL = 'an internal error; the log of this node says more';

/** The words behind a status in the first line of an answer. */
export function reasonOf(status: number): string {
  return STATUS_CODES[status] ?? 'Error';
}
