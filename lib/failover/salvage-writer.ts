/**
 * Sets operations aside that are in no surviving history, before the data that holds them is replaced:
 * salvage-file.ts says how the file looks. Made aside, synced, renamed, directory synced; written again after
 * a crash, it has the same name and replaces itself. Memory is bounded by one batch, whatever the count.
 *
 * The log is what counts. Where it no longer reaches back to the fork, because segments are gone or damaged,
 * the table tells what is left of the operations before, and the header says that they are not all.
 */
import { crc32 } from 'node:zlib';
import type { EpochRef } from '../base/epoch-history.ts';
import { ShiplogError, isShiplogError } from '../base/errors.ts';
import { KIB } from '../base/limits.ts';
import { formatPosition } from '../base/position.ts';
import { type Disk, type DiskFile, writeFully } from '../env/disk.ts';
import type { Store } from '../store/store.ts';
import type { Wal } from '../wal/wal.ts';
import { SALVAGE_DIRECTORY, SALVAGE_FORMAT, type SalvageFooter, type SalvageHeader, type SalvagedOperation, formatChecksum, salvageNameOf, salvagedOperation } from './salvage-file.ts';

export interface SalvageInput {
  readonly disk: Disk;
  /** The node's data directory. */
  readonly dataDirectory: string;
  /** Nothing may be appended meanwhile. */
  readonly wal: Wal;
  /** The table of the same generation. */
  readonly store: Store;
  readonly clusterId: string;
  readonly nodeId: string;
  /** Last LSN that both histories share. */
  readonly forkLsn: number;
  /** The epoch that was opened at the fork and survives, where it is known. */
  readonly openedEpoch?: EpochRef;
  /** Why, for people. */
  readonly reason?: string;
  /** Name of the generation that is kept beside the file. */
  readonly generation: string;
  readonly writtenAtMs: number;
}

const CHUNK_BYTES = 256 * KIB;

/**
 * Writes all operations after `forkLsn`. @returns the file's name.
 * @throws ShiplogError `position-gone`, `log-damaged` where neither log nor table has the operations; the
 * disk's errors. Nothing may be removed then: the operations are nowhere else.
 */
export async function writeSalvage(input: SalvageInput): Promise<string> {
  const { disk, wal, dataDirectory, forkLsn } = input;
  const directory = `${dataDirectory}/${SALVAGE_DIRECTORY}`;
  const name = salvageNameOf(wal.history.positionOf(wal.end.lsn));
  const temporary = `${directory}/${name}.tmp`;
  await disk.makeDirectory(directory);
  await disk.syncDirectory(dataDirectory);
  try {
    let logAfterLsn = Math.max(forkLsn, wal.start.lsn);
    for (;;) {
      const readableAfterLsn = await writeAside(input, temporary, logAfterLsn);
      if (readableAfterLsn === undefined) break;
      // Above what was tried before, so this ends.
      logAfterLsn = readableAfterLsn;
    }
  } catch (error) {
    // Half a file is of no use, and may hold the last space of a full disk.
    await disk.remove(temporary).catch(() => {});
    throw error;
  }
  await disk.rename(temporary, `${directory}/${name}`);
  await disk.syncDirectory(directory);
  return name;
}

/** @returns undefined once it is written; where a segment is damaged, the LSN after which the log can be read. */
async function writeAside(input: SalvageInput, path: string, logAfterLsn: number): Promise<number | undefined> {
  const { disk, wal, store, forkLsn } = input;
  if (logAfterLsn > forkLsn && store.applied.lsn < logAfterLsn) {
    throw new ShiplogError('position-gone', `the log begins after LSN ${logAfterLsn}, the table ends at LSN ${store.applied.lsn}, operations to set aside begin after LSN ${forkLsn}`);
  }
  await disk.remove(path);
  const file = await disk.open(path, { mode: 'create' });
  try {
    const lines = new SalvageLines(file);
    await lines.add(headerOf(input, logAfterLsn));
    if (logAfterLsn > forkLsn) await addRows(input, lines, logAfterLsn);
    const readableAfterLsn = await addLog(wal, lines, logAfterLsn, store.applied.lsn);
    if (readableAfterLsn !== undefined) return readableAfterLsn;
    await lines.end();
    await file.sync();
    return undefined;
  } finally {
    await file.close();
  }
}

/** Rows stand for the operations that the log lacks: each key's last one, unless it was a delete. */
async function addRows({ store, wal, forkLsn }: SalvageInput, lines: SalvageLines, throughLsn: number): Promise<void> {
  for await (const { key, value, lsn } of store.rowsAfter(forkLsn)) {
    // What was written after that, the log tells.
    if (lsn > throughLsn) continue;
    await lines.addOperation({ position: formatPosition(wal.history.positionOf(lsn)), wallMs: null, kind: 'put', key, value });
  }
}

/** @returns undefined at the log's end; before damage, the LSN after which the log can be read, if the table has what is before. */
async function addLog(wal: Wal, lines: SalvageLines, afterLsn: number, appliedLsn: number): Promise<number | undefined> {
  let readLsn = afterLsn;
  try {
    for await (const batch of wal.readBatches(afterLsn)) {
      for (const [index, operation] of batch.operations.entries()) {
        const lsn = batch.firstLsn + index;
        if (lsn > afterLsn) await lines.addOperation(salvagedOperation(operation, formatPosition(wal.history.positionOf(lsn)), batch.wallMs));
      }
      readLsn = batch.lastLsn;
    }
    return undefined;
  } catch (error) {
    if (!isShiplogError(error, 'log-damaged')) throw error;
    const nextStartLsn = wal.segments.find(({ header }) => header.before.lsn > readLsn)?.header.before.lsn;
    if (nextStartLsn === undefined || nextStartLsn > appliedLsn) throw error;
    return nextStartLsn;
  }
}

function headerOf({ wal, clusterId, nodeId, forkLsn, openedEpoch, reason, generation, writtenAtMs }: SalvageInput, logAfterLsn: number): SalvageHeader {
  const { history, end } = wal;
  const positionOf = (lsn: number): string => formatPosition(history.positionOf(lsn));
  const isComplete = logAfterLsn === forkLsn;
  return {
    format: SALVAGE_FORMAT,
    clusterId,
    nodeId,
    forkPosition: positionOf(forkLsn),
    throughPosition: positionOf(end.lsn),
    epochs: history.epochs,
    openedEpoch: openedEpoch ?? null,
    operations: isComplete ? end.lsn - forkLsn : null,
    isComplete,
    completeAfterPosition: positionOf(logAfterLsn),
    reason: reason ?? null,
    generation,
    writtenAtMs,
  };
}

/** Lines on their way into a file: gathered, counted and summed up. */
class SalvageLines {
  readonly #file: DiskFile;
  #offset = 0;
  #checksum = 0;
  #operations = 0;
  #gathered: string[] = [];
  #gatheredLength = 0;

  constructor(file: DiskFile) {
    this.#file = file;
  }

  async addOperation(operation: SalvagedOperation): Promise<void> {
    this.#operations += 1;
    await this.add(operation);
  }

  async add(line: SalvageHeader | SalvagedOperation | SalvageFooter): Promise<void> {
    const text = `${JSON.stringify(line)}\n`;
    this.#gathered.push(text);
    this.#gatheredLength += text.length;
    if (this.#gatheredLength >= CHUNK_BYTES) await this.#write();
  }

  /** The footer is the last line: a file without one was cut. */
  async end(): Promise<void> {
    await this.#write();
    await this.add({ footer: true, operations: this.#operations, crc32: formatChecksum(this.#checksum) });
    await this.#write();
  }

  async #write(): Promise<void> {
    const bytes = Buffer.from(this.#gathered.join(''));
    this.#gathered = [];
    this.#gatheredLength = 0;
    this.#checksum = crc32(bytes, this.#checksum);
    await writeFully(this.#file, this.#offset, bytes);
    this.#offset += bytes.length;
  }
}
