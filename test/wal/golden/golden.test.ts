import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { MemoryDisk } from '../../support/memory-disk.ts';
import { decodeLog, foldLog } from '../../support/second-decoder.ts';
import { allBatches, inWordsOfTheSecondDecoder } from '../wal-story.ts';
import { CLUSTER_ID, DIRECTORY, openWal } from '../wal-under-test.ts';
import { GOLDEN_DIRECTORY, writeGoldenLog } from './golden-log.ts';

describe('the golden files of format version 1', () => {
  const goldenNames = readdirSync(GOLDEN_DIRECTORY).filter((name) => name.endsWith('.wal')).sort();

  it('are three segments', () => {
    expect(goldenNames).to.have.length(3);
  });

  it('are what the encoder still writes, byte for byte', async () => {
    const disk = new MemoryDisk({ seed: 1 });
    await writeGoldenLog(disk, DIRECTORY);
    const written = disk.contents(DIRECTORY);
    expect([...written.keys()].filter((name) => name.endsWith('.wal')).sort()).to.deep.equal(goldenNames);
    for (const name of goldenNames) {
      expect(written.get(name)!.toString('hex'), name).to.equal(readFileSync(join(GOLDEN_DIRECTORY, name)).toString('hex'));
    }
  });

  it('are read by the log: every operation, in order, and the epoch history', async () => {
    const operations = await writeGoldenLog(new MemoryDisk({ seed: 1 }), DIRECTORY);
    const disk = new MemoryDisk({ seed: 1 });
    for (const name of goldenNames) disk.place(`${DIRECTORY}/${name}`, readFileSync(join(GOLDEN_DIRECTORY, name)));
    const wal = await openWal(disk);
    expect((await allBatches(wal)).flatMap((batch) => batch.operations)).to.deep.equal(operations);
    expect(wal.history.epochs.map((epoch) => [epoch.number, epoch.firstLsn, epoch.lastLsn])).to.deep.equal([
      [1, 1, 9],
      [2, 10, 10],
      [3, 11, 12],
      [9, 13, null],
    ]);
    await wal.close();
  });

  it('are read by the second decoder: every operation, mark and position', async () => {
    const operations = await writeGoldenLog(new MemoryDisk({ seed: 1 }), DIRECTORY);
    const log = decodeLog(GOLDEN_DIRECTORY);
    expect(log.end.kind, log.end.reason).to.equal('clean');
    expect(log.expectedLastLsn).to.equal(13);
    expect(log.frames.flatMap((frame) => frame.operations)).to.deep.equal(operations.map(inWordsOfTheSecondDecoder));
    expect(log.frames.map((frame) => frame.wallMs)).to.deep.equal([1, 2, 2, 3, 4, 5, 6, 7].map((second) => 1_700_000_000_000 + second * 1000));
    expect(log.segments.every((segment) => segment.clusterId === CLUSTER_ID)).to.be.true;
    expect(log.marks.map((mark) => `${mark.kind} ${mark.lsn}`)).to.deep.equal([
      'sync 0', 'sync 1', 'seal 8', 'sync 8', 'sync 9', 'sync 10', 'seal 11', 'sync 11', 'sync 12', 'clean-stop 13',
    ]);
    expect([...foldLog(log.frames)]).to.deep.equal([
      ['\0😀', { value: '', lsn: 3 }],
      ['ex', { value: 'pires', lsn: 4 }],
      ['bo', { value: '\uFEFFth', lsn: 6 }],
      ['FRAM', { value: 'MARK', lsn: 12 }],
    ]);
  });
});
