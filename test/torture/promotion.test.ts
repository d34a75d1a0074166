import { expect } from 'chai';

import { readPromotion } from './promotion.ts';

const PLAN = '{"type":"plan","plan":{"kind":"failover"}}\n';
const PROMOTED = '{"type":"promoted","kind":"failover","epoch":{"number":2,"id":"ab"},"position":"2.ab-7","nodeId":"n","url":"http://n","lost":null,"warnings":[]}\n';
const REFUSED = '{"type":"refused","code":"promotion-refused","message":"further","betterUrl":"http://m","command":null}\n';

describe('readPromotion', () => {
  it('takes the one end that stands last', () => {
    expect(readPromotion(PLAN + PROMOTED)).to.include({ type: 'promoted', kind: 'failover' });
    expect(readPromotion(PLAN + REFUSED)).to.include({ type: 'refused', betterUrl: 'http://m' });
  });

  it('does not take silence, a plan alone, or two ends for an end', () => {
    for (const lines of ['', PLAN, REFUSED + PROMOTED, PROMOTED + PLAN]) expect(() => readPromotion(lines), lines).to.throw('expected one event');
  });

  it('does not take a line that was cut off for an event', () => {
    expect(() => readPromotion(PLAN + PROMOTED.slice(0, 40))).to.throw(SyntaxError);
  });
});
