import { AssertionError } from 'node:assert';
import { crc32 } from 'node:zlib';
import { expect } from 'chai';
import * as fc from 'fast-check';
import { LIMITS } from '../../lib/base/limits.ts';
import type { Operation } from '../../lib/base/operation.ts';
import { FRAME_HEADER_BYTES, chainOfFrame, decodeFrameHeader, encodeFrame, lastLsnOf, saltSeed, sealFrameHeader } from '../../lib/wal/frame.ts';
import { decodeOperations, encodedSize } from '../../lib/wal/operation-codec.ts';
import { frameOperations } from './operation-samples.ts';

const SEED = saltSeed(Buffer.from('saltsalt'));
const OTHER_SEED = saltSeed(Buffer.from('pepper!!'));
const CONTENT = { firstLsn: 42, epochNumber: 3, wallMs: 1_700_000_000_123, operations: [{ kind: 'put', key: 'k', value: 'value' }] as readonly Operation[] };

describe('a frame', () => {
  it('reads back header and operations, and chains header and payload', () => {
    const lsn = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER - 100 });
    fc.assert(
      fc.property(frameOperations, lsn, lsn, fc.maxSafeNat(), fc.nat(0xffff_ffff), (operations, firstLsn, epochNumber, wallMs, chainBefore) => {
        const { bytes, chain } = encode({ firstLsn, epochNumber, wallMs, operations }, chainBefore);
        const header = decodeFrameHeader(bytes, 0, SEED)!;
        expect(header).to.deep.equal({
          payloadBytes: bytes.length - FRAME_HEADER_BYTES,
          firstLsn,
          operationCount: operations.length,
          epochNumber,
          wallMs,
          chain,
        });
        expect(lastLsnOf(header)).to.equal(firstLsn + operations.length - 1);
        expect(chainOfFrame(bytes, chainBefore)).to.equal(chain);
        expect(decodeOperations(bytes.subarray(FRAME_HEADER_BYTES), operations.length)).to.deep.equal(operations);
      }),
    );
  });

  it('notices every single flipped bit, in its header or in its chain', () => {
    const { bytes, chain } = encode(CONTENT, 99);
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      const header = decodeFrameHeader(flipped, 0, SEED);
      const isNoticed = header === undefined || chainOfFrame(flipped, 99) !== chain;
      expect(isNoticed, `bit ${bit}`).to.be.true;
    }
  });

  it('is the same on every node but for its own header checksum', () => {
    const here = encode(CONTENT, 99).bytes;
    const there = encode(CONTENT, 99, OTHER_SEED).bytes;
    expect(there.subarray(0, 44).equals(here.subarray(0, 44))).to.be.true;
    expect(there.subarray(44, 48).equals(here.subarray(44, 48))).to.be.false;
    expect(there.subarray(48).equals(here.subarray(48))).to.be.true;
    sealFrameHeader(there, 0, SEED);
    expect(there.equals(here)).to.be.true;
  });

  it('is no frame under another salt, so that frame-like bytes in values and old blocks are none', () => {
    const inner = encode(CONTENT, 0, OTHER_SEED).bytes;
    const { bytes } = encode({ ...CONTENT, operations: [{ kind: 'put', key: 'k', value: inner.toString('latin1') }] }, 0);
    for (let offset = 1; offset + FRAME_HEADER_BYTES <= bytes.length; offset += 1) {
      expect(decodeFrameHeader(bytes, offset, SEED), `offset ${offset}`).to.be.undefined;
    }
    expect(decodeFrameHeader(inner, 0, SEED)).to.be.undefined;
  });

  it('is refused where a field is out of bounds, even under a good checksum', () => {
    const refuse = (what: string, write: (header: Buffer) => void): void => {
      const { bytes } = encode(CONTENT, 0);
      write(bytes);
      sealFrameHeader(bytes, 0, SEED);
      expect(decodeFrameHeader(bytes, 0, SEED), what).to.be.undefined;
    };
    refuse('wrong magic', (header) => header.write('MARF', 0, 'latin1'));
    for (const payloadBytes of [0, 7, LIMITS.framePayloadBytesMax + 1, 0xffff_ffff]) {
      refuse(`payload of ${payloadBytes}`, (header) => header.writeUInt32LE(payloadBytes, 4));
    }
    for (const lsn of [0n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 64n - 1n]) refuse(`LSN ${lsn}`, (header) => header.writeBigUInt64LE(lsn, 8));
    for (const count of [0, 100, LIMITS.frameOperationsMax + 1]) refuse(`${count} operations`, (header) => header.writeUInt32LE(count, 16));
    for (const flags of [1, 0x8000_0000]) refuse(`flags ${flags}`, (header) => header.writeUInt32LE(flags, 20));
    for (const epoch of [0n, 2n ** 53n]) refuse(`epoch ${epoch}`, (header) => header.writeBigUInt64LE(epoch, 24));
    refuse('wall clock', (header) => header.writeBigUInt64LE(2n ** 53n, 32));
  });

  it('is not made larger than any reader accepts', () => {
    const half: Operation = { kind: 'put', key: 'k', value: 'v'.repeat(LIMITS.framePayloadBytesMax / 2) };
    expect(() => encode({ ...CONTENT, operations: [half, half] }, 0)).to.throw(AssertionError, 'frame of');
  });

  it('seeds checksums with the checksum of the salt', () => {
    expect(SEED).to.equal(crc32('saltsalt'));
  });
});

function encode(content: typeof CONTENT, chainBefore: number, seed = SEED): { bytes: Buffer; chain: number } {
  const size = content.operations.reduce((sum, operation) => sum + encodedSize(operation), FRAME_HEADER_BYTES);
  const bytes = Buffer.alloc(size);
  const { end, chain } = encodeFrame(content, bytes, 0, { chain: chainBefore, seed });
  expect(end).to.equal(size);
  return { bytes, chain };
}
