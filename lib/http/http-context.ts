import type Koa from 'koa';

import type { RequestTarget } from './request-target.ts';

/** What middleware leaves for those behind it. */
export interface HttpState {
  /** Set by admission, before any route runs. */
  target: RequestTarget;
}

export type HttpContext = Koa.ParameterizedContext<HttpState>;
export type HttpMiddleware = Koa.Middleware<HttpState>;
