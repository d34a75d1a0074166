import { expect } from 'chai';

import { longestGapMs, percentile } from './write-gap.ts';

describe('write gap', () => {
  it('is the longest time between two acknowledgements during a change of the primary', () => {
    expect(longestGapMs([0, 10, 20, 90, 100, 110], 20, 100)).to.equal(70);
  });

  it('counts from the last one before the change to the first one after it', () => {
    expect(longestGapMs([0, 10, 500, 510], 20, 100)).to.equal(490);
  });

  it('leaves out what was long before or after', () => {
    expect(longestGapMs([0, 1_000, 1_010, 1_020, 1_030, 3_000], 1_005, 1_025)).to.equal(10);
  });

  it('is no number where writes never went on, or never had begun', () => {
    expect(() => longestGapMs([0, 10], 20, 100)).to.throw('after the change');
    expect(() => longestGapMs([30, 110], 20, 100)).to.throw('before the change');
    expect(() => longestGapMs([], 20, 100)).to.throw('before the change');
  });

  it('gives percentiles that are values', () => {
    const values = [5, 1, 4, 2, 3];
    expect([0, 0.2, 0.5, 0.99, 1].map((share) => percentile(values, share))).to.deep.equal([1, 1, 3, 5, 5]);
    expect(() => percentile([], 0.5)).to.throw('no values');
  });
});
