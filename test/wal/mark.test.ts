import { crc32 } from 'node:zlib';
import { expect } from 'chai';
import * as fc from 'fast-check';
import { saltSeed } from '../../lib/wal/frame.ts';
import { MARK_BYTES, type Mark, decodeMark, encodeMark, findMarks } from '../../lib/wal/mark.ts';

const SEED = saltSeed(Buffer.from('marksalt'));
const MARK: Mark = { kind: 'sync', durable: { lsn: 41, chain: 0xdead_beef } };

describe('a mark', () => {
  it('reads back its kind, LSN and chain', () => {
    const kind = fc.constantFrom('sync' as const, 'clean-stop' as const, 'seal' as const);
    fc.assert(
      fc.property(kind, fc.maxSafeNat(), fc.nat(0xffff_ffff), fc.maxSafeNat(), (kind, lsn, chain, position) => {
        const mark: Mark = { kind, durable: { lsn, chain } };
        const bytes = Buffer.alloc(MARK_BYTES + 7, 0xee);
        expect(encodeMark(mark, bytes, 3, position, SEED)).to.equal(3 + MARK_BYTES);
        expect(decodeMark(bytes, 3, position, SEED)).to.deep.equal(mark);
      }),
    );
  });

  it('notices every single flipped bit', () => {
    const bytes = encode(MARK, 1000);
    for (let bit = 0; bit < MARK_BYTES * 8; bit += 1) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      expect(decodeMark(flipped, 0, 1000, SEED), `bit ${bit}`).to.be.undefined;
    }
  });

  it('is none at another place, or under another salt', () => {
    const bytes = encode(MARK, 1000);
    expect(decodeMark(bytes, 0, 1001, SEED)).to.be.undefined;
    expect(decodeMark(bytes, 0, 1000, saltSeed(Buffer.from('othersal')))).to.be.undefined;
  });

  it('is refused where a field is out of bounds, even under a good checksum', () => {
    const writes: ((bytes: Buffer) => unknown)[] = [
      (bytes) => bytes.writeUInt32LE(0, 4),
      (bytes) => bytes.writeUInt32LE(4, 4),
      (bytes) => bytes.writeBigUInt64LE(2n ** 53n, 8),
      (bytes) => bytes.writeUInt32LE(1, 20),
      (bytes) => bytes.writeUInt32LE(1, 32),
    ];
    for (const [index, write] of writes.entries()) {
      const bytes = encode(MARK, 1000);
      write(bytes);
      bytes.writeUInt32LE(crc32(bytes.subarray(0, 36), SEED), 36);
      expect(decodeMark(bytes, 0, 1000, SEED), `change ${index}`).to.be.undefined;
    }
  });

  it('is found anywhere in a file, and copies of it are not', () => {
    const real = encode(MARK, 5077);
    const copy = encode(MARK, 1000);
    const source = Buffer.concat([copy, Buffer.from('MARKMARMARK'), Buffer.alloc(26, 'M'), real, copy.subarray(0, 39)]);
    expect([...findMarks(source, 5000, SEED)]).to.deep.equal([{ position: 5077, mark: MARK }]);
  });
});

function encode(mark: Mark, position: number): Buffer {
  const bytes = Buffer.alloc(MARK_BYTES);
  encodeMark(mark, bytes, 0, position, SEED);
  return bytes;
}
