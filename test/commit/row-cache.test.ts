import { expect } from 'chai';
import * as fc from 'fast-check';
import { RowCache } from '../../lib/commit/row-cache.ts';
import type { StoredRow } from '../../lib/store/store.ts';

const row = (value: string, lsn = 1) => ({ value, lsn });

function findBytes(cache: RowCache, key: string): StoredRow | undefined {
  const source = Buffer.from(`GET /get/${key} HTTP/1.1`);
  const place = cache.find(source, 9, source.length - 9);
  if (place === undefined) return undefined;
  return { value: cache.bytes.toString('utf8', cache.valueStartAt(place), cache.valueEndAt(place)), lsn: cache.lsnAt(place) };
}

describe('RowCache', () => {
  it('has what was kept, until it is dropped', () => {
    const cache = new RowCache(10_000);
    cache.keep('a', row('1'));
    expect(cache.get('a')).to.deep.equal(row('1'));
    cache.drop('a');
    expect(cache.get('a')).to.equal(undefined);
  });

  it('finds a row by the bytes of its key, with all of its LSN and its value', () => {
    const cache = new RowCache(10_000);
    const kept = row('žluťoučký 🐎', Number.MAX_SAFE_INTEGER - 2);
    cache.keep('key', kept);
    expect(findBytes(cache, 'key')).to.deep.equal(kept);
    expect(cache.get('key')).to.deep.equal(kept);
    expect(findBytes(cache, 'kez')).to.equal(undefined);
  });

  it('has of every key the row that was kept last, or none', () => {
    const key = fc.constantFrom('a', 'b', 'c', 'ab', 'ba', 'abc', 'acb', 'a/b', 'k'.repeat(200), 'k'.repeat(1_000), 'café', '🐎');
    const step = fc.record({ key, does: fc.constantFrom('keep', 'keep', 'keep', 'renew', 'renew', 'drop', 'get', 'find'), value: fc.oneof(fc.string({ unit: 'grapheme', maxLength: 40 }), fc.constant('x'.repeat(900))), lsn: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }) });
    let hits = 0;
    let bytesFound = 0;
    fc.assert(
      fc.property(fc.constantFrom(1_024, 3_000, 20_000), fc.array(step, { minLength: 50, maxLength: 300, size: 'max' }), (bytesMax, steps) => {
        const cache = new RowCache(bytesMax);
        const truth = new Map<string, StoredRow>();
        for (const { key, does, value, lsn } of steps) {
          if (does === 'keep') {
            cache.keep(key, { value, lsn });
            truth.set(key, { value, lsn });
          } else if (does === 'renew') {
            cache.renew(key, { value, lsn });
            truth.set(key, { value, lsn });
          } else if (does === 'drop') {
            cache.drop(key);
            truth.delete(key);
          } else {
            const found = does === 'get' ? cache.get(key) : findBytes(cache, key);
            if (found === undefined) continue;
            hits += 1;
            if (does === 'find') bytesFound += 1;
            expect(found).to.deep.equal(truth.get(key));
          }
        }
      }),
      { numRuns: 300 },
    );
    expect(hits).to.be.greaterThan(1_000);
    expect(bytesFound).to.be.greaterThan(500);
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
    // A row takes 76 bytes, and the index at most a quarter of all.
    expect(held).to.be.within(100, 20_000 / 76);
  });

  it('keeps no row that would take a quarter of it, and none at all without room', () => {
    const cache = new RowCache(2_000);
    cache.keep('large', row('x'.repeat(500)));
    expect(cache.get('large')).to.equal(undefined);
    const none = new RowCache(0);
    none.keep('a', row(''));
    none.drop('a');
    expect(none.get('a')).to.equal(undefined);
    expect(findBytes(none, 'a')).to.equal(undefined);
  });

  it('renews what it has, whatever the size, and nothing else', () => {
    const cache = new RowCache(10_000);
    cache.renew('a', row('1'));
    expect(cache.get('a')).to.equal(undefined);
    cache.keep('a', row('1'));
    for (const renewed of [row('2', 2), row('longer', 3), row('', 2 ** 40)]) {
      cache.renew('a', renewed);
      expect(cache.get('a')).to.deep.equal(renewed);
    }
  });

  it('forgets the old row where the new one is too large', () => {
    const cache = new RowCache(2_000);
    cache.keep('a', row('small'));
    cache.keep('a', row('x'.repeat(1_000)));
    expect(cache.get('a')).to.equal(undefined);
  });
});
