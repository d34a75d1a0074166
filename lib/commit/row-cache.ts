/**
 * Rows that were read lately, so that a hot key costs no read of the store. Two generations: what is read
 * goes into the young one; when that holds half of the bound it becomes the old one, and the old one is
 * dropped. So a row stays as long as it is read once in a while, and no list has to be kept in order.
 */
import type { StoredRow } from '../store/store.ts';

/** What a row takes beside its characters: two map entries, strings and an object. */
const ROW_OVERHEAD_BYTES = 200;

export class RowCache {
  readonly #generationBytesMax: number;
  #young = new Map<string, StoredRow>();
  #old = new Map<string, StoredRow>();
  #youngBytes = 0;

  /** @param bytesMax about that much memory in all; 0 = keeps nothing. */
  constructor(bytesMax: number) {
    this.#generationBytesMax = bytesMax / 2;
  }

  get(key: string): StoredRow | undefined {
    const row = this.#young.get(key);
    if (row !== undefined) return row;
    const oldRow = this.#old.get(key);
    if (oldRow !== undefined) this.keep(key, oldRow);
    return oldRow;
  }

  keep(key: string, row: StoredRow): void {
    // Two bytes a character at worst.
    const bytes = ROW_OVERHEAD_BYTES + 2 * (key.length + row.value.length);
    if (bytes > this.#generationBytesMax) return;
    if (this.#youngBytes + bytes > this.#generationBytesMax) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#youngBytes = 0;
    }
    this.#young.set(key, row);
    this.#youngBytes += bytes;
  }

  /** The row changes: whoever asks next has to look. */
  drop(key: string): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }
}
