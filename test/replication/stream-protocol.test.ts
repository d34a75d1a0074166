import { crc32 } from 'node:zlib';
import { expect } from 'chai';
import * as fc from 'fast-check';
import { ShiplogError } from '../../lib/base/errors.ts';
import { LIMITS } from '../../lib/base/limits.ts';
import { type ControlFrame, StreamDecoder, type StreamRecord, encodeControl } from '../../lib/replication/stream-protocol.ts';
import { FRAME_HEADER_BYTES, encodeFrame, saltSeed, sealFrameHeader } from '../../lib/wal/frame.ts';

const id = (digit: string): string => digit.repeat(32);
const SALT = '0123456789abcdef';
const SEED = saltSeed(Buffer.from(SALT, 'hex'));
const controls: readonly ControlFrame[] = [
  { kind: 'hello', streamId: id('1'), clusterId: id('2'), nodeId: id('3'), nodeName: 'primary', members: [{ nodeId: id('3'), name: 'primary', url: 'http://127.0.0.1:4455' }] },
  { kind: 'salt', salt: SALT },
  { kind: 'heartbeat', lsn: 7, epoch: { number: 1, id: id('e') }, wallMs: 1_700_000_000_000, path: [id('3')] },
  { kind: 'members', members: [] },
  { kind: 'end', reason: 'the node is stopping' },
];

function frame(firstLsn: number, values: readonly string[], seed = SEED): Buffer {
  const operations = values.map((value, index) => ({ kind: 'put' as const, key: `key ${index}`, value }));
  const bytes = Buffer.alloc(FRAME_HEADER_BYTES + operations.reduce((sum, { key, value }) => sum + 8 + Buffer.byteLength(key) + Buffer.byteLength(value), 0));
  encodeFrame({ firstLsn, epochNumber: 1, wallMs: 1, operations }, bytes, 0, { chain: 5, seed });
  return bytes;
}

/** Copies, since a record is only valid until the next push. */
function decode(decoder: StreamDecoder, chunks: readonly Buffer[]): StreamRecord[] {
  return chunks.flatMap((chunk) => [...decoder.push(chunk)].map((record) => (record.type === 'frame' ? { ...record, bytes: Buffer.from(record.bytes) } : record)));
}

const stream = Buffer.concat([...controls.slice(0, 2).map(encodeControl), frame(1, ['a']), frame(2, ['b'.repeat(3_000), 'ü']), ...controls.slice(2).map(encodeControl), frame(4, ['c'])]);
const whole = decode(new StreamDecoder(), [stream]);

describe('StreamDecoder', () => {
  it('yields what was encoded', () => {
    expect(whole.map((record) => (record.type === 'control' ? record.control.kind : record.header.firstLsn))).to.deep.equal(['hello', 'salt', 1, 2, 'heartbeat', 'members', 'end', 4]);
    expect(whole.flatMap((record) => (record.type === 'control' ? [record.control] : []))).to.deep.equal(controls);
    expect(Buffer.concat(whole.flatMap((record) => (record.type === 'frame' ? [record.bytes] : [])))).to.deep.equal(Buffer.concat([frame(1, ['a']), frame(2, ['b'.repeat(3_000), 'ü']), frame(4, ['c'])]));
  });

  it('yields the same byte by byte', () => {
    expect(decode(new StreamDecoder(), [...stream].map((byte) => Buffer.of(byte)))).to.deep.equal(whole);
  });

  it('yields the same however the bytes are split', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: stream.length }), { maxLength: 30 }), (places) => {
        const cuts = [0, ...places.toSorted((a, b) => a - b), stream.length];
        const chunks = cuts.slice(1).map((cut, index) => stream.subarray(cuts[index], cut));
        expect(decode(new StreamDecoder(), chunks)).to.deep.equal(whole);
      }),
    );
  });

  it('never yields a record that was not sent where one bit of the stream is flipped, other than inside a payload', () => {
    for (let at = 0; at < stream.length; at += 1) {
      const flipped = Buffer.from(stream);
      flipped[at]! ^= 1 << at % 8;
      const decoder = new StreamDecoder();
      const seen: StreamRecord[] = [];
      try {
        for (const record of decoder.push(flipped)) seen.push(record);
      } catch (error) {
        expect(error).to.be.instanceOf(ShiplogError).with.property('code', 'peer-protocol');
      }
      for (const record of seen) {
        if (record.type === 'control') expect(controls).to.deep.include(record.control);
        else expect([1, 2, 4]).to.include(record.header.firstLsn);
      }
    }
  });

  it('ends with peer-protocol, nothing else, on any garbage', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 4, maxLength: 200 }), fc.boolean(), (garbage, hasPrefix) => {
        const decoder = new StreamDecoder();
        if (hasPrefix) decode(decoder, [encodeControl(controls[1]!)]);
        try {
          decode(decoder, [Buffer.from(garbage)]);
        } catch (error) {
          expect(error).to.be.instanceOf(ShiplogError).with.property('code', 'peer-protocol');
        }
      }),
      { numRuns: 500 },
    );
  });

  const refusals: readonly (readonly [string, () => Buffer, string])[] = [
    ['a frame before any salt', () => frame(1, ['a']), 'before any salt'],
    ['a frame under another salt', () => Buffer.concat([encodeControl(controls[1]!), frame(1, ['a'], 999)]), 'wrong checksum'],
    ['a control frame above the bound, by its header alone', () => controlHeader(LIMITS.controlPayloadBytesMax + 1), 'bytes'],
    ['a frame above the bound, by its header alone, under a good checksum', () => Buffer.concat([encodeControl(controls[1]!), frameHeader(LIMITS.framePayloadBytesMax + 1)]), 'wrong checksum'],
    ['a control frame that is not JSON', () => rawControl(3, '{'), 'not JSON'],
    ['a control frame without its members', () => rawControl(3, '{}'), 'missing or wrong'],
    ['a control frame that is null', () => rawControl(2, 'null'), 'not JSON'],
    ['a heartbeat with an LSN beyond the integers', () => rawControl(3, `{"lsn":1e300,"epoch":{"number":1,"id":"${id('e')}"},"wallMs":1,"path":[]}`), 'missing or wrong'],
    ['too many members', () => rawControl(5, JSON.stringify({ members: Array.from({ length: LIMITS.membersMax + 1 }, () => ({ nodeId: id('1'), name: 'n', url: 'u' })) })), 'missing or wrong'],
  ];
  for (const [title, bytes, message] of refusals) {
    it(`refuses ${title}`, () => {
      expect(() => decode(new StreamDecoder(), [bytes()])).to.throw(ShiplogError, message).with.property('code', 'peer-protocol');
    });
  }

  it('allocates nothing for a length that it refuses', () => {
    const before = process.memoryUsage().arrayBuffers;
    for (let count = 0; count < 100; count += 1) {
      expect(() => decode(new StreamDecoder(), [controlHeader(0xffff_ffff)])).to.throw(ShiplogError);
    }
    expect(process.memoryUsage().arrayBuffers - before).to.be.lessThan(10 * 1024 * 1024);
  });

  it('passes over a kind of control frame that it does not know', () => {
    expect(decode(new StreamDecoder(), [rawControl(77, 'anything'), encodeControl(controls[4]!)])).to.deep.equal([{ type: 'control', control: controls[4] }]);
  });

  it('does not let a payload say that it is of another kind than the one that was checked', () => {
    const [record] = decode(new StreamDecoder(), [rawControl(4, '{"reason":"x","kind":"hello"}')]);
    expect(record).to.deep.equal({ type: 'control', control: { kind: 'end', reason: 'x' } });
  });
});

function controlHeader(payloadBytes: number): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.write('CTRL', 0, 'latin1');
  bytes[4] = 3;
  bytes.writeUInt32LE(payloadBytes, 8);
  return bytes;
}

function rawControl(kind: number, payload: string): Buffer {
  const head = controlHeader(Buffer.byteLength(payload));
  head[4] = kind;
  head.writeUInt32LE(crc32(payload, crc32(head.subarray(0, 12))), 12);
  return Buffer.concat([head, Buffer.from(payload)]);
}

function frameHeader(payloadBytes: number): Buffer {
  const bytes = frame(1, ['a']).subarray(0, FRAME_HEADER_BYTES);
  bytes.writeUInt32LE(payloadBytes, 4);
  sealFrameHeader(bytes, 0, SEED);
  return bytes;
}
