/** `GET /export`: all keys at one position, as lines of JSON that `POST /import` takes. See base/export-document.ts. */
import type { Router } from '@koa/router';

import { isShiplogError, messageOf, ShiplogError } from '../../base/errors.ts';
import { EXPORT_FORMAT, type ExportFailure, type ExportFooter, type ExportHeader } from '../../base/export-document.ts';
import { KIB } from '../../base/limits.ts';
import { formatPosition } from '../../base/position.ts';
import type { Clock } from '../../env/clock.ts';
import type { NodeApi, TableExport } from '../../node/node-api.ts';
import type { Logger } from '../../observe/logger.ts';
import { DATA_HEADERS } from '../data-answer.ts';
import type { HttpContext, HttpState } from '../http-context.ts';
import type { OpenStreams } from '../open-streams.ts';
import { PacedWriter } from '../paced-writer.ts';
import { parametersOf } from '../parameters.ts';
import { parseQuery } from '../request-target.ts';

export interface ExportRouteOptions {
  readonly node: NodeApi;
  readonly clock: Clock;
  readonly streams: OpenStreams;
  readonly logger: Logger;
  /** A client that takes nothing for so long is dropped. */
  readonly stallMs: number;
}

export const NDJSON_TYPE = 'application/x-ndjson';

/** Lines are gathered up to this; a single one may be longer. */
const CHUNK_LENGTH = 64 * KIB;

export function addExportRoute(router: Router<HttpState>, options: ExportRouteOptions): void {
  const { node, streams } = options;

  router.get('/export', async (ctx: HttpContext): Promise<void> => {
    ctx.set(DATA_HEADERS);
    const { query } = ctx.state.target;
    const { min, waitMs } = parametersOf(query, ctx.req.headers, 'read', ['prefix']);
    const prefix = parseQuery(query).get('prefix') ?? '';
    if (min !== undefined) await node.waitFor(min, waitMs);
    ctx.set('Content-Type', NDJSON_TYPE);
    if (ctx.method === 'HEAD') {
      ctx.status = 200;
      ctx.res.setHeader('Shiplog-Position', formatPosition(node.visiblePosition()));
      return;
    }

    const signal = streams.open(ctx.res);
    const table = await node.exportTable();
    try {
      if (signal.aborted) throw signal.reason as Error;
      ctx.set('Shiplog-Position', formatPosition(table.position));
      ctx.status = 200;
      ctx.respond = false;
      await send(ctx, table, { ...options, prefix, signal });
    } finally {
      await table.close();
    }
  });
}

interface SendOptions extends ExportRouteOptions {
  readonly prefix: string;
  readonly signal: AbortSignal;
}

async function send(ctx: HttpContext, table: TableExport, { prefix, signal, clock, stallMs, logger }: SendOptions): Promise<void> {
  const { res } = ctx;
  const writer = new PacedWriter(res, { clock, stallMs });
  let gathered = '';
  try {
    const position = formatPosition(table.position);
    const header: ExportHeader = { type: 'header', format: EXPORT_FORMAT, clusterId: table.clusterId, position, keys: table.rowCount, ...(prefix !== '' && { prefix }) };
    gathered = line(header);
    let count = 0;
    for await (const { key, value } of table.rows(prefix)) {
      if (signal.aborted) throw new ShiplogError('stopping', 'this node is stopping: the export is not complete');
      gathered += line({ key, value });
      count += 1;
      if (gathered.length < CHUNK_LENGTH) continue;
      const chunk = Buffer.from(gathered);
      gathered = '';
      if (!(await writer.write(chunk))) return;
    }
    const footer: ExportFooter = { type: 'footer', count, position };
    await writer.write(Buffer.from(gathered + line(footer)));
  } catch (error) {
    if (res.destroyed) return;
    logger.warn('an export broke off', { error: messageOf(error) });
    const failure: ExportFailure = isShiplogError(error) && error.status !== 500 ? { type: 'failed', code: error.code, message: error.message } : { type: 'failed', code: 'internal', message: 'the node failed; its log says why' };
    await writer.write(Buffer.from(gathered + line(failure)));
  }
  res.end();
}

function line(document: object): string {
  return `${JSON.stringify(document)}\n`;
}
