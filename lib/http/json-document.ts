/** JSON that clients send: objects of a known shape, and nothing else. */
import { ShiplogError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { kindOf } from './json-string.ts';
import { decodeUtf8 } from './utf8.ts';
import { valueTooLarge } from './value.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

/**
 * Reads a document that has to be an object. `what` names it in messages.
 * @param depthMax levels of nesting that its shape has. Deeper ones are refused before they are built: a few
 * megabytes of brackets would become hundreds of megabytes of objects. Undefined where it is too short for that.
 * @throws ShiplogError `bad-utf8`, `bad-json`.
 */
export function parseJsonObject(bytes: Buffer, { what, depthMax }: { readonly what: string; readonly depthMax: number | undefined }): JsonObject {
  const decoded = decodeUtf8(bytes);
  if (!decoded.ok) throw new ShiplogError('bad-utf8', `${what} is not valid UTF-8: byte 0x${bytes[decoded.index]!.toString(16).padStart(2, '0')} at position ${decoded.index}`);
  const { text } = decoded;
  if (depthMax !== undefined && isDeeperThan(depthMax, bytes)) throw new ShiplogError('bad-json', `${what} is nested deeper than ${depthMax} levels, which nothing is that is expected here`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw new ShiplogError('bad-json', `${what} is not JSON: ${complaintOf(error)}`);
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw new ShiplogError('bad-json', `${what} is ${kindOf(parsed)}, expected an object`);
  return parsed as JsonObject;
}

/** @throws ShiplogError `bad-request` naming a field that is not among `known`. */
export function checkFields(object: JsonObject, known: readonly string[], what: string): void {
  for (const name of Object.keys(object)) {
    if (!known.includes(name)) throw new ShiplogError('bad-request', `${what} has the field ${JSON.stringify(name.slice(0, 100))}, expected ${known.join(', ')}`);
  }
}

/** A value that came as a JSON string. @throws ShiplogError `bad-request`, `bad-utf8`, `value-too-large`. */
export function checkValue(value: unknown, where: string): string {
  if (typeof value !== 'string') throw new ShiplogError('bad-request', `${where} is ${kindOf(value)}, expected a string`);
  if (!value.isWellFormed()) throw new ShiplogError('bad-utf8', `${where} holds a lone surrogate, which no UTF-8 text can hold`);
  // A UTF-16 unit is at most three bytes: most values need no counting.
  if (value.length * 3 > LIMITS.valueBytesMax) {
    const bytes = Buffer.byteLength(value);
    if (bytes > LIMITS.valueBytesMax) throw valueTooLarge(`${bytes} bytes in ${where}`);
  }
  return value;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPENING = new Set([0x5b, 0x7b]);
const CLOSING = new Set([0x5d, 0x7d]);

/** What is no JSON at all may be judged either way: the parser has the last word. */
function isDeeperThan(depthMax: number, bytes: Buffer): boolean {
  let depth = 0;
  for (let index = 0; index < bytes.length; index += 1) {
    const byte = bytes[index]!;
    if (byte === QUOTE) {
      index = endOfString(bytes, index);
    } else if (OPENING.has(byte)) {
      depth += 1;
      if (depth > depthMax) return true;
    } else if (CLOSING.has(byte)) {
      depth -= 1;
    }
  }
  return false;
}

/** Index of the quote that ends the string which begins at `start`, or of the end. */
function endOfString(bytes: Buffer, start: number): number {
  let from = start + 1;
  for (;;) {
    const quote = bytes.indexOf(QUOTE, from);
    if (quote === -1) return bytes.length;
    let backslashes = 0;
    while (bytes[quote - 1 - backslashes] === BACKSLASH) backslashes += 1;
    if (backslashes % 2 === 0) return quote;
    from = quote + 1;
  }
}

/** The parser's words without the text around the place, which may be long, and may be secret. */
function complaintOf(error: unknown): string {
  return (error as Error).message.replace(/, "?\.{0,3}"[^]* is not valid JSON$/, '').slice(0, 200);
}
