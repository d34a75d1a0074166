/** Marks: local records that say what was durable when they were written. FORMAT.md draws them. */
import { crc32 } from 'node:zlib';
import type { LogPoint } from '../base/epoch-history.ts';
import { isZero, readU64, writeU64 } from './integers.ts';

export const MARK_BYTES = 40;
export const MARK_MAGIC = 0x4b52414d; // "MARK"
const MARK_MAGIC_BYTES = Buffer.from('MARK');
const CHECKED_BYTES = 36;

export type MarkKind = 'sync' | 'clean-stop' | 'seal';
const KINDS: readonly (MarkKind | undefined)[] = [undefined, 'sync', 'clean-stop', 'seal'];

export interface Mark {
  readonly kind: MarkKind;
  /** Everything up to here was synced before the mark was written. */
  readonly durable: LogPoint;
}

/** `position`: offset of the mark within its file, which can differ from its offset in the buffer. */
export function encodeMark(mark: Mark, target: Buffer, offset: number, position: number, seed: number): number {
  target.fill(0, offset, offset + MARK_BYTES);
  target.writeUInt32LE(MARK_MAGIC, offset);
  target.writeUInt32LE(KINDS.indexOf(mark.kind), offset + 4);
  writeU64(target, mark.durable.lsn, offset + 8);
  target.writeUInt32LE(mark.durable.chain, offset + 16);
  writeU64(target, position, offset + 24);
  target.writeUInt32LE(crc32(target.subarray(offset, offset + CHECKED_BYTES), seed), offset + CHECKED_BYTES);
  return offset + MARK_BYTES;
}

export function decodeMark(source: Buffer, offset: number, position: number, seed: number): Mark | undefined {
  if (source.readUInt32LE(offset) !== MARK_MAGIC) return undefined;
  const checksum = crc32(source.subarray(offset, offset + CHECKED_BYTES), seed);
  if (source.readUInt32LE(offset + CHECKED_BYTES) !== checksum) return undefined;
  const kind = KINDS[source.readUInt32LE(offset + 4)];
  const lsn = readU64(source, offset + 8);
  if (kind === undefined || Number.isNaN(lsn) || readU64(source, offset + 24) !== position) return undefined;
  if (!isZero(source, offset + 20, offset + 24) || !isZero(source, offset + 32, offset + 36)) return undefined;
  return { kind, durable: { lsn, chain: source.readUInt32LE(offset + 16) } };
}

/** All valid marks in `source`, at any offset; `start` is the position of `source` in its file. */
export function* findMarks(source: Buffer, start: number, seed: number): Generator<{ position: number; mark: Mark }> {
  let at = source.indexOf(MARK_MAGIC_BYTES);
  while (at !== -1 && at + MARK_BYTES <= source.length) {
    const mark = decodeMark(source, at, start + at, seed);
    if (mark !== undefined) yield { position: start + at, mark };
    at = source.indexOf(MARK_MAGIC_BYTES, at + 1);
  }
}
