import { expect } from 'chai';

import { SeededRandom } from '../../support/seeded-random.ts';
import { type RegisterOperation, findRegisterAnomalies } from './register-zones.ts';

type Named = RegisterOperation<string>;

describe('register zones', () => {
  it('accepts reads that each see the last write before them', () => {
    expect(anomalies([put('x', 1, 2), get('x', 3, 4), put('y', 5, 6), get('y', 7, 8)])).to.equal(0);
  });

  it('accepts both outcomes of a read that overlaps a write, in either order of two reads that overlap', () => {
    expect(anomalies([put('x', 1, 2), put('y', 3, 10), get('x', 4, 5), get('y', 6, 7)])).to.equal(0);
    expect(anomalies([put('x', 1, 2), put('y', 3, 10), get('y', 4, 8), get('x', 5, 7)])).to.equal(0);
  });

  it('finds a read of an older value after the newer write had ended', () => {
    expect(anomalies([put('x', 1, 2), put('y', 3, 4), get('x', 5, 6)])).to.be.above(0);
  });

  it('finds two reads that see two concurrent writes in opposite orders', () => {
    expect(anomalies([put('x', 1, 10), put('y', 2, 11), get('x', 12, 13), get('y', 14, 15), get('x', 16, 17)])).to.be.above(0);
  });

  it('finds a new value that a later read no longer sees, although the write is still under way', () => {
    expect(anomalies([put('x', 1, 2), put('y', 3, 20), get('y', 4, 5), get('x', 6, 7)])).to.be.above(0);
  });

  it('finds a value that was read before it was written, and one that nobody wrote', () => {
    expect(anomalies([get('x', 1, 2), put('x', 3, 4)])).to.be.above(0);
    expect(anomalies([get('z', 1, 2)])).to.be.above(0);
  });

  it('lets a write of unknown outcome take effect late, or never', () => {
    const unknown = put('x', 1, Infinity, false);
    expect(anomalies([unknown, put('y', 2, 3), get('y', 4, 5)])).to.equal(0);
    expect(anomalies([unknown, put('y', 2, 3), get('y', 4, 5), get('x', 6, 7)])).to.equal(0);
    expect(anomalies([unknown, put('y', 2, 3), get('x', 4, 5), get('y', 6, 7)])).to.be.above(0);
  });

  it('accepts absence before the first write and after a delete, also one of unknown outcome', () => {
    expect(anomalies([get(null, 1, 2), put('x', 3, 4), put(null, 5, 6), get(null, 7, 8)])).to.equal(0);
    expect(anomalies([put('x', 3, 4), put(null, 5, Infinity, false), get('x', 7, 8), get(null, 9, 10)])).to.equal(0);
  });

  it('finds an absence that nothing explains', () => {
    expect(anomalies([put('x', 1, 2), get(null, 3, 4)])).to.be.above(0);
    expect(anomalies([put('w', 1, 2), put(null, 3, 4), put('x', 5, 6), get(null, 7, 8)])).to.be.above(0);
  });

  it('finds a value that is read after its delete had ended', () => {
    expect(anomalies([put('x', 1, 2), put(null, 3, 4), get('x', 5, 6)])).to.be.above(0);
  });

  it('finds an absence between two sights of one value, whichever delete it may come from', () => {
    expect(anomalies([put(null, 1, 30), put(null, 2, 31), put('x', 3, 4), get('x', 5, 6), get(null, 7, 8), get('x', 9, 10)])).to.be.above(0);
  });

  it('agrees with a search through all orders, for 6,000 random histories without deletes', () => {
    const counts = compare(6_000, false);
    expect(counts.falseAlarms).to.deep.equal([]);
    expect(counts.missed).to.deep.equal([]);
    // Both verdicts are well represented: a check that always says the same would not pass.
    expect(counts.linearizable).to.be.above(1_000);
    expect(counts.found).to.be.above(1_000);
  });

  it('never blames a linearizable history with deletes, and misses few others, in 6,000 random ones', () => {
    const counts = compare(6_000, true);
    expect(counts.falseAlarms).to.deep.equal([]);
    expect(counts.linearizable).to.be.above(1_000);
    expect(counts.missed.length / (counts.found + counts.missed.length)).to.be.below(0.05);
  });
});

function anomalies(operations: readonly Named[]): number {
  return findRegisterAnomalies(operations).length;
}

function put(value: string | null, start: number, end: number, isCertain = true): Named {
  return { kind: 'write', value, start, end, isCertain, source: `put ${value} ${start}–${end}` };
}

function get(value: string | null, start: number, end: number): Named {
  return { kind: 'read', value, start, end, isCertain: true, source: `get ${value} ${start}–${end}` };
}

interface Comparison {
  linearizable: number;
  found: number;
  readonly missed: string[][];
  readonly falseAlarms: string[][];
}

function compare(runs: number, withDeletes: boolean): Comparison {
  const counts: Comparison = { linearizable: 0, found: 0, missed: [], falseAlarms: [] };
  for (let seed = 0; seed < runs; seed += 1) {
    const operations = randomOperations(new SeededRandom(seed), withDeletes);
    const isGood = isLinearizable(operations);
    const isAccused = anomalies(operations) > 0;
    if (isGood) counts.linearizable += 1;
    if (!isGood && isAccused) counts.found += 1;
    if (!isGood && !isAccused) counts.missed.push(operations.map(({ source }) => source));
    if (isGood && isAccused) counts.falseAlarms.push(operations.map(({ source }) => source));
  }
  return counts;
}

/** Up to seven operations at random times; what reads return is drawn from what was written. */
function randomOperations(random: SeededRandom, withDeletes: boolean): readonly Named[] {
  const count = 3 + random.below(5);
  const events = Array.from({ length: 2 * count }, (_, event) => event + 1);
  for (let index = events.length - 1; index > 0; index -= 1) {
    // Not quite shuffled: operations that overlap everything contradict nothing.
    const other = Math.max(0, index - random.below(4));
    [events[index], events[other]] = [events[other]!, events[index]!];
  }
  const values: (string | null)[] = [null];
  const spans = Array.from({ length: count }, (_, index) => [events[2 * index]!, events[2 * index + 1]!].sort((a, b) => a - b) as [number, number]);
  const kinds = spans.map((): 'write' | 'delete' | 'read' => (random.chance(0.5) ? 'read' : withDeletes && random.chance(0.4) ? 'delete' : 'write'));
  for (const [index, kind] of kinds.entries()) if (kind === 'write') values.push(`v${index}`);
  return spans.map(([start, end], index) => {
    const kind = kinds[index]!;
    if (kind === 'read') return get(random.pick(values), start, end);
    const isUnknown = random.chance(0.2);
    return put(kind === 'write' ? `v${index}` : null, start, isUnknown ? Infinity : end, !isUnknown);
  });
}

/** Tries every order that agrees with time; an uncertain write may also be left out. */
function isLinearizable(operations: readonly Named[]): boolean {
  const tried = new Set<string>();
  const search = (left: readonly Named[], value: string | null): boolean => {
    if (left.every((each) => each.kind === 'write' && !each.isCertain)) return true;
    const state = `${left.map((each) => operations.indexOf(each)).join()}=${value}`;
    if (tried.has(state)) return false;
    tried.add(state);
    const firstEnd = Math.min(...left.map(({ end }) => end));
    return left.some((each) => {
      if (each.start > firstEnd) return false;
      const rest = left.filter((other) => other !== each);
      return each.kind === 'write' ? search(rest, each.value) : each.value === value && search(rest, value);
    });
  };
  return search(operations, null);
}
