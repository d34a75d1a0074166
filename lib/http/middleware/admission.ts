/** Judges the head of every request before anything acts on it. */
import type { IncomingMessage } from 'node:http';

import { ShiplogError } from '../../base/errors.ts';
import type { HttpMiddleware } from '../http-context.ts';
import type { LingeringClose } from '../lingering-close.ts';
import { type RequestTarget, parseRequestTarget } from '../request-target.ts';
import type { WriteGuard } from '../write-guard.ts';

export function admission(guard: WriteGuard, lingering: LingeringClose): HttpMiddleware {
  return (ctx, next) => {
    const { req } = ctx;
    let target: RequestTarget;
    try {
      target = parseRequestTarget(req.url ?? '');
      ctx.state.target = target;
      checkHostCount(req);
      checkFraming(req);
      checkExpectation(req);
    } catch (error) {
      // Somebody before us may read such a request differently, and with it where the next one begins.
      lingering.refuseFurther(req.socket);
      throw error;
    }
    // From here on only the route is a URL to Koa; what it would make of a key is nobody's business.
    ctx.url = target.route;
    if (req.method !== 'GET' && req.method !== 'HEAD') guard.check(req.headers, target.authority);
    return next();
  };
}

/** Node keeps the first of several Host headers; a proxy in front of it may have believed the last. */
function checkHostCount(req: IncomingMessage): void {
  const { rawHeaders } = req;
  let count = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!;
    if (name.length === 4 && name.toLowerCase() === 'host') count += 1;
  }
  if (count > 1) throw new ShiplogError('bad-request', `the request has ${count} Host headers, expected one`);
  if (count === 0 && req.httpVersion === '1.1') throw new ShiplogError('bad-request', 'the request has no Host header, which HTTP/1.1 requires');
}

/** What two readers could take for two different lengths, nobody gets to read. Node refuses most of it itself. */
function checkFraming(req: IncomingMessage): void {
  const coding = req.headers['transfer-encoding'];
  if (coding === undefined) return;
  if (coding.toLowerCase() !== 'chunked') {
    throw new ShiplogError('bad-request', `Transfer-Encoding is ${JSON.stringify(coding.slice(0, 100))}, expected chunked alone`);
  }
  if (req.headers['content-length'] !== undefined || req.httpVersion !== '1.1') {
    throw new ShiplogError('bad-request', 'Transfer-Encoding comes with Content-Length or with HTTP/1.0, expected either alone');
  }
}

function checkExpectation(req: IncomingMessage): void {
  const { expect } = req.headers;
  if (expect !== undefined && expect.toLowerCase() !== '100-continue') {
    throw new ShiplogError('expectation-failed', `Expect is ${JSON.stringify(expect.slice(0, 100))}, expected 100-continue or no such header`);
  }
}
