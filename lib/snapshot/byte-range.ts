/** The Range header of RFC 9110, as far as a file needs it: one range, in bytes. */
export type ByteRange =
  | { readonly kind: 'whole' }
  /** Both ends inclusive. */
  | { readonly kind: 'part'; readonly fromByte: number; readonly throughByte: number }
  | { readonly kind: 'unsatisfiable' };

/** What is malformed, in other units, or several ranges at once is ignored, as the RFC allows: the answer is the whole file. */
export function parseByteRange(header: string | undefined, sizeBytes: number): ByteRange {
  const match = /^\s*bytes\s*=\s*(\d{0,15})\s*-\s*(\d{0,15})\s*$/i.exec(header ?? '');
  if (match === null) return { kind: 'whole' };
  const [, first, last] = match;
  if (first === '') {
    if (last === '') return { kind: 'whole' };
    const count = Math.min(Number(last), sizeBytes);
    if (count === 0) return { kind: 'unsatisfiable' };
    return { kind: 'part', fromByte: sizeBytes - count, throughByte: sizeBytes - 1 };
  }
  const fromByte = Number(first);
  const throughByte = last === '' ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1);
  if (last !== '' && Number(last) < fromByte) return { kind: 'whole' };
  if (fromByte >= sizeBytes) return { kind: 'unsatisfiable' };
  return { kind: 'part', fromByte, throughByte };
}
