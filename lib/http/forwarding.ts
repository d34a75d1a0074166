/** What of a client's write goes on to the primary, and what of the primary's answer comes back. */
import type { IncomingHttpHeaders } from 'node:http';

import type { TransportRequest } from '../env/transport.ts';
import type { ForwardedResponse } from '../node/node-api.ts';
import type { HttpContext } from './http-context.ts';

/** Marks a request as passed on once already; its value is the id of the node that did it. */
export const FORWARDED_HEADER = 'shiplog-forwarded';

/** Host is the transport's business: it has to name the primary. Browser headers were judged here. */
export function forwardedRequest(ctx: HttpContext, body: Buffer | undefined, nodeId: string): TransportRequest {
  return {
    method: ctx.method,
    target: ctx.state.target.raw,
    headers: {
      ...pick(ctx.req.headers, REQUEST_HEADERS),
      ...(body !== undefined && { 'content-length': String(body.length) }),
      [FORWARDED_HEADER]: nodeId,
    },
    ...(body !== undefined && { body }),
  };
}

export function relay(ctx: HttpContext, response: ForwardedResponse): void {
  ctx.status = response.status;
  const named = (response.headers['connection'] ?? '').toLowerCase().split(',').map((name) => name.trim());
  for (const [name, value] of Object.entries(response.headers)) {
    const lower = name.toLowerCase();
    if (!NOT_RELAYED.has(lower) && !named.includes(lower)) ctx.set(name, value);
  }
  const { body } = response;
  ctx.body = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
}

const REQUEST_HEADERS = [
  'accept',
  'authorization',
  'content-type',
  'if-match',
  'if-none-match',
  'traceparent',
  'tracestate',
  'user-agent',
] as const;

/** Headers of one connection rather than of the answer, and those that are written anew. */
const NOT_RELAYED: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'date',
  'keep-alive',
  'proxy-authenticate',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  FORWARDED_HEADER,
]);

function pick(headers: IncomingHttpHeaders, names: readonly (keyof IncomingHttpHeaders & string)[]): Record<string, string> {
  const picked: Record<string, string> = {};
  for (const name of names) {
    const value = headers[name];
    if (typeof value === 'string') picked[name] = value;
  }
  return picked;
}
