/** A batch on its way to a node, and what comes back: what http/ does, also where one node passes it on to another. */
import type { AckLevel } from '../../lib/base/ack-level.ts';
import { ShiplogError, unreachable } from '../../lib/base/errors.ts';
import { type Position, formatPosition, parsePosition } from '../../lib/base/position.ts';
import { errorFromProblem } from '../../lib/base/problem.ts';
import type { Node } from '../../lib/node/node.ts';
import type { BatchResult, BatchWrite } from '../../lib/node/node-api.ts';
import type { WriteAnswer } from './write-answer.ts';

interface Durability {
  readonly ack: AckLevel;
  readonly timeoutMs: number;
}

/** @returns an answer for each operation. */
export async function sendBatch(node: Node, writes: readonly BatchWrite[], durability: Durability): Promise<readonly WriteAnswer[]> {
  const route = await node.writeRoute();
  switch (route.kind) {
    case 'local':
      return answersTo(writes, await node.writeBatch(writes, durability));
    case 'forward':
      return await passOn(node, route.primaryUrl, writes, durability);
    case 'redirect':
      throw new ShiplogError('no-primary', 'no client follows redirects here');
    default:
      return unreachable(route);
  }
}

async function passOn(node: Node, primaryUrl: string, writes: readonly BatchWrite[], durability: Durability): Promise<readonly WriteAnswer[]> {
  const request = { method: 'POST', target: `/batch?ack=${durability.ack}&timeout=${durability.timeoutMs}ms`, headers: {}, body: batchBody(writes) };
  const { status, body } = await node.forward(primaryUrl, request, durability);
  switch (status) {
    case 200:
      return answersTo(writes, resultIn(body));
    case 412:
      return writes.map(() => REFUSED);
    default:
      throw errorFromProblem(status, body);
  }
}

const REFUSED: WriteAnswer = { outcome: 'failed', ackReached: null, position: null };

function answersTo(writes: readonly BatchWrite[], result: BatchResult): readonly WriteAnswer[] {
  if (result.outcome === 'precondition-failed') return writes.map(() => REFUSED);
  const { ack, position, results } = result;
  // Of what was not there, the state that says so.
  return results.map((each) => (each.outcome === 'written' ? { outcome: 'ok', ackReached: ack, position: each.position } : { outcome: 'not-found', ackReached: null, position }));
}

// ——— in between ———

type SentWrite = Pick<BatchWrite, 'operation'> & { readonly ifMatch: string | null; readonly isOnlyIfAbsent: boolean };

function batchBody(writes: readonly BatchWrite[]): Buffer {
  const sent = writes.map(({ operation, condition: { ifMatch, ifNoneMatch } }): SentWrite => ({ operation, ifMatch: ifMatch === undefined ? null : ifMatch === '*' ? '*' : formatPosition(ifMatch[0]!), isOnlyIfAbsent: ifNoneMatch !== undefined }));
  return Buffer.from(JSON.stringify(sent));
}

/** Conditions are those that the simulation's clients know, each with one position or `*`. */
export function batchIn(body: Uint8Array): readonly BatchWrite[] {
  const sent = JSON.parse(Buffer.from(body).toString('utf8')) as readonly SentWrite[];
  return sent.map(({ operation, ifMatch, isOnlyIfAbsent }) => ({
    operation,
    condition: { ...(ifMatch !== null && { ifMatch: ifMatch === '*' ? ('*' as const) : [positionIn(ifMatch)] }), ...(isOnlyIfAbsent && { ifNoneMatch: '*' as const }) },
  }));
}

type WrittenBatch = Extract<BatchResult, { readonly outcome: 'written' }>;

export function resultBody({ position, ack, results }: WrittenBatch): Buffer {
  const shown = (each: Position | null): string | null => (each === null ? null : formatPosition(each));
  return Buffer.from(JSON.stringify({ position: shown(position), ack, results: results.map((each) => (each.outcome === 'written' ? { outcome: 'written', position: shown(each.position) } : { outcome: 'absent' })) }));
}

function resultIn(body: Uint8Array): WrittenBatch {
  const { position, ack, results } = JSON.parse(Buffer.from(body).toString('utf8')) as { readonly position: string | null; readonly ack: WrittenBatch['ack']; readonly results: readonly { readonly outcome: 'written' | 'absent'; readonly position?: string | null }[] };
  const shown = (text: string | null | undefined): Position | null => (text == null ? null : positionIn(text));
  return { outcome: 'written', position: shown(position), ack, results: results.map((each) => (each.outcome === 'written' ? { outcome: 'written', position: shown(each.position) } : { outcome: 'absent' })) };
}

function positionIn(text: string): Position {
  const position = parsePosition(text);
  if (position === undefined) throw new Error(`${text} is no position`);
  return position;
}
