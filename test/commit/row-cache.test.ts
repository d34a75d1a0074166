import { expect } from 'chai';
import { RowCache } from '../../lib/commit/row-cache.ts';

const row = (value: string, lsn = 1) => ({ value, lsn });

describe('RowCache', () => {
  it('has what was kept, until it is dropped', () => {
    const cache = new RowCache(10_000);
    cache.keep('a', row('1'));
    expect(cache.get('a')).to.deep.equal(row('1'));
    cache.drop('a');
    expect(cache.get('a')).to.equal(undefined);
  });

  it('drops a row of the old generation too', () => {
    const cache = new RowCache(2_000);
    cache.keep('a', row('1'));
    for (let index = 0; index < 5; index += 1) cache.keep(`b${index}`, row('2'));
    expect(cache.get('a'), 'still there').to.deep.equal(row('1'));
    for (let index = 0; index < 4; index += 1) cache.keep(`c${index}`, row('2'));
    cache.drop('a');
    expect(cache.get('a')).to.equal(undefined);
  });

  it('holds about as much as it may, and keeps what is read', () => {
    const cache = new RowCache(20_000);
    cache.keep('hot', row('1'));
    let held = 0;
    for (let index = 0; index < 1_000; index += 1) {
      cache.keep(`k${index}`, row('x'.repeat(50)));
      expect(cache.get('hot'), `after ${index} others`).to.deep.equal(row('1'));
    }
    for (let index = 0; index < 1_000; index += 1) if (cache.get(`k${index}`) !== undefined) held += 1;
    expect(held).to.be.within(10, 66);
  });

  it('keeps no row that is larger than its half, and none at all without room', () => {
    const cache = new RowCache(1_000);
    cache.keep('large', row('x'.repeat(300)));
    expect(cache.get('large')).to.equal(undefined);
    const none = new RowCache(0);
    none.keep('a', row(''));
    expect(none.get('a')).to.equal(undefined);
  });
});
