/** The three calls that the product is for: get, set, del. */
import type { Router } from '@koa/router';

import { ShiplogError, unreachable } from '../../base/errors.ts';
import type { DataOperation } from '../../base/operation.ts';
import { type Position, formatPosition } from '../../base/position.ts';
import type { Clock } from '../../env/clock.ts';
import type { NodeApi, WriteCondition, WriteRoute } from '../../node/node-api.ts';
import type { BodyBudget } from '../body-budget.ts';
import { formatETag, judgeRead, writeConditionOf } from '../conditions.ts';
import { ACK_HEADER, CONTENT_TYPES, DATA_HEADERS, ETAG_HEADER, POSITION_HEADER, WRITTEN_BODY, noSuchKey, positionAfterWrite } from '../data-answer.ts';
import { FORWARDED_HEADER, forwardedRequest, relay } from '../forwarding.ts';
import type { HttpContext, HttpState } from '../http-context.ts';
import { decodeKey } from '../key.ts';
import { LARGE_ANSWER_LENGTH, sendLargeAnswer } from '../large-answer.ts';
import { negotiateFormat } from '../media-type.ts';
import { type DataParameters, parametersOf } from '../parameters.ts';
import { readRequestBody } from '../request-body.ts';
import { bodyBytesMax, bodyKindOf, decodeValue } from '../value.ts';

export interface DataRouteOptions {
  readonly node: NodeApi;
  readonly clock: Clock;
  readonly requestBodies: BodyBudget;
  readonly largeAnswers: BodyBudget;
  readonly bodyIdleMs: number;
}

export function addDataRoutes(router: Router<HttpState>, options: DataRouteOptions): void {
  const { node, clock, requestBodies, largeAnswers, bodyIdleMs } = options;

  router.get('/get/', (ctx: HttpContext): Promise<void> | undefined => {
    const { key, parameters } = admit(ctx, 'read');
    if (parameters.min === undefined) return read(ctx, key);
    return node.waitFor(parameters.min, parameters.waitMs).then(() => read(ctx, key));
  });

  function read(ctx: HttpContext, key: string): Promise<void> | undefined {
    const format = negotiateFormat(ctx.req.headers.accept);
    const found = node.read(key);
    if (found === undefined) throw noSuchKey(key);

    setPosition(ctx, node);
    ctx.set(ETAG_HEADER, formatETag(found.position, format));
    const verdict = judgeRead(ctx.req.headers, found.position, format);
    switch (verdict) {
      case 'not-modified':
        ctx.status = 304;
        return undefined;
      case 'precondition-failed':
        throw preconditionFailed(found.position);
      case 'send':
        break;
      default:
        return unreachable(verdict);
    }
    const text = format === 'json' ? JSON.stringify(found.value) : found.value;
    ctx.set('Content-Type', CONTENT_TYPES[format]);
    ctx.status = 200;
    if (text.length >= LARGE_ANSWER_LENGTH && ctx.method === 'GET') {
      return sendLargeAnswer(ctx, text, { budget: largeAnswers, clock, stallMs: bodyIdleMs });
    }
    ctx.body = text;
    return undefined;
  }

  router.register('/set/', ['POST', 'PUT'], async (ctx: HttpContext): Promise<void> => {
    const { key, parameters } = admit(ctx, 'write');
    const kind = bodyKindOf(ctx.req.headers);
    const condition = writeConditionOf(ctx.req.headers);
    // Asked before the upload too: a node that can't take the write should say so before it takes the body.
    if (redirected(ctx, node, await routeOfWrite(ctx, node))) return;

    const reservation = requestBodies.open();
    try {
      const body = await readRequestBody(ctx.req, ctx.res, { reservation, bytesMax: bodyBytesMax(kind), clock, idleMs: bodyIdleMs });
      const value = decodeValue(kind, body);
      await carryOut(ctx, { kind: 'put', key, value }, { condition, parameters }, body);
    } finally {
      // Not before the answer: until then the value is in memory, and somebody has to count it.
      reservation.release();
    }
  });

  router.delete('/del/', (ctx: HttpContext): Promise<void> => {
    const { key, parameters } = admit(ctx, 'write');
    return carryOut(ctx, { kind: 'delete', key }, { condition: writeConditionOf(ctx.req.headers), parameters }, undefined);
  });

  async function carryOut(ctx: HttpContext, operation: DataOperation, { condition, parameters }: WriteTerms, body: Buffer | undefined): Promise<void> {
    const { min, waitMs, durability } = parameters;
    if (min !== undefined) await node.waitFor(min, waitMs);
    const route = await routeOfWrite(ctx, node);
    if (redirected(ctx, node, route)) return;
    if (route.kind === 'forward') {
      const response = await node.forward(route.primaryUrl, forwardedRequest(ctx, body, node.nodeId), durability);
      relay(ctx, response);
      if (!ctx.res.hasHeader(POSITION_HEADER)) setPosition(ctx, node);
      return;
    }

    const result = await node.write(operation, condition, durability);
    setPosition(ctx, node);
    switch (result.outcome) {
      case 'written':
        ctx.set(POSITION_HEADER, formatPosition(positionAfterWrite(result, node.visiblePosition())));
        if (result.position !== null && operation.kind === 'put') ctx.set(ETAG_HEADER, formatETag(result.position, 'text'));
        ctx.set(ACK_HEADER, String(result.ack));
        ctx.set('Content-Type', CONTENT_TYPES.text);
        ctx.body = WRITTEN_BODY;
        return;
      case 'absent':
        throw noSuchKey(operation.key);
      case 'precondition-failed':
        if (result.current !== null) ctx.set(ETAG_HEADER, formatETag(result.current, 'text'));
        throw preconditionFailed(result.current);
      default:
        unreachable(result);
    }
  }

  /** Sets what every data answer carries, and reads key and parameters. */
  function admit(ctx: HttpContext, kind: 'read' | 'write'): { key: string; parameters: DataParameters } {
    ctx.set(DATA_HEADERS);
    const { rawKey, query } = ctx.state.target;
    const parameters = parametersOf(query, ctx.req.headers, kind);
    return { key: decodeKey(rawKey!), parameters };
  }
}

interface WriteTerms {
  readonly condition: WriteCondition;
  readonly parameters: DataParameters;
}

export async function routeOfWrite(ctx: HttpContext, node: NodeApi): Promise<WriteRoute> {
  const route = await node.writeRoute();
  const forwardedBy = ctx.req.headers[FORWARDED_HEADER];
  if (route.kind !== 'local' && forwardedBy !== undefined) {
    // Two nodes that take each other for the primary would pass it to and fro for ever.
    throw new ShiplogError('not-primary', 'this write was forwarded here, but this node is not the primary; it is not forwarded again');
  }
  return route;
}

/** True where the answer is a redirect, and complete. */
export function redirected(ctx: HttpContext, node: NodeApi, route: WriteRoute): route is Extract<WriteRoute, { kind: 'redirect' }> {
  if (route.kind !== 'redirect') return false;
  const location = `${route.primaryUrl.replace(/\/$/, '')}${ctx.state.target.raw}`;
  ctx.status = 307;
  setPosition(ctx, node);
  ctx.set('Location', location);
  ctx.set('Content-Type', CONTENT_TYPES.text);
  ctx.body = `writes go to ${location}\n`;
  return true;
}

export function setPosition(ctx: HttpContext, node: NodeApi): void {
  ctx.set(POSITION_HEADER, formatPosition(node.visiblePosition()));
}

function preconditionFailed(current: Position | null): ShiplogError {
  return new ShiplogError(
    'precondition-failed',
    current === null ? 'the key does not exist' : `the last write of the key has the position ${formatPosition(current)}`,
  );
}
