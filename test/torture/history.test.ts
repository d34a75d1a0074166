import { expect } from 'chai';

import { History } from './history.ts';

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
});

function clock(): () => number {
  let nowMs = 0;
  return () => (nowMs += 1);
}
