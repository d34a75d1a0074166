import { expect } from 'chai';
import { rejectionOf } from '../env/rejection.ts';
import { type DiskCall, type DiskFault, MemoryDisk } from '../support/memory-disk.ts';
import { WalStory, allBatches, decodeDisk, expectSameBatches, tellStory } from './wal-story.ts';
import { DIRECTORY, FIRST_EPOCH, frame, makeWalDirectory, openWal, put } from './wal-under-test.ts';

const SEGMENT_BYTES = 600;

describe('a crash of the log', () => {
  for (const effect of [false, true]) {
    it(`at any call to the disk, ${effect ? 'after' : 'before'} it had its effect, loses nothing acknowledged and invents nothing`, async () => {
      const callCount = await countCalls();
      expect(callCount).to.be.above(100);
      for (let call = 1; call <= callCount; call += 1) {
        for (const seed of [1, 2, 3, 4]) {
          const { disk, story } = await runUntil(call, effect, seed);
          const hint = `crash at call ${call}, seed ${seed}`;
          const restarted = seed === 4 ? disk.kill() : disk.crash({ garble: seed === 3 ? 0.2 : 0 });
          await expectSoundRecovery(restarted, story, hint);
        }
      }
    });
  }

  it('during recovery, again and again, changes nothing of what is found in the end', async () => {
    const callCount = await countCalls();
    const random = { next: 1 };
    for (let call = 5; call <= callCount; call += 3) {
      const { disk, story } = await runUntil(call, call % 2 === 0, call);
      let found = disk;
      for (let round = 0; round < 4; round += 1) {
        random.next = (random.next * 7 + call) % 40;
        found = round % 2 === 0 ? found.crash({}, { intercept: haltAt(1 + random.next, round === 2) }) : found.kill({ intercept: haltAt(1 + random.next, true) });
        const opened = makeWalDirectory(found).then(() => openWal(found, { segmentBytes: SEGMENT_BYTES })).then((wal) => story.append(wal, [frameAfterCrash(wal.history.current?.number)]));
        await Promise.race([opened, found.halted]);
        await turns();
      }
      await expectSoundRecovery(found.crash(), story, `crash at call ${call}, then in recovery`);
    }
  });

  it('in the last group leaves its whole frames up to the first gap, whatever subset of sectors arrived', async () => {
    let isLastGroup = false;
    const disk = new MemoryDisk({ seed: 1, intercept: (call) => (call.name === 'sync' && isLastGroup ? { kind: 'halt', effect: false } : undefined) });
    await makeWalDirectory(disk);
    const wal = await openWal(disk, { segmentBytes: 1 << 20 });
    const story = new WalStory();
    await story.append(wal, [FIRST_EPOCH]);
    for (let group = 0; group < 5; group += 1) await story.append(wal, [frame([put('before', 'x'.repeat(200))])]);
    isLastGroup = true;
    const group = Array.from({ length: 6 }, (_, index) => frame([put(`last ${index}`, 'y'.repeat(500))]));
    void story.append(wal, group);
    await disk.halted;

    const sectors = new Set<number>();
    disk.crash({ chooseVersion: ({ path, index }) => (path.endsWith('.wal') && sectors.add(index), 0) });
    expect(sectors.size).to.be.within(6, 10);
    const found = new Set<number>();
    for (let subset = 0; subset < 1 << sectors.size; subset += 1) {
      const first = Math.min(...sectors);
      const restarted = disk.crash({ chooseVersion: ({ path, index, versionCount }) => (path.endsWith('.wal') ? ((subset >> (index - first)) & 1) * versionCount : 0) });
      const expected = decodeDisk(restarted);
      const recovered = await openWal(restarted, { segmentBytes: 1 << 20 });
      const batches = await allBatches(recovered);
      expectSameBatches(batches, expected);
      story.check(batches);
      found.add(recovered.end.lsn - story.acknowledgedLsn);
    }
    expect([...found].sort((a, b) => a - b)).to.deep.equal([0, 1, 2, 3, 4, 5, 6]);
  });

  it('of a process alone leaves a group in the cache whose sync failed: recovery brings it to the disk', async () => {
    for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
      let syncsUntilFailure = Number.POSITIVE_INFINITY;
      const disk = new MemoryDisk({ seed, intercept: (call) => (call.name === 'sync' && --syncsUntilFailure === 0 ? { kind: 'error', code: 'EIO' } : undefined) });
      await makeWalDirectory(disk);
      const wal = await openWal(disk);
      const story = new WalStory();
      await story.append(wal, [FIRST_EPOCH]);
      syncsUntilFailure = 1;
      await wal.append([frame([put('unknown', 'u'.repeat(1200))])]).catch(() => {});
      expect(wal.isPoisoned).to.be.true;

      const restarted = disk.kill();
      const recovered = await openWal(restarted);
      const endLsn = recovered.end.lsn;
      expect(endLsn).to.equal(2);
      // Served and streamed from now on: it must not vanish any more.
      const afterPowerCut = await openWal(restarted.crash({ survives: 'nothing' }));
      expect(afterPowerCut.end, `seed ${seed}`).to.deep.equal(recovered.end);
    }
  });

  it('is followed by a recovery that writes the last group again and syncs file and directory before it returns', async () => {
    const { disk, story } = await runUntil(Number.POSITIVE_INFINITY, false, 1);
    const calls: DiskCall[] = [];
    const restarted = disk.kill({ intercept: (call) => (calls.push(call), undefined) });
    const before = restarted.contents(DIRECTORY);
    const decoded = decodeDisk(restarted);
    const lastMark = decoded.marks.at(-1)!;
    await openWal(restarted, { segmentBytes: SEGMENT_BYTES });

    const path = `${DIRECTORY}/${lastMark.file}`;
    const rewrite = calls.findIndex((call) => call.name === 'writeAt' && call.path === path);
    expect(calls[rewrite]).to.include({ offset: lastMark.offset, bytes: decoded.end.offset - lastMark.offset });
    expect(calls.findIndex((call, index) => index > rewrite && call.name === 'sync' && call.path === path)).to.be.above(rewrite);
    expect(calls.some((call) => call.name === 'syncDirectory' && call.path === DIRECTORY)).to.be.true;
    expect(restarted.contents(DIRECTORY).get(lastMark.file)!.equals(before.get(lastMark.file)!.subarray(0, decoded.end.offset))).to.be.true;
    expect(story.acknowledgedLsn).to.equal(decoded.expectedLastLsn);
  });

  it('is noticed by these tests where the disk lies about a sync', async () => {
    for (const name of ['sync', 'syncDirectory'] as const) {
      const disk = new MemoryDisk({ seed: 1, intercept: (call) => (call.name === name && call.path.startsWith(DIRECTORY) ? { kind: 'lie' } : undefined) });
      const story = new WalStory();
      await tellStory(disk, story, { seed: 1, segmentBytes: SEGMENT_BYTES });
      const error = await rejectionOf(expectSoundRecovery(disk.crash({ survives: 'nothing' }), story, name));
      expect(error).to.be.instanceOf(Error);
      expect(error.message).to.match(/damaged|at least/);
    }
  });
});

function haltAt(index: number, effect: boolean): (call: DiskCall) => DiskFault | undefined {
  return (call) => (call.index === index ? { kind: 'halt', effect } : undefined);
}

async function runUntil(call: number, effect: boolean, seed: number): Promise<{ disk: MemoryDisk; story: WalStory }> {
  const disk = new MemoryDisk({ seed, shortWrites: 0.1, intercept: haltAt(call, effect) });
  const story = new WalStory();
  await Promise.race([tellStory(disk, story, { seed: 1, segmentBytes: SEGMENT_BYTES }), disk.halted]);
  await turns();
  return { disk, story };
}

async function countCalls(): Promise<number> {
  const { disk } = await runUntil(Number.POSITIVE_INFINITY, false, 1);
  return disk.callCount;
}

/** Lets everything that was acknowledged before the crash be told. */
function turns(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function frameAfterCrash(epochNumber: number | undefined) {
  if (epochNumber === undefined) return FIRST_EPOCH;
  return frame([put('after the crash', 'x'.repeat(50))], epochNumber === 1 ? undefined : { number: 2, id: '2e'.repeat(16) });
}

async function expectSoundRecovery(disk: MemoryDisk, story: WalStory, hint: string): Promise<void> {
  const expected = decodeDisk(disk);
  expect(expected.end.kind, `${hint}: ${expected.end.file} ${expected.end.offset} ${expected.end.reason}`).to.not.equal('damaged');
  // Even the log's directory may be gone: startup makes it.
  await makeWalDirectory(disk);
  const wal = await openWal(disk, { segmentBytes: SEGMENT_BYTES });
  const batches = await allBatches(wal);
  expect(wal.end.lsn, hint).to.equal(expected.expectedLastLsn);
  expectSameBatches(batches, expected);
  story.check(batches);

  // It takes writes again, and both decoders read them.
  await story.append(wal, [frameAfterCrash(wal.history.current?.number)]);
  await wal.close();
  const decoded = decodeDisk(disk);
  expect(decoded.end.kind, `${hint}, then append: ${decoded.end.file} ${decoded.end.offset} ${decoded.end.reason}`).to.equal('clean');
  const again = await openWal(disk, { segmentBytes: SEGMENT_BYTES });
  story.check(await allBatches(again));
  expect(disk.openFiles.length, `${hint}: open files`).to.be.at.most(1);
}
