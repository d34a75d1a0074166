/** One batch as bytes: header, payload, and the chain that ties it to all before it. FORMAT.md draws it. */
import { crc32 } from 'node:zlib';
import { assert } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { Operation } from '../base/operation.ts';
import { readU64, writeU64 } from './integers.ts';
import { encodeOperation } from './operation-codec.ts';

export const FRAME_HEADER_BYTES = 48;
export const FRAME_MAGIC = 0x4d415246; // "FRAM"
const CHAINED_BYTES = 40;
const CHECKED_BYTES = 44;

export interface FrameHeader {
  readonly payloadBytes: number;
  readonly firstLsn: number;
  readonly operationCount: number;
  readonly epochNumber: number;
  readonly wallMs: number;
  /** Chain at the end of this frame. */
  readonly chain: number;
}

/** Checksum seed of a salt; computed once per segment or stream. */
export function saltSeed(salt: Uint8Array): number {
  return crc32(salt);
}

export function lastLsnOf(header: FrameHeader): number {
  return header.firstLsn + header.operationCount - 1;
}

export interface FrameContent {
  readonly firstLsn: number;
  readonly epochNumber: number;
  readonly wallMs: number;
  readonly operations: readonly Operation[];
}

/** Writes a frame at `offset`. @returns the offset after it and the chain at its end. */
export function encodeFrame(
  frame: FrameContent,
  target: Buffer,
  offset: number,
  before: { readonly chain: number; readonly seed: number },
): { end: number; chain: number } {
  let end = offset + FRAME_HEADER_BYTES;
  for (const operation of frame.operations) end = encodeOperation(operation, target, end);
  const payloadBytes = end - offset - FRAME_HEADER_BYTES;
  assert(payloadBytes <= LIMITS.framePayloadBytesMax, `frame of ${payloadBytes} bytes`);
  target.writeUInt32LE(FRAME_MAGIC, offset);
  target.writeUInt32LE(payloadBytes, offset + 4);
  writeU64(target, frame.firstLsn, offset + 8);
  target.writeUInt32LE(frame.operations.length, offset + 16);
  target.writeUInt32LE(0, offset + 20);
  writeU64(target, frame.epochNumber, offset + 24);
  writeU64(target, frame.wallMs, offset + 32);
  const chain = crc32(
    target.subarray(offset + FRAME_HEADER_BYTES, end),
    crc32(target.subarray(offset, offset + CHAINED_BYTES), before.chain),
  );
  target.writeUInt32LE(chain, offset + 40);
  sealFrameHeader(target, offset, before.seed);
  return { end, chain };
}

/** Sets the header's own checksum, the only bytes that differ between nodes. */
export function sealFrameHeader(target: Buffer, offset: number, seed: number): void {
  target.writeUInt32LE(crc32(target.subarray(offset, offset + CHECKED_BYTES), seed), offset + CHECKED_BYTES);
}

/** Reads the header at `offset`; undefined where there is none: wrong magic, checksum or bounds. */
export function decodeFrameHeader(source: Buffer, offset: number, seed: number): FrameHeader | undefined {
  if (source.readUInt32LE(offset) !== FRAME_MAGIC) return undefined;
  const checksum = crc32(source.subarray(offset, offset + CHECKED_BYTES), seed);
  if (source.readUInt32LE(offset + CHECKED_BYTES) !== checksum) return undefined;
  const header: FrameHeader = {
    payloadBytes: source.readUInt32LE(offset + 4),
    firstLsn: readU64(source, offset + 8),
    operationCount: source.readUInt32LE(offset + 16),
    epochNumber: readU64(source, offset + 24),
    wallMs: readU64(source, offset + 32),
    chain: source.readUInt32LE(offset + 40),
  };
  // Bounds are checked even under a good checksum: a hostile peer can compute checksums too.
  const isWithinBounds =
    header.payloadBytes >= 8 &&
    header.payloadBytes <= LIMITS.framePayloadBytesMax &&
    header.firstLsn >= 1 &&
    header.operationCount >= 1 &&
    header.operationCount <= LIMITS.frameOperationsMax &&
    header.operationCount * 8 <= header.payloadBytes &&
    Number.isSafeInteger(header.firstLsn + header.operationCount) &&
    header.epochNumber >= 1 &&
    !Number.isNaN(header.wallMs) &&
    source.readUInt32LE(offset + 20) === 0;
  return isWithinBounds ? header : undefined;
}

/** Chain after a whole frame (header and payload). */
export function chainOfFrame(frame: Buffer, chainBefore: number): number {
  return crc32(frame.subarray(FRAME_HEADER_BYTES), chainOverHeader(frame, 0, chainBefore));
}

/** Chain of a frame's header; continue with `crc32(payload, …)`. */
export function chainOverHeader(source: Buffer, offset: number, chainBefore: number): number {
  return crc32(source.subarray(offset, offset + CHAINED_BYTES), chainBefore);
}
