import { expect } from 'chai';
import { isShiplogError } from '../../lib/base/errors.ts';
import { FRAME_HEADER_BYTES, chainOfFrame, decodeFrameHeader, lastLsnOf, saltSeed } from '../../lib/wal/frame.ts';
import type { Wal } from '../../lib/wal/wal.ts';
import { type WalChunk, WalCursor } from '../../lib/wal/wal-cursor.ts';
import { rejectionOf } from '../env/rejection.ts';
import { type DiskCall, MemoryDisk } from '../support/memory-disk.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { decodeDisk } from './wal-story.ts';
import { DIRECTORY, FIRST_EPOCH, StandingClock, frame, makeWalDirectory, openWal, put } from './wal-under-test.ts';

const CHUNK_BYTES = 256;
const REMOVE_ALL = { bytesMin: 0, msMin: 0, bytesMax: 0, msMax: 0 };

describe('a cursor of the log', () => {
  let disk: MemoryDisk;
  let calls: DiskCall[];
  let wal: Wal;

  beforeEach(async () => {
    calls = [];
    disk = new MemoryDisk({ seed: 1, intercept: (call) => (calls.push(call), undefined) });
    await makeWalDirectory(disk);
    wal = await openWal(disk, { segmentBytes: 1500 });
  });

  it('yields the bytes of every frame from any boundary on, over segment borders, to the end', async () => {
    await fill(wal, 40);
    expect(wal.segments.length).to.be.above(5);
    const { frames } = decodeDisk(disk);
    for (const start of [0, ...frames.map((frame) => frame.lastLsn)]) {
      const cursor = await WalCursor.open(wal, disk, start, CHUNK_BYTES);
      const chunks = await drain(cursor);
      const expected = Buffer.concat(frames.filter((frame) => frame.firstLsn > start).map((frame) => frame.bytes));
      expect(bytesOf(chunks).equals(expected), `after LSN ${start}`).to.be.true;
      expect(cursor.point).to.deep.equal(wal.end);
      await cursor.close();
    }
    expect(disk.openFiles).to.have.length(1);
  });

  it('yields the same from memory and from files', async () => {
    await fill(wal, 40);
    calls.length = 0;
    const fromMemory = await drain(await WalCursor.open(wal, disk, 0, CHUNK_BYTES));
    expect(calls.filter((call) => call.name === 'readAt')).to.deep.equal([]);

    const reopened = await openWal(disk.kill(), { segmentBytes: 1500 });
    const cold = disk.kill();
    const fromFiles = await drain(await WalCursor.open(reopened, cold, 0, CHUNK_BYTES));
    expect(bytesOf(fromFiles).equals(bytesOf(fromMemory))).to.be.true;
  });

  it('gives up the processor whatever falls at the end of a chunk', async () => {
    const random = new SeededRandom(5);
    for (let index = 0; index < 60; index += 1) {
      if (index === 0) await wal.append([FIRST_EPOCH]);
      else await wal.append(Array.from({ length: 1 + random.below(4) }, () => frame([put('k', 'v'.repeat(random.below(100)))])));
    }
    const expected = Buffer.concat(decodeDisk(disk).frames.map((frame) => frame.bytes));
    for (let chunkBytes = 2 * FRAME_HEADER_BYTES; chunkBytes < 400; chunkBytes += 1) {
      const chunks = await drain(await WalCursor.open(wal, disk, 0, chunkBytes));
      expect(bytesOf(chunks).equals(expected), `chunks of ${chunkBytes}`).to.be.true;
    }
  });

  it('cuts frames larger than a chunk in slices, and says where one ends', async () => {
    await wal.append([FIRST_EPOCH]);
    await wal.append([frame([put('large', 'x'.repeat(10_000))]), frame([put('small', 'y')])]);
    for (const isCold of [false, true]) {
      // A log that was opened anew has nothing in memory.
      const source = isCold ? await openWal(disk, { segmentBytes: 1500 }) : wal;
      const chunks = await drain(await WalCursor.open(source, disk, 1, CHUNK_BYTES));
      expect(chunks.length).to.be.above(10_000 / CHUNK_BYTES);
      for (const chunk of chunks) expect(chunk.bytes.length).to.be.within(1, CHUNK_BYTES);
      // The first slices are inside the large frame: nothing may be said between them.
      for (const chunk of chunks.slice(0, 39)) expect(chunk).to.include({ endsFrame: false, throughLsn: 1 });
      expect(chunks.at(-1)).to.include({ endsFrame: true, throughLsn: 3 });
    }
  });

  it('tells with every chunk the salt under which its frames verify', async () => {
    await fill(wal, 40);
    const chunks = await drain(await WalCursor.open(wal, disk, 0, CHUNK_BYTES));
    let pending = Buffer.alloc(0);
    let salt = chunks[0]!.salt;
    let point = { lsn: 0, chain: 0 };
    for (const chunk of chunks) {
      if (!chunk.salt.equals(salt)) expect(pending.length, 'the salt changes between frames only').to.equal(0);
      ({ salt } = chunk);
      pending = Buffer.concat([pending, chunk.bytes]);
      while (pending.length >= FRAME_HEADER_BYTES) {
        const header = decodeFrameHeader(pending, 0, saltSeed(salt))!;
        const size = FRAME_HEADER_BYTES + header.payloadBytes;
        if (pending.length < size) break;
        expect(header.firstLsn).to.equal(point.lsn + 1);
        expect(chainOfFrame(pending.subarray(0, size), point.chain)).to.equal(header.chain);
        point = { lsn: lastLsnOf(header), chain: header.chain };
        pending = pending.subarray(size);
      }
      expect(chunk.endsFrame).to.equal(pending.length === 0);
      expect(chunk.throughLsn).to.equal(point.lsn);
    }
    expect(point).to.deep.equal(wal.end);
  });

  it('waits at the end for what becomes durable, without asking again', async () => {
    const cursor = await WalCursor.open(wal, disk, 0, CHUNK_BYTES);
    expect(await cursor.next()).to.be.undefined;
    for (let index = 0; index < 30; index += 1) {
      const woken = wal.durable.reached(cursor.point.lsn + 1);
      await wal.append([index === 0 ? FIRST_EPOCH : frame([put('k', 'v'.repeat(index * 10))])]);
      await woken;
      const chunks = await drain(cursor);
      expect(chunks.at(-1)).to.include({ endsFrame: true, throughLsn: index + 1 });
    }
    expect(wal.durable.waiterCount).to.equal(0);
    expect(wal.segments.length).to.be.above(3);
  });

  it('shows nothing that is not synced', async () => {
    let isSyncing: (() => void) | undefined;
    const slow = new MemoryDisk({
      seed: 1,
      delay: (call) => (call.name === 'sync' && isSyncing !== undefined ? new Promise((resolve) => { isSyncing!(); release = resolve; }) : Promise.resolve()),
    });
    let release: () => void = () => {};
    await makeWalDirectory(slow);
    const slowWal = await openWal(slow);
    await slowWal.append([FIRST_EPOCH]);
    const cursor = await WalCursor.open(slowWal, slow, 1, CHUNK_BYTES);
    const syncing = new Promise<void>((resolve) => { isSyncing = resolve; });
    const appended = slowWal.append([frame([put('k', 'v')])]);
    await syncing;
    expect(await cursor.next()).to.be.undefined;
    expect(slowWal.durable.lsn).to.equal(1);
    expect((await rejectionOf(WalCursor.open(slowWal, slow, 2, CHUNK_BYTES)))).to.include({ code: 'chain-mismatch' });
    release();
    await appended;
    expect((await cursor.next())?.throughLsn).to.equal(2);
  });

  it('refuses a place inside a batch, above the end, or before the beginning', async () => {
    await fill(wal, 20);
    const batch = decodeDisk(disk).frames.find((frame) => frame.lastLsn > frame.firstLsn)!;
    expect(await rejectionOf(WalCursor.open(wal, disk, batch.firstLsn, CHUNK_BYTES))).to.include({ code: 'chain-mismatch' });
    expect(await rejectionOf(WalCursor.open(wal, disk, wal.end.lsn + 1, CHUNK_BYTES))).to.include({ code: 'chain-mismatch' });
    wal.setCheckpointed(wal.end);
    await wal.removeOldSegments(REMOVE_ALL, null);
    expect(wal.start.lsn).to.be.above(0);
    expect(await rejectionOf(WalCursor.open(wal, disk, wal.start.lsn - 1, CHUNK_BYTES))).to.include({ code: 'position-gone' });
    await (await WalCursor.open(wal, disk, wal.start.lsn, CHUNK_BYTES)).close();
    expect(disk.openFiles, 'a refused cursor keeps no file').to.have.length(1);
  });

  for (const tailBytesMax of [0, 1 << 20]) {
    it(`never skips a gap that retention tore, ${tailBytesMax === 0 ? 'reading files' : 'reading memory'}`, async () => {
      const clock = new StandingClock();
      for (let chunksBefore = 0; chunksBefore < 40; chunksBefore += 1) {
        const fresh = new MemoryDisk({ seed: chunksBefore });
        await makeWalDirectory(fresh);
        const wal = await openWal(fresh, { segmentBytes: 1500, tailBytesMax, clock });
        await fill(wal, 40);
        const { frames } = decodeDisk(fresh);
        const expected = Buffer.concat(frames.map((frame) => frame.bytes));
        const cursor = await WalCursor.open(wal, fresh, 0, CHUNK_BYTES);
        const chunks: WalChunk[] = [];
        for (let index = 0; index < chunksBefore; index += 1) chunks.push((await cursor.next())!);
        wal.setCheckpointed(wal.end);
        await wal.removeOldSegments(REMOVE_ALL, null);
        expect(wal.segments).to.have.length(1);
        try {
          chunks.push(...(await drain(cursor)));
          expect(bytesOf(chunks).equals(expected), `after ${chunksBefore} chunks`).to.be.true;
        } catch (error) {
          expect(isShiplogError(error, 'position-gone'), String(error)).to.be.true;
          const sent = bytesOf(chunks);
          expect(sent.equals(expected.subarray(0, sent.length))).to.be.true;
        }
      }
    });
  }

  it('refuses a frame that was damaged after the start, naming file and offset', async () => {
    await fill(wal, 40);
    const damaged = decodeDisk(disk).frames.find((frame) => frame.file === decodeDisk(disk).segments[2]!.file)!;
    for (const at of [damaged.offset + 2, damaged.offset + 20, damaged.endOffset - 1]) {
      const content = Buffer.from(disk.contents(DIRECTORY).get(damaged.file)!);
      content[at]! ^= 4;
      const copy = disk.kill();
      const reopened = await openWal(copy, { segmentBytes: 1500 });
      copy.place(`${DIRECTORY}/${damaged.file}`, content);
      const error = await rejectionOf(WalCursor.open(reopened, copy, 0, CHUNK_BYTES).then(drain));
      expect(error).to.include({ code: 'log-damaged' });
      expect(error.message).to.contain(damaged.file).and.match(/offset \d+/);
    }
  });

  it('refuses a file that became shorter, at whatever byte', async () => {
    await fill(wal, 12);
    const { file } = decodeDisk(disk).segments[0]!;
    const content = disk.contents(DIRECTORY).get(file)!;
    for (let length = 128; length < content.length; length += 1) {
      const copy = disk.kill();
      const reopened = await openWal(copy, { segmentBytes: 1500 });
      copy.place(`${DIRECTORY}/${file}`, content.subarray(0, length));
      const error = await rejectionOf(WalCursor.open(reopened, copy, 0, CHUNK_BYTES).then(drain));
      expect(error, `cut to ${length}`).to.include({ code: 'log-damaged' });
    }
  });
});

async function fill(wal: Wal, groups: number): Promise<void> {
  const random = new SeededRandom(2);
  await wal.append([FIRST_EPOCH]);
  for (let group = 1; group < groups; group += 1) {
    const frames = Array.from({ length: 1 + random.below(3) }, (_, index) =>
      frame(Array.from({ length: 1 + random.below(3) }, () => put(`${group}.${index}`, 'v'.repeat(random.below(150))))),
    );
    await wal.append(frames);
  }
}

async function drain(cursor: WalCursor): Promise<WalChunk[]> {
  const chunks: WalChunk[] = [];
  for (let chunk = await cursor.next(); chunk !== undefined; chunk = await cursor.next()) chunks.push(chunk);
  return chunks;
}

function bytesOf(chunks: readonly WalChunk[]): Buffer {
  return Buffer.concat(chunks.map((chunk) => chunk.bytes));
}
