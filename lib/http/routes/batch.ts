/** Many keys in one request: `POST /batch` writes them together or not at all, `POST /mget` reads them at one position. */
import type { Router } from '@koa/router';

import { ShiplogError, unreachable } from '../../base/errors.ts';
import { LIMITS } from '../../base/limits.ts';
import { type Position, formatPosition, parsePosition } from '../../base/position.ts';
import type { BatchResult, BatchWrite, BatchWriteOutcome, WriteCondition } from '../../node/node-api.ts';
import { DATA_HEADERS } from '../data-answer.ts';
import { forwardedRequest, relay } from '../forwarding.ts';
import type { HttpContext, HttpState } from '../http-context.ts';
import { type JsonObject, checkFields, checkValue, parseJsonObject } from '../json-document.ts';
import { kindOf } from '../json-string.ts';
import { checkKey } from '../key.ts';
import { LARGE_ANSWER_LENGTH, sendLargeAnswer } from '../large-answer.ts';
import { parametersOf } from '../parameters.ts';
import { readRequestBody } from '../request-body.ts';
import { bodyKindOf } from '../value.ts';
import { type DataRouteOptions, redirected, routeOfWrite, setPosition } from './data.ts';

export function addBatchRoutes(router: Router<HttpState>, options: DataRouteOptions): void {
  const { node, clock, requestBodies, largeAnswers, bodyIdleMs } = options;

  router.post('/batch', async (ctx: HttpContext): Promise<void> => {
    ctx.set(DATA_HEADERS);
    const { min, waitMs, durability } = parametersOf(ctx.state.target.query, ctx.req.headers, 'write');
    // Asked before the upload too: a node that can't take the batch should say so before it takes the body.
    if (redirected(ctx, node, await routeOfWrite(ctx, node))) return;

    await withBody(ctx, async (body) => {
      const writes = batchOf(parseJsonObject(body, { what: 'the body', depthMax: 3 }));
      if (min !== undefined) await node.waitFor(min, waitMs);
      const route = await routeOfWrite(ctx, node);
      if (redirected(ctx, node, route)) return;
      if (route.kind === 'forward') {
        relay(ctx, await node.forward(route.primaryUrl, forwardedRequest(ctx, body, node.nodeId), durability));
        if (!ctx.res.hasHeader('Shiplog-Position')) setPosition(ctx, node);
        return;
      }
      showResult(ctx, await node.writeBatch(writes, durability), writes);
    });
  });

  function showResult(ctx: HttpContext, result: BatchResult, writes: readonly BatchWrite[]): void {
    setPosition(ctx, node);
    switch (result.outcome) {
      case 'written': {
        const { position, ack, results } = result;
        // A node that reseeds by now shows nothing; whoever passed this on has to show the write.
        if (position !== null && node.visiblePosition().lsn < position.lsn) ctx.set('Shiplog-Position', formatPosition(position));
        ctx.set('Shiplog-Ack', String(ack));
        showJson(ctx, { position: shown(position), ack, results: results.map(shownOutcome) });
        return;
      }
      case 'precondition-failed':
        throw conditionFailed(result.index, result.current, writes);
      default:
        unreachable(result);
    }
  }

  router.post('/mget', async (ctx: HttpContext): Promise<void> => {
    ctx.set(DATA_HEADERS);
    const { min, waitMs } = parametersOf(ctx.state.target.query, ctx.req.headers, 'read');
    const keys = await withBody(ctx, async (body) => keysOf(parseJsonObject(body, { what: 'the body', depthMax: 2 })));
    if (min !== undefined) await node.waitFor(min, waitMs);

    // From here to the answer in one turn: the values and the position are of one state.
    const values = readWithin(keys);
    setPosition(ctx, node);
    const text = `${JSON.stringify({ position: formatPosition(node.visiblePosition()), values })}\n`;
    ctx.set('Content-Type', 'application/json');
    if (text.length >= LARGE_ANSWER_LENGTH) return sendLargeAnswer(ctx, text, { budget: largeAnswers, clock, stallMs: bodyIdleMs });
    ctx.body = text;
  });

  /** @throws ShiplogError `answer-too-large` naming how many keys would fit. */
  function readWithin(keys: readonly string[]): readonly ShownValue[] {
    let bytes = 0;
    return node.readAll(keys, (value, index) => {
      bytes += Buffer.byteLength(value);
      if (index > 0 && bytes > LIMITS.readBytesMax) {
        throw new ShiplogError('answer-too-large', `the values of the first ${index + 1} keys take ${bytes} bytes, expected at most ${LIMITS.readBytesMax}: ask for the first ${index} keys now and for the others in another request, with the position as min`, {
          extra: { fits: index },
        });
      }
    }).map((found, index) => (found === undefined ? { key: keys[index]!, value: null } : { key: keys[index]!, value: found.value, position: formatPosition(found.position) }));
  }

  async function withBody<Result>(ctx: HttpContext, use: (body: Buffer) => Promise<Result>): Promise<Result> {
    // Whatever is no encoding of text, and no other charset: JSON is what it has to be.
    bodyKindOf(ctx.req.headers);
    const reservation = requestBodies.open();
    try {
      return await use(await readRequestBody(ctx.req, ctx.res, { reservation, bytesMax: LIMITS.batchBodyBytesMax, tooLarge: bodyTooLarge, clock, idleMs: bodyIdleMs }));
    } finally {
      // Not before the answer: until then the values are in memory, and somebody has to count them.
      reservation.release();
    }
  }
}

type ShownValue = { readonly key: string; readonly value: string; readonly position: string } | { readonly key: string; readonly value: null };

function showJson(ctx: HttpContext, document: object): void {
  ctx.set('Content-Type', 'application/json');
  ctx.body = `${JSON.stringify(document)}\n`;
}

function shown(position: Position | null): string | null {
  return position === null ? null : formatPosition(position);
}

function shownOutcome(outcome: BatchWriteOutcome): object {
  return outcome.outcome === 'absent' ? { outcome: 'absent' } : { outcome: 'written', position: shown(outcome.position) };
}

function bodyTooLarge(got: string): ShiplogError {
  return new ShiplogError('batch-too-large', `the body has ${got}, expected at most ${LIMITS.batchBodyBytesMax} bytes: send several requests, or use POST /import`);
}

function conditionFailed(index: number, current: Position | null, writes: readonly BatchWrite[]): ShiplogError {
  const { key } = writes[index]!.operation;
  const state = current === null ? 'the key does not exist' : `the last write of the key has the position ${formatPosition(current)}`;
  return new ShiplogError('precondition-failed', `nothing is written: the condition of operation ${index} (the first is 0) does not hold, ${state}`, {
    extra: { operation: index, key, position: shown(current) },
  });
}

/** @throws ShiplogError saying which operation is wrong, and how. */
function batchOf(document: JsonObject): readonly BatchWrite[] {
  checkFields(document, ['operations'], 'the body');
  const operations = listOf(document, 'operations', LIMITS.batchOperationsMax, BATCH_EXAMPLE);
  return operations.map((each, index) => writeOf(each, `operations[${index}]`));
}

const BATCH_EXAMPLE = '{"operations":[{"set":"key","value":"text"},{"del":"key"}]}';
const MGET_EXAMPLE = '{"keys":["one","two"]}';

function writeOf(each: unknown, where: string): BatchWrite {
  if (typeof each !== 'object' || each === null || Array.isArray(each)) throw new ShiplogError('bad-request', `${where} is ${kindOf(each)}, expected {"set":"key","value":"text"} or {"del":"key"}`);
  const fields = each as JsonObject;
  if ('set' in fields === 'del' in fields) throw new ShiplogError('bad-request', `${where} has ${'set' in fields ? 'both set and del' : 'neither set nor del'}, expected {"set":"key","value":"text"} or {"del":"key"}`);
  if ('set' in fields) {
    checkFields(fields, ['set', 'value', 'ifMatch', 'ifAbsent'], where);
    return { operation: { kind: 'put', key: checkKey(fields['set'], `${where}.set`), value: checkValue(fields['value'], `${where}.value`) }, condition: conditionOf(fields, where) };
  }
  checkFields(fields, ['del', 'ifMatch', 'ifAbsent'], where);
  return { operation: { kind: 'delete', key: checkKey(fields['del'], `${where}.del`) }, condition: conditionOf(fields, where) };
}

function conditionOf({ ifMatch, ifAbsent }: JsonObject, where: string): WriteCondition {
  if (ifAbsent !== undefined && ifAbsent !== true) throw new ShiplogError('bad-request', `${where}.ifAbsent is ${JSON.stringify(ifAbsent).slice(0, 100)}, expected true or no such field`);
  const position = typeof ifMatch === 'string' ? parsePosition(ifMatch) : undefined;
  if (ifMatch !== undefined && ifMatch !== '*' && position === undefined) {
    throw new ShiplogError('bad-request', `${where}.ifMatch is ${JSON.stringify(ifMatch).slice(0, 100)}, expected the position of the key's last write, like "1.c04d-42", or "*"`);
  }
  return {
    ...(ifMatch !== undefined && { ifMatch: position === undefined ? '*' as const : [position] }),
    ...(ifAbsent === true && { ifNoneMatch: '*' as const }),
  };
}

/** @throws ShiplogError saying which key is wrong, and how. */
function keysOf(document: JsonObject): readonly string[] {
  checkFields(document, ['keys'], 'the body');
  return listOf(document, 'keys', LIMITS.readKeysMax, MGET_EXAMPLE).map((key, index) => checkKey(key, `keys[${index}]`));
}

function listOf(document: JsonObject, name: string, countMax: number, example: string): readonly unknown[] {
  const list = document[name];
  if (!Array.isArray(list)) throw new ShiplogError('bad-request', `${name} is ${kindOf(list)}, expected ${example}`);
  if (list.length === 0) throw new ShiplogError('bad-request', `${name} is empty, expected ${example}`);
  if (list.length > countMax) throw new ShiplogError('batch-too-large', `${name} has ${list.length} entries, expected at most ${countMax}: send several requests`);
  return list as readonly unknown[];
}
