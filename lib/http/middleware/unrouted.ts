import type { RouterContext } from '@koa/router';

import { ShiplogError } from '../../base/errors.ts';
import type { HttpMiddleware } from '../http-context.ts';

/** Behind the router: what reaches this had no route, or none for its method. */
export function unrouted(): HttpMiddleware {
  return (ctx) => {
    const matched = (ctx as unknown as Partial<RouterContext>).matched ?? [];
    const path = JSON.stringify(ctx.state.target.raw.replace(/\?[^]*/, '').slice(0, 100));
    if (matched.length === 0) {
      throw new ShiplogError('no-such-route', `there is nothing at ${path}; GET / lists what there is`);
    }
    const allowed = [...new Set(matched.flatMap((layer) => layer.methods))].toSorted().join(', ');
    ctx.set('Allow', allowed);
    throw new ShiplogError('method-not-allowed', `${ctx.method} is not possible at ${path}, expected ${allowed}`);
  };
}
