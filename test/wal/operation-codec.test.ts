import { expect } from 'chai';
import * as fc from 'fast-check';
import { LIMITS } from '../../lib/base/limits.ts';
import type { Operation } from '../../lib/base/operation.ts';
import { OPERATION_HEADER_BYTES, OperationFormatError, decodeOperations, encodeOperation, encodedSize } from '../../lib/wal/operation-codec.ts';
import { frameOperations } from './operation-samples.ts';

const PUT: Operation = { kind: 'put', key: 'k', value: 'v' };
const EPOCH = { number: 2, id: 'ab'.repeat(16) };
const BEGIN: Operation = {
  kind: 'epoch-begin',
  begin: 'failover',
  epoch: EPOCH,
  parent: { number: 1, id: 'cd'.repeat(16) },
  parentEnd: { lsn: 41, chain: 7 },
  acceptedLoss: null,
};
const END: Operation = { kind: 'epoch-end', targetNodeId: 'ef'.repeat(16), nextEpoch: EPOCH };

describe('the codec of operations', () => {
  it('reads back whatever it wrote, in exactly the announced size', () => {
    fc.assert(
      fc.property(frameOperations, (operations) => {
        const bytes = encode(operations);
        expect(decodeOperations(bytes, operations.length)).to.deep.equal(operations);
      }),
      { numRuns: 300 },
    );
  });

  it('keeps a byte order mark, a NUL and an emoji in keys and values', () => {
    const operation: Operation = { kind: 'put', key: '\uFEFF\0😀', value: '\uFEFFa\0😀' };
    expect(decodeOperations(encode([operation]), 1)).to.deep.equal([operation]);
  });

  it('writes at an offset without touching what is before and behind', () => {
    const target = Buffer.alloc(200, 0xee);
    const end = encodeOperation(PUT, target, 50);
    expect(end).to.equal(50 + encodedSize(PUT));
    expect(target.subarray(0, 50).every((byte) => byte === 0xee)).to.be.true;
    expect(target.subarray(end).every((byte) => byte === 0xee)).to.be.true;
  });

  it('tells an unknown accepted loss from none', () => {
    for (const acceptedLoss of [null, 0, Number.MAX_SAFE_INTEGER]) {
      expect(decodeOperations(encode([{ ...BEGIN, acceptedLoss }]), 1)[0]).to.deep.equal({ ...BEGIN, acceptedLoss });
    }
  });

  const knownKinds = [1, 2, 16, 17];
  it('refuses every kind that it does not know', () => {
    for (let kind = 0; kind < 256; kind += 1) {
      if (knownKinds.includes(kind)) continue;
      const bytes = encode([PUT]);
      bytes[0] = kind;
      expect(() => decodeOperations(bytes, 1), `kind ${kind}`).to.throw(OperationFormatError, `kind ${kind}`);
    }
  });

  it('refuses every flag that it does not know, and known ones where they have no place', () => {
    const allowed = new Map<string, readonly number[]>([['put', [0, 1, 2, 3]], ['delete', [0, 2]], ['epoch-begin', [0]], ['epoch-end', [0]]]);
    for (const operation of [PUT, { kind: 'delete', key: 'k' }, BEGIN, END] as const) {
      for (let flags = 0; flags < 256; flags += 1) {
        if (allowed.get(operation.kind)!.includes(flags)) continue;
        // Room for optional fields, so that only the flag can be wrong.
        const bytes = Buffer.concat([encode([operation]), Buffer.alloc(24)]);
        bytes[1] = flags;
        expect(() => decodeOperations(bytes, 1), `${operation.kind} with flags ${flags}`).to.throw(OperationFormatError);
      }
    }
  });

  it('refuses a count that is not exactly the number of operations', () => {
    const bytes = encode([PUT, PUT]);
    for (const count of [0, 1, 3]) expect(() => decodeOperations(bytes, count)).to.throw(OperationFormatError, String(count));
  });

  it('refuses a payload that is cut anywhere, or has a byte too many', () => {
    for (const operation of [{ ...PUT, expiresAtMs: 5, requestId: 'ab'.repeat(16) }, BEGIN, END]) {
      const bytes = encode([operation]);
      for (let length = 0; length < bytes.length; length += 1) {
        expect(() => decodeOperations(bytes.subarray(0, length), 1), `${operation.kind} cut at ${length}`).to.throw(OperationFormatError);
      }
      expect(() => decodeOperations(Buffer.concat([bytes, Buffer.alloc(1)]), 1)).to.throw(OperationFormatError);
    }
  });

  it('refuses lengths beyond the payload without reserving memory for them', () => {
    const bytes = encode([PUT]);
    bytes.writeUInt32LE(0xffff_ffff, 4);
    const before = process.memoryUsage().arrayBuffers;
    expect(() => decodeOperations(bytes, 1)).to.throw(OperationFormatError, 'cut off');
    expect(process.memoryUsage().arrayBuffers - before).to.be.below(2 ** 24);
  });

  it('refuses keys and values beyond their bounds', () => {
    const longKey = encode([{ ...PUT, key: 'k'.repeat(LIMITS.keyBytesMax), value: 'v'.repeat(10) }]);
    longKey.writeUInt16LE(LIMITS.keyBytesMax + 1, 2);
    longKey.writeUInt32LE(9, 4);
    expect(() => decodeOperations(longKey, 1)).to.throw(OperationFormatError, 'key of 1025 bytes');

    const noKey = encode([PUT]);
    noKey.writeUInt16LE(0, 2);
    noKey.writeUInt32LE(2, 4);
    expect(() => decodeOperations(noKey, 1)).to.throw(OperationFormatError, 'key of 0 bytes');

    const deleteWithValue = encode([PUT]);
    deleteWithValue[0] = 2;
    expect(() => decodeOperations(deleteWithValue, 1)).to.throw(OperationFormatError, 'value of 1 bytes');

    const largest = encode([{ ...PUT, value: 'v'.repeat(LIMITS.valueBytesMax) }]);
    expect(decodeOperations(largest, 1)).to.have.length(1);
    const larger = Buffer.concat([largest, Buffer.from('v')]);
    larger.writeUInt32LE(LIMITS.valueBytesMax + 1, 4);
    expect(() => decodeOperations(larger, 1)).to.throw(OperationFormatError, `value of ${LIMITS.valueBytesMax + 1} bytes`);
  });

  it('refuses texts that are not UTF-8, also where key and value would be valid only together', () => {
    const split = encode([{ ...PUT, key: 'aé', value: 'v' }]);
    split.writeUInt16LE(2, 2);
    split.writeUInt32LE(2, 4);
    expect(() => decodeOperations(split, 1)).to.throw(OperationFormatError, 'UTF-8');
    const surrogate = encode([{ ...PUT, value: '€' }]);
    Buffer.from([0xed, 0xa0, 0x80]).copy(surrogate, surrogate.length - 3);
    expect(() => decodeOperations(surrogate, 1)).to.throw(OperationFormatError, 'UTF-8');
  });

  it('refuses an epoch-begin record that is not alone', () => {
    expect(() => decodeOperations(encode([BEGIN, PUT]), 2)).to.throw(OperationFormatError, 'alone');
    expect(() => decodeOperations(encode([PUT, BEGIN]), 2)).to.throw(OperationFormatError, 'alone');
  });

  it('refuses control records with an unknown kind, reserved bytes set, or numbers above 2^53 − 1', () => {
    const change = (operation: Operation, write: (body: Buffer) => void): (() => unknown) => {
      const bytes = encode([operation]);
      write(bytes.subarray(OPERATION_HEADER_BYTES));
      return () => decodeOperations(bytes, 1);
    };
    const changes: ((body: Buffer) => unknown)[] = [
      (body) => (body[0] = 0),
      (body) => (body[0] = 5),
      ...[1, 2, 3, 4, 5, 6, 7, 68, 69, 70, 71].map((at) => (body: Buffer) => (body[at] = 1)),
      ...[8, 32, 56].map((at) => (body: Buffer) => body.writeBigUInt64LE(2n ** 53n, at)),
      (body) => body.writeBigUInt64LE(2n ** 64n - 2n, 72),
      // An epoch is higher than its parent.
      (body) => body.writeBigUInt64LE(1n, 8),
    ];
    for (const [index, write] of changes.entries()) expect(change(BEGIN, write), `change ${index}`).to.throw(OperationFormatError);
    expect(change(END, (body) => body.writeBigUInt64LE(2n ** 53n, 16))).to.throw(OperationFormatError);
    const expiry = encode([{ ...PUT, expiresAtMs: 1 }]);
    expiry.writeBigUInt64LE(2n ** 53n, OPERATION_HEADER_BYTES);
    expect(() => decodeOperations(expiry, 1)).to.throw(OperationFormatError, 'expiry');
  });

  it('throws nothing but its own error on any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(3), (bytes, count) => {
        try {
          decodeOperations(Buffer.from(bytes), count);
        } catch (error) {
          expect(error).to.be.instanceOf(OperationFormatError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

function encode(operations: readonly Operation[]): Buffer {
  const bytes = Buffer.alloc(operations.reduce((size, operation) => size + encodedSize(operation), 0));
  let offset = 0;
  for (const operation of operations) offset = encodeOperation(operation, bytes, offset);
  expect(offset).to.equal(bytes.length);
  return bytes;
}
