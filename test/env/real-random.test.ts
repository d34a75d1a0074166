import { expect } from 'chai';
import { randomId } from '../../lib/env/random.ts';
import { RealRandom } from '../../lib/env/real-random.ts';

describe('RealRandom', () => {
  const random = new RealRandom();

  it('makes ids of 32 hex digits that differ', () => {
    const ids = Array.from({ length: 1_000 }, () => randomId(random));
    for (const id of ids) expect(id).to.match(/^[0-9a-f]{32}$/);
    expect(new Set(ids).size).to.equal(ids.length);
  });

  it('gives as many bytes as asked for', () => {
    for (const count of [0, 1, 16, 1000]) expect(random.bytes(count)).to.have.length(count);
  });

  it('draws from the whole of [0, 1)', () => {
    const draws = Array.from({ length: 10_000 }, () => random.uniform());
    expect(draws.every((draw) => draw >= 0 && draw < 1)).to.equal(true);
    // The chance that a tenth stays empty is below 10^-450.
    expect(new Set(draws.map((draw) => Math.floor(draw * 10))).size).to.equal(10);
  });
});
