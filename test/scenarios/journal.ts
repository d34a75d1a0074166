/** What clients were told about their writes, and where each of them is in the end. */
import type { EpochHistory } from '../../lib/base/epoch-history.ts';
import type { Position } from '../../lib/base/position.ts';
import { SALVAGE_DIRECTORY, type SalvagedWrite, isSalvageName } from '../../lib/failover/salvage-file.ts';
import { SalvageReader } from '../../lib/failover/salvage-reader.ts';
import type { Node } from '../../lib/node/node.ts';
import type { ReadResult } from '../../lib/node/node-api.ts';
import type { Machine } from '../support/memory-cluster.ts';

/** A write whose answer told where it is. A delete has no value. */
export interface ToldWrite {
  readonly key: string;
  readonly value: string | undefined;
  /** Undefined where it was answered before it had one. */
  readonly position: Position | undefined;
  /** How many replicas had confirmed it by then. */
  readonly replicas: number;
}

export type Whereabouts = 'in the table' | 'overwritten' | 'in salvage' | 'nowhere';

const DATA_DIRECTORY = '/data/node';

export class Journal {
  /** Answered with OK. */
  readonly acknowledged: ToldWrite[] = [];
  /** Answered with "stored here, not confirmed there": may be found, or not. */
  readonly unconfirmed: ToldWrite[] = [];
  /** Also of writes whose outcome nobody was told. */
  readonly keys = new Set<string>();

  /** `survivor` is one of the nodes that are equal in the end. */
  whereIs(write: ToldWrite, survivor: Node, salvaged: readonly SalvagedWrite[]): Whereabouts {
    const found = survivor.read(write.key);
    if (found?.value === write.value && write.value !== undefined) return 'in the table';
    if (this.#isOverwritten(write, found, survivor.status().history)) return 'overwritten';
    const isSalvaged = salvaged.some((each) => each.key === write.key && (each.kind === 'put' ? each.value : undefined) === write.value);
    return isSalvaged ? 'in salvage' : 'nowhere';
  }

  /** What came later in the same history may have replaced it, and a delete leaves no row. */
  #isOverwritten({ key, position }: ToldWrite, found: ReadResult | undefined, history: EpochHistory): boolean {
    if (position === undefined || !history.contains(position)) return false;
    if (found !== undefined) return found.position.lsn > position.lsn;
    return [...this.acknowledged, ...this.unconfirmed].some((each) => each.key === key && each.value === undefined && each.position !== undefined && each.position.lsn >= position.lsn && history.contains(each.position));
  }
}

/** A salvage file and the writes in it. */
export interface SalvageContent {
  readonly forkPosition: string;
  readonly throughPosition: string;
  readonly writes: readonly SalvagedWrite[];
}

/** All that a machine has set aside. Its disk may belong to no process at the moment. */
export async function readSalvage({ disk }: Machine): Promise<readonly SalvageContent[]> {
  const directory = `${DATA_DIRECTORY}/${SALVAGE_DIRECTORY}`;
  const files: SalvageContent[] = [];
  for (const name of (await disk.list(directory)).filter((each) => isSalvageName(each))) {
    const reader = await SalvageReader.open(disk, `${directory}/${name}`);
    const writes: SalvagedWrite[] = [];
    for await (const { operation } of reader.operations()) if ('key' in operation) writes.push(operation);
    files.push({ forkPosition: reader.header.forkPosition, throughPosition: reader.header.throughPosition, writes });
  }
  return files;
}
