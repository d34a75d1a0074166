/**
 * A digest that is equal on two nodes exactly where their tables are.
 *
 * SHA-256 over all rows in the ascending order of their keys' UTF-8 bytes. A row enters as
 *
 *   u32  length of the key in bytes      (all numbers big endian)
 *   ...  key, UTF-8
 *   u32  length of the value in bytes
 *   ...  value, UTF-8
 *   u64  LSN of the row's last write
 *
 * The lengths keep ("a", "bc") and ("ab", "c") apart; the LSN keeps two writes of the same value apart.
 */
import { createHash } from 'node:crypto';

/** Small rows are gathered here: a call into the hash costs more than a copy. */
const GATHER_BYTES = 64 * 1024;

export class TableDigester {
  readonly #hash = createHash('sha256');
  readonly #gathered = Buffer.allocUnsafe(GATHER_BYTES);
  #filled = 0;
  #rowCount = 0;

  /** The caller keeps the order. */
  add(key: Uint8Array, value: Uint8Array, lsn: number): void {
    this.#rowCount += 1;
    this.#addUint32(key.length);
    this.#addBytes(key);
    this.#addUint32(value.length);
    this.#addBytes(value);
    this.#addUint32(Math.floor(lsn / 2 ** 32));
    this.#addUint32(lsn % 2 ** 32);
  }

  /** Ends the digest: the digester takes no more rows. */
  finish(): { readonly rowCount: number; readonly sha256: string } {
    this.#flush();
    return { rowCount: this.#rowCount, sha256: this.#hash.digest('hex') };
  }

  #addUint32(value: number): void {
    if (this.#filled + 4 > GATHER_BYTES) this.#flush();
    this.#filled = this.#gathered.writeUInt32BE(value, this.#filled);
  }

  #addBytes(bytes: Uint8Array): void {
    if (bytes.length > GATHER_BYTES / 4) {
      this.#flush();
      this.#hash.update(bytes);
      return;
    }
    if (this.#filled + bytes.length > GATHER_BYTES) this.#flush();
    this.#gathered.set(bytes, this.#filled);
    this.#filled += bytes.length;
  }

  #flush(): void {
    this.#hash.update(this.#gathered.subarray(0, this.#filled));
    this.#filled = 0;
  }
}
