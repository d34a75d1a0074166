import { ShiplogError } from '../../../lib/base/errors.ts';
import type { DataOperation, PutOperation } from '../../../lib/base/operation.ts';
import type { Position } from '../../../lib/base/position.ts';
import type { HotReads, ReadResult, WriteCondition, WriteDurability, WriteListener, WriteResult } from '../../../lib/node/node-api.ts';
import { RowCache } from '../../../lib/commit/row-cache.ts';
import { EpochHistory } from '../../../lib/base/epoch-history.ts';
import { FakeNode } from '../fake-node.ts';

/**
 * A node that nothing changes: what a request gets depends on its key alone, not on what else is under way. So
 * two servers that serve the same requests have to give the same answers, whatever the timing.
 */
export class StillNode extends FakeNode {
  readonly written: DataOperation[] = [];

  readonly #rows = new StillRows();
  hotReadCount = 0;

  override hotReads(): HotReads | undefined {
    if (!this.ready) return undefined;
    return {
      rows: this.#rows,
      history: HISTORY,
      visibleLsn: this.visiblePosition().lsn,
      noteRead: () => {
        this.hotReadCount += 1;
      },
    };
  }

  override read(key: string): ReadResult | undefined {
    if (!this.ready) throw new ShiplogError('not-ready', 'still loading the first snapshot');
    if (key.startsWith('missing')) return undefined;
    if (key.startsWith('boom')) throw new Error('the fake broke');
    if (key.startsWith('unready')) throw new ShiplogError('not-ready', 'the ä is missing');
    return { value: valueOf(key), position: positionOf(key) };
  }

  override put(operation: PutOperation, listener: WriteListener): void {
    this.write(operation, {}).then(
      (result) => {
        if (result.outcome === 'written' && result.position !== null && result.ack === 'local') listener.onWritten(result.position.lsn, HISTORY);
        else listener.onOther(result);
      },
      (error: unknown) => listener.onFailed(error),
    );
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

/** Every second row that there is has been read before. */
class StillRows extends RowCache {
  constructor() {
    super(1_000_000);
  }

  override find(source: Uint8Array, start: number, end: number): number | undefined {
    const key = Buffer.from(source).toString('latin1', start, end);
    const { lsn } = positionOf(key);
    if (lsn % 2 === 0 && !NOT_FOUND.test(key)) this.keep(key, { value: valueOf(key), lsn });
    return super.find(source, start, end);
  }
}

const NOT_FOUND = /^(?:missing|boom|unready)/;
const HISTORY = EpochHistory.EMPTY.opened({ number: 1, id: 'c04d'.repeat(8) }, { lsn: 0, chain: 0 });

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
