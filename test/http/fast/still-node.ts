import { ShiplogError } from '../../../lib/base/errors.ts';
import type { DataOperation } from '../../../lib/base/operation.ts';
import type { Position } from '../../../lib/base/position.ts';
import type { ReadResult, WriteCondition, WriteDurability, WriteResult } from '../../../lib/node/node-api.ts';
import { FakeNode } from '../fake-node.ts';

/**
 * A node that nothing changes: what a request gets depends on its key alone, not on what else is under way. So
 * two servers that serve the same requests have to give the same answers, whatever the timing.
 */
export class StillNode extends FakeNode {
  readonly written: DataOperation[] = [];

  override read(key: string): ReadResult | undefined {
    if (!this.ready) throw new ShiplogError('not-ready', 'still loading the first snapshot');
    if (key.startsWith('missing')) return undefined;
    if (key.startsWith('boom')) throw new Error('the fake broke');
    if (key.startsWith('unready')) throw new ShiplogError('not-ready', 'the ä is missing');
    return { value: valueOf(key), position: positionOf(key) };
  }

  override async write(operation: DataOperation, condition: WriteCondition, durability: WriteDurability = {}): Promise<WriteResult> {
    this.written.push(operation);
    const { key } = operation;
    if (key.startsWith('slow')) await new Promise((resolve) => setImmediate(resolve));
    if (key.startsWith('overloaded')) throw new ShiplogError('overloaded', 'the queue is full', { retryAfterS: 3 });
    if (key.startsWith('full')) throw new ShiplogError('disk-full', 'no space left');
    if (key.startsWith('unknown')) throw new ShiplogError('outcome-unknown', 'fenced meanwhile', { extra: { position: '1.c04d-7' } });
    if (key.startsWith('boom')) throw new Error('the fake broke');
    if (operation.kind === 'delete') return { outcome: 'absent' };
    if (Object.keys(condition).length > 0) return { outcome: 'precondition-failed', current: positionOf(key) };
    if (key.startsWith('memory')) return { outcome: 'written', position: null, ack: 'memory' };
    return { outcome: 'written', position: positionOf(key), ack: key.startsWith('acked') ? 2 : (durability.ack ?? 'local') as 'local' };
  }
}

/** Some are beyond what the node shows. */
function positionOf(key: string): Position {
  return { epochNumber: 1, epochTag: 'c04d', lsn: key.startsWith('ahead') ? 1_000 : key.length };
}

function valueOf(key: string): string {
  if (key.startsWith('empty')) return '';
  if (key.startsWith('huge')) return 'h'.repeat(70_000);
  if (key.startsWith('unicode')) return 'žluťoučký 🐎';
  if (key.startsWith('latin')) return 'café';
  return `value of ${key.slice(0, 100)}`;
}
