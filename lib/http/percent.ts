/** Strict percent-decoding, on bytes: whether they are UTF-8 is the caller's question. */
export type PercentDecoded =
  | { readonly ok: true; readonly bytes: Buffer }
  /** `index` is that of the `%` which two hex digits do not follow; `escape` is what stands there. */
  | { readonly ok: false; readonly index: number; readonly escape: string };

/** @param plusIsSpace as in forms; in a path a plus is a plus. */
export function percentDecode(encoded: Buffer, options: { readonly plusIsSpace: boolean }): PercentDecoded {
  const bytes = Buffer.allocUnsafe(encoded.length);
  let length = 0;
  for (let index = 0; index < encoded.length; index += 1) {
    let byte = encoded[index]!;
    if (byte === PERCENT) {
      const high = hexDigit(encoded[index + 1]);
      const low = hexDigit(encoded[index + 2]);
      if (high === -1 || low === -1) {
        return { ok: false, index, escape: encoded.toString('latin1', index, Math.min(index + 3, encoded.length)) };
      }
      byte = (high << 4) | low;
      index += 2;
    } else if (byte === PLUS && options.plusIsSpace) {
      byte = SPACE;
    }
    bytes[length] = byte;
    length += 1;
  }
  return { ok: true, bytes: bytes.subarray(0, length) };
}

const PERCENT = 0x25;
const PLUS = 0x2b;
const SPACE = 0x20;

function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : -1;
}
