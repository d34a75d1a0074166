import { AssertionError } from 'node:assert';
import { expect } from 'chai';
import type { EpochHistory } from '../../lib/base/epoch-history.ts';
import type { Operation } from '../../lib/base/operation.ts';
import type { Disk } from '../../lib/env/disk.ts';
import { RealDisk } from '../../lib/env/real-disk.ts';
import { FRAME_HEADER_BYTES, decodeFrameHeader, saltSeed } from '../../lib/wal/frame.ts';
import { decodeOperations } from '../../lib/wal/operation-codec.ts';
import { SILENT_LOGGER } from '../../lib/observe/logger.ts';
import { isZero } from '../../lib/wal/integers.ts';
import type { Segment } from '../../lib/wal/segment.ts';
import type { FrameSource, Wal } from '../../lib/wal/wal.ts';
import { rejectionOf } from '../env/rejection.ts';
import { makeTemporaryDirectory } from '../env/temporary-directory.ts';
import { type DiskCall, MemoryDisk } from '../support/memory-disk.ts';
import { type DecodedLog, decodeFiles, decodeLog, foldLog } from '../support/second-decoder.ts';
import { WalStory, allBatches, expectSameBatches, tellStory } from './wal-story.ts';
import { DIRECTORY, EPOCH, FIRST_EPOCH, del, frame, makeWalDirectory, nextEpoch, openWal, put } from './wal-under-test.ts';

interface Place {
  readonly disk: Disk;
  readonly directory: string;
  decode(options?: { appliedLsn?: number }): DecodedLog;
  dispose(): Promise<void>;
}

const PLACES: readonly [string, () => Promise<Place>][] = [
  [
    'a simulated disk with short writes',
    async () => {
      const disk = new MemoryDisk({ seed: 1, shortWrites: 0.3 });
      await makeWalDirectory(disk);
      return { disk, directory: DIRECTORY, decode: (options) => decodeFiles(disk.contents(DIRECTORY), options), dispose: () => Promise.resolve() };
    },
  ],
  [
    'the real disk',
    async () => {
      const { path, remove } = await makeTemporaryDirectory();
      return { disk: new RealDisk(), directory: path, decode: (options) => decodeLog(path, options), dispose: remove };
    },
  ],
];

for (const [name, makePlace] of PLACES) {
  describe(`the log on ${name}`, () => {
    let place: Place;
    const open = (applied?: { lsn: number; chain: number; history: EpochHistory }): Promise<Wal> =>
      openWal(place.disk, { directory: place.directory, ...(applied === undefined ? {} : { applied }) });

    beforeEach(async () => {
      place = await makePlace();
    });

    afterEach(() => place.dispose());

    it('has after a restart what was appended, over several segments, as the second decoder reads it', async () => {
      let wal = await open();
      await wal.append([FIRST_EPOCH]);
      const table = new Map<string, string>();
      for (let group = 0; group < 60; group += 1) {
        const sources: FrameSource[] = [frame([put(`key ${group % 7}`, `value ${group}`.repeat(10))]), frame([put('\0😀', String(group)), del(`key ${(group + 3) % 7}`)])];
        for (const operation of sources.flatMap((source) => source.operations)) {
          if (operation.kind === 'put') table.set(operation.key, operation.value);
          if (operation.kind === 'delete') table.delete(operation.key);
        }
        const batches = await wal.append(sources);
        expect(batches.map((batch) => batch.operations)).to.deep.equal(sources.map((source) => source.operations));
        expect(wal.durable.lsn).to.equal(batches.at(-1)!.lastLsn);
        if (group % 20 === 19) {
          const { end, history } = wal;
          await wal.close();
          expect(place.decode().marks.at(-1)).to.include({ kind: 'clean-stop', lsn: end.lsn, chain: end.chain });
          wal = await open();
          expect(wal.end).to.deep.equal(end);
          expect(wal.history).to.deep.equal(history);
        }
      }
      expect(wal.segments.length).to.be.above(4);
      const decoded = place.decode();
      expect(decoded.end.kind).to.equal('clean');
      expectSameBatches(await allBatches(wal), decoded);
      expect(new Map([...foldLog(decoded.frames)].map(([key, row]) => [key, row.value]))).to.deep.equal(table);
      await wal.close();
    });

    it('goes on after the position that the store has applied', async () => {
      const wal = await open();
      await wal.append([FIRST_EPOCH]);
      const points: { lsn: number; chain: number; history: EpochHistory }[] = [];
      for (let group = 0; group < 30; group += 1) {
        if (group === 15) await wal.append([nextEpoch(wal, { number: 5, id: '5e'.repeat(16) })]);
        await wal.append([frame([put('k', 'v'.repeat(150)), put('l', 'w')], group < 15 ? EPOCH : { number: 5, id: '5e'.repeat(16) })]);
        points.push({ ...wal.end, history: wal.history });
      }
      const all = await allBatches(wal);
      await wal.close();
      for (const applied of points) {
        const reopened = await open(applied);
        expect(reopened.end).to.deep.equal(wal.end);
        expect(reopened.history).to.deep.equal(wal.history);
        expect(await allBatches(reopened, applied.lsn)).to.deep.equal(all.filter((batch) => batch.firstLsn > applied.lsn));
        expect(await allBatches(reopened)).to.deep.equal(all);
        await reopened.close();
      }
    });

    it('takes the frames of another log byte for byte, but for the checksum of its own salt', async () => {
      const wal = await open();
      const primary = new MemoryDisk({ seed: 9 });
      const primaryWal = await tellStory(primary, new WalStory(), { seed: 3 });
      const original = decodeFiles(primary.contents(DIRECTORY));
      for (const frame of original.frames) {
        const salt = original.segments.find((segment) => segment.file === frame.file)!.frameSalt;
        const header = decodeFrameHeader(frame.bytes, 0, saltSeed(salt))!;
        const operations = decodeOperations(frame.bytes.subarray(FRAME_HEADER_BYTES), header.operationCount);
        await wal.append([{ type: 'frame', header, bytes: frame.bytes, operations }]);
      }
      expect(wal.end).to.deep.equal(primaryWal.end);
      expect(wal.history).to.deep.equal(primaryWal.history);
      const copy = place.decode();
      expect(copy.frames.map((frame) => withoutHeaderChecksum(frame.bytes))).to.deep.equal(original.frames.map((frame) => withoutHeaderChecksum(frame.bytes)));
      await wal.close();
    });

    it('keeps a value as large as a value may be', async () => {
      const wal = await open();
      await wal.append([FIRST_EPOCH]);
      const operations: Operation[] = [put('large', 'x'.repeat(16 * 2 ** 20))];
      await wal.append([frame(operations)]);
      await wal.append([frame([put('next', 'segment')])]);
      await wal.close();
      const reopened = await open();
      expect((await allBatches(reopened))[1]!.operations).to.deep.equal(operations);
      await reopened.close();
    });
  });
}

describe('the log', () => {
  let disk: MemoryDisk;
  let calls: DiskCall[];

  beforeEach(async () => {
    calls = [];
    disk = new MemoryDisk({ seed: 1, intercept: (call) => (calls.push(call), undefined) });
    await makeWalDirectory(disk);
  });

  it('writes a group with one write and one sync, and answers after the sync', async () => {
    const wal = await openWal(disk, { segmentBytes: 1 << 20 });
    await wal.append([FIRST_EPOCH]);
    calls.length = 0;
    await wal.append(Array.from({ length: 10 }, (_, index) => frame([put(`k${index}`, 'v')])));
    expect(calls.map((call) => call.name)).to.deep.equal(['writeAt', 'sync']);
  });

  it('syncs the header before the segment has its name, and the directory before the first frame', async () => {
    const wal = await openWal(disk, { segmentBytes: 300 });
    await wal.append([FIRST_EPOCH]);
    while (wal.segments.length === 1) {
      calls.length = 0;
      await wal.append([frame([put('k', 'v'.repeat(100))])]);
    }
    const order = calls.filter((call) => !call.path.endsWith('reserve.spare')).map((call) => `${call.name} ${call.path.split('/').at(-1)}`);
    // Every segment was made as a spare, so its handle bears that name.
    expect(order).to.deep.equal([
      'truncate next.spare', 'writeAt next.spare', 'sync next.spare', // the seal
      'remove next.spare', 'open next.spare', 'writeAt next.spare', 'sync next.spare', // the header
      'rename next.spare', 'syncDirectory wal', 'close next.spare',
      'writeAt next.spare', 'writeAt next.spare', 'sync next.spare', // the group, and zeros behind it
    ]);
    expect(calls.find((call) => call.name === 'rename')).to.include({ to: wal.segments[1]!.path });
  });

  it('refuses frames that do not follow, and is as it was', async () => {
    const wal = await openWal(disk);
    await wal.append([FIRST_EPOCH]);
    const { bytes } = decodeFiles(disk.contents(DIRECTORY)).frames[0]!;
    const header = decodeFrameHeader(bytes, 0, saltSeed(decodeFiles(disk.contents(DIRECTORY)).segments[0]!.frameSalt))!;
    const before = segmentBytes(disk);
    const again: FrameSource = { type: 'frame', header, bytes, operations: FIRST_EPOCH.operations };
    expect(await rejectionOf(wal.append([again]))).to.include({ code: 'peer-protocol' });
    const otherChain = { ...header, firstLsn: 2, chain: header.chain ^ 1 };
    expect(await rejectionOf(wal.append([{ ...again, header: otherChain }]))).to.include({ code: 'peer-protocol' });
    expect(await rejectionOf(wal.append([frame([put('k', 'v')], { number: 2, id: '2e'.repeat(16) })]))).to.include({ code: 'history-diverged' });
    expect(await rejectionOf(wal.append([frame(FIRST_EPOCH.operations)]))).to.include({ code: 'history-diverged' });
    expect(segmentBytes(disk)).to.deep.equal(before);
    await wal.append([frame([put('k', 'v')])]);
    expect(wal.end.lsn).to.equal(2);
  });

  it('refuses an epoch that does not continue the one in force, without falling over', async () => {
    const wal = await openWal(disk);
    await wal.append([FIRST_EPOCH]);
    const begin = (change: object): FrameSource => {
      const operation = { ...nextEpoch(wal, { number: 2, id: '2e'.repeat(16) }).operations[0]!, ...change } as Operation;
      return frame([operation], operation.kind === 'epoch-begin' ? operation.epoch : EPOCH);
    };
    const cases: [string, object][] = [
      ['no parent', { parent: null }],
      ['another parent', { parent: { number: 1, id: 'ff'.repeat(16) } }],
      ['another parent number', { parent: { number: 0, id: EPOCH.id }, epoch: { number: 1, id: '2e'.repeat(16) } }],
      ['another end', { parentEnd: { lsn: 7, chain: wal.end.chain } }],
      ['another chain', { parentEnd: { lsn: wal.end.lsn, chain: (wal.end.chain ^ 1) >>> 0 } }],
    ];
    for (const [what, change] of cases) {
      expect(await rejectionOf(wal.append([begin(change)])), what).to.include({ code: 'history-diverged' });
    }
    await wal.append([begin({})]);
    expect(wal.history.current?.number).to.equal(2);
  });

  it('asserts that appends do not overlap, and that none is empty', async () => {
    const wal = await openWal(disk);
    const first = wal.append([FIRST_EPOCH]);
    expect(await rejectionOf(wal.append([frame([put('k', 'v')])]))).to.be.instanceOf(AssertionError);
    await first;
    expect(await rejectionOf(wal.append([]))).to.be.instanceOf(AssertionError);
  });

  it('keeps only so many bytes in memory', async () => {
    const wal = await openWal(disk, { tailBytesMax: 1000 });
    await wal.append([FIRST_EPOCH]);
    for (let group = 0; group < 3000; group += 1) {
      await wal.append([frame([put('k', 'v'.repeat(group % 200))])]);
      expect(wal.tail.totalBytes).to.be.at.most(1000);
    }
    await wal.append([frame([put('k', 'v'.repeat(2000))])]);
    expect(wal.tail.totalBytes).to.equal(0);
  });

  it('knows how many bytes follow a position', async () => {
    const wal = await openWal(disk);
    await wal.append([FIRST_EPOCH]);
    for (let group = 0; group < 50; group += 1) await wal.append([frame([put('k', 'v'.repeat(100))])]);
    expect(wal.bytesAfter(wal.end.lsn)).to.equal(0);
    let previous = Number.POSITIVE_INFINITY;
    for (let lsn = 0; lsn <= wal.end.lsn; lsn += 1) {
      expect(wal.bytesAfter(lsn)).to.be.at.most(previous);
      previous = wal.bytesAfter(lsn);
    }
    const sizes = wal.segments.map((segment) => segment.sizeBytes);
    expect(wal.sizeBytes).to.equal(sizes.reduce((sum, size) => sum + size, 0));
    for (const segment of wal.segments.slice(0, -1)) expect(contentOf(segment).length).to.equal(segment.sizeBytes);
  });

  describe('writes zeros ahead', () => {
    it('once for many groups, each of which then leaves the size of the file as it is', async () => {
      const wal = await openWal(disk, { segmentBytes: 1 << 16 });
      await wal.append([FIRST_EPOCH]);
      const sizes = new Set<number>();
      const writes = calls.length;
      for (let group = 0; group < 30; group += 1) {
        await wal.append([frame([put('k', 'v'.repeat(100))])]);
        const content = contentOf(wal.segments[0]!);
        expect(isZero(content, wal.segments[0]!.sizeBytes, content.length)).to.be.true;
        sizes.add(content.length);
      }
      // 30 groups have more than one and fewer than two times the 4 KiB that such a segment is given at once.
      expect(sizes).to.have.lengthOf(2);
      expect(calls.slice(writes).filter((call) => call.name === 'writeAt')).to.have.lengthOf(30 + 1);
    });

    it('takes them away from a segment that is closed and from a log that stops', async () => {
      const wal = await openWal(disk);
      await wal.append([FIRST_EPOCH]);
      while (wal.segments.length < 3) await wal.append([frame([put('k', 'v'.repeat(100))])]);
      await wal.close();
      for (const segment of wal.segments) expect(contentOf(segment).length).to.equal(segment.sizeBytes);
      const decoded = decodeFiles(disk.crash({ survives: 'nothing' }).contents(DIRECTORY));
      expect(decoded.end.kind).to.equal('clean');
      expect(decoded.marks.map((mark) => mark.kind).filter((kind) => kind !== 'sync')).to.deep.equal(['seal', 'seal', 'clean-stop']);
    });

    it('and a recovery cuts them off without a word of a torn tail', async () => {
      const wal = await openWal(disk, { segmentBytes: 1 << 16 });
      await wal.append([FIRST_EPOCH]);
      await wal.append([frame([put('k', 'v')])]);
      const restarted = disk.crash({ survives: 'nothing' });
      const warnings: string[] = [];
      const recovered = await openWal(restarted, { segmentBytes: 1 << 16, logger: { ...SILENT_LOGGER, warn: (message) => void warnings.push(message) } });
      expect(recovered.end).to.deep.equal(wal.end);
      expect(recovered.segments[0]!.sizeBytes).to.equal(wal.segments[0]!.sizeBytes);
      expect(restarted.contents(DIRECTORY).get('00000000000000000001.wal')!.length).to.equal(wal.segments[0]!.sizeBytes);
      expect(warnings).to.deep.equal([]);
    });
  });

  function contentOf(segment: Segment): Buffer {
    return disk.contents(DIRECTORY).get(segment.path.split('/').at(-1)!)!;
  }
});

function withoutHeaderChecksum(bytes: Buffer): string {
  return Buffer.from(bytes).fill(0, 44, 48).toString('hex');
}

function segmentBytes(disk: MemoryDisk): string[] {
  return [...disk.contents(DIRECTORY)].filter(([name]) => name.endsWith('.wal')).map(([name, content]) => `${name} ${content.toString('hex')}`);
}
