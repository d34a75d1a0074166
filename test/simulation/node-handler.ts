/** What http/ does for other nodes, without HTTP: the routes that a node's requests lead to. */
import { parseAckLevel } from '../../lib/base/ack-level.ts';
import { ShiplogError, unreachable } from '../../lib/base/errors.ts';
import { type Position, formatPosition, parsePosition } from '../../lib/base/position.ts';
import type { TransportHandler, TransportRequest, TransportResponse } from '../../lib/env/transport.ts';
import type { Node } from '../../lib/node/node.ts';
import type { WriteCondition, WriteDurability } from '../../lib/node/node-api.ts';
import { batchIn, resultBody } from './batch-exchange.ts';

export function nodeHandler(node: Node): TransportHandler {
  return async (request) => {
    const path = request.target.split('?')[0]!;
    if (path === '/wal') return await node.serveLog(request);
    if (path === '/snapshot') return await node.serveSnapshot(request);
    if (path.startsWith('/peer/')) return await node.servePeer(request);
    if (path === '/status') return { status: 200, headers: {}, body: once(Buffer.from(JSON.stringify(node.status()))) };
    if (path.startsWith('/set/') || path.startsWith('/del/')) return await forwardedWrite(node, request);
    if (path === '/batch') return await forwardedBatch(node, request);
    throw new ShiplogError('no-such-route', path);
  };
}

/** A write that another node has passed on: it is carried out here or refused, and never goes on. */
async function forwardedWrite(node: Node, request: TransportRequest): Promise<TransportResponse> {
  const { pathname } = new URL(request.target, 'http://node');
  await refuseUnlessPrimary(node);
  const key = decodeURIComponent(pathname.slice('/set/'.length));
  const operation = pathname.startsWith('/set/')
    ? ({ kind: 'put', key, value: Buffer.from(request.body as Uint8Array).toString('utf8') } as const)
    : ({ kind: 'delete', key } as const);
  const result = await node.write(operation, conditionOf(request.headers), durabilityOf(request));
  const headers: Record<string, string> = { 'shiplog-position': formatPosition(node.visiblePosition()) };
  switch (result.outcome) {
    case 'written':
      if (result.position !== null) {
        headers['etag'] = `"${formatPosition(result.position)}"`;
        // What http/ says of a forwarded write: the position that the passing node has to show.
        headers['shiplog-position'] = formatPosition(laterOf(node.visiblePosition(), result.position));
      }
      headers['shiplog-ack'] = String(result.ack ?? 'local');
      return { status: 200, headers, body: once(Buffer.from('OK')) };
    case 'absent':
      return { status: 404, headers, body: once(Buffer.from('not-found')) };
    case 'precondition-failed':
      return { status: 412, headers, body: once(Buffer.from('precondition-failed')) };
    default:
      return unreachable(result);
  }
}

async function forwardedBatch(node: Node, request: TransportRequest): Promise<TransportResponse> {
  await refuseUnlessPrimary(node);
  const result = await node.writeBatch(batchIn(request.body as Uint8Array), durabilityOf(request));
  const visible = node.visiblePosition();
  if (result.outcome === 'precondition-failed') return { status: 412, headers: { 'shiplog-position': formatPosition(visible) }, body: once(Buffer.from('precondition-failed')) };
  const shown = result.position === null ? visible : laterOf(visible, result.position);
  return { status: 200, headers: { 'shiplog-position': formatPosition(shown), 'shiplog-ack': String(result.ack) }, body: once(resultBody(result)) };
}

async function refuseUnlessPrimary(node: Node): Promise<void> {
  const route = await node.writeRoute();
  if (route.kind !== 'local') throw new ShiplogError('not-primary', 'this write was forwarded here, but this node is not the primary');
}

function durabilityOf({ target }: TransportRequest): WriteDurability {
  const { searchParams } = new URL(target, 'http://node');
  const ack = parseAckLevel(searchParams.get('ack') ?? '');
  const timeout = searchParams.get('timeout')?.replace('ms', '') ?? null;
  return { ...(ack !== undefined && { ack }), ...(timeout !== null && { timeoutMs: Number(timeout) }) };
}

/** The two conditions that the simulation's clients know, each with one position or `*`. */
function conditionOf(headers: Readonly<Record<string, string>>): WriteCondition {
  return { ...listOf('ifMatch', headers['if-match']), ...listOf('ifNoneMatch', headers['if-none-match']) };
}

function listOf(name: 'ifMatch' | 'ifNoneMatch', text: string | undefined): WriteCondition {
  if (text === undefined) return {};
  return { [name]: text === '*' ? '*' : [parsePosition(text.replaceAll('"', ''))!] };
}

function laterOf(one: Position, other: Position): Position {
  return one.lsn >= other.lsn ? one : other;
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
