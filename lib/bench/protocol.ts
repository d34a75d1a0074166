/** What the load generator has to know of a protocol: how requests look, and where an answer ends. */

export type RequestKind = 'get' | 'set' | 'del';

/** Keys of a load: the prefix keeps them apart from everybody else's. */
export const KEY_PREFIX = 'bench:';
const KEY_DIGITS = 8;
export const KEY_COUNT_MAX = 10 ** KEY_DIGITS;

/** All keys have the same length, so that the number can be written over in a finished request. */
export function keyAt(index: number): string {
  return `${KEY_PREFIX}${String(index).padStart(KEY_DIGITS, '0')}`;
}

/** A finished request but for its key. */
export interface RequestTemplate {
  /** With the key of index 0. */
  readonly bytes: Buffer;
  /** Where the digits of the key begin. */
  readonly digitsAt: number;
  /** What follows, the same for all: large values are not copied for each request. */
  readonly tail?: Buffer;
}

export interface AnswerParser {
  /** Calls back for each answer that is complete. @throws Error where it can't be one. */
  push(bytes: Buffer): void;
}

/** 200 and 404 as in HTTP; whatever else is counted as an error, by this number. */
export type OnAnswer = (status: number) => void;

export interface Protocol {
  template(kind: RequestKind): RequestTemplate;
  parser(onAnswer: OnAnswer): AnswerParser;
}

/** @param text holds the key of index 0. */
export function templateOf(text: string, tail: Buffer): RequestTemplate {
  const head = Buffer.from(text, 'latin1');
  const digitsAt = text.indexOf(keyAt(0)) + KEY_PREFIX.length;
  if (tail.length === 0) return { bytes: head, digitsAt };
  return tail.length <= COPIED_BYTES_MAX ? { bytes: Buffer.concat([head, tail]), digitsAt } : { bytes: head, digitsAt, tail };
}

/** Up to here one buffer is cheaper than two. */
const COPIED_BYTES_MAX = 16 * 1024;
const DIGIT_ZERO = 0x30;

/** Writes the number of the key into a copy of the template. */
export function setKey(request: Buffer, digitsAt: number, index: number): void {
  let rest = index;
  for (let at = digitsAt + KEY_DIGITS - 1; at >= digitsAt; at -= 1) {
    request[at] = DIGIT_ZERO + (rest % 10);
    rest = Math.floor(rest / 10);
  }
}
