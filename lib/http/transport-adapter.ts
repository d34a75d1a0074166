/**
 * Node-to-node requests, as the node sees them: Koa on one side, TransportRequest and
 * TransportResponse on the other. Bodies stay streams in both directions, with no bound on size or
 * idleness: the handlers have rules of their own, heartbeats among them.
 */
import { ShiplogError, messageOf } from '../base/errors.ts';
import type { TransportHandler, TransportRequest, TransportResponse } from '../env/transport.ts';
import type { Logger } from '../observe/logger.ts';
import type { HttpContext } from './http-context.ts';
import type { LingeringClose } from './lingering-close.ts';
import type { OpenStreams } from './open-streams.ts';
import { announcesBody } from './request-body.ts';
import { ResponseWriter } from './response-writer.ts';

interface AdapterOptions {
  readonly streams: OpenStreams;
  readonly lingering: LingeringClose;
  readonly logger: Logger;
}

export type NodeRoute = (ctx: HttpContext) => Promise<void>;

export function transportRoute(handler: TransportHandler, { streams, lingering, logger }: AdapterOptions): NodeRoute {
  return async (ctx) => {
    const signal = streams.open(ctx.res);
    const response = await handler(toTransportRequest(ctx, signal));
    ctx.respond = false;
    if (ctx.res.destroyed) {
      await dropBody(response);
      return;
    }
    try {
      await send(ctx, response);
    } catch (error) {
      // Half an answer is out. A connection that breaks is the only way left to say that it is not whole.
      if (!signal.aborted) logger.warn('an answer to a node broke off', { route: ctx.state.target.route, error: messageOf(error) });
      ctx.res.destroy();
      return;
    }
    if (!ctx.req.complete && announcesBody(ctx.req)) lingering.drainAfter(ctx.req);
  };
}

function toTransportRequest(ctx: HttpContext, signal: AbortSignal): TransportRequest {
  const { req, res } = ctx;
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(req.headers)) {
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  if (!announcesBody(req)) return { method: ctx.method, target: ctx.state.target.raw, headers, signal };

  if (req.headers['content-encoding'] !== undefined) {
    throw new ShiplogError('unsupported-media-type', 'the body has a Content-Encoding, expected none');
  }
  if (headers['expect'] !== undefined) res.writeContinue();
  // A handler that has read enough still wants to answer: leaving the loop must not close the connection.
  const body = req.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
  return { method: ctx.method, target: ctx.state.target.raw, headers, body, signal };
}

async function send(ctx: HttpContext, response: TransportResponse): Promise<void> {
  const { res } = ctx;
  res.writeHead(response.status, response.headers);
  if (ctx.method === 'HEAD') {
    res.end();
    await dropBody(response);
    return;
  }
  // A log that has nothing new sends nothing for a while: the head must not wait for it.
  res.flushHeaders();
  const writer = new ResponseWriter(res);
  // Also while the client reads nothing and `write` waits for it.
  response.abort?.addEventListener('abort', () => res.destroy(), { once: true });
  for await (const chunk of response.body) {
    if (chunk.length > 0 && !(await writer.write(chunk))) return;
  }
  res.end();
}

/** A body that nobody reads may hold a file open. */
async function dropBody(response: TransportResponse): Promise<void> {
  await response.body[Symbol.asyncIterator]().return?.();
}
