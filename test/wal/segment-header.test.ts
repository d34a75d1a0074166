import { crc32 } from 'node:zlib';
import { expect } from 'chai';
import * as fc from 'fast-check';
import { isShiplogError } from '../../lib/base/errors.ts';
import {
  SEGMENT_HEADER_BYTES, type SegmentHeader, decodeSegmentHeader, encodeSegmentHeader, firstLsnOfFileName, segmentFileName,
} from '../../lib/wal/segment-header.ts';

const HEADER: SegmentHeader = {
  clusterId: '01'.repeat(16),
  epoch: { number: 7, id: '23'.repeat(16) },
  before: { lsn: 41, chain: 0xcafe_f00d },
  createdMs: 1_700_000_000_000,
  frameSalt: Buffer.from('framsalt'),
  markSalt: Buffer.from('marksalt'),
};

describe('a segment header', () => {
  it('reads back every field', () => {
    const id = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString('hex'));
    const salt = fc.uint8Array({ minLength: 8, maxLength: 8 }).map((bytes) => Buffer.from(bytes));
    const header = fc.record({
      clusterId: id,
      epoch: fc.record({ number: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), id }),
      before: fc.record({ lsn: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER - 1 }), chain: fc.nat(0xffff_ffff) }),
      createdMs: fc.maxSafeNat(),
      frameSalt: salt,
      markSalt: salt,
    });
    fc.assert(
      fc.property(header, (header) => {
        const bytes = encodeSegmentHeader(header);
        expect(bytes).to.have.length(SEGMENT_HEADER_BYTES);
        expect(decodeSegmentHeader(bytes, 'x.wal')).to.deep.equal(header);
      }),
    );
  });

  it('is refused by name and offset wherever one bit is flipped', () => {
    const bytes = encodeSegmentHeader(HEADER);
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => decodeSegmentHeader(flipped, '/log/x.wal'), `bit ${bit}`).to.throw(/\/log\/x\.wal.*offset 0/).and.satisfy((error: unknown) => isShiplogError(error, 'log-damaged'));
    }
  });

  it('is refused where it is cut', () => {
    const bytes = encodeSegmentHeader(HEADER);
    for (const length of [0, 1, 127]) {
      expect(() => decodeSegmentHeader(bytes.subarray(0, length), 'x.wal')).to.throw(`got ${length} bytes, expected 128`);
    }
  });

  it('names a version that this program does not read', () => {
    expect(() => decodeSegmentHeader(changed((bytes) => bytes.writeUInt32LE(2, 8)), 'x.wal')).to.throw('format version 2');
  });

  it('is refused where a field is out of bounds, even under a good checksum', () => {
    const writes: ((bytes: Buffer) => unknown)[] = [
      (bytes) => bytes.writeUInt32LE(256, 12),
      (bytes) => bytes.writeBigUInt64LE(0n, 32),
      (bytes) => bytes.writeBigUInt64LE(0n, 56),
      (bytes) => bytes.writeBigUInt64LE(2n ** 53n, 56),
      (bytes) => bytes.writeBigUInt64LE(2n ** 53n, 72),
      ...[68, 71, 96, 123].map((at) => (bytes: Buffer) => bytes.writeUInt8(1, at)),
    ];
    for (const [index, write] of writes.entries()) {
      expect(() => decodeSegmentHeader(changed(write), 'x.wal'), `change ${index}`).to.throw('out of range');
    }
  });

  it('names files by first LSN, and takes no other name for a segment', () => {
    expect(segmentFileName(42)).to.equal('00000000000000000042.wal');
    expect(firstLsnOfFileName('00000000000000000042.wal')).to.equal(42);
    for (const name of ['next.spare', '42.wal', '00000000000000000042.wal~', '0000000000000000004x.wal', 'CURRENT']) {
      expect(firstLsnOfFileName(name), name).to.be.undefined;
    }
  });
});

function changed(write: (bytes: Buffer) => unknown): Buffer {
  const bytes = encodeSegmentHeader(HEADER);
  write(bytes);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 124)), 124);
  return bytes;
}
