/** The outermost middleware: whatever happens inside, one proper answer goes out. */
import { isShiplogError } from '../../base/errors.ts';
import { formatPosition } from '../../base/position.ts';
import type { NodeApi } from '../../node/node-api.ts';
import type { Logger } from '../../observe/logger.ts';
import { ETAG_HEADER, POSITION_HEADER } from '../data-answer.ts';
import type { HttpContext, HttpMiddleware } from '../http-context.ts';
import type { LingeringClose } from '../lingering-close.ts';
import { type FailedRequest, logFailure } from '../failure-log.ts';
import { problemOf } from '../problem.ts';
import { ClientGoneError, announcesBody } from '../request-body.ts';
import { type RequestTarget, isDataTarget } from '../request-target.ts';

interface AnswersOptions {
  readonly node: NodeApi;
  readonly logger: Logger;
  readonly lingering: LingeringClose;
}

export function answers({ node, logger, lingering }: AnswersOptions): HttpMiddleware {
  return async (ctx, next) => {
    if (lingering.has(ctx.req.socket)) {
      ctx.respond = false;
      return;
    }
    try {
      await next();
    } catch (error) {
      if (error instanceof ClientGoneError || ctx.res.headersSent) {
        // Nobody left to tell, or half an answer is out: only the end of the connection can tell the truth.
        if (!(error instanceof ClientGoneError)) logFailure(logger, requestOf(ctx), error);
        ctx.respond = false;
        ctx.res.destroy();
        return;
      }
      if (!isShiplogError(error) || error.status === 500) logFailure(logger, requestOf(ctx), error);
      showProblem(ctx, error, node);
    }
    if (ctx.respond !== false && (lingering.has(ctx.req.socket) || (!ctx.req.complete && announcesBody(ctx.req)))) {
      ctx.respond = false;
      lingering.answer(ctx.req, ctx.res, (ctx.body as string | Buffer | null | undefined) ?? '');
    }
  };
}

function showProblem(ctx: HttpContext, error: unknown, node: NodeApi): void {
  const problem = problemOf(error);
  ctx.respond = true;
  ctx.status = problem.status;
  ctx.set(problem.headers);
  // It was that of a representation which is not sent after all. A failed condition does name the current one.
  if (problem.status !== 412) ctx.remove(ETAG_HEADER);
  ctx.body = problem.body;
  // Undefined where the request was refused before its target was understood.
  const target = ctx.state.target as RequestTarget | undefined;
  if (target !== undefined && isDataTarget(target)) ctx.set(POSITION_HEADER, formatPosition(node.visiblePosition()));
}

function requestOf(ctx: HttpContext): FailedRequest {
  return { method: ctx.method, route: (ctx.state.target as RequestTarget | undefined)?.route };
}
