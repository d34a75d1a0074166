import { expect } from 'chai';
import { crc32 } from 'node:zlib';
import { readWhole, writeFully, type Disk } from '../../lib/env/disk.ts';
import { listSalvage, markSalvageDone, salvageNames } from '../../lib/failover/salvage-directory.ts';
import { type SalvagedOperation, parseSalvageHeader } from '../../lib/failover/salvage-file.ts';
import { SalvageReader } from '../../lib/failover/salvage-reader.ts';
import { writeSalvage } from '../../lib/failover/salvage-writer.ts';
import { MemoryDisk } from '../support/memory-disk.ts';
import { rejection } from '../store/store-suite.ts';
import { put } from '../wal/wal-under-test.ts';
import { DATA_DIRECTORY, SalvageUnderTest } from './salvage-under-test.ts';

const DIRECTORY = `${DATA_DIRECTORY}/salvage`;
const NAME = '1.1e1e-4.ndjson';
const PATH = `${DIRECTORY}/${NAME}`;

async function read(disk: Disk): Promise<readonly SalvagedOperation[]> {
  const operations: SalvagedOperation[] = [];
  for await (const { operation } of (await SalvageReader.open(disk, PATH)).operations()) operations.push(operation);
  return operations;
}

async function replace(disk: Disk, content: string | Uint8Array): Promise<void> {
  await disk.remove(PATH);
  const file = await disk.open(PATH, { mode: 'create' });
  await writeFully(file, 0, typeof content === 'string' ? Buffer.from(content) : content);
  await file.close();
}

/** With a footer that fits. */
function sealed(lines: readonly string[]): string {
  const text = lines.map((line) => `${line}\n`).join('');
  return `${text}${JSON.stringify({ footer: true, operations: lines.length - 1, crc32: crc32(text).toString(16).padStart(8, '0') })}\n`;
}

describe('a salvage file', () => {
  let disk: MemoryDisk;

  beforeEach(async () => {
    disk = new MemoryDisk({ seed: 1 });
    const test = await SalvageUnderTest.begin(disk, [put('shared', 'yes')], [put('a', 'x'.repeat(300_000)), put('b\u2028', '\0"\\😀\r\n')]);
    expect(await writeSalvage(test.input(2))).to.equal(NAME);
  });

  it('is read as it was written', async () => {
    const [first, second, ...others] = await read(disk);
    expect(first).to.include({ kind: 'put', key: 'a', value: 'x'.repeat(300_000), position: '1.1e1e-3' });
    expect(second).to.include({ kind: 'put', key: 'b\u2028', value: '\0"\\😀\r\n', position: '1.1e1e-4' });
    expect(others).to.deep.equal([]);
    expect(disk.openFiles).to.not.include(PATH);
  });

  it('is refused where it was cut, at any byte', async () => {
    await replace(disk, sealed((await readWhole(disk, PATH)).toString('utf8').replaceAll('x'.repeat(300_000), 'x').trimEnd().split('\n').slice(0, -1)));
    expect(await read(disk)).to.have.lengthOf(2);
    const whole = await readWhole(disk, PATH);
    for (let size = 0; size < whole.length; size += 1) {
      await replace(disk, whole.subarray(0, size));
      expect(await rejection(SalvageReader.open(disk, PATH)), `cut after ${size} bytes`).to.match(/^\/node\/salvage\/1\.1e1e-4\.ndjson is damaged: /);
      expect(await listSalvage(disk, DATA_DIRECTORY)).to.have.lengthOf(1).and.have.nested.property('[0].state', 'damaged');
    }
  });

  it('is refused where any byte is another one', async () => {
    await replace(disk, sealed((await readWhole(disk, PATH)).toString('utf8').replaceAll('x'.repeat(300_000), 'x').trimEnd().split('\n').slice(0, -1)));
    const whole = await readWhole(disk, PATH);
    for (let offset = 0; offset < whole.length; offset += 1) {
      const changed = Buffer.from(whole);
      changed[offset]! ^= 0x01;
      await replace(disk, changed);
      expect(await rejection(SalvageReader.open(disk, PATH)), `byte ${offset}`).to.include(PATH);
    }
  });

  it('is refused where something stands behind its footer, or a line is missing', async () => {
    const whole = (await readWhole(disk, PATH)).toString('utf8');
    await replace(disk, `${whole}${whole}`);
    expect(await rejection(SalvageReader.open(disk, PATH))).to.include('something behind its footer');
    const lines = whole.trimEnd().split('\n');
    await replace(disk, `${[lines[0], lines[2], lines[3]].join('\n')}\n`);
    expect(await rejection(SalvageReader.open(disk, PATH))).to.include('it holds 1 operations, its footer says 2');
  });

  it('is refused where a line is no operation, by its number', async () => {
    const [header, ...lines] = (await readWhole(disk, PATH)).toString('utf8').trimEnd().split('\n').slice(0, -1);
    for (const wrong of ['[]', '{"kind":"put","position":"1.1e1e-3","key":"a"}', '{"kind":"expire","position":"1.1e1e-3"}', '{"kind":"delete","position":"3","key":"a"}', 'null']) {
      await replace(disk, sealed([header!, lines[0]!, wrong]));
      expect(await rejection(SalvageReader.open(disk, PATH)), wrong).to.include('line 3');
    }
  });

  it('of a newer format is not guessed at', () => {
    expect(() => parseSalvageHeader('f.ndjson', '{"format":2}')).to.throw('f.ndjson has format 2, this version of Shiplog reads 1');
  });

  it('whose epochs are no history is refused', async () => {
    const [first, ...lines] = (await readWhole(disk, PATH)).toString('utf8').trimEnd().split('\n').slice(0, -1);
    const header = JSON.parse(first!) as { epochs: object[] };
    await replace(disk, sealed([JSON.stringify({ ...header, epochs: [...header.epochs, ...header.epochs] }), ...lines]));
    expect(await rejection(SalvageReader.open(disk, PATH))).to.include('the epochs in its header are no history');
  });

  it('is listed with what its header and footer say', async () => {
    const [listed, ...others] = await listSalvage(disk, DATA_DIRECTORY);
    expect(others).to.deep.equal([]);
    expect(listed).to.include({ state: 'whole', name: NAME, path: PATH, operationCount: 2, sizeBytes: (await readWhole(disk, PATH)).length });
    expect(await listSalvage(disk, '/elsewhere')).to.deep.equal([]);
  });

  it('is not what is half written, or bears another name', async () => {
    for (const name of [`${NAME}.tmp`, 'notes.ndjson', 'README']) await (await disk.open(`${DIRECTORY}/${name}`, { mode: 'create' })).close();
    expect(await salvageNames(disk, DATA_DIRECTORY)).to.deep.equal([NAME]);
  });

  it('moves to those that are decided, and is under one name at least after a power cut', async () => {
    const calls = { count: 0, halted: 0 };
    const rehearsal = disk.kill({ intercept: () => void (calls.count += 1) });
    expect(await markSalvageDone(rehearsal, DATA_DIRECTORY, NAME)).to.equal(`${DIRECTORY}/done/${NAME}`);
    expect(await salvageNames(rehearsal, DATA_DIRECTORY)).to.deep.equal([]);
    expect(await rehearsal.crash({ survives: 'nothing' }).exists(`${DIRECTORY}/done/${NAME}`)).to.equal(true);

    for (let step = 0; step < calls.count; step += 1) {
      let count = 0;
      const cut = disk.kill({ intercept: () => (count++ === step ? { kind: 'halt', effect: true } : undefined) });
      await Promise.race([markSalvageDone(cut, DATA_DIRECTORY, NAME), cut.halted]);
      // A rename between two directories happens or doesn't: no file system with a journal keeps half of it.
      for (const survives of ['nothing', 'everything'] as const) {
        const found = cut.crash({ survives });
        expect((await found.exists(PATH)) || (await found.exists(`${DIRECTORY}/done/${NAME}`)), `step ${step}, ${survives}`).to.equal(true);
      }
    }
  });

  it('that is not there can not be put away', async () => {
    for (const name of ['1.1e1e-9.ndjson', '../CURRENT', 'done']) expect(await rejection(markSalvageDone(disk, DATA_DIRECTORY, name))).to.include('there is no salvage file');
  });
});
