/** For people, monitors and load balancers. */
import type { Router } from '@koa/router';

import { ShiplogError } from '../../base/errors.ts';
import type { NodeApi, NodeRole, Verdict } from '../../node/node-api.ts';
import { parseDurationMs } from '../duration.ts';
import type { HttpContext, HttpState } from '../http-context.ts';
import { parseQuery } from '../request-target.ts';
import { welcomePage } from '../welcome-page.ts';

export function addStatusRoutes(router: Router<HttpState>, node: NodeApi): void {
  router.get('/', (ctx: HttpContext) => showText(ctx, 200, welcomePage(node.status())));

  router.get('/status', async (ctx: HttpContext) => {
    const status = await node.freshStatus();
    ctx.set({ ...FRESH, 'Content-Type': 'application/json' });
    ctx.body = `${JSON.stringify(status, null, 2)}\n`;
  });

  router.get('/healthz', (ctx: HttpContext) => showVerdict(ctx, node.health()));
  router.get('/readyz', (ctx: HttpContext) => showVerdict(ctx, node.readiness(lagMsMax(ctx))));
  router.get('/primary', (ctx: HttpContext) => showVerdict(ctx, roleVerdict('primary', node.health())));
  router.get('/replica', (ctx: HttpContext) => showVerdict(ctx, roleVerdict('replica', node.readiness(lagMsMax(ctx)))));

  router.get('/metrics', async (ctx: HttpContext) => {
    const { contentType, text } = await node.metricsText();
    ctx.set({ ...FRESH, 'Content-Type': contentType });
    ctx.body = text;
  });

  function roleVerdict(wanted: NodeRole, verdict: Verdict): Verdict {
    const { role } = node.status();
    return role === wanted ? verdict : { ok: false, reason: `this node is a ${role}` };
  }
}

const FRESH = { 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff' } as const;

function showVerdict(ctx: HttpContext, { ok, reason }: Verdict): void {
  showText(ctx, ok ? 200 : 503, `${reason}\n`);
}

function showText(ctx: HttpContext, status: number, text: string): void {
  ctx.status = status;
  ctx.set({ ...FRESH, 'Content-Type': 'text/plain; charset=utf-8' });
  ctx.body = text;
}

/** Undefined where the request doesn't say: then the node's own bound counts. */
function lagMsMax(ctx: HttpContext): number | undefined {
  const parameters = parseQuery(ctx.state.target.query);
  for (const name of parameters.keys()) {
    if (name !== 'max_lag') throw new ShiplogError('unknown-parameter', `there is no parameter ${JSON.stringify(name.slice(0, 100))}, expected max_lag`);
  }
  const text = parameters.get('max_lag');
  return text === undefined ? undefined : parseDurationMs('max_lag', text);
}
