import { expect } from 'chai';
import * as fc from 'fast-check';
import type { Segment } from '../../lib/wal/segment.ts';
import { WalTail } from '../../lib/wal/wal-tail.ts';

const segment = (firstLsn: number): Segment => ({ firstLsn }) as unknown as Segment;

describe('WalTail', () => {
  it('has the newest groups, each as it was added, however their sizes fall into the ring', () => {
    const sizes = fc.array(fc.record({ size: fc.integer({ min: 1, max: 130 }), rotates: fc.boolean() }), { maxLength: 60 });
    fc.assert(
      fc.property(sizes, (groups) => {
        const tail = new WalTail(100);
        const added: { segment: Segment; offset: number; bytes: Buffer }[] = [];
        let [current, offset] = [segment(1), 64];
        for (const [index, { size, rotates }] of groups.entries()) {
          if (rotates) [current, offset] = [segment(index + 2), 64];
          const bytes = Buffer.alloc(size, index + 1);
          tail.add(current, offset, bytes);
          added.push({ segment: current, offset, bytes });
          offset += size;

          expect(tail.totalBytes).to.be.at.most(100);
          let isOld = false;
          for (const group of added.toReversed()) {
            const found = tail.at(group.segment, group.offset + (group.bytes.length >> 1));
            // What memory has is always the newest, without a gap.
            if (isOld) expect(found).to.equal(undefined);
            else if (found === undefined) isOld = true;
            else expect(found).to.deep.equal(group.bytes.subarray(group.bytes.length >> 1));
          }
          expect(tail.at(current, offset), 'what is not written yet').to.equal(undefined);
          if (size <= 100) expect(tail.at(current, offset - 1), 'the newest byte').to.not.equal(undefined);
        }
      }),
    );
  });

  it('keeps no group alive that was given to it', () => {
    const tail = new WalTail(100);
    const one = segment(1);
    const bytes = Buffer.from('group');
    tail.add(one, 0, bytes);
    bytes.fill(0);
    expect(tail.at(one, 0)?.toString()).to.equal('group');
  });

  it('holds nothing where it may hold nothing', () => {
    const tail = new WalTail(0);
    const one = segment(1);
    tail.add(one, 0, Buffer.from('x'));
    expect([tail.totalBytes, tail.at(one, 0)]).to.deep.equal([0, undefined]);
  });
});
