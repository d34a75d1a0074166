/**
 * Where answers are put together as bytes before they go to a socket. All connections of a listener share
 * one: each fills it and sends it within one turn, and where the socket could not take everything at once, it
 * keeps the bytes and the next one gets others.
 */
import { KIB } from '../../base/limits.ts';
import type { WriteShortcut } from './write-shortcut.ts';

const SIZE_BYTES = 64 * KIB;
const ZERO = 0x30;

export class AnswerBuffer {
  #bytes = Buffer.allocUnsafeSlow(SIZE_BYTES);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** `isAscii`: one byte per character, which is cheaper to write. */
  addText(text: string, isAscii: boolean): void {
    this.#makeRoom(isAscii ? text.length : 3 * text.length);
    this.#length += this.#bytes.write(text, this.#length, isAscii ? 'latin1' : 'utf8');
  }

  addBytes(source: Buffer, start = 0, end: number = source.length): void {
    this.#makeRoom(end - start);
    source.copy(this.#bytes, this.#length, start, end);
    this.#length += end - start;
  }

  /** A whole number from 0 in decimal digits. */
  addDecimal(value: number): void {
    let digits = 1;
    for (let bound = 10; bound <= value; bound *= 10) digits += 1;
    this.#makeRoom(digits);
    let rest = value;
    for (let at = this.#length + digits - 1; at >= this.#length; at -= 1) {
      const tens = Math.floor(rest / 10);
      this.#bytes[at] = ZERO + (rest - 10 * tens);
      rest = tens;
    }
    this.#length += digits;
  }

  /** Leaves it empty. */
  sendTo(socket: WriteShortcut): void {
    if (this.#length === 0) return;
    socket.write(this.#bytes.subarray(0, this.#length));
    // What the system has not taken yet stays with the socket.
    if (socket.isBusy || this.#bytes.length > SIZE_BYTES) this.#bytes = Buffer.allocUnsafeSlow(SIZE_BYTES);
    this.#length = 0;
  }

  #makeRoom(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#bytes.length));
    this.#bytes.copy(larger, 0, 0, this.#length);
    this.#bytes = larger;
  }
}
