/**
 * The value from a request body. What the body is, its headers say; they are judged before a byte of
 * it is read, so that a refusal comes before the upload.
 */
import type { IncomingHttpHeaders } from 'node:http';

import { ShiplogError, unreachable } from '../base/errors.ts';
import { KIB, LIMITS } from '../base/limits.ts';
import { parseJsonString } from './json-string.ts';
import { parseMediaType } from './media-type.ts';
import { percentDecode } from './percent.ts';
import { decodeUtf8 } from './utf8.ts';

export type BodyKind = 'json' | 'form' | 'text';

/** @throws ShiplogError `unsupported-media-type` for anything that could only be guessed at. */
export function bodyKindOf(headers: IncomingHttpHeaders): BodyKind {
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding.trim().toLowerCase() !== 'identity') {
    throw new ShiplogError('unsupported-media-type', `the body has Content-Encoding ${shown(encoding)}, expected none: send it uncompressed`);
  }
  const header = headers['content-type'];
  if (header === undefined) return 'text';

  const { essence, charset } = parseMediaType(header);
  if (essence.startsWith('multipart/')) {
    throw new ShiplogError('unsupported-media-type', `the body is ${shown(essence)}, expected text, JSON or one form field (with curl: -d instead of -F)`);
  }
  if (charset !== undefined && charset !== 'utf-8' && charset !== 'utf8') {
    throw new ShiplogError('unsupported-media-type', `the body has the charset ${shown(charset)}, expected utf-8`);
  }
  if (essence === 'application/json') return 'json';
  return essence === 'application/x-www-form-urlencoded' ? 'form' : 'text';
}

/**
 * Longest body that can hold an acceptable value, in bytes. What JSON and forms put around a value is
 * little; escapes inside it count as they are sent.
 */
export function bodyBytesMax(kind: BodyKind): number {
  return kind === 'text' ? LIMITS.valueBytesMax : LIMITS.valueBytesMax + KIB;
}

/** @throws ShiplogError `bad-json`, `bad-form`, `bad-utf8` or `value-too-large`, saying what and where. */
export function decodeValue(kind: BodyKind, body: Buffer): string {
  const value = decode(kind, body);
  const bytes = kind === 'text' ? body.length : Buffer.byteLength(value);
  if (bytes > LIMITS.valueBytesMax) throw valueTooLarge(`${bytes} bytes`);
  return value;
}

export function valueTooLarge(got: string): ShiplogError {
  return new ShiplogError('value-too-large', `the value has ${got}, expected at most ${LIMITS.valueBytesMax} bytes`);
}

const FORM_FIELD = 'value=';
const URLENCODE_HINT = 'with curl, --data-urlencode "value=…" writes any text as one field, and -H "Content-Type: text/plain" sends a body as it is';

function decode(kind: BodyKind, body: Buffer): string {
  switch (kind) {
    case 'json':
      return parseJsonString(decodeText(body, 'body'));
    case 'form':
      // -d hello: curl calls every body a form. Only what begins like our field is read as one.
      return body.toString('latin1', 0, FORM_FIELD.length) === FORM_FIELD
        ? decodeFormField(body.subarray(FORM_FIELD.length))
        : decodeText(body, 'body');
    case 'text':
      return decodeText(body, 'body');
    default:
      return unreachable(kind);
  }
}

function decodeFormField(field: Buffer): string {
  const ampersand = field.indexOf('&');
  if (ampersand !== -1) {
    throw new ShiplogError('bad-form', `the form has a second field after the & at position ${FORM_FIELD.length + ampersand}, expected value= alone; ${URLENCODE_HINT}`);
  }
  if (!field.includes('%') && !field.includes('+')) return decodeText(field, 'form field');

  const decoded = percentDecode(field, { plusIsSpace: true });
  if (!decoded.ok) {
    throw new ShiplogError(
      'bad-form',
      `the form has ${shown(decoded.escape)} at position ${FORM_FIELD.length + decoded.index}, expected % and two hex digits; ${URLENCODE_HINT}`,
    );
  }
  return decodeText(decoded.bytes, 'decoded form field');
}

function decodeText(bytes: Buffer, what: string): string {
  const decoded = decodeUtf8(bytes);
  if (decoded.ok) return decoded.text;
  const byte = bytes[decoded.index]!.toString(16).padStart(2, '0');
  throw new ShiplogError('bad-utf8', `the ${what} is not valid UTF-8: byte 0x${byte} at position ${decoded.index}`);
}

function shown(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
