/**
 * What has become of the keys of a salvage file since. Of each key only the last operation counts, and the
 * key's last write in the cluster decides:
 *
 *   in place      the cluster says the same already: nothing is to be done
 *   still newest  last written at or before the fork: nobody has touched the key since
 *   superseded    written after the fork
 *   absent        there is no such key now: it may have been deleted after the fork, or is new
 */
import type { EpochHistory } from '../base/epoch-history.ts';
import { parsePosition } from '../base/position.ts';
import type { ReadValue, ShiplogClient } from '../client/shiplog-client.ts';
import type { SalvagedOperation, SalvagedWrite } from '../failover/salvage-file.ts';
import type { SalvageReader } from '../failover/salvage-reader.ts';

export const OPERATION_CLASSES = ['still-newest', 'superseded', 'absent', 'in-place'] as const;
export type OperationClass = (typeof OPERATION_CLASSES)[number];

export type ClassCounts = Readonly<Record<OperationClass, number>>;

export interface JudgedWrite {
  readonly write: SalvagedWrite;
  readonly class: OperationClass;
  /** Position of the key's last write in the cluster, or null where there is no such key. */
  readonly current: string | null;
}

/** What was given up, and where it left the history that survives. */
export interface GivenUpHistory {
  readonly history: EpochHistory;
  readonly forkLsn: number;
}

/** `current`: what the cluster has under the key. */
export function judgeWrite(write: SalvagedWrite, current: ReadValue | undefined, givenUp: GivenUpHistory): OperationClass {
  if (current === undefined) return write.kind === 'delete' ? 'in-place' : 'absent';
  if (write.kind === 'put' && current.value === write.value) return 'in-place';
  return isBeforeFork(current.position, givenUp) ? 'still-newest' : 'superseded';
}

/**
 * LSNs alone don't tell: both histories have some after the fork, and a later failover may have forked
 * below it. An operation at or before the fork is one that both have, so its epoch is there in ours too.
 */
function isBeforeFork(text: string, { history, forkLsn }: GivenUpHistory): boolean {
  const position = parsePosition(text);
  return position !== undefined && position.lsn <= forkLsn && history.contains(position);
}

/** The last operation of each key. */
export class LastWrites {
  readonly #lsns = new Map<string, number>();

  get keyCount(): number {
    return this.#lsns.size;
  }

  /** Rows of the table, which stand before operations of the log, are in no order: the LSN decides. */
  note(operation: SalvagedOperation): void {
    if (!isWrite(operation)) return;
    const lsn = lsnOf(operation);
    if (lsn > (this.#lsns.get(operation.key) ?? -1)) this.#lsns.set(operation.key, lsn);
  }

  has(key: string): boolean {
    return this.#lsns.has(key);
  }

  /** From the file again, in its order, in portions that are small enough to be under way at once. */
  async *portions(reader: SalvageReader, keys: ReadonlySet<string> | undefined, onProgress: (doneBytes: number) => void): AsyncGenerator<readonly SalvagedWrite[], void> {
    let portion: SalvagedWrite[] = [];
    let length = 0;
    for await (const { operation, endOffset } of reader.operations()) {
      onProgress(endOffset);
      if (!isWrite(operation) || this.#lsns.get(operation.key) !== lsnOf(operation) || keys?.has(operation.key) === false) continue;
      portion.push(operation);
      length += operation.kind === 'put' ? operation.value.length : 0;
      if (portion.length < PORTION_COUNT_MAX && length < PORTION_LENGTH_MAX) continue;
      yield portion;
      portion = [];
      length = 0;
    }
    if (portion.length > 0) yield portion;
  }
}

const PORTION_COUNT_MAX = 16;
/** Of values; a single one may be longer. */
const PORTION_LENGTH_MAX = 4 * 1024 * 1024;

/** Asks the cluster about each of them. @throws as `ShiplogClient.get`. */
export function judgePortion(portion: readonly SalvagedWrite[], client: ShiplogClient, givenUp: GivenUpHistory): Promise<readonly JudgedWrite[]> {
  return Promise.all(
    portion.map(async (write) => {
      const current = await client.get(write.key);
      return { write, class: judgeWrite(write, current, givenUp), current: current?.position ?? null };
    }),
  );
}

export function noCounts(): Record<OperationClass, number> {
  return { 'still-newest': 0, 'superseded': 0, 'absent': 0, 'in-place': 0 };
}

function isWrite(operation: SalvagedOperation): operation is SalvagedWrite {
  return operation.kind === 'put' || operation.kind === 'delete';
}

function lsnOf(operation: SalvagedOperation): number {
  return parsePosition(operation.position)!.lsn;
}
