/** Cuts a body into lines. What is kept between two chunks is one piece of a line, in one growing buffer. */
import { ShiplogError } from '../base/errors.ts';
import { KIB } from '../base/limits.ts';

const NEWLINE = 0x0a;
const CAPACITY_MIN = 4 * KIB;

export interface LineSplitterOptions {
  readonly lineBytesMax: number;
  /** Asked before the buffer grows to `bytes`, and told when it is gone (0). @throws where there is no memory for it. */
  readonly reserve: (bytes: number) => void;
}

export class LineSplitter {
  readonly #options: LineSplitterOptions;
  #rest: Buffer = EMPTY;
  #restBytes = 0;

  constructor(options: LineSplitterOptions) {
    this.#options = options;
  }

  /**
   * The lines that end in `chunk`, without their newlines. Each is good until the next one is asked for.
   * @throws ShiplogError `value-too-large` for a line beyond the bound.
   */
  *lines(chunk: Buffer): Generator<Buffer, void> {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, from)) {
      const piece = chunk.subarray(from, end);
      from = end + 1;
      if (this.#restBytes === 0) {
        this.#check(piece.length);
        yield piece;
      } else {
        this.#keep(piece);
        yield this.#rest.subarray(0, this.#restBytes);
        this.#forget();
      }
    }
    if (from < chunk.length) this.#keep(chunk.subarray(from));
  }

  /** What stands behind the last newline, or undefined where nothing does. */
  end(): Buffer | undefined {
    return this.#restBytes === 0 ? undefined : this.#rest.subarray(0, this.#restBytes);
  }

  #keep(piece: Buffer): void {
    const size = this.#restBytes + piece.length;
    this.#check(size);
    if (size > this.#rest.length) {
      const capacity = Math.min(this.#options.lineBytesMax, Math.max(CAPACITY_MIN, size, 2 * this.#rest.length));
      this.#options.reserve(capacity);
      const grown = Buffer.allocUnsafeSlow(capacity);
      this.#rest.copy(grown, 0, 0, this.#restBytes);
      this.#rest = grown;
    }
    piece.copy(this.#rest, this.#restBytes);
    this.#restBytes = size;
  }

  #forget(): void {
    this.#restBytes = 0;
    // A large line shall not hold its memory for all the small ones behind it.
    if (this.#rest.length <= CAPACITY_MIN) return;
    this.#rest = EMPTY;
    this.#options.reserve(0);
  }

  #check(size: number): void {
    const { lineBytesMax } = this.#options;
    if (size > lineBytesMax) throw new ShiplogError('value-too-large', `the line has more than ${lineBytesMax} bytes, more than any key and value take`);
  }
}

const EMPTY = Buffer.alloc(0);
