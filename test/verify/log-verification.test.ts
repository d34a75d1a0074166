import { expect } from 'chai';
import { EpochHistory, type LogPoint } from '../../lib/base/epoch-history.ts';
import { isShiplogError } from '../../lib/base/errors.ts';
import { SILENT_LOGGER } from '../../lib/observe/logger.ts';
import { type LogVerification, verifyLog } from '../../lib/verify/log-verification.ts';
import { recoverLog } from '../../lib/wal/wal-recovery.ts';
import { MemoryDisk } from '../support/memory-disk.ts';
import { WalStory, tellStory } from '../wal/wal-story.ts';
import { CLUSTER_ID, DIRECTORY, FIRST_EPOCH, frame, makeWalDirectory, openWal, put } from '../wal/wal-under-test.ts';

const ZERO: LogPoint = { lsn: 0, chain: 0 };
type Files = Map<string, Buffer>;
type Applied = LogPoint & { readonly history: EpochHistory };
const NOTHING_APPLIED: Applied = { ...ZERO, history: EpochHistory.EMPTY };

describe('verifyLog', () => {
  it('reads a sound log from end to end', async () => {
    const { files, batches } = await story();
    const found = await verifyFiles(files);
    expect(found.endState).to.deep.equal({ state: 'clean', isStopped: true });
    expect(found.start).to.deep.equal(ZERO);
    expect(found.end).to.deep.equal({ lsn: batches.at(-1)!.lastLsn, chain: batches.at(-1)!.chain });
    expect(found.frameCount).to.equal(batches.length);
    expect(found.operationCount).to.equal(found.end.lsn);
    expect(found.segments).to.have.lengthOf(files.size).and.to.have.length.above(2);
    expect(found.clusterId).to.equal(CLUSTER_ID);
  });

  it('changes nothing, also where recovery would cut or remove', async () => {
    const { files } = await story();
    const [lastName, last] = [...files].at(-1)!;
    files.set(lastName, last.subarray(0, last.length - 45));
    files.set('next.spare', Buffer.from('left behind'));
    const disk = await diskOf(files);
    const found = await verifyLog({ disk, directory: DIRECTORY });
    expect(found.endState.state).to.equal('torn');
    expect(disk.contents(DIRECTORY)).to.deep.equal(files);
  });

  it('follows a log that begins in the middle of an epoch', async () => {
    const { files, batches } = await story();
    files.delete([...files.keys()][0]!);
    const found = await verifyFiles(files);
    expect(found.endState.state).to.equal('clean');
    expect(found.start.lsn).to.be.above(0);
    expect(found.frameCount).to.equal(batches.filter((batch) => batch.firstLsn > found.start.lsn).length);
  });

  it('tells what the log has at an applied position, and that a place inside of a batch is none', async () => {
    const { files, batches } = await story();
    for (const batch of batches) {
      const { lastLsn: lsn, chain, firstLsn } = batch;
      const history = EpochHistory.EMPTY;
      expect((await verifyFiles(files, { applied: { lsn, chain, history } })).atApplied).to.include({ chain });
      if (firstLsn < lsn) expect((await verifyFiles(files, { applied: { lsn: firstLsn, chain, history } })).atApplied).to.equal(undefined);
    }
  });

  describe('agrees with recovery', () => {
    it('about one flipped bit in every byte', async () => {
      const { files } = await story();
      const verdicts = await judgeAll(files, function* () {
        for (const [name, bytes] of files) {
          for (let offset = 0; offset < bytes.length; offset += 1) {
            const damaged = Buffer.from(bytes);
            damaged[offset]! ^= 1 << (offset % 8);
            yield { name, bytes: damaged, hint: `${name}, bit flipped at ${offset}` };
          }
        }
      });
      expect(verdicts.damaged).to.be.above(1000);
      expect(verdicts.torn).to.be.above(20);
      expect(verdicts.clean, 'a flip is always seen').to.equal(0);
    });

    it('about a cut at every byte', async () => {
      const { files } = await story();
      const verdicts = await judgeAll(files, function* () {
        for (const [name, bytes] of files) {
          for (let size = 0; size < bytes.length; size += 1) yield { name, bytes: bytes.subarray(0, size), hint: `${name} cut at ${size}` };
        }
      });
      expect(verdicts.damaged).to.be.above(1000);
      expect(verdicts.torn).to.be.above(100);
    });

    it('about zeroed blocks', async () => {
      const { files } = await story();
      const verdicts = await judgeAll(files, function* () {
        for (const [name, bytes] of files) {
          for (let offset = 0; offset < bytes.length; offset += 32) {
            const damaged = Buffer.from(bytes).fill(0, offset, Math.min(offset + 64, bytes.length));
            if (!damaged.equals(bytes)) yield { name, bytes: damaged, hint: `${name}, zeroed from ${offset}` };
          }
        }
      });
      expect(verdicts.damaged).to.be.above(50);
    });

    it('about zeros behind the records: the end of the last segment, damage to any other', async () => {
      const { files } = await story();
      const verdicts = await judgeAll(files, function* () {
        for (const [name, bytes] of files) {
          for (const zeros of [1, 3, 40, 4096]) yield { name, bytes: Buffer.concat([bytes, Buffer.alloc(zeros)]), hint: `${name} and ${zeros} zeros` };
        }
      });
      expect(verdicts).to.deep.equal({ clean: 4, torn: 0, damaged: 4 * (files.size - 1) });
    });

    it('about what the table has applied', async () => {
      const { files, batches, histories } = await story();
      const last = batches.at(-1)!;
      const applied = { lsn: last.lastLsn, chain: last.chain, history: histories.at(-1)! };
      const [name, bytes] = [...files].at(-1)!;
      const cut = new Map(files).set(name, bytes.subarray(0, bytes.length - 60));
      for (const files of [cut, new Map<string, Buffer>(), new Map([...cut].slice(-1))]) {
        expect(await recover(files, applied)).to.equal('damaged');
        expect((await verifyFiles(files, { applied })).endState.state).to.equal('damaged');
      }
      expect((await verifyFiles(files, { applied })).endState.state).to.equal('clean');
    });

    it('about segments that are missing: in the middle, below what is applied, and above', async () => {
      const { files, batches, histories } = await story();
      const names = [...files.keys()];
      const gap = new Map(files);
      gap.delete(names[1]!);
      expect(await recover(gap, NOTHING_APPLIED)).to.equal('damaged');
      expect((await verifyFiles(gap, { applied: NOTHING_APPLIED })).endState.state).to.equal('damaged');

      const above = batches.findIndex((batch) => batch.lastLsn >= Number.parseInt(names[3]!, 10));
      const applied = { lsn: batches[above]!.lastLsn, chain: batches[above]!.chain, history: histories[above]! };
      expect(await recover(gap, applied)).to.equal(batches.at(-1)!.lastLsn);
      const found = await verifyFiles(gap, { applied });
      expect(found.endState.state).to.equal('clean');
      expect(found.leftOverCount).to.equal(1);
      expect(found.start.lsn + 1).to.equal(Number.parseInt(names[2]!, 10));
    });
  });

  it('goes on behind damage, and names every damaged segment', async () => {
    const { files } = await story();
    const names = [...files.keys()];
    for (const name of [names[0]!, names[2]!]) files.get(name)![200]! ^= 0xff;
    files.get(names[1]!)![5]! ^= 0xff;
    const { endState } = await verifyFiles(files);
    if (endState.state !== 'damaged') throw new Error('expected damage');
    expect(endState.damages.map(({ path }) => path)).to.deep.equal(names.slice(0, 3).map((name) => `${DIRECTORY}/${name}`));
    expect(endState.damages[1]).to.deep.equal({ path: `${DIRECTORY}/${names[1]}`, offset: 0, reason: 'wrong magic in the segment header at offset 0' });
  });

  it('refuses segments of another cluster, and of two clusters', async () => {
    const { files } = await story();
    expect((await verifyFiles(files, { clusterId: 'ff'.repeat(16) })).endState.state).to.equal('damaged');
    const other = new MemoryDisk({ seed: 2 });
    await makeWalDirectory(other);
    const wal = await openWal(other, { clusterId: 'c2'.repeat(16) });
    await wal.append([FIRST_EPOCH]);
    await wal.append([frame([put('a', 'b')])]);
    await wal.close();
    const [name, bytes] = [...files][0]!;
    const mixed = new Map([[name, [...other.contents(DIRECTORY)].find(([each]) => each.endsWith('.wal'))![1]], ...[...files].slice(1)]);
    expect(bytes.equals(mixed.get(name)!)).to.equal(false);
    expect((await verifyFiles(mixed)).endState.state).to.equal('damaged');
  });

  it('refuses a log whose base has another chain than the directory says', async () => {
    const { files } = await story();
    expect((await verifyFiles(files, { base: { lsn: 0, chain: 1 } })).endState.state).to.equal('damaged');
    expect((await verifyFiles(files, { base: ZERO })).endState.state).to.equal('clean');
  });

  it('takes an empty directory for an empty log', async () => {
    const found = await verifyFiles(new Map(), { base: { lsn: 7, chain: 9 }, applied: { lsn: 7, chain: 9, history: EpochHistory.EMPTY } });
    expect(found.endState).to.deep.equal({ state: 'clean', isStopped: false });
    expect(found.atApplied).to.deep.equal({ chain: 9, history: undefined });
  });
});

async function story(): Promise<{ files: Files; batches: { firstLsn: number; lastLsn: number; chain: number }[]; histories: EpochHistory[] }> {
  const disk = new MemoryDisk({ seed: 1 });
  const wal = await tellStory(disk, new WalStory(), { seed: 3, groups: 6, segmentBytes: 400 });
  const batches = [];
  const histories: EpochHistory[] = [];
  for await (const batch of wal.readBatches(0)) {
    batches.push(batch);
    const first = batch.operations[0]!;
    const before = histories.at(-1) ?? EpochHistory.EMPTY;
    histories.push(first.kind === 'epoch-begin' ? before.opened(first.epoch, first.parentEnd) : before);
  }
  await wal.close();
  const files = new Map([...disk.contents(DIRECTORY)].filter(([name]) => name.endsWith('.wal')));
  return { files, batches, histories };
}

async function diskOf(files: Files): Promise<MemoryDisk> {
  const disk = new MemoryDisk({ seed: 1 });
  await makeWalDirectory(disk);
  for (const [name, bytes] of files) disk.place(`${DIRECTORY}/${name}`, bytes);
  return disk;
}

async function verifyFiles(files: Files, options: { clusterId?: string; base?: LogPoint; applied?: Applied } = {}): Promise<LogVerification> {
  return verifyLog({ disk: await diskOf(files), directory: DIRECTORY, ...options });
}

/** @returns the LSN that a log ends with after recovery, or that recovery refuses it. */
async function recover(files: Files, applied: Applied): Promise<number | 'damaged'> {
  try {
    const { end } = await recoverLog({ disk: await diskOf(files), directory: DIRECTORY, clusterId: CLUSTER_ID, base: ZERO, applied, history: applied.history, logger: SILENT_LOGGER });
    return end.lsn;
  } catch (error) {
    if (isShiplogError(error, 'log-damaged')) return 'damaged';
    throw error;
  }
}

/** Nothing applied, so recovery reads as much as verification does. */
async function judgeAll(files: Files, damage: () => Generator<{ name: string; bytes: Buffer; hint: string }>): Promise<Record<'clean' | 'torn' | 'damaged', number>> {
  const counts = { clean: 0, torn: 0, damaged: 0 };
  for (const { name, bytes, hint } of damage()) {
    const damaged = new Map(files).set(name, bytes);
    const found = await verifyFiles(damaged, { clusterId: CLUSTER_ID, base: ZERO, applied: NOTHING_APPLIED });
    const { state } = found.endState;
    expect(state === 'damaged' ? 'damaged' : found.end.lsn, hint).to.equal(await recover(damaged, NOTHING_APPLIED));
    counts[state] += 1;
  }
  return counts;
}
