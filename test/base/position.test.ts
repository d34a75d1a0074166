import { expect } from 'chai';
import * as fc from 'fast-check';
import { POSITION_ZERO, formatPosition, parsePosition } from '../../lib/base/position.ts';

describe('a position', () => {
  it('has one form', () => {
    expect(formatPosition({ epochNumber: 1, epochTag: 'c04d', lsn: 42 })).to.equal('1.c04d-42');
    expect(formatPosition(POSITION_ZERO)).to.equal('0.0000-0');
  });

  it('is read back as it was written', () => {
    const positions = fc.record({
      epochNumber: fc.integer({ min: 0, max: 999_999_999_999_999 }),
      epochTag: fc.integer({ min: 0, max: 0xffff }).map((tag) => tag.toString(16).padStart(4, '0')),
      lsn: fc.integer({ min: 0, max: 999_999_999_999_999 }),
    });
    fc.assert(
      fc.property(positions, (position) => {
        expect(parsePosition(formatPosition(position))).to.deep.equal(position);
      }),
    );
  });

  for (const text of ['', '1', '1.c04d', '1.c04d-', '01.c04d-1', '1.c04d-01', '1.C04D-1', '1.c04-1', '-1.c04d-1', '1.c04d-1 ', '1.c04d-1e3', '1.c04d-1234567890123456']) {
    it(`is not ${JSON.stringify(text)}`, () => expect(parsePosition(text)).to.equal(undefined));
  }
});
