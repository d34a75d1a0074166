import { expect } from 'chai';
import * as fc from 'fast-check';
import { KIB } from '../../lib/base/limits.ts';
import { LineSplitter } from '../../lib/http/line-splitter.ts';

function split(chunks: readonly Buffer[], lineBytesMax = 64 * KIB): { lines: string[]; reserved: number[] } {
  const reserved: number[] = [];
  const splitter = new LineSplitter({ lineBytesMax, reserve: (bytes) => void reserved.push(bytes) });
  const lines: string[] = [];
  for (const chunk of chunks) for (const line of splitter.lines(chunk)) lines.push(line.toString('latin1'));
  const rest = splitter.end();
  if (rest !== undefined) lines.push(rest.toString('latin1'));
  return { lines, reserved };
}

describe('LineSplitter', () => {
  it('gives the same lines whatever pieces they come in', () => {
    const text = fc.array(fc.constantFrom('\n', 'a', 'bc', 'd'.repeat(5_000), ''), { maxLength: 30 }).map((parts) => parts.join(''));
    fc.assert(
      fc.property(text, fc.array(fc.nat({ max: 6_000 }), { maxLength: 20 }), (whole, lengths) => {
        const chunks: Buffer[] = [];
        let from = 0;
        for (const length of [...lengths, whole.length]) {
          chunks.push(Buffer.from(whole.slice(from, from + length), 'latin1'));
          from += length;
        }
        const expected = whole.split('\n');
        if (expected.at(-1) === '') expected.pop();
        expect(split(chunks).lines).to.deep.equal(expected);
      }),
    );
  });

  it('holds a piece of a line in one buffer, however it comes, and gives a large one back', () => {
    const bytes = Array.from({ length: 20_000 }, () => Buffer.from('x'));
    const { lines, reserved } = split([...bytes, Buffer.from('\nshort'), Buffer.from(' one\n')]);
    expect(lines.map((line) => line.length)).to.deep.equal([20_000, 9]);
    expect(reserved).to.deep.equal([4 * KIB, 8 * KIB, 16 * KIB, 32 * KIB, 0, 4 * KIB]);
  });

  it('refuses a line beyond its bound, in one piece or in many', () => {
    expect(split([Buffer.from('x'.repeat(100)), Buffer.from('\n')], 100).lines).to.have.lengthOf(1);
    for (const chunks of [['x'.repeat(101), '\n'], [`${'x'.repeat(101)}\n`], ['x'.repeat(60), 'x'.repeat(60)]]) {
      expect(() => split(chunks.map((chunk) => Buffer.from(chunk)), 100)).to.throw(/more than 100 bytes/);
    }
  });
});
