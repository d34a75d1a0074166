import { expect } from 'chai';
import { MIB } from '../../lib/base/limits.ts';
import { heldBuffersBytes } from './held-buffers.ts';

describe('the buffers of a process', () => {
  it('count while somebody holds them, and no longer', () => {
    const holder: { buffers: Buffer[] } = { buffers: [Buffer.alloc(64 * MIB), Buffer.alloc(64 * MIB)] };
    expect(heldBuffersBytes(MIB)).to.be.at.least(128 * MIB);
    holder.buffers = [];
    expect(heldBuffersBytes(MIB)).to.be.below(64 * MIB);
  });
});
