import { expect } from 'chai';
import { isShiplogError } from '../../lib/base/errors.ts';
import type { Wal } from '../../lib/wal/wal.ts';
import { rejectionOf } from '../env/rejection.ts';
import { type DiskCall, type DiskFault, MemoryDisk } from '../support/memory-disk.ts';
import { allBatches, decodeDisk, expectSameBatches } from './wal-story.ts';
import { DIRECTORY, FIRST_EPOCH, frame, makeWalDirectory, nextEpoch, openWal, put } from './wal-under-test.ts';

const NEXT_EPOCH = { number: 2, id: '2e'.repeat(16) };
const EIO: DiskFault = { kind: 'error', code: 'EIO' };

describe('a disk that fails under the log', () => {
  let disk: MemoryDisk;
  let wal: Wal;
  let calls: DiskCall[];
  /** Decides about every call; replaced by tests once the log is open. */
  let fail: (call: DiskCall) => DiskFault | undefined;

  beforeEach(async () => {
    calls = [];
    fail = () => undefined;
    disk = new MemoryDisk({ seed: 1, intercept: (call) => (calls.push(call), fail(call)) });
    await makeWalDirectory(disk);
    wal = await openWal(disk);
    await wal.append([FIRST_EPOCH]);
    await wal.append([frame([put('before', 'x')])]);
    calls.length = 0;
  });

  describe('for good', () => {
    it('poisons the log with the first failed sync: every append is refused, and no sync is tried again', async () => {
      fail = once('sync', EIO);
      const first = await rejectionOf(wal.append([frame([put('k', 'v')])]));
      expect(isShiplogError(first, 'log-poisoned')).to.be.true;
      expect(first.message).to.contain('.wal').and.contain('restarted');
      expect(first.cause).to.include({ code: 'EIO' });
      expect(wal.isPoisoned).to.be.true;
      calls.length = 0;
      for (let attempt = 0; attempt < 3; attempt += 1) {
        expect(await rejectionOf(wal.append([frame([put('k', 'v')])]))).to.include({ code: 'log-poisoned' });
      }
      await wal.close();
      expect(calls.map((call) => call.name)).to.deep.equal(['close']);
      expect(wal.durable.lsn).to.equal(2);
      expect(wal.end.lsn).to.equal(2);
    });

    it('poisons the log when a sync says that the disk is full', async () => {
      for (const code of ['ENOSPC', 'EDQUOT']) {
        const fresh = await freshWal((call) => (call.name === 'sync' ? { kind: 'error', code } : undefined));
        expect(await rejectionOf(fresh.append([frame([put('k', 'v')])])), code).to.include({ code: 'log-poisoned' });
      }
    });

    it('poisons the log when a write fails, since nobody knows what it did', async () => {
      fail = once('writeAt', EIO);
      expect(await rejectionOf(wal.append([frame([put('k', 'v')])]))).to.include({ code: 'log-poisoned' });
      expect(await rejectionOf(wal.append([frame([put('k', 'v')])]))).to.include({ code: 'log-poisoned' });
    });

    it('poisons the log at whatever step of a rotation, and recovery finds all that was acknowledged', async () => {
      const steps = ['writeAt', 'sync', 'remove', 'open', 'rename', 'syncDirectory'] as const;
      for (const step of steps) {
        for (let nth = 1; nth <= 3; nth += 1) {
          const box = { armed: false, left: nth };
          const faulty = new MemoryDisk({
            seed: nth,
            intercept: (call) => (box.armed && call.name === step && !call.path.endsWith('reserve.spare') && (box.left -= 1) === 0 ? EIO : undefined),
          });
          await makeWalDirectory(faulty);
          const log = await openWal(faulty, { segmentBytes: 300 });
          await log.append([FIRST_EPOCH]);
          while (log.segments.at(-1)!.sizeBytes < 300) await log.append([frame([put('k', 'v'.repeat(30))])]);
          const { end } = log;
          box.armed = true;
          const outcome = await log.append([frame([put('rotates', 'v')])]).catch((error: unknown) => error);
          if (Array.isArray(outcome)) continue;
          expect(isShiplogError(outcome, 'log-poisoned'), `${step} ${nth}: ${String(outcome)}`).to.be.true;
          expect(await rejectionOf(log.append([frame([put('k', 'v')])]))).to.include({ code: 'log-poisoned' });
          for (const restarted of [faulty.kill(), faulty.crash({ survives: 'nothing' }), faulty.crash()]) {
            const expected = decodeDisk(restarted);
            const recovered = await openWal(restarted, { segmentBytes: 300 });
            expect(recovered.end.lsn, `${step} ${nth}`).to.be.within(end.lsn, end.lsn + 1);
            expectSameBatches(await allBatches(recovered), expected);
          }
        }
      }
    });
  });

  describe('because it is full', () => {
    it('cuts the file back, says so, serves reads, and goes on when there is space again', async () => {
      wal = await openWal(disk, { segmentBytes: 1 << 14 });
      for (let room = 0; room < 600; room += 23) {
        const before = recordsOf(disk);
        disk.setCapacity(usedBytes(disk) + room);
        const error = await rejectionOf(wal.append([frame([put('large', 'x'.repeat(2000))])]));
        expect(isShiplogError(error, 'disk-full'), String(error)).to.be.true;
        expect(error).to.include({ status: 507 });
        expect(recordsOf(disk), `room for ${room}`).to.deep.equal(before);
        expect(wal.isPoisoned).to.be.false;
        expect((await allBatches(wal)).at(-1)!.lastLsn).to.equal(wal.end.lsn);

        disk.setCapacity(Number.POSITIVE_INFINITY);
        const lsn = wal.end.lsn + 1;
        expect((await wal.append([frame([put('again', String(room))])]))[0]!.firstLsn).to.equal(lsn);
      }
      const decoded = decodeDisk(disk);
      expect(decoded.end.kind).to.equal('clean');
      expect(decoded.expectedLastLsn).to.equal(wal.end.lsn);
    });

    it('takes what there is room for, and writes no zeros ahead in the last space', async () => {
      wal = await openWal(disk, { segmentBytes: 1 << 14 });
      const group = [frame([put('large', 'x'.repeat(2000))])];
      const groupBytes = 40 + 48 + 8 + 'large'.length + 2000;
      for (const zerosRoom of [0, 1, 500, 1023]) {
        const copy = disk.kill();
        const log = await openWal(copy, { segmentBytes: 1 << 14 });
        copy.setCapacity(usedBytes(copy) + groupBytes + zerosRoom);
        await log.append(group);
        expect(fileBytes(copy), `room for ${zerosRoom}`).to.equal(log.segments.at(-1)!.sizeBytes);
        expect(await rejectionOf(log.append(group))).to.include({ code: 'disk-full' });
        copy.setCapacity(Number.POSITIVE_INFINITY);
        await log.append(group);
        expect((await openWal(copy.crash({ survives: 'nothing' }))).end).to.deep.equal(log.end);
      }
    });

    it('poisons the log where the file can not be cut back', async () => {
      disk.setCapacity(usedBytes(disk) + 100);
      fail = once('truncate', EIO);
      expect(await rejectionOf(wal.append([frame([put('large', 'x'.repeat(600))])]))).to.include({ code: 'log-poisoned' });
      disk.setCapacity(Number.POSITIVE_INFINITY);
      expect(await rejectionOf(wal.append([frame([put('k', 'v')])]))).to.include({ code: 'log-poisoned' });
    });

    it('never tears what was durable when the power goes while it is full', async () => {
      for (let seed = 0; seed < 30; seed += 1) {
        const full = new MemoryDisk({ seed });
        await makeWalDirectory(full);
        const log = await openWal(full);
        await log.append([FIRST_EPOCH]);
        full.setCapacity(usedBytes(full) + 17 * seed);
        await log.append([frame([put('large', 'x'.repeat(600))])]).catch(() => {});
        full.setCapacity(Number.POSITIVE_INFINITY);
        await log.append([frame([put('k', 'v')])]);
        const restarted = full.crash();
        const recovered = await openWal(restarted);
        expect(recovered.end).to.deep.equal(log.end);
      }
    });

    it('rotates when there is space again, with one seal', async () => {
      while (wal.segments.at(-1)!.sizeBytes < 2048) await wal.append([frame([put('k', 'v'.repeat(300))])]);
      const groupBytes = 40 + 48 + 8 + 'rotates'.length + 200;
      for (let room = 0; room < groupBytes; room += 13) {
        disk.setCapacity(usedBytes(disk) + room);
        const outcome = await wal.append([frame([put('rotates', 'v'.repeat(200))])]).catch((error: unknown) => error);
        expect(isShiplogError(outcome, 'disk-full'), `room ${room}: ${String(outcome)}`).to.be.true;
      }
      disk.setCapacity(Number.POSITIVE_INFINITY);
      await wal.append([frame([put('rotates', 'v')])]);
      const decoded = decodeDisk(disk);
      expect(decoded.end, decoded.end.reason).to.include({ kind: 'clean' });
      expect(decoded.marks.filter((mark) => mark.kind === 'seal')).to.have.length(1);
      expect(decoded.expectedLastLsn).to.equal(wal.end.lsn);
      expect(disk.openFiles).to.have.length(1);
    });

    it('still takes a control record, from the space that is held back for it', async () => {
      disk.setCapacity(usedBytes(disk));
      expect(await rejectionOf(wal.append([frame([put('k', 'v')])]))).to.include({ code: 'disk-full' });
      await wal.append([nextEpoch(wal, NEXT_EPOCH)]);
      expect(wal.history.current?.number).to.equal(2);
      expect(decodeDisk(disk).end.kind).to.equal('clean');
    });

    it('still takes a control record that needs another segment', async () => {
      while (wal.segments.at(-1)!.sizeBytes < 2048) await wal.append([frame([put('k', 'v'.repeat(300))])]);
      for (const room of [0, 40, 100, 170]) {
        const copy = disk.kill();
        const log = await openWal(copy);
        copy.setCapacity(usedBytes(copy) + room);
        await log.append([nextEpoch(log, NEXT_EPOCH)]);
        expect(log.history.current?.number, `room ${room}`).to.equal(2);
        expect(log.segments).to.have.length(2);
        expect(decodeDisk(copy).end.kind).to.equal('clean');
      }
    });

    it('leaves what little there is to the log: a reserve that does not fit is given up', async () => {
      const copy = disk.kill();
      copy.place(`${DIRECTORY}/reserve.spare`, undefined);
      copy.setCapacity(usedBytes(copy) + 2000);
      const log = await openWal(copy);
      await log.append([frame([put('k', 'v'.repeat(500))])]);
      await log.append([nextEpoch(log, NEXT_EPOCH)]);
      expect(copy.contents(DIRECTORY).get('reserve.spare')?.length ?? 0).to.equal(0);
      expect(copy.openFiles).to.have.length(1);
    });

    it('holds space back again once there is some', async () => {
      disk.setCapacity(usedBytes(disk));
      await wal.append([nextEpoch(wal, NEXT_EPOCH)]);
      expect(disk.contents(DIRECTORY).has('reserve.spare')).to.be.false;
      disk.setCapacity(Number.POSITIVE_INFINITY);
      while (wal.segments.length < 2) await wal.append([frame([put('k', 'v'.repeat(500))], NEXT_EPOCH)]);
      expect(disk.contents(DIRECTORY).get('reserve.spare')!.length).to.be.above(1000);
    });

    it('does not keep the log from stopping; only the note of it is missing', async () => {
      disk.setCapacity(usedBytes(disk));
      await wal.close();
      expect(disk.openFiles).to.deep.equal([]);
      expect(decodeDisk(disk).end.kind).to.equal('clean');
      expect((await openWal(disk)).end).to.deep.equal(wal.end);
    });
  });

  describe('with short writes', () => {
    it('writes the rest, however little is taken at a time', async () => {
      fail = (call) => (call.name === 'writeAt' ? { kind: 'short', bytes: 1 + (call.index % 7) } : undefined);
      for (let group = 0; group < 20; group += 1) await wal.append([frame([put('k', 'v'.repeat(200))])]);
      expect(wal.segments.length).to.be.above(1);
      const decoded = decodeDisk(disk);
      expect(decoded.end.kind).to.equal('clean');
      expectSameBatches(await allBatches(wal), decoded);
      // Every byte went before the sync that covers it.
      expect((await openWal(disk.crash({ survives: 'nothing' }))).end).to.deep.equal(wal.end);
    });
  });

  async function freshWal(failing: (call: DiskCall) => DiskFault | undefined): Promise<Wal> {
    const box = { armed: false };
    const fresh = new MemoryDisk({ seed: 1, intercept: (call) => (box.armed ? failing(call) : undefined) });
    await makeWalDirectory(fresh);
    const log = await openWal(fresh);
    await log.append([FIRST_EPOCH]);
    box.armed = true;
    return log;
  }
});

function once(name: DiskCall['name'], fault: DiskFault): (call: DiskCall) => DiskFault | undefined {
  let isDone = false;
  return (call) => {
    if (isDone || call.name !== name) return undefined;
    isDone = true;
    return fault;
  };
}

function usedBytes(disk: MemoryDisk): number {
  return [...disk.contents(DIRECTORY).values()].reduce((sum, content) => sum + content.length, 0);
}

/** Of the last segment. */
function fileBytes(disk: MemoryDisk): number {
  return [...disk.contents(DIRECTORY)].findLast(([name]) => name.endsWith('.wal'))![1].length;
}

/** Without what was written ahead of the log. */
function recordsOf(disk: MemoryDisk): string[] {
  const { end } = decodeDisk(disk);
  return [...disk.contents(DIRECTORY)]
    .filter(([name]) => name.endsWith('.wal'))
    .map(([name, content]) => `${name} ${content.subarray(0, name === end.file ? end.offset : content.length).toString('hex')}`);
}
