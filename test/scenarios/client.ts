/** What a client of the HTTP interface asks of a node, without HTTP. */
import { ShiplogError, unreachable } from '../../lib/base/errors.ts';
import type { DataOperation } from '../../lib/base/operation.ts';
import { type Position, parsePosition } from '../../lib/base/position.ts';
import { errorFromProblem } from '../../lib/base/problem.ts';
import type { Node } from '../../lib/node/node.ts';
import type { WriteDurability } from '../../lib/node/node-api.ts';

export interface WriteAnswer {
  /** Undefined where it was answered before it had one, and for a delete that found nothing. */
  readonly position: Position | undefined;
  /** How many replicas have confirmed it. */
  readonly replicas: number;
}

/** @throws ShiplogError as the node answers it. */
export async function write(node: Node, operation: DataOperation, durability: WriteDurability): Promise<WriteAnswer> {
  const route = await node.writeRoute();
  switch (route.kind) {
    case 'local':
      return await writeHere(node, operation, durability);
    case 'forward':
      return await passOn(node, route.primaryUrl, operation, durability);
    case 'redirect':
      throw new ShiplogError('no-primary', 'these nodes forward');
    default:
      return unreachable(route);
  }
}

async function writeHere(node: Node, operation: DataOperation, durability: WriteDurability): Promise<WriteAnswer> {
  const result = await node.write(operation, {}, durability);
  switch (result.outcome) {
    case 'written':
      return { position: result.position ?? undefined, replicas: typeof result.ack === 'number' ? result.ack : 0 };
    case 'absent':
      throw new ShiplogError('not-found', operation.key);
    case 'precondition-failed':
      throw new ShiplogError('precondition-failed', operation.key);
    default:
      return unreachable(result);
  }
}

async function passOn(node: Node, primaryUrl: string, operation: DataOperation, { ack, timeoutMs }: WriteDurability): Promise<WriteAnswer> {
  const query = new URLSearchParams({ ...(ack !== undefined && { ack: String(ack) }), ...(timeoutMs !== undefined && { timeout: `${timeoutMs}ms` }) });
  const isPut = operation.kind === 'put';
  const response = await node.forward(primaryUrl, {
    method: isPut ? 'POST' : 'DELETE',
    target: `/${isPut ? 'set' : 'del'}/${encodeURIComponent(operation.key)}?${query.toString()}`,
    headers: {},
    ...(isPut && { body: Buffer.from(operation.value) }),
  }, { ...(ack !== undefined && { ack }), ...(timeoutMs !== undefined && { timeoutMs }) });
  if (response.status >= 400) throw errorFromProblem(response.status, response.body);
  return { position: parsePosition((response.headers['etag'] ?? '').replaceAll('"', '')), replicas: Number.parseInt(response.headers['shiplog-ack'] ?? '0', 10) || 0 };
}
