/** Operations as bytes: the payload of a frame. FORMAT.md draws them. */
import { isUtf8 } from 'node:buffer';
import { assert, unreachable } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { EpochBeginKind, EpochBeginOperation, Operation } from '../base/operation.ts';
import { isZero, readU64, writeU64 } from './integers.ts';

export const OPERATION_HEADER_BYTES = 8;
const EPOCH_BEGIN_BYTES = 80;
const EPOCH_END_BYTES = 40;

const KIND_PUT = 1;
const KIND_DELETE = 2;
const KIND_EPOCH_BEGIN = 16;
const KIND_EPOCH_END = 17;

const FLAG_EXPIRY = 1;
const FLAG_REQUEST_ID = 2;

const BEGIN_KINDS: readonly (EpochBeginKind | undefined)[] = [undefined, 'first', 'switchover', 'failover', 'forced'];
const UNKNOWN_LOSS = 0xffff_ffff_ffff_ffffn;
const ZERO_ID = '0'.repeat(32);

export function encodedSize(operation: Operation): number {
  switch (operation.kind) {
    case 'put':
      return (
        OPERATION_HEADER_BYTES +
        (operation.expiresAtMs === undefined ? 0 : 8) +
        (operation.requestId === undefined ? 0 : 16) +
        Buffer.byteLength(operation.key) +
        Buffer.byteLength(operation.value)
      );
    case 'delete':
      return OPERATION_HEADER_BYTES + (operation.requestId === undefined ? 0 : 16) + Buffer.byteLength(operation.key);
    case 'epoch-begin':
      return OPERATION_HEADER_BYTES + EPOCH_BEGIN_BYTES;
    case 'epoch-end':
      return OPERATION_HEADER_BYTES + EPOCH_END_BYTES;
    default:
      return unreachable(operation);
  }
}

/** Writes one operation at `offset`. @returns the offset after it. */
export function encodeOperation(operation: Operation, target: Buffer, offset: number): number {
  switch (operation.kind) {
    case 'put':
    case 'delete': {
      const isPut = operation.kind === 'put';
      const expiresAtMs = isPut ? operation.expiresAtMs : undefined;
      let at = offset + OPERATION_HEADER_BYTES;
      if (expiresAtMs !== undefined) {
        writeU64(target, expiresAtMs, at);
        at += 8;
      }
      if (operation.requestId !== undefined) at += target.write(operation.requestId, at, 'hex');
      const keyBytes = target.write(operation.key, at, 'utf8');
      at += keyBytes;
      const valueBytes = isPut ? target.write(operation.value, at, 'utf8') : 0;
      at += valueBytes;
      assert(keyBytes > 0 && keyBytes <= LIMITS.keyBytesMax, `key of ${keyBytes} bytes reached the log`);
      target[offset] = isPut ? KIND_PUT : KIND_DELETE;
      target[offset + 1] =
        (expiresAtMs === undefined ? 0 : FLAG_EXPIRY) | (operation.requestId === undefined ? 0 : FLAG_REQUEST_ID);
      target.writeUInt16LE(keyBytes, offset + 2);
      target.writeUInt32LE(valueBytes, offset + 4);
      return at;
    }
    case 'epoch-begin': {
      const body = encodeControlHeader(KIND_EPOCH_BEGIN, EPOCH_BEGIN_BYTES, target, offset);
      target[body] = BEGIN_KINDS.indexOf(operation.begin);
      writeU64(target, operation.epoch.number, body + 8);
      target.write(operation.epoch.id, body + 16, 'hex');
      writeU64(target, operation.parent?.number ?? 0, body + 32);
      target.write(operation.parent?.id ?? ZERO_ID, body + 40, 'hex');
      writeU64(target, operation.parentEnd.lsn, body + 56);
      target.writeUInt32LE(operation.parentEnd.chain, body + 64);
      target.writeBigUInt64LE(operation.acceptedLoss === null ? UNKNOWN_LOSS : BigInt(operation.acceptedLoss), body + 72);
      return body + EPOCH_BEGIN_BYTES;
    }
    case 'epoch-end': {
      const body = encodeControlHeader(KIND_EPOCH_END, EPOCH_END_BYTES, target, offset);
      target.write(operation.targetNodeId, body, 'hex');
      writeU64(target, operation.nextEpoch.number, body + 16);
      target.write(operation.nextEpoch.id, body + 24, 'hex');
      return body + EPOCH_END_BYTES;
    }
    default:
      return unreachable(operation);
  }
}

function encodeControlHeader(kind: number, bodyBytes: number, target: Buffer, offset: number): number {
  target.fill(0, offset, offset + OPERATION_HEADER_BYTES + bodyBytes);
  target[offset] = kind;
  target.writeUInt32LE(bodyBytes, offset + 4);
  return offset + OPERATION_HEADER_BYTES;
}

/** A payload that is not exactly a list of known operations: written by a newer version, or damaged. */
export class OperationFormatError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'OperationFormatError';
  }
}

/** Decodes a whole payload. @throws OperationFormatError: unknown kinds and flags are refused, never guessed. */
export function decodeOperations(payload: Buffer, count: number): Operation[] {
  const operations: Operation[] = [];
  let offset = 0;
  while (offset < payload.length) {
    if (operations.length === count) throw new OperationFormatError(`more than the announced ${count} operations`);
    if (payload.length - offset < OPERATION_HEADER_BYTES) throw new OperationFormatError('an operation is cut off');
    const kind = payload[offset]!;
    const flags = payload[offset + 1]!;
    const keyBytes = payload.readUInt16LE(offset + 2);
    const valueBytes = payload.readUInt32LE(offset + 4);
    const optionalBytes = ((flags & FLAG_EXPIRY) === 0 ? 0 : 8) + ((flags & FLAG_REQUEST_ID) === 0 ? 0 : 16);
    const keyStart = offset + OPERATION_HEADER_BYTES + optionalBytes;
    const end = keyStart + keyBytes + valueBytes;
    if (end > payload.length) throw new OperationFormatError(`an operation of ${end - offset} bytes is cut off`);
    operations.push(decodeOne(payload, offset, { kind, flags, keyBytes, valueBytes, keyStart, end }));
    offset = end;
  }
  if (operations.length !== count) {
    throw new OperationFormatError(`got ${operations.length} operations, expected ${count}`);
  }
  if (count > 1 && operations.some((operation) => operation.kind === 'epoch-begin')) {
    throw new OperationFormatError('an epoch-begin record is not alone in its frame');
  }
  return operations;
}

interface OperationHead {
  readonly kind: number;
  readonly flags: number;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly keyStart: number;
  readonly end: number;
}

function decodeOne(payload: Buffer, offset: number, head: OperationHead): Operation {
  switch (head.kind) {
    case KIND_PUT:
    case KIND_DELETE:
      return decodeData(payload, offset, head);
    case KIND_EPOCH_BEGIN:
      return decodeEpochBegin(payload, head);
    case KIND_EPOCH_END:
      return decodeEpochEnd(payload, head);
    default:
      throw new OperationFormatError(`operation kind ${head.kind} is not known to this version`);
  }
}

function decodeData(payload: Buffer, offset: number, head: OperationHead): Operation {
  const isPut = head.kind === KIND_PUT;
  const allowedFlags = isPut ? FLAG_EXPIRY | FLAG_REQUEST_ID : FLAG_REQUEST_ID;
  if ((head.flags & ~allowedFlags) !== 0) throw new OperationFormatError(`operation flags ${head.flags} are not known to this version`);
  if (head.keyBytes === 0 || head.keyBytes > LIMITS.keyBytesMax) throw new OperationFormatError(`key of ${head.keyBytes} bytes`);
  if (head.valueBytes > LIMITS.valueBytesMax || (!isPut && head.valueBytes !== 0)) {
    throw new OperationFormatError(`value of ${head.valueBytes} bytes`);
  }
  const keyAndValue = payload.subarray(head.keyStart, head.end);
  if (!isUtf8(keyAndValue.subarray(0, head.keyBytes)) || !isUtf8(keyAndValue.subarray(head.keyBytes))) {
    throw new OperationFormatError('a key or value is not UTF-8');
  }
  let at = offset + OPERATION_HEADER_BYTES;
  let expiresAtMs: number | undefined;
  if ((head.flags & FLAG_EXPIRY) !== 0) {
    expiresAtMs = readU64(payload, at);
    if (Number.isNaN(expiresAtMs)) throw new OperationFormatError('an expiry is out of range');
    at += 8;
  }
  const requestId = (head.flags & FLAG_REQUEST_ID) === 0 ? undefined : payload.toString('hex', at, at + 16);
  const key = keyAndValue.toString('utf8', 0, head.keyBytes);
  return {
    ...(isPut ? { kind: 'put' as const, key, value: keyAndValue.toString('utf8', head.keyBytes) } : { kind: 'delete' as const, key }),
    ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
    ...(requestId === undefined ? {} : { requestId }),
  };
}

function decodeEpochBegin(payload: Buffer, head: OperationHead): EpochBeginOperation {
  const body = controlBody(payload, head, EPOCH_BEGIN_BYTES);
  const begin = BEGIN_KINDS[body[0]!];
  const epoch = { number: readU64(body, 8), id: body.toString('hex', 16, 32) };
  const parent = { number: readU64(body, 32), id: body.toString('hex', 40, 56) };
  const parentEnd = { lsn: readU64(body, 56), chain: body.readUInt32LE(64) };
  const loss = body.readBigUInt64LE(72);
  const hasParent = parent.number !== 0 || parent.id !== ZERO_ID;
  if (
    begin === undefined ||
    !isZero(body, 1, 8) ||
    !isZero(body, 68, 72) ||
    Number.isNaN(epoch.number) ||
    Number.isNaN(parent.number) ||
    Number.isNaN(parentEnd.lsn) ||
    epoch.number <= parent.number ||
    (loss !== UNKNOWN_LOSS && loss > BigInt(Number.MAX_SAFE_INTEGER))
  ) {
    throw new OperationFormatError('an epoch-begin record has a field that is not known to this version');
  }
  return {
    kind: 'epoch-begin',
    begin,
    epoch,
    parent: hasParent ? parent : null,
    parentEnd,
    acceptedLoss: loss === UNKNOWN_LOSS ? null : Number(loss),
  };
}

function decodeEpochEnd(payload: Buffer, head: OperationHead): Operation {
  const body = controlBody(payload, head, EPOCH_END_BYTES);
  const nextEpoch = { number: readU64(body, 16), id: body.toString('hex', 24, 40) };
  if (Number.isNaN(nextEpoch.number)) throw new OperationFormatError('an epoch-end record has a field out of range');
  return { kind: 'epoch-end', targetNodeId: body.toString('hex', 0, 16), nextEpoch };
}

function controlBody(payload: Buffer, head: OperationHead, bodyBytes: number): Buffer {
  if (head.flags !== 0 || head.keyBytes !== 0 || head.valueBytes !== bodyBytes) {
    throw new OperationFormatError(`control record of kind ${head.kind} with flags ${head.flags} and ${head.valueBytes} bytes`);
  }
  return payload.subarray(head.keyStart, head.end);
}
