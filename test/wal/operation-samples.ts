/** Operations as fast-check draws them: every kind, every optional field, awkward texts. */
import * as fc from 'fast-check';
import type { DataOperation, EpochBeginOperation, EpochEndOperation, Operation } from '../../lib/base/operation.ts';
import { LIMITS } from '../../lib/base/limits.ts';

const id = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const number = fc.maxSafeNat();

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom('', '\0', '\uFEFFbyte order mark', '😀👩‍👩‍👧', '__proto__', 'FRAM', 'MARK', 'SHIPLOGW', '\u2028', 'é'),
);
const key = fc
  .oneof(text, fc.constant('k'.repeat(LIMITS.keyBytesMax)), fc.constant('😀'.repeat(256)))
  .filter((text) => text.length > 0 && Buffer.byteLength(text) <= LIMITS.keyBytesMax);
const value = fc.oneof({ weight: 9, arbitrary: text }, { weight: 1, arbitrary: fc.nat(100_000).map((length) => 'v'.repeat(length)) });

const put: fc.Arbitrary<DataOperation> = fc
  .record({ kind: fc.constant('put' as const), key, value, expiresAtMs: number, requestId: id }, { requiredKeys: ['kind', 'key', 'value'] });
const del: fc.Arbitrary<DataOperation> = fc
  .record({ kind: fc.constant('delete' as const), key, requestId: id }, { requiredKeys: ['kind', 'key'] });

export const dataOperations = fc.array(fc.oneof(put, del), { minLength: 1, maxLength: 20 });

const parent = fc.record({ number: fc.integer({ min: 1, max: 2 ** 31 }), id: id.filter((text) => !/^0+$/.test(text)) });
export const epochBegin: fc.Arbitrary<EpochBeginOperation> = fc
  .record({
    kind: fc.constant('epoch-begin' as const),
    begin: fc.constantFrom('first', 'switchover', 'failover', 'forced'),
    epoch: fc.record({ number: fc.integer({ min: 2 ** 31 + 1, max: Number.MAX_SAFE_INTEGER }), id }),
    parent: fc.option(parent),
    parentEnd: fc.record({ lsn: number, chain: fc.nat(0xffff_ffff) }),
    acceptedLoss: fc.option(number),
  });
export const epochEnd: fc.Arbitrary<EpochEndOperation> = fc
  .record({ kind: fc.constant('epoch-end' as const), targetNodeId: id, nextEpoch: fc.record({ number, id }) });

export const frameOperations: fc.Arbitrary<readonly Operation[]> = fc.oneof(
  { weight: 4, arbitrary: dataOperations },
  { weight: 1, arbitrary: epochBegin.map((operation) => [operation]) },
  { weight: 1, arbitrary: epochEnd.map((operation) => [operation]) },
);
