import { expect } from 'chai';
import type { Operation } from '../../lib/base/operation.ts';
import { encodeFrame } from '../../lib/wal/frame.ts';
import { Reigns } from './reigns.ts';

const EPOCH = { number: 4, id: 'e'.repeat(32) };

describe('the epochs that are opened', () => {
  it('belong to whoever wrote their first record first; whoever follows writes the same', () => {
    const reigns = new Reigns();
    expect(reigns.note('n1', opening({ firstLsn: 8 }), () => 17)).to.deep.equal([]);
    expect(reigns.note('n2', opening({ firstLsn: 8 }), () => 18)).to.deep.equal([]);
    expect(reigns.get(EPOCH.id)).to.include({ nodeId: 'n1', atEvent: 17 });
  });

  it('may be written again by their opener, after a crash that has lost the record', () => {
    const reigns = new Reigns();
    reigns.note('n1', opening({ wallMs: 100 }), () => 1);
    expect(reigns.note('n1', opening({ wallMs: 200 }), () => 2)).to.deep.equal([]);
    expect(reigns.note('n2', opening({ wallMs: 200 }), () => 3)).to.deep.equal([]);
  });

  it('are minted twice where another node opens one of the same id by itself', () => {
    const reigns = new Reigns();
    reigns.note('n1', opening({ wallMs: 100 }), () => 1);
    expect(reigns.note('n2', opening({ wallMs: 101 }), () => 2)).to.deep.equal([{ epochId: EPOCH.id, opener: 'n1' }]);
  });

  it('are minted twice where one is opened at another place', () => {
    const reigns = new Reigns();
    reigns.note('n1', opening({ firstLsn: 8 }), () => 1);
    expect(reigns.note('n1', opening({ firstLsn: 9 }), () => 2)).to.deep.equal([{ epochId: EPOCH.id, opener: 'n1' }]);
  });

  it('are not seen in data that is no such record', () => {
    const reigns = new Reigns();
    const frame = Buffer.alloc(200);
    const { end } = encodeFrame({ firstLsn: 1, epochNumber: 1, wallMs: 0, operations: [{ kind: 'put', key: 'FRAM', value: 'FRAM' }] }, frame, 0, { chain: 0, seed: 0 });
    expect(reigns.note('n1', frame.subarray(0, end), () => 1)).to.deep.equal([]);
    expect(reigns.get(EPOCH.id)).to.equal(undefined);
  });
});

/** The frame in which an epoch begins. */
function opening({ firstLsn = 8, wallMs = 100 }: { readonly firstLsn?: number; readonly wallMs?: number }): Buffer {
  const operation: Operation = { kind: 'epoch-begin', begin: 'failover', epoch: EPOCH, parent: { number: 3, id: 'd'.repeat(32) }, parentEnd: { lsn: firstLsn - 1, chain: 5 }, acceptedLoss: null };
  const bytes = Buffer.alloc(200);
  const { end } = encodeFrame({ firstLsn, epochNumber: EPOCH.number, wallMs, operations: [operation] }, bytes, 0, { chain: 5, seed: 0 });
  return bytes.subarray(0, end);
}
