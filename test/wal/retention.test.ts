import { expect } from 'chai';
import * as fc from 'fast-check';
import { type RetentionRules, type RetentionState, planRetention } from '../../lib/wal/retention.ts';
import { type DiskCall, MemoryDisk } from '../support/memory-disk.ts';
import { decodeDisk } from './wal-story.ts';
import { DIRECTORY, FIRST_EPOCH, StandingClock, frame, makeWalDirectory, openWal, put } from './wal-under-test.ts';

const RULES: RetentionRules = { bytesMin: 250, msMin: 1000, bytesMax: 600, msMax: 5000 };
const REMOVE_ALL: RetentionRules = { bytesMin: 0, msMin: 0, bytesMax: 0, msMax: 0 };

/** Ten segments of 100 bytes and 10 operations each, one ended every second, the last one now. */
function tenSegments(change: Partial<RetentionState> = {}): RetentionState {
  return {
    closedSegments: Array.from({ length: 10 }, (_, index) => ({ lastLsn: (index + 1) * 10, sizeBytes: 100, endedMs: (index + 1) * 1000 })),
    activeBytes: 50,
    checkpointedLsn: 100,
    neededAfterLsn: null,
    nowMs: 10_000,
    ...change,
  };
}

describe('retention', () => {
  it('keeps the window of bytes', () => {
    // What stays is at least 250 bytes: two closed segments and the active one.
    expect(planRetention(tenSegments(), { ...RULES, msMin: 0 })).to.equal(8);
  });

  it('keeps the window of time', () => {
    expect(planRetention(tenSegments(), { ...RULES, bytesMin: 0, bytesMax: 10_000, msMin: 3000, msMax: 100_000 })).to.equal(7);
  });

  it('never removes what SQLite does not have yet, whatever the caps', () => {
    for (let checkpointedLsn = 0; checkpointedLsn <= 100; checkpointedLsn += 1) {
      expect(planRetention(tenSegments({ checkpointedLsn }), REMOVE_ALL)).to.equal(Math.floor(checkpointedLsn / 10));
    }
  });

  it('keeps what a follower needs, up to the caps', () => {
    const roomy = { ...RULES, msMin: 0, bytesMax: 10_000, msMax: 100_000 };
    expect(planRetention(tenSegments({ neededAfterLsn: 30 }), roomy)).to.equal(3);
    expect(planRetention(tenSegments({ neededAfterLsn: 29 }), roomy)).to.equal(2);
    expect(planRetention(tenSegments({ neededAfterLsn: 0 }), roomy)).to.equal(0);
    // 600 bytes: five closed segments, the active one, and the one that crosses the cap.
    expect(planRetention(tenSegments({ neededAfterLsn: 0 }), { ...roomy, bytesMax: 600 })).to.equal(4);
    expect(planRetention(tenSegments({ neededAfterLsn: 0 }), { ...roomy, msMax: 5000 })).to.equal(4);
  });

  it('keeps to its rules whatever they are: oldest first, nothing above the checkpoint, the least window always', () => {
    const nat = fc.nat(2000);
    const closed = fc.array(fc.record({ operations: fc.integer({ min: 1, max: 20 }), sizeBytes: fc.nat(300), ms: fc.nat(2000) }), { maxLength: 12 });
    fc.assert(
      fc.property(closed, nat, fc.nat(200), fc.option(fc.nat(200)), nat, nat, nat, nat, nat, (drawn, activeBytes, checkpointedLsn, neededAfterLsn, laterMs, bytesMin, bytesMore, msMin, msMore) => {
        let lastLsn = 0;
        let endedMs = 0;
        const closedSegments = drawn.map(({ operations, sizeBytes, ms }) => {
          lastLsn += operations;
          endedMs += ms;
          return { lastLsn, sizeBytes, endedMs };
        });
        const rules = { bytesMin, bytesMax: bytesMin + bytesMore, msMin, msMax: msMin + msMore };
        const nowMs = endedMs + laterMs;
        const count = planRetention({ closedSegments, activeBytes, checkpointedLsn, neededAfterLsn, nowMs }, rules);
        const removed = closedSegments.slice(0, count);
        for (const [index, segment] of removed.entries()) {
          expect(segment.lastLsn).to.be.at.most(checkpointedLsn);
          const newerBytes = activeBytes + closedSegments.slice(index + 1).reduce((sum, each) => sum + each.sizeBytes, 0);
          expect(newerBytes, 'bytes that stay').to.be.at.least(bytesMin);
        }
      }),
    );
  });

  it('removes oldest first, each for good before the next, and leaves a log that reads', async () => {
    const calls: DiskCall[] = [];
    const disk = new MemoryDisk({ seed: 1, intercept: (call) => (calls.push(call), undefined) });
    await makeWalDirectory(disk);
    const clock = new StandingClock();
    const wal = await openWal(disk, { segmentBytes: 500, clock });
    await wal.append([FIRST_EPOCH]);
    for (let group = 0; group < 40; group += 1) {
      clock.wall += 1000;
      await wal.append([frame([put('k', 'v'.repeat(100))])]);
    }
    const paths = wal.segments.map((segment) => segment.path);
    const checkpointed = { lsn: wal.segments[5]!.header.before.lsn + 1, chain: 0 };
    expect(await wal.removeOldSegments(REMOVE_ALL, null), 'nothing is checkpointed yet').to.equal(0);
    wal.setCheckpointed(checkpointed);
    calls.length = 0;
    expect(await wal.removeOldSegments(REMOVE_ALL, null)).to.equal(5);
    expect(calls.map((call) => call.path)).to.deep.equal(paths.slice(0, 5).flatMap((path) => [path, DIRECTORY]));
    expect(calls.map((call) => call.name)).to.deep.equal(paths.slice(0, 5).flatMap(() => ['remove', 'syncDirectory']));
    expect(wal.start.lsn).to.equal(checkpointed.lsn - 1);
    const decoded = decodeDisk(disk);
    expect(decoded.end.kind).to.equal('clean');
    expect(decoded.frames[0]!.firstLsn).to.equal(checkpointed.lsn);
  });

  it('removes no more than each plan says where two removals overlap', async () => {
    const disk = new MemoryDisk({ seed: 1 });
    await makeWalDirectory(disk);
    const wal = await openWal(disk, { segmentBytes: 500 });
    await wal.append([FIRST_EPOCH]);
    for (let group = 0; group < 40; group += 1) await wal.append([frame([put('k', 'v'.repeat(100))])]);
    const keep = wal.segments[6]!;
    wal.setCheckpointed({ lsn: keep.header.before.lsn + 1, chain: 0 });
    await Promise.all([1, 2, 3].map(() => wal.removeOldSegments(REMOVE_ALL, null)));
    expect(wal.segments[0]).to.equal(keep);
    expect(disk.contents(DIRECTORY).has(keep.path.split('/').at(-1)!)).to.be.true;
  });

  it('interrupted by a crash leaves a log that opens above the checkpoint', async () => {
    for (let halt = 1; halt <= 10; halt += 1) {
      for (const effect of [true, false]) {
        const box = { calls: 0, armed: false };
        const disk = new MemoryDisk({
          seed: halt,
          intercept: () => (box.armed && (box.calls += 1) === halt ? { kind: 'halt', effect } : undefined),
        });
        await makeWalDirectory(disk);
        const wal = await openWal(disk, { segmentBytes: 500 });
        await wal.append([FIRST_EPOCH]);
        for (let group = 0; group < 30; group += 1) await wal.append([frame([put('k', 'v'.repeat(100))])]);
        const applied = { ...wal.end, history: wal.history };
        wal.setCheckpointed(applied);
        box.armed = true;
        void wal.removeOldSegments(REMOVE_ALL, null);
        await disk.halted;
        for (const restarted of [disk.crash(), disk.crash({ survives: 'nothing' }), disk.kill()]) {
          const reopened = await openWal(restarted, { applied, segmentBytes: 500 });
          expect(reopened.end).to.deep.equal(wal.end);
          // Whatever is left is one piece.
          const decoded = decodeDisk(restarted);
          expect(decoded.end.kind, decoded.end.reason).to.equal('clean');
        }
      }
    }
  });
});
