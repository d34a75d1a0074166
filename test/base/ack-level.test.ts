import { expect } from 'chai';
import { type AckLevel, parseAckLevel, strongerAck } from '../../lib/base/ack-level.ts';

describe('a level of acknowledgement', () => {
  it('is a word or a number of replicas from 1 on', () => {
    expect(['memory', 'local', 'all', '1', '9999'].map(parseAckLevel)).to.deep.equal(['memory', 'local', 'all', 1, 9_999]);
    for (const text of ['', '0', '01', '-1', '1.0', '1e1', '10000', 'Local', ' 1']) expect(parseAckLevel(text), text).to.equal(undefined);
  });

  it('is stronger or weaker than another one', () => {
    const rising: readonly AckLevel[] = ['memory', 'local', 1, 2, 'all'];
    for (const [index, weaker] of rising.entries()) {
      for (const stronger of rising.slice(index)) {
        expect(strongerAck(weaker, stronger)).to.equal(stronger);
        expect(strongerAck(stronger, weaker)).to.equal(stronger);
      }
    }
  });
});
