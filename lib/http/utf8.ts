import { isUtf8 } from 'node:buffer';

export type Utf8Decoded = { readonly ok: true; readonly text: string } | { readonly ok: false; readonly index: number };

/** Decodes UTF-8 exactly: nothing is replaced, a byte order mark stays. `index` is the first wrong byte. */
export function decodeUtf8(bytes: Buffer): Utf8Decoded {
  return isUtf8(bytes) ? { ok: true, text: bytes.toString('utf8') } : { ok: false, index: firstInvalidIndex(bytes) };
}

/** Follows the table of well-formed sequences in the Unicode standard (table 3-7). */
function firstInvalidIndex(bytes: Buffer): number {
  let index = 0;
  while (index < bytes.length) {
    const lead = bytes[index]!;
    const length = sequenceLength(lead);
    if (length === 0) return index;
    for (let offset = 1; offset < length; offset += 1) {
      const byte = bytes[index + offset];
      const [low, high] = offset === 1 ? secondByteRange(lead) : [0x80, 0xbf];
      if (byte === undefined || byte < low || byte > high) return index;
    }
    index += length;
  }
  return index;
}

/** 0 for bytes that begin no sequence. */
function sequenceLength(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead < 0xc2) return 0;
  if (lead < 0xe0) return 2;
  if (lead < 0xf0) return 3;
  return lead < 0xf5 ? 4 : 0;
}

/** Narrower than usual where it keeps out overlong forms, surrogates and what lies beyond U+10FFFF. */
function secondByteRange(lead: number): readonly [number, number] {
  if (lead === 0xe0) return [0xa0, 0xbf];
  if (lead === 0xed) return [0x80, 0x9f];
  if (lead === 0xf0) return [0x90, 0xbf];
  if (lead === 0xf4) return [0x80, 0x8f];
  return [0x80, 0xbf];
}
