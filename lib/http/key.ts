import { ShiplogError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { kindOf } from './json-string.ts';
import { percentDecode } from './percent.ts';
import { decodeUtf8 } from './utf8.ts';

/**
 * Decodes a key, once and strictly. `a/b` and `a%2Fb` are the same key; `..`, `__proto__`, NUL and
 * emoji are keys like any other. Bytes that should have been escaped are taken as they are, so that
 * `curl localhost:4455/get/café` works.
 *
 * @param rawKey everything after the route, one character per byte, as Node hands out request targets.
 * @throws ShiplogError `bad-key` saying what is wrong and where.
 */
export function decodeKey(rawKey: string): string {
  if (PLAIN_KEY.test(rawKey)) return rawKey;
  if (rawKey === '') throw new ShiplogError('bad-key', 'the key is empty, expected at least one byte after the last /');

  const decoded = percentDecode(Buffer.from(rawKey, 'latin1'), { plusIsSpace: false });
  if (!decoded.ok) {
    throw new ShiplogError(
      'bad-key',
      `the key has ${JSON.stringify(decoded.escape)} at position ${decoded.index}, expected % and two hex digits (a percent sign itself is %25)`,
    );
  }
  const { bytes } = decoded;
  if (bytes.length > LIMITS.keyBytesMax) {
    throw new ShiplogError('bad-key', `the key is ${bytes.length} bytes long, expected at most ${LIMITS.keyBytesMax}`);
  }
  const key = decodeUtf8(bytes);
  if (!key.ok) {
    const byte = bytes[key.index]!.toString(16).padStart(2, '0');
    throw new ShiplogError('bad-key', `the key is not valid UTF-8: byte 0x${byte} at position ${key.index} of the decoded key`);
  }
  return key.text;
}

/**
 * A key that came as a JSON string. `where` names the field, for messages.
 * @throws ShiplogError `bad-key`.
 */
export function checkKey(key: unknown, where: string): string {
  if (typeof key !== 'string') throw new ShiplogError('bad-key', `${where} is ${kindOf(key)}, expected a key as a string`);
  if (!key.isWellFormed()) throw new ShiplogError('bad-key', `${where} holds a lone surrogate, which no UTF-8 text can hold`);
  const bytes = Buffer.byteLength(key);
  if (bytes === 0) throw new ShiplogError('bad-key', `${where} is empty, expected a key of at least one byte`);
  if (bytes > LIMITS.keyBytesMax) throw new ShiplogError('bad-key', `${where} is ${bytes} bytes long, expected at most ${LIMITS.keyBytesMax}`);
  return key;
}

/** Needs no decoding, and as one byte per character it is short enough. */
const PLAIN_KEY = new RegExp(`^[\\x21-\\x24\\x26-\\x7e]{1,${LIMITS.keyBytesMax}}$`);
