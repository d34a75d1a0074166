/**
 * Finds where answers end, and nothing else: the status line's number, the end of the head, its
 * Content-Length. Answers may be cut at any byte and follow one another without a gap.
 */
import type { AnswerParser, OnAnswer } from './protocol.ts';

const HEAD_END = Buffer.from('\r\n\r\n');
const HEAD_BYTES_MAX = 64 * 1024;
/** `HTTP/1.1 200`: where the number is. */
const STATUS_AT = 9;
const LENGTH_NAME = 'content-length:';
const LINE_FEED = 0x0a;
const SPACE = 0x20;
const LOWER_CASE = 0x20;
const ZERO = 0x30;
const LETTER_C = 0x63;

export class HttpAnswerParser implements AnswerParser {
  readonly #onAnswer: OnAnswer;
  /** The beginning of a head whose end is not here yet. */
  #head: Buffer | undefined;
  #status = 0;
  #bodyBytesLeft = 0;

  constructor(onAnswer: OnAnswer) {
    this.#onAnswer = onAnswer;
  }

  push(bytes: Buffer): void {
    const data = this.#head === undefined ? bytes : Buffer.concat([this.#head, bytes]);
    this.#head = undefined;
    let at = 0;
    while (at < data.length) {
      if (this.#bodyBytesLeft === 0) {
        const headEnd = data.indexOf(HEAD_END, at);
        if (headEnd < 0) {
          this.#keepHead(data.subarray(at));
          return;
        }
        this.#status = statusAt(data, at);
        this.#bodyBytesLeft = contentLength(data, at, headEnd);
        at = headEnd + HEAD_END.length;
      }
      const taken = Math.min(this.#bodyBytesLeft, data.length - at);
      at += taken;
      this.#bodyBytesLeft -= taken;
      if (this.#bodyBytesLeft === 0) this.#onAnswer(this.#status);
    }
  }

  #keepHead(rest: Buffer): void {
    if (rest.length > HEAD_BYTES_MAX) throw new Error(`the head of an answer is longer than ${HEAD_BYTES_MAX} bytes`);
    // The memory it came in is used again.
    this.#head = Buffer.from(rest);
  }
}

function statusAt(data: Buffer, start: number): number {
  const at = start + STATUS_AT;
  const status = (data[at]! - ZERO) * 100 + (data[at + 1]! - ZERO) * 10 + (data[at + 2]! - ZERO);
  if (!(status >= 100 && status <= 599)) throw new Error(`the answer begins with ${JSON.stringify(data.toString('latin1', start, start + 20))}, expected HTTP/1.1`);
  return status;
}

function contentLength(data: Buffer, start: number, headEnd: number): number {
  let lineStart = start;
  while (lineStart < headEnd) {
    if ((data[lineStart]! | LOWER_CASE) === LETTER_C && isNamed(data, lineStart)) return numberAt(data, lineStart + LENGTH_NAME.length);
    lineStart = data.indexOf(LINE_FEED, lineStart) + 1;
    if (lineStart === 0) break;
  }
  throw new Error('an answer without Content-Length');
}

function isNamed(data: Buffer, lineStart: number): boolean {
  for (let index = 0; index < LENGTH_NAME.length; index += 1) {
    if ((data[lineStart + index]! | LOWER_CASE) !== (LENGTH_NAME.charCodeAt(index) | LOWER_CASE)) return false;
  }
  return true;
}

function numberAt(data: Buffer, start: number): number {
  let at = start;
  while (data[at] === SPACE) at += 1;
  let value = 0;
  for (let digit = data[at]! - ZERO; digit >= 0 && digit <= 9; digit = data[++at]! - ZERO) value = value * 10 + digit;
  return value;
}
