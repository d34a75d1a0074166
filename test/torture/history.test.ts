import { expect } from 'chai';

import { type Fate, History } from './history.ts';

describe('History', () => {
  it('counts a write as unknown, and without an end, until its answer is there', () => {
    const history = new History(clock());
    const write = history.begin({ round: 1, key: 'k', value: 'a' });
    expect(write).to.include({ outcome: 'unknown', startMs: 1, endMs: Number.POSITIVE_INFINITY });
    history.end(write, { outcome: 'acknowledged', position: '1.c04d-2' });
    expect(write).to.include({ outcome: 'acknowledged', endMs: 2, position: '1.c04d-2' });
  });

  it('notes what became of the unknown writes of a round, and only of those', () => {
    const history = new History(clock());
    const [here, gone, shared] = ['here', 'gone', 'shared'].map((key) => history.begin({ round: 1, key, value: `${key}-a` }));
    history.begin({ round: 1, key: 'shared', value: 'shared-b' });
    const later = history.begin({ round: 2, key: 'later', value: 'later-a' });
    history.settle(1, [
      { key: 'here', value: 'here-a', position: '1.c04d-5' },
      { key: 'gone', value: null, position: undefined },
      { key: 'shared', value: null, position: undefined },
      { key: 'later', value: null, position: undefined },
    ]);
    expect(here).to.include({ seen: 'present', position: '1.c04d-5' });
    expect(gone).to.include({ seen: 'absent' });
    // Another write of the same key may have hidden it, so nothing is known.
    expect(shared).to.include({ seen: undefined });
    expect(shared!.endMs).to.be.below(Number.POSITIVE_INFINITY);
    expect(later).to.include({ seen: undefined, endMs: Number.POSITIVE_INFINITY });
  });

  it('notes the fate of every write of a round, and where it is', () => {
    const history = new History(clock());
    const [kept, unknown, gone, aside] = ['kept', 'unknown', 'gone', 'aside'].map((key) => history.begin({ round: 1, key, value: `${key}-a` }));
    const later = history.begin({ round: 2, key: 'later', value: 'later-a' });
    for (const write of [kept!, aside!]) history.end(write, { outcome: 'acknowledged', position: undefined });
    const fates = new Map<unknown, Fate>([
      [kept, { kind: 'survived', position: '1.c04d-5' }],
      [unknown, { kind: 'survived', position: '1.c04d-6' }],
      [gone, { kind: 'gone' }],
      [aside, { kind: 'set-aside', position: '1.c04d-9' }],
    ]);
    history.settleByFate(1, (write) => fates.get(write)!);
    expect(kept).to.include({ seen: undefined, position: '1.c04d-5' });
    expect(unknown).to.include({ seen: 'present', position: '1.c04d-6' });
    expect(gone).to.include({ seen: 'absent', position: undefined });
    expect(aside).to.include({ seen: 'set-aside', position: '1.c04d-9' });
    for (const write of [unknown, gone]) expect(write!.endMs).to.be.below(Number.POSITIVE_INFINITY);
    expect(later).to.include({ seen: undefined, endMs: Number.POSITIVE_INFINITY });
  });
});

function clock(): () => number {
  let nowMs = 0;
  return () => (nowMs += 1);
}
