/**
 * What flows over `GET /wal`: frames as they stand in a segment, and control frames between them.
 * wal/FORMAT.md draws both. Control frames change no data, so what a reader doesn't know in them,
 * it passes over.
 */
import { crc32 } from 'node:zlib';
import type { EpochRef } from '../base/epoch-history.ts';
import { ShiplogError, assert, isShiplogError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { Member } from './member-list.ts';
import { FRAME_HEADER_BYTES, FRAME_MAGIC, type FrameHeader, decodeFrameHeader, saltSeed } from '../wal/frame.ts';

const CONTROL_MAGIC = 0x4c525443; // "CTRL"
const CONTROL_HEADER_BYTES = 16;
const CONTROL_KINDS = ['salt', 'hello', 'heartbeat', 'end', 'members'] as const;
type ControlKind = (typeof CONTROL_KINDS)[number];

export interface HelloFrame {
  readonly kind: 'hello';
  readonly streamId: string;
  readonly clusterId: string;
  readonly nodeId: string;
  readonly nodeName: string;
  readonly members: readonly Member[];
}

/** Where the primary itself is, also when a replica sends it on. */
export interface HeartbeatFrame {
  readonly kind: 'heartbeat';
  readonly lsn: number;
  readonly epoch: EpochRef;
  readonly wallMs: number;
  /** Node ids from the primary to the sender. */
  readonly path: readonly string[];
}

export type ControlFrame =
  | { readonly kind: 'salt'; readonly salt: string }
  | HelloFrame
  | HeartbeatFrame
  | { readonly kind: 'end'; readonly reason: string }
  | { readonly kind: 'members'; readonly members: readonly Member[] };

export type StreamRecord =
  | { readonly type: 'control'; readonly control: ControlFrame }
  | {
      readonly type: 'frame';
      readonly header: FrameHeader;
      /** Header and payload. The chain is not verified here: the log does it before it appends. */
      readonly bytes: Buffer;
    };

export function encodeControl(control: ControlFrame): Buffer {
  const { kind, ...content } = control;
  const payload = Buffer.from(JSON.stringify(content));
  assert(payload.length <= LIMITS.controlPayloadBytesMax, `control frame of ${payload.length} bytes`);
  const bytes = Buffer.alloc(CONTROL_HEADER_BYTES + payload.length);
  bytes.writeUInt32LE(CONTROL_MAGIC, 0);
  bytes[4] = CONTROL_KINDS.indexOf(kind) + 1;
  bytes.writeUInt32LE(payload.length, 8);
  bytes.writeUInt32LE(crc32(payload, crc32(bytes.subarray(0, 12))), 12);
  payload.copy(bytes, CONTROL_HEADER_BYTES);
  return bytes;
}

/** Cuts a stream of bytes into records, however the bytes are split. */
export class StreamDecoder {
  #seed: number | undefined;
  /** Bytes of a record that is not complete yet. */
  #partial: Buffer = Buffer.alloc(0);
  #partialFilled = 0;

  /**
   * Takes bytes and yields the records that they complete.
   * @throws ShiplogError `peer-protocol` at the first byte that does not fit; lengths are bounded before anything is allocated.
   */
  *push(chunk: Buffer): Generator<StreamRecord> {
    let at = 0;
    while (at < chunk.length) {
      if (this.#partialFilled === 0) {
        const size = this.#recordSize(chunk, at);
        if (size !== undefined && chunk.length - at >= size) {
          yield* this.#decode(chunk.subarray(at, at + size));
          at += size;
          continue;
        }
      }
      at += this.#keep(chunk.subarray(at));
      const size = this.#recordSize(this.#partial.subarray(0, this.#partialFilled), 0);
      if (size !== undefined && this.#partialFilled === size) {
        const record = this.#partial.subarray(0, size);
        this.#partial = Buffer.alloc(0);
        this.#partialFilled = 0;
        yield* this.#decode(record);
      }
    }
  }

  /** Copies what is missing for the next decision: first a header, then the rest. @returns bytes taken. */
  #keep(chunk: Buffer): number {
    const wanted = this.#recordSize(this.#partial.subarray(0, this.#partialFilled), 0) ?? this.#headerSize(chunk);
    if (this.#partial.length < wanted) {
      const larger = Buffer.allocUnsafeSlow(wanted);
      this.#partial.copy(larger, 0, 0, this.#partialFilled);
      this.#partial = larger;
    }
    const count = Math.min(chunk.length, wanted - this.#partialFilled);
    chunk.copy(this.#partial, this.#partialFilled, 0, count);
    this.#partialFilled += count;
    return count;
  }

  #headerSize(chunk: Buffer): number {
    const first = this.#partialFilled > 0 ? this.#partial : chunk;
    const available = this.#partialFilled > 0 ? this.#partialFilled : chunk.length;
    if (available < 4) return 4;
    return first.readUInt32LE(0) === CONTROL_MAGIC ? CONTROL_HEADER_BYTES : FRAME_HEADER_BYTES;
  }

  /** Size of the record at `at`, or undefined while its header is not complete. */
  #recordSize(source: Buffer, at: number): number | undefined {
    const available = source.length - at;
    if (available < 4) return undefined;
    const magic = source.readUInt32LE(at);
    if (magic === CONTROL_MAGIC) {
      if (available < CONTROL_HEADER_BYTES) return undefined;
      const payloadBytes = source.readUInt32LE(at + 8);
      if (payloadBytes > LIMITS.controlPayloadBytesMax) throw protocolError(`a control frame of ${payloadBytes} bytes`);
      return CONTROL_HEADER_BYTES + payloadBytes;
    }
    if (magic !== FRAME_MAGIC) throw protocolError(`a record that begins with 0x${magic.toString(16)}`);
    if (available < FRAME_HEADER_BYTES) return undefined;
    return FRAME_HEADER_BYTES + this.#frameHeader(source, at).payloadBytes;
  }

  #frameHeader(source: Buffer, at: number): FrameHeader {
    if (this.#seed === undefined) throw protocolError('a frame before any salt');
    const header = decodeFrameHeader(source, at, this.#seed);
    if (header === undefined) throw protocolError('a frame header with a wrong checksum');
    return header;
  }

  *#decode(record: Buffer): Generator<StreamRecord> {
    if (record.readUInt32LE(0) === FRAME_MAGIC) {
      yield { type: 'frame', header: this.#frameHeader(record, 0), bytes: record };
      return;
    }
    const payload = record.subarray(CONTROL_HEADER_BYTES);
    if (crc32(payload, crc32(record.subarray(0, 12))) !== record.readUInt32LE(12)) throw protocolError('a control frame with a wrong checksum');
    const kind = CONTROL_KINDS[record[4]! - 1];
    if (kind === undefined) return;
    const control = parseControl(kind, payload);
    if (control.kind === 'salt') this.#seed = saltSeed(Buffer.from(control.salt, 'hex'));
    yield { type: 'control', control };
  }
}

function parseControl(kind: ControlKind, payload: Buffer): ControlFrame {
  try {
    const content = JSON.parse(payload.toString('utf8')) as Record<string, unknown>;
    const isValid = {
      salt: () => typeof content['salt'] === 'string' && /^[0-9a-f]{16}$/.test(content['salt']),
      hello: () => isId(content['streamId']) && isId(content['clusterId']) && isId(content['nodeId']) && typeof content['nodeName'] === 'string' && isMemberList(content['members']),
      heartbeat: () => Number.isSafeInteger(content['lsn']) && Number.isSafeInteger(content['wallMs']) && isEpochRef(content['epoch']) && Array.isArray(content['path']) && content['path'].every(isId),
      end: () => typeof content['reason'] === 'string',
      members: () => isMemberList(content['members']),
    }[kind]();
    if (!isValid) throw protocolError(`a ${kind} control frame with missing or wrong members`);
    // The kind last: the payload must not say it is another one than the one that was checked.
    return { ...content, kind } as unknown as ControlFrame;
  } catch (error) {
    if (isShiplogError(error)) throw error;
    throw protocolError(`a ${kind} control frame that is not JSON`, error);
  }
}

function isId(value: unknown): boolean {
  return typeof value === 'string' && /^[0-9a-f]{32}$/.test(value);
}

function isEpochRef(value: unknown): boolean {
  const ref = value as Partial<EpochRef> | null;
  return typeof ref === 'object' && ref !== null && Number.isSafeInteger(ref.number) && isId(ref.id);
}

export function isMemberList(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.length <= LIMITS.membersMax &&
    value.every((each: Partial<Member>) => isId(each.nodeId) && typeof each.name === 'string' && typeof each.url === 'string')
  );
}

function protocolError(what: string, cause?: unknown): ShiplogError {
  return new ShiplogError('peer-protocol', `the peer sent ${what}`, { cause });
}
