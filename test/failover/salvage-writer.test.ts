import { crc32 } from 'node:zlib';
import { expect } from 'chai';
import { readWhole, writeFully, DiskFullError } from '../../lib/env/disk.ts';
import { writeSalvage } from '../../lib/failover/salvage-writer.ts';
import { SalvageReader } from '../../lib/failover/salvage-reader.ts';
import { type DiskCall, type DiskFault, MemoryDisk } from '../support/memory-disk.ts';
import { rejection } from '../store/store-suite.ts';
import { CLUSTER_ID, EPOCH, WALL_MS, del, frame, nextEpoch, put } from '../wal/wal-under-test.ts';
import { DATA_DIRECTORY, NODE_ID, SalvageUnderTest, takeApart } from './salvage-under-test.ts';

const DIRECTORY = `${DATA_DIRECTORY}/salvage`;

describe('writeSalvage', () => {
  it('writes every operation after the fork, in order, and says what they are', async () => {
    const disk = new MemoryDisk({ seed: 1 });
    const test = await SalvageUnderTest.begin(disk, [put('shared', 'yes')], [put('a', '1'), del('shared')], [put('a', '2\n"\0😀')]);
    const name = await writeSalvage(test.input(2, { reason: 'b has opened epoch 2', openedEpoch: { number: 2, id: '2e'.repeat(16) } }));
    expect(name).to.equal('1.1e1e-5.ndjson');
    const { header, lines, footer, summedUp } = await takeApart(disk, name);
    expect(header).to.deep.equal({
      format: 1,
      clusterId: CLUSTER_ID,
      nodeId: NODE_ID,
      forkPosition: '1.1e1e-2',
      throughPosition: '1.1e1e-5',
      epochs: [{ ...EPOCH, firstLsn: 1, lastLsn: null, endChain: null }],
      openedEpoch: { number: 2, id: '2e'.repeat(16) },
      operations: 3,
      isComplete: true,
      completeAfterPosition: '1.1e1e-2',
      reason: 'b has opened epoch 2',
      generation: 'gen-000001',
      writtenAtMs: 1_700_000_000_000,
    });
    expect(lines).to.deep.equal([
      { position: '1.1e1e-3', wallMs: WALL_MS, kind: 'put', key: 'a', value: '1' },
      { position: '1.1e1e-4', wallMs: WALL_MS, kind: 'delete', key: 'shared' },
      { position: '1.1e1e-5', wallMs: WALL_MS, kind: 'put', key: 'a', value: '2\n"\0😀' },
    ]);
    expect(footer).to.deep.equal({ footer: true, operations: 3, crc32: crc32(summedUp).toString(16).padStart(8, '0') });
  });

  it('names the records that ended and opened epochs', async () => {
    const disk = new MemoryDisk({ seed: 1 });
    const test = await SalvageUnderTest.begin(disk, [put('a', '1')]);
    await test.wal.append([frame([{ kind: 'epoch-end', targetNodeId: NODE_ID, nextEpoch: { number: 2, id: '2e'.repeat(16) } }])]);
    await test.wal.append([nextEpoch(test.wal, { number: 2, id: '2e'.repeat(16) })]);
    const { lines } = await takeApart(disk, await writeSalvage(test.input(2)));
    expect(lines).to.deep.equal([
      { position: '1.1e1e-3', wallMs: WALL_MS, kind: 'epoch-end' },
      { position: '2.2e2e-4', wallMs: WALL_MS, kind: 'epoch-begin' },
    ]);
  });

  it('also holds a value of the largest size', async () => {
    const disk = new MemoryDisk({ seed: 1 });
    const value = 'v€'.repeat(4 * 1024 * 1024);
    const test = await SalvageUnderTest.begin(disk, [put('large', value)], [put('after', 'x')]);
    const { lines } = await takeApart(disk, await writeSalvage(test.input(1)));
    expect(lines.map((line) => line['key'])).to.deep.equal(['large', 'after']);
    expect(lines[0]!['value'] === value).to.equal(true);
  });

  it('replaces what it has written before, under the same name', async () => {
    const disk = new MemoryDisk({ seed: 1 });
    const test = await SalvageUnderTest.begin(disk, [put('a', '1')], [put('b', '2')]);
    const first = await writeSalvage(test.input(2));
    const second = await writeSalvage(test.input(2, { writtenAtMs: 5 }));
    expect(second).to.equal(first);
    expect(await disk.list(DIRECTORY)).to.deep.equal([first]);
    expect((await takeApart(disk, second)).header['writtenAtMs']).to.equal(5);
  });

  it('leaves a whole file or none after a power cut at any moment, and writes it the next time', async () => {
    const calls: DiskCall[] = [];
    let intercept: (call: DiskCall) => DiskFault | undefined = () => undefined;
    const begin = async (): Promise<{ disk: MemoryDisk; test: SalvageUnderTest }> => {
      const disk = new MemoryDisk({ seed: 7, shortWrites: 0.3, intercept: (call) => intercept(call) });
      intercept = () => undefined;
      return { disk, test: await SalvageUnderTest.begin(disk, [put('a', '1')], [put('b', 'x'.repeat(2_000))]) };
    };
    const rehearsal = await begin();
    intercept = (call) => void calls.push(call);
    const name = await writeSalvage(rehearsal.test.input(2));
    expect(calls.length).to.be.greaterThan(10);

    const outcomes = new Set<boolean>();
    for (let step = 0; step < calls.length; step += 1) {
      for (const effect of [false, true]) {
        const { disk, test } = await begin();
        let count = 0;
        intercept = () => (count++ === step ? { kind: 'halt', effect } : undefined);
        await Promise.race([writeSalvage(test.input(2)), disk.halted]);
        const found = disk.crash({ seed: step });
        const isThere = await found.exists(`${DIRECTORY}/${name}`);
        outcomes.add(isThere);
        if (isThere) expect((await SalvageReader.open(found, `${DIRECTORY}/${name}`)).operationCount).to.equal(1);
        intercept = () => undefined;
        expect(await writeSalvage({ ...test.input(2), disk: found, wal: rehearsal.test.wal, store: rehearsal.test.store })).to.equal(name);
        expect(await found.list(DIRECTORY)).to.deep.equal([name]);
        expect((await SalvageReader.open(found.crash({ survives: 'nothing' }), `${DIRECTORY}/${name}`)).operationCount).to.equal(1);
      }
    }
    expect([...outcomes]).to.have.members([true, false]);
  });

  it('leaves nothing half done on a full disk', async () => {
    const disk = new MemoryDisk({ seed: 1, intercept: (call) => (call.name === 'writeAt' && call.path.includes('salvage') ? { kind: 'error', code: 'ENOSPC' } : undefined) });
    const test = await SalvageUnderTest.begin(disk, [put('a', '1')]);
    const error = await writeSalvage(test.input(1)).catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(DiskFullError);
    expect(await disk.list(DIRECTORY)).to.deep.equal([]);
    expect(disk.openFiles.filter((path) => path.includes('salvage'))).to.deep.equal([]);
  });

  describe('where the log no longer reaches back to the fork', () => {
    it('takes from the table what is left of the operations before, and says that they are not all', async () => {
      const disk = new MemoryDisk({ seed: 1 });
      const test = await SalvageUnderTest.begin(disk, [put('shared', 'yes'), put('kept', 'yes')], [put('key1', 'overwritten later')], [del('shared')]);
      await test.fill(40);
      await test.write(del('key39'));
      const startLsn = await test.forgetSegments(3);
      const { header, lines, footer } = await takeApart(disk, await writeSalvage(test.input(3)));
      expect(header).to.include({ isComplete: false, operations: null, forkPosition: '1.1e1e-3', completeAfterPosition: `1.1e1e-${startLsn}` });
      const early = lines.filter((line) => line['wallMs'] === null);
      const late = lines.slice(early.length);
      expect(early.map((line) => line['position'])).to.have.members(Array.from({ length: startLsn - 5 }, (_, index) => `1.1e1e-${index + 6}`));
      expect(late.map((line) => line['position'])).to.deep.equal(Array.from({ length: test.wal.end.lsn - startLsn }, (_, index) => `1.1e1e-${startLsn + 1 + index}`));
      expect(late.at(-1)).to.include({ kind: 'delete', key: 'key39' });
      expect(footer['operations']).to.equal(lines.length);
    });

    it('passes over a segment that is damaged, if the table has what it held', async () => {
      const disk = new MemoryDisk({ seed: 1 });
      const test = await SalvageUnderTest.begin(disk);
      await test.fill(40);
      const damaged = test.wal.segments[2]!;
      await flipByte(disk, damaged.path, damaged.sizeBytes - 100);
      const { header, lines } = await takeApart(disk, await writeSalvage(test.input(2)));
      expect(header).to.include({ isComplete: false, completeAfterPosition: `1.1e1e-${test.wal.segments[3]!.header.before.lsn}` });
      expect(new Set(lines.map((line) => line['key']))).to.have.lengthOf(39);
      expect((await SalvageReader.open(disk, `${DIRECTORY}/1.1e1e-41.ndjson`)).operationCount).to.equal(39);
    });

    it('refuses, and names file and offset, where what is damaged is nowhere else', async () => {
      const disk = new MemoryDisk({ seed: 1 });
      const test = await SalvageUnderTest.begin(disk);
      await test.fill(40);
      const last = test.wal.segments.at(-1)!;
      await flipByte(disk, last.path, last.sizeBytes - 20);
      expect(await rejection(writeSalvage(test.input(2)))).to.include(`${last.path}, offset`);
      expect(await disk.list(DIRECTORY)).to.deep.equal([]);
    });

    it('refuses where the table has not got as far as the log begins', async () => {
      const disk = new MemoryDisk({ seed: 1 });
      const test = await SalvageUnderTest.begin(disk);
      await test.fill(40);
      const startLsn = await test.forgetSegments(3);
      const behind = test.store.crash(0);
      expect(await rejection(writeSalvage(test.input(2, { store: behind })))).to.include(`the log begins after LSN ${startLsn}, the table ends at LSN 0`);
    });
  });
});

async function flipByte(disk: MemoryDisk, path: string, offset: number): Promise<void> {
  const content = await readWhole(disk, path);
  const file = await disk.open(path, { mode: 'write' });
  await writeFully(file, offset, Buffer.from([content[offset]! ^ 0xff]));
  await file.sync();
  await file.close();
}
