import { expect } from 'chai';
import { type EpochHistory, type LogPoint } from '../../lib/base/epoch-history.ts';
import { isShiplogError } from '../../lib/base/errors.ts';
import type { LoggedBatch } from '../../lib/wal/wal.ts';
import { chainOfFrame, saltSeed, sealFrameHeader } from '../../lib/wal/frame.ts';
import { encodeSegmentHeader } from '../../lib/wal/segment-header.ts';
import { rejectionOf } from '../env/rejection.ts';
import { MemoryDisk } from '../support/memory-disk.ts';
import { decodeFiles } from '../support/second-decoder.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { allBatches, expectSameBatches } from './wal-story.ts';
import { DIRECTORY, EPOCH, FIRST_EPOCH, del, frame, makeWalDirectory, openWal, put } from './wal-under-test.ts';

type Files = ReadonlyMap<string, Buffer>;
type Applied = LogPoint & { readonly history: EpochHistory };

interface SampleLog {
  readonly files: Files;
  readonly names: readonly string[];
  readonly batches: readonly LoggedBatch[];
  /** Positions that a store could have applied: none, in the middle segment, in the last, the end. */
  readonly applied: readonly (Applied | undefined)[];
}

describe('damage to the log', () => {
  let running: SampleLog;
  let stopped: SampleLog;

  before(async () => {
    running = await makeLog(false);
    stopped = await makeLog(true);
    expect(running.names).to.have.length(3);
  });

  it('by one flipped bit in any byte leaves the prefix that the second decoder expects, or is refused', async function () {
    this.timeout(60_000);
    let refused = 0;
    let torn = 0;
    for (const log of [running, stopped]) {
      for (const name of log.names) {
        for (let offset = 0; offset < log.files.get(name)!.length; offset += 1) {
          const damaged = withFile(log.files, name, flipByte(log.files.get(name)!, offset, offset % 8));
          const outcome = await expectPrefixOrRefusal(log, damaged, `${name} flipped at ${offset}`, { sameOffset: true });
          if (outcome === 'refused') refused += 1;
          else torn += 1;
        }
      }
    }
    // Only what nothing claims to be durable may go: the last group of the running log, the clean stop of the other.
    const lastGroup = running.files.get(running.names[2]!)!.length - lastMarkOffset(running);
    expect(torn).to.equal(lastGroup + 40);
    expect(refused).to.be.above(10_000);
  });

  it('by a cut at any byte leaves the prefix that the second decoder expects, or is refused', async function () {
    this.timeout(60_000);
    for (const [index, name] of running.names.entries()) {
      for (let length = 0; length < running.files.get(name)!.length; length += 1) {
        const cut = withFile(running.files, name, running.files.get(name)!.subarray(0, length));
        await expectPrefixOrRefusal(running, cut, `${name} cut to ${length}`);
        // As if the log had never been longer.
        const shorter = new Map([...cut].filter(([other]) => running.names.indexOf(other) <= index));
        if (index < 2) await expectPrefixOrRefusal(running, shorter, `log cut to ${length} of ${name}`);
      }
    }
  });

  it('by any flipped bit is never served as a value, whatever the store has applied', async function () {
    this.timeout(60_000);
    const random = new SeededRandom(1);
    for (const applied of running.applied.slice(1)) {
      for (let round = 0; round < 1500; round += 1) {
        const name = random.pick(running.names);
        const offset = random.below(running.files.get(name)!.length);
        const damaged = withFile(running.files, name, flipByte(running.files.get(name)!, offset, random.below(8)));
        const disk = diskOf(damaged);
        const hint = `${name} flipped at ${offset}, applied ${applied!.lsn}`;
        const opened = await openWal(disk, { applied: applied! }).catch(refusalNaming(name));
        if (opened === undefined) continue;
        expect(opened.end.lsn, hint).to.be.at.least(applied!.lsn);
        const batches = await allBatches(opened, applied!.lsn);
        expect(batches, hint).to.deep.equal(running.batches.filter((batch) => batch.firstLsn > applied!.lsn && batch.lastLsn <= opened.end.lsn));
        // What lies below the applied position was not read at start; whoever reads it notices.
        const all = await allBatches(opened).catch(refusalNaming(name));
        if (all !== undefined) expect(all, hint).to.deep.equal(running.batches.filter((batch) => batch.lastLsn <= opened.end.lsn));
      }
    }
  });

  it('by a cut below the applied position is refused', async () => {
    const last = running.names[2]!;
    const cut = withFile(running.files, last, running.files.get(last)!.subarray(0, lastMarkOffset(running)));
    const atEnd = running.applied.at(-1)!;
    await openWal(diskOf(cut));
    const error = await rejectionOf(openWal(diskOf(cut), { applied: atEnd }));
    expect(isShiplogError(error, 'log-damaged')).to.be.true;
    expect(error.message).to.contain(last).and.contain(`applied ${atEnd.lsn}`);
    expect(decodeFiles(cut, { appliedLsn: atEnd.lsn }).end.kind).to.equal('damaged');
  });

  it('by zeros where the last group was is a torn tail, however much of it is zero', async () => {
    const last = running.names[2]!;
    const content = running.files.get(last)!;
    for (let start = lastMarkOffset(running); start < content.length; start += 7) {
      for (const end of [content.length, Math.min(content.length, start + 64)]) {
        const zeroed = Buffer.from(content).fill(0, start, end);
        if (zeroed.equals(content)) continue;
        expect(await expectPrefixOrRefusal(running, withFile(running.files, last, zeroed), `zeros ${start}-${end}`)).to.equal('opened');
      }
    }
  });

  it('behind the end is dropped: zeros, garbage, an older copy of the log itself', async () => {
    const last = running.names[2]!;
    const content = running.files.get(last)!;
    const tails = [Buffer.alloc(5000), new SeededRandom(3).bytes(5000), content, running.files.get(running.names[0]!)!, Buffer.from('FRAM'), Buffer.from('MARKMARK')];
    for (const tail of tails) {
      const wal = await openWal(diskOf(withFile(running.files, last, Buffer.concat([content, tail]))));
      expect(await allBatches(wal)).to.deep.equal(running.batches);
    }
  });

  it('in an earlier group is refused though zeros follow it, because a later mark claims it', async () => {
    const last = running.names[2]!;
    const content = Buffer.from(running.files.get(last)!);
    content.fill(0, 128, lastMarkOffset(running));
    const error = await rejectionOf(openWal(diskOf(withFile(running.files, last, content))));
    expect(isShiplogError(error, 'log-damaged')).to.be.true;
    expect(error.message).to.contain(`${last}, offset 128`).and.contain(`mark at offset ${lastMarkOffset(running)}`);
  });

  it('is refused where a length is huge under a good checksum, without memory for it', async () => {
    const last = running.names[2]!;
    const content = Buffer.from(running.files.get(last)!);
    const seed = saltSeed(content.subarray(80, 88));
    const frameOffset = lastMarkOffset(running) + 40;
    for (const length of [17 * 2 ** 20, 17 * 2 ** 20 + 1, 0x7fff_ffff, 0xffff_ffff]) {
      content.writeUInt32LE(length, frameOffset + 4);
      sealFrameHeader(content, frameOffset, seed);
      const files = withFile(running.files, last, content);
      const before = process.memoryUsage().arrayBuffers;
      expect(await expectPrefixOrRefusal(running, files, `length ${length}`)).to.equal('opened');
      expect(process.memoryUsage().arrayBuffers - before).to.be.below(64 * 2 ** 20);
    }
  });

  it('is found in frames that an unknown version wrote: refused, not cut off, though nothing follows', async () => {
    const disk = new MemoryDisk({ seed: 1 });
    await makeWalDirectory(disk);
    const wal = await openWal(disk);
    await wal.append([FIRST_EPOCH]);
    await wal.append([frame([put('k', 'v')])]);
    const [name, content] = segmentsOf(disk).entries().next().value!;
    const frames = decodeFiles(disk.contents(DIRECTORY)).frames;
    const { offset } = frames[1]!;
    content[offset + 48] = 99;
    reseal(content.subarray(0, frames[1]!.endOffset), offset, frames[0]!.chain);
    const error = await rejectionOf(openWal(diskOf(new Map([[name, content]]))));
    expect(isShiplogError(error, 'log-damaged')).to.be.true;
    expect(error.message).to.contain(`offset ${offset}`).and.contain('kind 99');
    expect(decodeFiles(new Map([[name, content]])).end.kind).to.equal('damaged');
  });

  it('by swapped, renamed or missing segments is refused', async () => {
    const [first, second, third] = running.names as [string, string, string];
    const get = (name: string): Buffer => running.files.get(name)!;
    const cases: [string, Files, RegExp][] = [
      ['first and second swapped', new Map([[first, get(second)], [second, get(first)], [third, get(third)]]), /header names first LSN/],
      ['renamed to another LSN', new Map([[first, get(first)], [second, get(second)], ['00000000000000009999.wal', get(third)]]), /header names first LSN/],
      ['the first missing', new Map([[second, get(second)], [third, get(third)]]), /the log begins at LSN/],
      ['the second missing', new Map([[first, get(first)], [third, get(third)]]), /next segment begins at LSN/],
      ['the first twice', new Map([...running.files, ['00000000000000000002.wal', get(first)]]), /header names first LSN/],
      ['an empty one', new Map([...running.files, ['00000000000000009999.wal', Buffer.alloc(0)]]), /got 0 bytes, expected 128/],
    ];
    for (const [what, files, message] of cases) {
      const error = await rejectionOf(openWal(diskOf(files)));
      expect(isShiplogError(error, 'log-damaged'), what).to.be.true;
      expect(error.message, what).to.match(message).and.to.match(/\d{20}\.wal.*offset \d+/);
      if (what !== 'the first missing') expect(decodeFiles(files).end.kind, what).to.equal('damaged');
    }
  });

  it('by the loss of all segments is refused where the store has applied something', async () => {
    const error = await rejectionOf(openWal(diskOf(new Map()), { applied: running.applied.at(-1)! }));
    expect(isShiplogError(error, 'log-damaged')).to.be.true;
    expect(error.message).to.contain(DIRECTORY);
  });

  it('is what the segments of another cluster are', async () => {
    const error = await rejectionOf(openWal(diskOf(running.files), { clusterId: 'ff'.repeat(16) }));
    expect(isShiplogError(error, 'log-damaged')).to.be.true;
    expect(error.message).to.contain(running.names[0]!).and.contain('ff'.repeat(16)).and.contain('c1'.repeat(16));
  });

  it('is what a store is told whose position is not in the log: another chain, or inside a batch', async () => {
    const applied = running.applied[1]!;
    const wrongChain = await rejectionOf(openWal(diskOf(running.files), { applied: { ...applied, chain: applied.chain ^ 1 } }));
    const batch = running.batches.find((batch) => batch.lastLsn > batch.firstLsn && batch.firstLsn > 1)!;
    const inside = await rejectionOf(openWal(diskOf(running.files), { applied: { lsn: batch.firstLsn, chain: batch.chain, history: applied.history } }));
    for (const error of [wrongChain, inside]) {
      expect(isShiplogError(error, 'log-damaged')).to.be.true;
      expect(error.message).to.contain('not in this log');
    }
  });

  it('is not what left-overs below the applied position are: they are removed, oldest first, each for good', async () => {
    const [first, second, third] = running.names as [string, string, string];
    const applied = running.applied.find((each) => each !== undefined && each.lsn >= Number.parseInt(third, 10))!;
    // A crash in the middle of retention can leave a hole: the first is back, the second is gone.
    const disk = diskOf(new Map([[first, running.files.get(first)!], [third, running.files.get(third)!]]));
    const wal = await openWal(disk, { applied });
    expect([...disk.contents(DIRECTORY).keys()].filter((name) => name.endsWith('.wal'))).to.deep.equal([third]);
    expect([...disk.crash({ survives: 'nothing' }).contents(DIRECTORY).keys()].filter((name) => name.endsWith('.wal'))).to.deep.equal([third]);
    expect(wal.start.lsn).to.equal(Number.parseInt(third, 10) - 1);
    // Not below the applied position, they are missed.
    const early = running.applied[1]!;
    expect(early.lsn).to.be.within(Number.parseInt(second, 10), Number.parseInt(third, 10) - 2);
    const error = await rejectionOf(openWal(diskOf(new Map([[first, running.files.get(first)!], [third, running.files.get(third)!]])), { applied: early }));
    expect(isShiplogError(error, 'log-damaged')).to.be.true;
  });

  it('is not what an empty directory is, nor one with spares only', async () => {
    const disk = diskOf(new Map([['next.spare', Buffer.alloc(100)], ['reserve.spare', Buffer.alloc(10)]]));
    const wal = await openWal(disk);
    expect(wal.end).to.deep.equal({ lsn: 0, chain: 0 });
    expect(wal.segments).to.deep.equal([]);
    await wal.append([FIRST_EPOCH]);
    expect(disk.contents(DIRECTORY).has('next.spare')).to.be.false;
  });

  it('is found in a header whose checksum is right but whose chain does not continue', async () => {
    const [first, second, third] = running.names as [string, string, string];
    const content = Buffer.from(running.files.get(second)!);
    const header = encodeSegmentHeader({
      clusterId: content.toString('hex', 16, 32),
      epoch: EPOCH,
      before: { lsn: Number.parseInt(second, 10) - 1, chain: content.readUInt32LE(64) ^ 1 },
      createdMs: 0,
      frameSalt: Buffer.from(content.subarray(80, 88)),
      markSalt: Buffer.from(content.subarray(88, 96)),
    });
    header.copy(content);
    const error = await rejectionOf(openWal(diskOf(new Map([[first, running.files.get(first)!], [second, content], [third, running.files.get(third)!]]))));
    expect(isShiplogError(error, 'log-damaged')).to.be.true;
  });
});

/** Opens the damaged log: what it then holds is what the second decoder expects, and begins like the original. */
async function expectPrefixOrRefusal(log: SampleLog, files: Files, hint: string, options: { sameOffset?: boolean } = {}): Promise<'opened' | 'refused'> {
  const expected = decodeFiles(files);
  const wal = await openWal(diskOf(files)).catch((error: unknown) => {
    expect(isShiplogError(error, 'log-damaged'), `${hint}: ${String(error)}`).to.be.true;
    expect(expected.end.kind, `${hint}: refused: ${String(error)}`).to.equal('damaged');
    expect((error as Error).message, hint).to.match(/\d{20}\.wal.*offset \d+/).and.to.contain(expected.end.file);
    if (options.sameOffset === true) expect((error as Error).message, hint).to.match(new RegExp(`offset ${expected.end.offset}\\b`));
    return undefined;
  });
  if (wal === undefined) return 'refused';
  expect(expected.end.kind, `${hint}: opened, but ${expected.end.reason}`).to.not.equal('damaged');
  const batches = await allBatches(wal);
  expectSameBatches(batches, expected);
  expect(batches, hint).to.deep.equal(log.batches.slice(0, batches.length));
  return 'opened';
}

function refusalNaming(name: string): (error: unknown) => undefined {
  return (error) => {
    expect(isShiplogError(error, 'log-damaged'), String(error)).to.be.true;
    expect((error as Error).message).to.contain(name).and.to.match(/offset \d+/);
    return undefined;
  };
}

async function makeLog(isStopped: boolean): Promise<SampleLog> {
  const disk = new MemoryDisk({ seed: 1 });
  await makeWalDirectory(disk);
  const wal = await openWal(disk, { segmentBytes: 2048 });
  const points: Applied[] = [];
  await wal.append([FIRST_EPOCH]);
  for (let group = 0; wal.segments.length < 3 || wal.segments[2]!.sizeBytes < 1500; group += 1) {
    await wal.append([frame([put(`key ${group}`, `value ${group} `.repeat(20))]), frame([put('shared', String(group)), del(`key ${group - 1}`)])]);
    points.push({ ...wal.end, history: wal.history });
  }
  const batches = await allBatches(wal);
  if (isStopped) await wal.close();
  const files = segmentsOf(disk);
  const names = [...files.keys()].sort();
  const inMiddle = points.find((point) => point.lsn > Number.parseInt(names[1]!, 10))!;
  const inLast = points.find((point) => point.lsn > Number.parseInt(names[2]!, 10))!;
  return { files, names, batches, applied: [undefined, inMiddle, inLast, points.at(-1)!] };
}

function segmentsOf(disk: MemoryDisk): Map<string, Buffer> {
  return new Map([...disk.contents(DIRECTORY)].filter(([name]) => name.endsWith('.wal')));
}

function lastMarkOffset(log: SampleLog): number {
  return decodeFiles(log.files).marks.at(-1)!.offset;
}

function diskOf(files: Files): MemoryDisk {
  const disk = new MemoryDisk({ seed: 1 });
  disk.place(`${DIRECTORY}/placed`, Buffer.alloc(0));
  disk.place(`${DIRECTORY}/placed`, undefined);
  for (const [name, content] of files) disk.place(`${DIRECTORY}/${name}`, content);
  return disk;
}

function withFile(files: Files, name: string, content: Buffer): Files {
  return new Map([...files, [name, content]]);
}

function flipByte(content: Buffer, offset: number, bit: number): Buffer {
  const flipped = Buffer.from(content);
  flipped[offset]! ^= 1 << bit;
  return flipped;
}

/** Makes the checksums of the frame at the end of `content` right again. */
function reseal(content: Buffer, offset: number, chainBefore: number): void {
  content.writeUInt32LE(chainOfFrame(content.subarray(offset), chainBefore), offset + 40);
  sealFrameHeader(content, offset, saltSeed(content.subarray(80, 88)));
}
