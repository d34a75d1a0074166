/**
 * A second decoder of log directories, written from lib/wal/FORMAT.md alone. It imports nothing from
 * lib/ and brings its own CRC-32, so a mistake in the first decoder can't hide in this one: where the
 * two disagree about any bytes, one of them or FORMAT.md is wrong.
 *
 * It is slow and simple on purpose, and holds whole segments in memory.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

export interface DecodedSegment {
  readonly file: string;
  readonly clusterId: string;
  readonly epochNumber: number;
  readonly epochId: string;
  readonly firstLsn: number;
  readonly chain: number;
  readonly createdMs: number;
  readonly frameSalt: Buffer;
  readonly markSalt: Buffer;
}

export type DecodedOperation =
  | { readonly kind: 'put'; readonly key: string; readonly value: string; readonly expiresAtMs?: number; readonly requestId?: string }
  | { readonly kind: 'delete'; readonly key: string; readonly requestId?: string }
  | {
      readonly kind: 'epoch-begin';
      readonly begin: 'first' | 'switchover' | 'failover' | 'forced';
      readonly epochNumber: number;
      readonly epochId: string;
      /** Number 0 and an id of zeros where there is no parent. */
      readonly parentNumber: number;
      readonly parentId: string;
      readonly parentLastLsn: number;
      readonly parentChain: number;
      /** Null where it is unknown. */
      readonly acceptedLoss: number | null;
    }
  | { readonly kind: 'epoch-end'; readonly targetNodeId: string; readonly nextNumber: number; readonly nextId: string };

export interface DecodedFrame {
  readonly firstLsn: number;
  readonly lastLsn: number;
  /** The LSN of each operation. */
  readonly lsns: readonly number[];
  readonly epoch: number;
  readonly wallMs: number;
  /** Chain after this frame. */
  readonly chain: number;
  readonly operations: readonly DecodedOperation[];
  readonly file: string;
  readonly offset: number;
  readonly endOffset: number;
  readonly bytes: Buffer;
}

export interface DecodedMark {
  readonly kind: 'sync' | 'clean-stop' | 'seal';
  readonly lsn: number;
  readonly chain: number;
  readonly file: string;
  readonly offset: number;
}

export interface DecodedEnd {
  readonly kind: 'clean' | 'torn' | 'damaged';
  readonly file: string;
  /** The first bytes that are not the next valid record; behind the last one where all are. */
  readonly offset: number;
  readonly reason: string;
}

export interface DecodedLog {
  readonly segments: readonly DecodedSegment[];
  readonly frames: readonly DecodedFrame[];
  readonly marks: readonly DecodedMark[];
  readonly end: DecodedEnd;
  /** The last LSN of a log that recovery must accept with exactly these frames; undefined where it must refuse. */
  readonly expectedLastLsn: number | undefined;
}

export interface DecodeOptions {
  /** What the store has applied. */
  readonly appliedLsn?: number;
  /** Start with the segment that holds this LSN instead of the first. */
  readonly fromLsn?: number;
}

export function decodeLog(directory: string, options: DecodeOptions = {}): DecodedLog {
  const files = new Map<string, Uint8Array>();
  for (const name of readdirSync(directory)) {
    if (SEGMENT_NAME.test(name)) files.set(name, readFileSync(join(directory, name)));
  }
  return decodeFiles(files, options);
}

/** The same for files that are in memory already, by name. */
export function decodeFiles(files: ReadonlyMap<string, Uint8Array>, options: DecodeOptions = {}): DecodedLog {
  const names = [...files.keys()].filter((name) => SEGMENT_NAME.test(name)).sort();
  const start = options.fromLsn === undefined ? 0 : names.findLastIndex((name) => Number.parseInt(name, 10) <= options.fromLsn!);
  return new LogDecoding(files, names.slice(Math.max(start, 0)), options.appliedLsn ?? 0).run();
}

/** What a table holds once these frames are applied in order: the value of each key and the LSN that wrote it. */
export function foldLog(frames: readonly DecodedFrame[]): Map<string, { value: string; lsn: number }> {
  const table = new Map<string, { value: string; lsn: number }>();
  for (const frame of frames) {
    for (const [index, operation] of frame.operations.entries()) {
      if (operation.kind === 'put') table.set(operation.key, { value: operation.value, lsn: frame.lsns[index]! });
      if (operation.kind === 'delete') table.delete(operation.key);
    }
  }
  return table;
}

const SEGMENT_NAME = /^\d{20}\.wal$/;
const HEADER_SIZE = 128;
const FRAME_HEADER_SIZE = 48;
const MARK_SIZE = 40;
const MIB = 2 ** 20;
const NO_ID = '0'.repeat(32);

/** Bytes that are no valid record. Whether that is a torn tail or damage is decided later, by the whole file. */
class BadBytes extends Error {
  /** True where every checksum holds: not torn, but written by something that this format does not know. */
  readonly foreign: boolean;
  constructor(message: string, foreign = false) {
    super(message);
    this.foreign = foreign;
  }
}

class LogDecoding {
  readonly #files: ReadonlyMap<string, Uint8Array>;
  readonly #names: readonly string[];
  readonly #appliedLsn: number;

  readonly #segments: DecodedSegment[] = [];
  readonly #frames: DecodedFrame[] = [];
  readonly #marks: DecodedMark[] = [];
  #lsn = 0;
  #chain = 0;
  /** The epoch in force after the last frame; undefined before the first frame of the log. */
  #epoch: { number: number; id: string | undefined } | undefined;
  #handedOver = false;
  /** In the last file that was read whole. */
  #endOfRecords = 0;

  constructor(files: ReadonlyMap<string, Uint8Array>, names: readonly string[], appliedLsn: number) {
    this.#files = files;
    this.#names = names;
    this.#appliedLsn = appliedLsn;
  }

  run(): DecodedLog {
    for (const [index, name] of this.#names.entries()) {
      const isLast = index === this.#names.length - 1;
      const bytes = Buffer.from(this.#files.get(name)!);
      let segment: DecodedSegment;
      try {
        segment = this.#readSegmentHeader(name, bytes);
      } catch (error) {
        // No salt, so nothing in this file can be told from anything else.
        return this.#result('damaged', name, 0, messageOfBadBytes(error));
      }
      this.#segments.push(segment);
      const end = this.#readRecords(segment, bytes, isLast);
      if (end !== undefined) return end;
    }
    const last = this.#names.at(-1) ?? '';
    const size = this.#endOfRecords;
    if (this.#lsn < this.#appliedLsn) {
      return this.#result('damaged', last, size, `the store has applied ${this.#appliedLsn}, the log ends at ${this.#lsn}`);
    }
    return this.#result('clean', last, size, 'every byte was read');
  }

  #readRecords(segment: DecodedSegment, bytes: Buffer, isLast: boolean): DecodedLog | undefined {
    let offset = HEADER_SIZE;
    let sealed = false;
    // Zeros up to the end of the last file are space for what comes.
    while (offset < bytes.length && !(isLast && bytes.subarray(offset).every((byte) => byte === 0))) {
      try {
        if (sealed) throw new BadBytes('bytes behind the seal');
        const magic = bytes.toString('latin1', offset, offset + 4);
        if (magic === 'MARK') {
          const mark = readMark(bytes, offset, segment);
          if (mark.lsn !== this.#lsn || mark.chain !== this.#chain) {
            throw new BadBytes(`a mark of LSN ${mark.lsn} and chain ${mark.chain}, expected ${this.#lsn} and ${this.#chain}`);
          }
          this.#marks.push(mark);
          sealed = mark.kind === 'seal';
          offset += MARK_SIZE;
        } else if (magic === 'FRAM') {
          const frame = this.#readFrame(bytes, offset, segment);
          this.#frames.push(frame);
          offset = frame.endOffset;
        } else {
          throw new BadBytes('neither a frame nor a mark');
        }
      } catch (error) {
        return this.#endAt(segment, bytes, offset, isLast, error);
      }
    }
    if (!isLast && !sealed) return this.#result('damaged', segment.file, offset, 'no seal, but another segment follows');
    this.#endOfRecords = offset;
    return undefined;
  }

  #endAt(segment: DecodedSegment, bytes: Buffer, offset: number, isLast: boolean, error: unknown): DecodedLog {
    const reason = messageOfBadBytes(error);
    if ((error as BadBytes).foreign) return this.#result('damaged', segment.file, offset, reason);
    if (!isLast) return this.#result('damaged', segment.file, offset, `${reason}, and another segment follows`);
    for (let at = offset; at + MARK_SIZE <= bytes.length; at += 1) {
      if (bytes.toString('latin1', at, at + 4) !== 'MARK') continue;
      let mark: DecodedMark;
      try {
        mark = readMark(bytes, at, segment);
      } catch (error) {
        messageOfBadBytes(error);
        continue;
      }
      if (mark.lsn > this.#lsn) {
        return this.#result('damaged', segment.file, offset, `${reason}, but the mark at ${at} says that ${mark.lsn} was durable`);
      }
    }
    if (this.#lsn < this.#appliedLsn) {
      return this.#result('damaged', segment.file, offset, `${reason}, but the store has applied ${this.#appliedLsn}`);
    }
    return this.#result('torn', segment.file, offset, reason);
  }

  #result(kind: DecodedEnd['kind'], file: string, offset: number, reason: string): DecodedLog {
    return {
      segments: this.#segments,
      frames: this.#frames,
      marks: this.#marks,
      end: { kind, file, offset, reason },
      expectedLastLsn: kind === 'damaged' ? undefined : this.#lsn,
    };
  }

  #readSegmentHeader(name: string, bytes: Buffer): DecodedSegment {
    if (bytes.length < HEADER_SIZE) throw new BadBytes(`${bytes.length} bytes are no segment header`);
    expectEqual('magic', bytes.toString('latin1', 0, 8), 'SHIPLOGW');
    expectEqual('checksum', bytes.readUInt32LE(124), crc32(bytes.subarray(0, 124)));
    expectEqual('format version', bytes.readUInt32LE(8), 1);
    expectEqual('header size', bytes.readUInt32LE(12), HEADER_SIZE);
    expectZero(bytes, 68, 4);
    expectZero(bytes, 96, 28);
    const segment: DecodedSegment = {
      file: name,
      clusterId: bytes.toString('hex', 16, 32),
      epochNumber: readU64(bytes, 32),
      epochId: bytes.toString('hex', 40, 56),
      firstLsn: readU64(bytes, 56),
      chain: bytes.readUInt32LE(64),
      createdMs: readU64(bytes, 72),
      frameSalt: bytes.subarray(80, 88),
      markSalt: bytes.subarray(88, 96),
    };
    expectEqual('first LSN', `${String(segment.firstLsn).padStart(20, '0')}.wal`, name);
    const first = this.#segments[0];
    if (first === undefined) {
      if (segment.firstLsn < 1) throw new BadBytes('LSNs begin at 1');
      if (segment.firstLsn === 1) expectEqual('chain before LSN 1', segment.chain, 0);
      this.#lsn = segment.firstLsn - 1;
      this.#chain = segment.chain;
    } else {
      expectEqual('cluster id', segment.clusterId, first.clusterId);
      expectEqual('first LSN', segment.firstLsn, this.#lsn + 1);
      expectEqual('chain', segment.chain, this.#chain);
    }
    return segment;
  }

  #readFrame(bytes: Buffer, offset: number, segment: DecodedSegment): DecodedFrame {
    if (offset + FRAME_HEADER_SIZE > bytes.length) throw new BadBytes('the file ends within a frame header');
    const header = bytes.subarray(offset, offset + FRAME_HEADER_SIZE);
    expectEqual('frame header checksum', header.readUInt32LE(44), crc32(header.subarray(0, 44), crc32(segment.frameSalt)));
    const payloadLength = header.readUInt32LE(4);
    const firstLsn = readU64(header, 8);
    const count = header.readUInt32LE(16);
    const epoch = readU64(header, 24);
    const wallMs = readU64(header, 32);
    if (payloadLength < 8 || payloadLength > 17 * MIB) throw new BadBytes(`payload length ${payloadLength}`);
    if (count < 1 || count > MIB) throw new BadBytes(`${count} operations`);
    expectEqual('first LSN', firstLsn, this.#lsn + 1);
    expectZero(header, 20, 4);
    const endOffset = offset + FRAME_HEADER_SIZE + payloadLength;
    if (endOffset > bytes.length) throw new BadBytes('the file ends within a payload');
    const payload = bytes.subarray(offset + FRAME_HEADER_SIZE, endOffset);
    const chain = crc32(payload, crc32(header.subarray(0, 40), this.#chain));
    expectEqual('chain', header.readUInt32LE(40), chain);

    // From here on the bytes are the next valid frame: what is wrong now was written so.
    const operations = readOperations(payload, count);
    this.#followEpoch(epoch, operations, firstLsn, segment);

    this.#lsn += count;
    this.#chain = chain;
    return {
      firstLsn,
      lastLsn: this.#lsn,
      lsns: operations.map((_, index) => firstLsn + index),
      epoch,
      wallMs,
      chain,
      operations,
      file: segment.file,
      offset,
      endOffset,
      bytes: bytes.subarray(offset, endOffset),
    };
  }

  #followEpoch(epoch: number, operations: readonly DecodedOperation[], firstLsn: number, segment: DecodedSegment): void {
    const begin = operations.find((operation) => operation.kind === 'epoch-begin');
    if (begin !== undefined) {
      const orphan = begin.begin === 'first';
      const fits =
        operations.length === 1 &&
        begin.epochNumber === epoch &&
        begin.parentLastLsn === firstLsn - 1 &&
        begin.parentChain === this.#chain &&
        orphan === (begin.parentNumber === 0) &&
        orphan === (begin.parentId === NO_ID) &&
        begin.epochNumber > begin.parentNumber &&
        (this.#epoch === undefined || (begin.parentNumber === this.#epoch.number && begin.parentId === (this.#epoch.id ?? begin.parentId)));
      if (!fits) throw new BadBytes(`an epoch-begin that does not fit: ${JSON.stringify(begin)}`, true);
      this.#epoch = { number: begin.epochNumber, id: begin.epochId };
    } else {
      if (this.#handedOver) throw new BadBytes('a frame behind the end of its epoch', true);
      // Where the log was shortened, its first frame says in which epoch it begins.
      this.#epoch ??= { number: epoch, id: epoch === segment.epochNumber ? segment.epochId : undefined };
      if (epoch !== this.#epoch.number) throw new BadBytes(`epoch ${epoch}, expected ${this.#epoch.number}`, true);
    }
    const endIndex = operations.findIndex((operation) => operation.kind === 'epoch-end');
    this.#handedOver = endIndex !== -1;
    if (endIndex !== -1 && endIndex !== operations.length - 1) throw new BadBytes('an operation behind the end of its epoch', true);
  }
}

function readMark(bytes: Buffer, offset: number, segment: DecodedSegment): DecodedMark {
  if (offset + MARK_SIZE > bytes.length) throw new BadBytes('the file ends within a mark');
  const mark = bytes.subarray(offset, offset + MARK_SIZE);
  expectEqual('magic', mark.toString('latin1', 0, 4), 'MARK');
  expectEqual('mark checksum', mark.readUInt32LE(36), crc32(mark.subarray(0, 36), crc32(segment.markSalt)));
  const kind = ([undefined, 'sync', 'clean-stop', 'seal'] as const)[mark.readUInt32LE(4)];
  if (kind === undefined) throw new BadBytes('a mark of an unknown kind');
  expectEqual('offset of the mark', readU64(mark, 24), offset);
  expectZero(mark, 20, 4);
  expectZero(mark, 32, 4);
  return { kind, lsn: readU64(mark, 8), chain: mark.readUInt32LE(16), file: segment.file, offset };
}

function readOperations(payload: Buffer, count: number): DecodedOperation[] {
  const operations: DecodedOperation[] = [];
  try {
    let at = 0;
    for (let index = 0; index < count; index += 1) {
      const [operation, size] = readOperation(payload.subarray(at));
      operations.push(operation);
      at += size;
    }
    expectEqual('end of the payload', at, payload.length);
  } catch (error) {
    throw new BadBytes(`a payload that makes no sense: ${messageOfBadBytes(error)}`, true);
  }
  return operations;
}

function readOperation(bytes: Buffer): [DecodedOperation, number] {
  let at = 0;
  const take = (length: number): Buffer => {
    if (at + length > bytes.length) throw new BadBytes('the payload ends within an operation');
    at += length;
    return bytes.subarray(at - length, at);
  };
  const head = take(8);
  const [kind, flags, keyLength, valueLength] = [head[0]!, head[1]!, head.readUInt16LE(2), head.readUInt32LE(4)];
  const isData = kind === 1 || kind === 2;
  if (!isData && kind !== 16 && kind !== 17) throw new BadBytes(`kind ${kind}`);
  const flagsAllowed = kind === 1 ? 3 : kind === 2 ? 2 : 0;
  if ((flags & ~flagsAllowed) !== 0) throw new BadBytes(`flags ${flags} of kind ${kind}`);
  if (isData ? keyLength < 1 || keyLength > 1024 : keyLength !== 0) throw new BadBytes(`key length ${keyLength} of kind ${kind}`);
  const valueLengthFits =
    kind === 1 ? valueLength <= 16 * MIB : valueLength === (kind === 16 ? 80 : kind === 17 ? 40 : 0);
  if (!valueLengthFits) throw new BadBytes(`value length ${valueLength} of kind ${kind}`);

  const optional: { expiresAtMs?: number; requestId?: string } = {};
  if ((flags & 1) !== 0) optional.expiresAtMs = readU64(take(8), 0);
  if ((flags & 2) !== 0) optional.requestId = take(16).toString('hex');
  const key = readText(take(keyLength));
  const body = take(valueLength);
  if (kind === 1) return [{ kind: 'put', key, value: readText(body), ...optional }, at];
  if (kind === 2) return [{ kind: 'delete', key, ...optional }, at];
  if (kind === 17) {
    return [{ kind: 'epoch-end', targetNodeId: body.toString('hex', 0, 16), nextNumber: readU64(body, 16), nextId: body.toString('hex', 24, 40) }, at];
  }
  const begin = ([undefined, 'first', 'switchover', 'failover', 'forced'] as const)[body[0]!];
  if (begin === undefined) throw new BadBytes(`epoch-begin of kind ${body[0]}`);
  expectZero(body, 1, 7);
  expectZero(body, 68, 4);
  return [
    {
      kind: 'epoch-begin',
      begin,
      epochNumber: readU64(body, 8),
      epochId: body.toString('hex', 16, 32),
      parentNumber: readU64(body, 32),
      parentId: body.toString('hex', 40, 56),
      parentLastLsn: readU64(body, 56),
      parentChain: body.readUInt32LE(64),
      acceptedLoss: body.readBigUInt64LE(72) === 2n ** 64n - 1n ? null : readU64(body, 72),
    },
    at,
  ];
}

// ignoreBOM: a byte order mark is a character of the value like any other.
const STRICT_UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function readText(bytes: Buffer): string {
  try {
    return STRICT_UTF8.decode(bytes);
  } catch {
    throw new BadBytes('invalid UTF-8');
  }
}

function readU64(bytes: Buffer, offset: number): number {
  const value = bytes.readBigUInt64LE(offset);
  if (value > 2n ** 53n - 1n) throw new BadBytes(`${value} is above 2^53 - 1`);
  return Number(value);
}

function expectEqual(what: string, got: string | number, expected: string | number): void {
  if (got !== expected) throw new BadBytes(`${what} ${got}, expected ${expected}`);
}

function expectZero(bytes: Buffer, offset: number, length: number): void {
  if (bytes.subarray(offset, offset + length).some((byte) => byte !== 0)) throw new BadBytes(`bytes at ${offset} are not zero`);
}

function messageOfBadBytes(error: unknown): string {
  if (!(error instanceof BadBytes)) throw error;
  return error.message;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let remainder = index;
  for (let bit = 0; bit < 8; bit += 1) remainder = (remainder & 1) === 1 ? 0xedb88320 ^ (remainder >>> 1) : remainder >>> 1;
  return remainder;
});

function crc32(bytes: Uint8Array, seed = 0): number {
  let remainder = ~seed;
  for (const byte of bytes) remainder = CRC_TABLE[(remainder ^ byte) & 0xff]! ^ (remainder >>> 8);
  return ~remainder >>> 0;
}
