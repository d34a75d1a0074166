/**
 * Makes batches as a log would hand them out: LSNs without gaps, a chain, epochs. Keeps the table
 * that they fold to, so that a test can compare.
 */
import { crc32 } from 'node:zlib';
import { EpochHistory, type EpochRef } from '../../lib/base/epoch-history.ts';
import type { Batch, DataOperation, Operation } from '../../lib/base/operation.ts';
import type { StoredRow } from '../../lib/store/store.ts';

export class LogWriter {
  readonly batches: Batch[] = [];
  lsn = 0;
  chain = 0;
  history = EpochHistory.EMPTY;

  /** Opens an epoch with an id made of its number, e.g. `0001…`. */
  beginEpoch(number: number): Batch {
    const epoch = testEpoch(number);
    const parent = this.history.current;
    const parentEnd = { lsn: this.lsn, chain: this.chain };
    this.history = this.history.opened(epoch, parentEnd);
    return this.#append([
      {
        kind: 'epoch-begin',
        begin: parent === undefined ? 'first' : 'failover',
        epoch,
        parent: parent === undefined ? null : { number: parent.number, id: parent.id },
        parentEnd,
        acceptedLoss: parent === undefined ? null : 0,
      },
    ]);
  }

  write(...operations: readonly DataOperation[]): Batch {
    return this.#append(operations);
  }

  /** The table after all operations through `throughLsn`. */
  fold(throughLsn = this.lsn): Map<string, StoredRow> {
    const table = new Map<string, StoredRow>();
    for (const batch of this.batches) {
      for (const [index, operation] of batch.operations.entries()) {
        const lsn = batch.firstLsn + index;
        if (lsn > throughLsn) return table;
        if (operation.kind === 'put') table.set(operation.key, { value: operation.value, lsn });
        if (operation.kind === 'delete') table.delete(operation.key);
      }
    }
    return table;
  }

  #append(operations: readonly Operation[]): Batch {
    const batch: Batch = {
      firstLsn: this.lsn + 1,
      lastLsn: this.lsn + operations.length,
      epochNumber: this.history.current?.number ?? 0,
      wallMs: 1_700_000_000_000 + this.lsn,
      chain: crc32(JSON.stringify(operations), this.chain),
      operations,
    };
    this.lsn = batch.lastLsn;
    this.chain = batch.chain;
    this.batches.push(batch);
    return batch;
  }
}

export function testEpoch(number: number): EpochRef {
  return { number, id: number.toString(16).padStart(4, '0').padEnd(32, '0') };
}

export function put(key: string, value: string): DataOperation {
  return { kind: 'put', key, value };
}

export function del(key: string): DataOperation {
  return { kind: 'delete', key };
}
