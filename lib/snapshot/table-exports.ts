/**
 * Tables as they were at one position, to be read row by row. Each is read from a copy, made for it and
 * removed after it: a read transaction that lasts as long as a client takes would keep checkpoints, and with
 * them writers, waiting for that client.
 */
import type { EpochHistory } from '../base/epoch-history.ts';
import { ShiplogError } from '../base/errors.ts';
import { LIMITS, MIB } from '../base/limits.ts';
import { type Disk, DiskFullError } from '../env/disk.ts';
import type { KeyedRow, Store, TableCopy } from '../store/store.ts';

/** Left free beside a copy, for the log. */
const FREE_BYTES_MARGIN = 64 * MIB;

export interface TableExportsOptions {
  readonly disk: Disk;
  /** For the copies. Whoever owns it empties it at start: a crash may leave copies behind. */
  readonly directory: string;
}

export interface OpenedExport {
  readonly clusterId: string;
  readonly history: EpochHistory;
  /** Where all rows are from. */
  readonly lsn: number;
  readonly rowCount: number;
  rows(prefix: string): AsyncIterable<KeyedRow>;
  /** May be called again. */
  close(): Promise<void>;
}

export class TableExports {
  readonly #options: TableExportsOptions;
  #openCount = 0;
  #fileCount = 0;

  constructor(options: TableExportsOptions) {
    this.#options = options;
  }

  /** Of what `store` has applied by now, or of more. @throws ShiplogError `overloaded`, `disk-full`, `store-failed`. */
  async open(store: Store): Promise<OpenedExport> {
    if (this.#openCount >= LIMITS.exportsMax) throw new ShiplogError('overloaded', `${LIMITS.exportsMax} exports are under way already, each with a copy of the table; try again later`);
    this.#openCount += 1;
    this.#fileCount += 1;
    const path = `${this.#options.directory}/export-${this.#fileCount}.sqlite`;
    try {
      const copy = await this.#copy(store, path);
      let closing: Promise<void> | undefined;
      const { clusterId, history, lsn, rowCount } = copy;
      return { clusterId, history, lsn, rowCount, rows: (prefix) => copy.rows(prefix), close: () => (closing ??= this.#close(copy, path)) };
    } catch (error) {
      this.#openCount -= 1;
      throw error;
    }
  }

  async #copy(store: Store, path: string): Promise<TableCopy> {
    const { disk, directory } = this.#options;
    const neededBytes = store.sizeBytes() + FREE_BYTES_MARGIN;
    const freeBytes = await disk.freeBytes(directory);
    if (freeBytes < neededBytes) throw new ShiplogError('disk-full', `an export needs ${neededBytes} free bytes in ${directory}, there are ${freeBytes}`);
    try {
      return await store.copyTable(path);
    } catch (error) {
      if (error instanceof DiskFullError) throw new ShiplogError('disk-full', `no space for an export: ${error.message}`, { cause: error });
      throw error;
    }
  }

  async #close(copy: TableCopy, path: string): Promise<void> {
    try {
      await copy.close();
      await this.#options.disk.remove(path);
    } finally {
      this.#openCount -= 1;
    }
  }
}
