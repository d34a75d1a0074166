/** The first 128 bytes of a segment. FORMAT.md draws them. */
import { crc32 } from 'node:zlib';
import type { EpochRef, LogPoint } from '../base/epoch-history.ts';
import { ShiplogError } from '../base/errors.ts';
import { isZero, readU64, writeU64 } from './integers.ts';

export const SEGMENT_HEADER_BYTES = 128;
export const SALT_BYTES = 8;
const MAGIC = 'SHIPLOGW';
const FORMAT_VERSION = 1;
const CHECKED_BYTES = 124;

export interface SegmentHeader {
  readonly clusterId: string;
  /** Epoch of the segment's first operation. */
  readonly epoch: EpochRef;
  /** End of the log before this segment: its first LSN is `before.lsn + 1`. */
  readonly before: LogPoint;
  readonly createdMs: number;
  /** Seeds the frames' header checksums; the stream tells it. */
  readonly frameSalt: Buffer;
  /** Seeds the marks' checksums; never leaves the node. */
  readonly markSalt: Buffer;
}

export function segmentFileName(firstLsn: number): string {
  return `${String(firstLsn).padStart(20, '0')}.wal`;
}

/** Returns undefined for a name that is not a segment's. */
export function firstLsnOfFileName(name: string): number | undefined {
  const match = /^(\d{20})\.wal$/.exec(name);
  return match === null ? undefined : Number(match[1]);
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
  bytes.write(MAGIC, 0, 'latin1');
  bytes.writeUInt32LE(FORMAT_VERSION, 8);
  bytes.writeUInt32LE(SEGMENT_HEADER_BYTES, 12);
  bytes.write(header.clusterId, 16, 'hex');
  writeU64(bytes, header.epoch.number, 32);
  bytes.write(header.epoch.id, 40, 'hex');
  writeU64(bytes, header.before.lsn + 1, 56);
  bytes.writeUInt32LE(header.before.chain, 64);
  writeU64(bytes, header.createdMs, 72);
  header.frameSalt.copy(bytes, 80);
  header.markSalt.copy(bytes, 88);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, CHECKED_BYTES)), CHECKED_BYTES);
  return bytes;
}

/** @throws ShiplogError `log-damaged` naming `path` and what does not fit. */
export function decodeSegmentHeader(bytes: Buffer, path: string): SegmentHeader {
  const damaged = (what: string): ShiplogError =>
    new ShiplogError('log-damaged', `${path}: ${what} in the segment header at offset 0; restore this node from a snapshot or let it reseed`);
  if (bytes.length < SEGMENT_HEADER_BYTES) throw damaged(`got ${bytes.length} bytes, expected ${SEGMENT_HEADER_BYTES}`);
  if (bytes.toString('latin1', 0, 8) !== MAGIC) throw damaged('wrong magic');
  if (bytes.readUInt32LE(CHECKED_BYTES) !== crc32(bytes.subarray(0, CHECKED_BYTES))) throw damaged('wrong checksum');
  const version = bytes.readUInt32LE(8);
  if (version !== FORMAT_VERSION) throw damaged(`got format version ${version}, this program reads ${FORMAT_VERSION}: it needs a newer Shiplog`);
  const epochNumber = readU64(bytes, 32);
  const firstLsn = readU64(bytes, 56);
  const createdMs = readU64(bytes, 72);
  const isPlausible =
    bytes.readUInt32LE(12) === SEGMENT_HEADER_BYTES &&
    firstLsn >= 1 &&
    epochNumber >= 1 &&
    !Number.isNaN(createdMs) &&
    isZero(bytes, 68, 72) &&
    isZero(bytes, 96, CHECKED_BYTES);
  if (!isPlausible) throw damaged('a field out of range');
  return {
    clusterId: bytes.toString('hex', 16, 32),
    epoch: { number: epochNumber, id: bytes.toString('hex', 40, 56) },
    before: { lsn: firstLsn - 1, chain: bytes.readUInt32LE(64) },
    createdMs,
    frameSalt: Buffer.from(bytes.subarray(80, 88)),
    markSalt: Buffer.from(bytes.subarray(88, 96)),
  };
}
