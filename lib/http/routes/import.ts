/**
 * `POST /import`: lines of JSON, as many as there are. The answer grows while the body is read, and says at its
 * end how many of the lines are in the cluster: exactly the first so many. `GET /import?id=…` says it again.
 */
import type { Router } from '@koa/router';

import { ShiplogError, isShiplogError, messageOf } from '../../base/errors.ts';
import { formatPosition } from '../../base/position.ts';
import type { Clock } from '../../env/clock.ts';
import type { NodeApi } from '../../node/node-api.ts';
import type { Logger } from '../../observe/logger.ts';
import type { BodyBudget } from '../body-budget.ts';
import { DATA_HEADERS } from '../data-answer.ts';
import type { HttpContext, HttpState } from '../http-context.ts';
import type { ImportAccounts } from '../import-accounts.ts';
import { type ImportFailure, ImportRun } from '../import-run.ts';
import type { LingeringClose } from '../lingering-close.ts';
import type { OpenStreams } from '../open-streams.ts';
import { PacedWriter } from '../paced-writer.ts';
import { parametersOf } from '../parameters.ts';
import { RequestChunks } from '../request-chunks.ts';
import { ClientGoneError, announcesBody } from '../request-body.ts';
import { parseQuery } from '../request-target.ts';
import { bodyKindOf } from '../value.ts';
import { redirected, routeOfWrite, setPosition } from './data.ts';
import { NDJSON_TYPE } from './export.ts';

export interface ImportRouteOptions {
  readonly node: NodeApi;
  readonly clock: Clock;
  readonly streams: OpenStreams;
  readonly lingering: LingeringClose;
  readonly logger: Logger;
  readonly requestBodies: BodyBudget;
  readonly bodyIdleMs: number;
  readonly accounts: ImportAccounts;
}

/** Between two lines of progress. */
const PROGRESS_INTERVAL_MS = 1_000;

export function addImportRoutes(router: Router<HttpState>, options: ImportRouteOptions): void {
  const { node, clock, streams, lingering, logger, requestBodies, bodyIdleMs, accounts } = options;

  router.post('/import', async (ctx: HttpContext): Promise<void> => {
    ctx.set(DATA_HEADERS);
    const { query } = ctx.state.target;
    const { min, waitMs, durability } = parametersOf(query, ctx.req.headers, 'write', ['skip', 'id']);
    const parameters = parseQuery(query);
    const skip = skipOf(parameters.get('skip'));
    const id = idOf(parameters.get('id'));
    if (durability.ack === 'memory') throw new ShiplogError('bad-request', 'ack is memory, expected local, all, or a number of replicas: what an import counts as done is synced');
    bodyKindOf(ctx.req.headers);
    if (!announcesBody(ctx.req) && ctx.req.headers['content-length'] === undefined) throw new ShiplogError('length-required', 'the request has no body, expected lines of JSON (with curl: -T FILE -X POST)');
    if (min !== undefined) await node.waitFor(min, waitMs);
    const route = await routeOfWrite(ctx, node);
    // However long it is, it should travel once: a replica passes nothing on.
    if (redirected(ctx, node, route.kind === 'forward' ? { kind: 'redirect', primaryUrl: route.primaryUrl } : route)) return;
    if (id !== undefined) await accounts.supersede(id, new ShiplogError('stopping', 'another import with this id has begun'));

    const signal = streams.open(ctx.res);
    if (ctx.req.headers.expect !== undefined) ctx.res.writeContinue();
    const progress = new ProgressLines(ctx, clock, bodyIdleMs);
    const body = new RequestChunks(ctx.req, { clock, idleMs: bodyIdleMs });
    const run = new ImportRun({ node, clock, budget: requestBodies, durability, skip, body, onProgress: () => progress.show(run) });
    signal.addEventListener('abort', () => run.stop(ctx.res.destroyed ? new ClientGoneError() : new ShiplogError('stopping', 'this node is stopping; go on at another one')));
    if (signal.aborted) run.stop(new ShiplogError('stopping', 'this node is stopping; ask another one'));
    const running = run.run();
    if (id !== undefined) accounts.add(id, entryOf(run, running));
    const failure = await running;
    body.stop(new Error('the import has ended'));

    const { durableLines: lines, position } = run;
    logger.info(failure === undefined ? 'an import is done' : 'an import broke off', { lines, position: formatPosition(position), ...(failure !== undefined && { reason: messageOf(failure.error) }) });
    if (ctx.res.destroyed) {
      ctx.respond = false;
      return;
    }
    if (failure === undefined) {
      await progress.end({ type: 'done', lines, position: formatPosition(position) });
      return;
    }
    const error = errorOf(failure, run);
    if (!progress.hasBegun) throw error;
    await progress.end({ ...error.extra, type: 'failed', lines, position: formatPosition(position), code: error.code, message: error.message });
    if (!ctx.req.complete) lingering.drainAfter(ctx.req);
  });

  router.get('/import', (ctx: HttpContext): void => {
    ctx.set(DATA_HEADERS);
    const parameters = parseQuery(ctx.state.target.query);
    const id = idOf(parameters.get('id'));
    if (id === undefined || parameters.size !== 1) throw new ShiplogError('bad-request', 'name the import: /import?id=ID');
    const account = accounts.get(id);
    if (account === undefined) throw new ShiplogError('not-found', `there is no import ${JSON.stringify(id)}: this node has not seen it, or was started anew`);
    setPosition(ctx, node);
    ctx.set('Content-Type', 'application/json');
    ctx.body = `${JSON.stringify(account)}\n`;
  });
}

function entryOf(run: ImportRun, running: Promise<ImportFailure | undefined>): Parameters<ImportAccounts['add']>[1] {
  let state: 'running' | 'done' | 'failed' = 'running';
  const ended = running.then((failure) => {
    state = failure === undefined ? 'done' : 'failed';
  });
  return { run, ended, account: () => ({ state, lines: run.durableLines, position: formatPosition(run.position) }) };
}

/** Says with the reason what is in the cluster, and from where to go on. */
function errorOf({ error, line, uncertainThroughLine }: ImportFailure, run: ImportRun): ShiplogError {
  const known = isShiplogError(error) && error.status !== 500 ? error : new ShiplogError('internal', 'the node failed; its log says why', { cause: error });
  const extra = {
    ...known.extra,
    lines: run.durableLines,
    position: formatPosition(run.position),
    ...(line !== undefined && { line }),
    ...(uncertainThroughLine !== undefined && { uncertainThroughLine }),
  };
  return new ShiplogError(known.code, line === undefined ? known.message : `line ${line}: ${known.message}`, { cause: error, extra, ...(known.retryAfterS !== undefined && { retryAfterS: known.retryAfterS }) });
}

/** The answer that grows. Its head goes out with its first line: what fails before that has a status of its own. */
class ProgressLines {
  readonly #ctx: HttpContext;
  readonly #clock: Clock;
  readonly #writer: PacedWriter;
  #shownMs: number;
  #writing: Promise<unknown> | undefined;

  constructor(ctx: HttpContext, clock: Clock, stallMs: number) {
    this.#ctx = ctx;
    this.#clock = clock;
    this.#writer = new PacedWriter(ctx.res, { clock, stallMs });
    this.#shownMs = clock.monotonicMs();
  }

  get hasBegun(): boolean {
    return this.#ctx.respond === false;
  }

  show({ durableLines: lines, position }: ImportRun): void {
    const nowMs = this.#clock.monotonicMs();
    // A client that does not read yet gets the next one.
    if (this.#writing !== undefined || nowMs - this.#shownMs < PROGRESS_INTERVAL_MS) return;
    this.#shownMs = nowMs;
    this.#writing = this.#write({ type: 'progress', lines, position: formatPosition(position) }).finally(() => {
      this.#writing = undefined;
    });
  }

  async end(document: object): Promise<void> {
    await this.#writing;
    await this.#write(document);
    this.#ctx.res.end();
  }

  #write(document: object): Promise<unknown> {
    if (!this.hasBegun) {
      this.#ctx.set('Content-Type', NDJSON_TYPE);
      this.#ctx.status = 200;
      this.#ctx.respond = false;
    }
    return this.#writer.write(Buffer.from(`${JSON.stringify(document)}\n`));
  }
}

function skipOf(text: string | undefined): number {
  if (text === undefined) return 0;
  if (!/^\d{1,15}$/.test(text)) throw new ShiplogError('bad-request', `skip is ${JSON.stringify(text.slice(0, 100))}, expected a number of lines`);
  return Number(text);
}

function idOf(text: string | undefined): string | undefined {
  if (text !== undefined && !/^[\w.-]{1,64}$/.test(text)) throw new ShiplogError('bad-request', `id is ${JSON.stringify(text.slice(0, 100))}, expected 1 to 64 letters, digits, dots, dashes or underscores`);
  return text;
}
