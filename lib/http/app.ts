/**
 * The Koa application: translates between HTTP and a node, decides nothing.
 *
 *   answers ▶ admission ▶ router ▶ one route
 *      │          │           └─ no route: unrouted (404, 405)
 *      │          └─ target, Host, Expect, and who may change data
 *      └─ errors become problem documents; an answer before the end of a body closes with care
 */
import { Router } from '@koa/router';
import Koa from 'koa';

import { messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { Clock } from '../env/clock.ts';
import type { TransportHandler } from '../env/transport.ts';
import type { NodeApi } from '../node/node-api.ts';
import type { Logger } from '../observe/logger.ts';
import { BodyBudget } from './body-budget.ts';
import type { HttpState } from './http-context.ts';
import { ImportAccounts } from './import-accounts.ts';
import { LingeringClose } from './lingering-close.ts';
import { admission } from './middleware/admission.ts';
import { answers } from './middleware/answers.ts';
import { unrouted } from './middleware/unrouted.ts';
import { OpenStreams } from './open-streams.ts';
import { addBatchRoutes } from './routes/batch.ts';
import { addDataRoutes } from './routes/data.ts';
import { addExportRoute } from './routes/export.ts';
import { addImportRoutes } from './routes/import.ts';
import { addNodeRoutes } from './routes/nodes.ts';
import { addOperationRoutes } from './routes/operations.ts';
import { addStatusRoutes } from './routes/status.ts';
import { type NodeRoute, transportRoute } from './transport-adapter.ts';
import { WriteGuard } from './write-guard.ts';

export interface AppOptions {
  readonly node: NodeApi;
  readonly clock: Clock;
  readonly logger: Logger;
  /**
   * The node's own names, as `name` or `name:port`: advertised host, listen host and whatever the
   * operator adds. Loopback names need no mention.
   */
  readonly allowedHosts?: readonly string[];
  /** Shared with whoever shows its use; default: a new one of 256 MiB. */
  readonly requestBodies?: BodyBudget;
  /** Memory for answers of more than 64 KiB that are on their way; default: a new one of 256 MiB. */
  readonly largeAnswers?: BodyBudget;
  /** Shared with the listener, which ends streams when it closes. */
  readonly streams?: OpenStreams;
  /** Shared by the applications that one node has over time; default: new ones. */
  readonly imports?: ImportAccounts;
  /** A body that brings next to nothing for so long is given up, and so is a large answer. */
  readonly bodyIdleMs?: number;
  /** How long the rest of a refused body is read and dropped. */
  readonly lingerMs?: number;
}

export function createApp(options: AppOptions): Koa<HttpState> {
  const { node, clock, logger } = options;
  const lingering = new LingeringClose(clock, options.lingerMs ?? LINGER_MS);
  const streams = options.streams ?? new OpenStreams();

  const router = new Router<HttpState>({ sensitive: true, strict: true });
  const dataOptions = {
    node,
    clock,
    requestBodies: options.requestBodies ?? new BodyBudget(LIMITS.requestBodiesBytesMax),
    largeAnswers: options.largeAnswers ?? new BodyBudget(LIMITS.requestBodiesBytesMax),
    bodyIdleMs: options.bodyIdleMs ?? LIMITS.bodyIdleMs,
  };
  addDataRoutes(router, dataOptions);
  addBatchRoutes(router, dataOptions);
  addExportRoute(router, { node, clock, streams, logger, stallMs: dataOptions.bodyIdleMs });
  addImportRoutes(router, { ...dataOptions, streams, lingering, logger, accounts: options.imports ?? new ImportAccounts() });
  addStatusRoutes(router, node);
  const adapt = (handler: TransportHandler): NodeRoute => transportRoute(handler, { streams, lingering, logger });
  addNodeRoutes(router, node, adapt);
  addOperationRoutes(router, node, adapt);

  const app = new Koa<HttpState>();
  app.use(answers({ node, logger, lingering }));
  app.use(admission(new WriteGuard(options.allowedHosts ?? []), lingering));
  app.use(router.routes());
  app.use(unrouted());
  // Koa reports broken connections here, and would print them otherwise.
  app.on('error', (error: unknown) => logger.debug('a connection broke', { error: messageOf(error) }));
  return app;
}

const LINGER_MS = 5_000;
