/** What changes the cluster itself: promote, forget, rejoin. */
import type { Router } from '@koa/router';

import { ShiplogError } from '../../base/errors.ts';
import { type TransportRequest, type TransportResponse, readBody } from '../../env/transport.ts';
import type { TransportHandler } from '../../env/transport.ts';
import type { NodeApi, PromotionKind } from '../../node/node-api.ts';
import type { HttpContext, HttpState } from '../http-context.ts';
import { parseQuery } from '../request-target.ts';
import type { NodeRoute } from '../transport-adapter.ts';

export function addOperationRoutes(router: Router<HttpState>, node: NodeApi, adapt: (handler: TransportHandler) => NodeRoute): void {
  router.post('/promote', adapt((request) => promote(node, request)));

  router.post('/forget', async (ctx: HttpContext) => {
    const parameters = parseQuery(ctx.state.target.query);
    const name = parameters.get('node');
    if (name === undefined || [...parameters.keys()].length !== 1) throw new ShiplogError('bad-request', 'name the node: /forget?node=NAME');
    await node.forget(name);
    ctx.body = 'OK';
  });

  router.post('/rejoin', async (ctx: HttpContext) => {
    await node.rejoin();
    ctx.body = 'OK';
  });
}

const BODY_BYTES_MAX = 4_096;
const KINDS: ReadonlySet<unknown> = new Set<PromotionKind>(['none', 'switchover', 'failover', 'forced']);

/** One event a line, each sent when it happens. The promotion runs on where nobody listens any more. */
async function promote(node: NodeApi, request: TransportRequest): Promise<TransportResponse> {
  const { body } = request;
  const bytes = body === undefined ? Buffer.alloc(0) : body instanceof Uint8Array ? Buffer.from(body) : await readBody(body, BODY_BYTES_MAX);
  const events = node.promote(optionsOf(bytes.toString('utf8')));
  return { status: 200, headers: { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' }, body: lines(events) };
}

async function* lines(events: AsyncIterable<unknown>): AsyncGenerator<Uint8Array> {
  for await (const event of events) yield Buffer.from(`${JSON.stringify(event)}\n`);
}

function optionsOf(text: string): Parameters<NodeApi['promote']>[0] {
  let content: Record<string, unknown>;
  try {
    content = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
  } catch (error) {
    throw new ShiplogError('bad-json', 'the body is not JSON', { cause: error });
  }
  const { force = false, dryRun = false, acceptLoss = null, expectKind, ...unknown } = content;
  const isLoss = acceptLoss === null || acceptLoss === 'unknown' || (Number.isSafeInteger(acceptLoss) && (acceptLoss as number) >= 0);
  const isKind = expectKind === undefined || KINDS.has(expectKind);
  if (typeof force !== 'boolean' || typeof dryRun !== 'boolean' || !isLoss || !isKind || Object.keys(unknown).length > 0) {
    throw new ShiplogError('bad-request', 'expected {"force": boolean, "acceptLoss": number, "unknown" or null, "dryRun": boolean, "expectKind": "none", "switchover", "failover" or "forced"}, each optional');
  }
  return { force, isDryRun: dryRun, acceptLoss: acceptLoss as number | 'unknown' | null, expectKind: expectKind as PromotionKind | undefined };
}
