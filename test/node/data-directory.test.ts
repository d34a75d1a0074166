import { expect } from 'chai';
import { EpochHistory } from '../../lib/base/epoch-history.ts';
import { writeDurableJson } from '../../lib/env/durable-file.ts';
import { DataDirectory, readCurrent } from '../../lib/node/data-directory.ts';
import { SILENT_LOGGER } from '../../lib/observe/logger.ts';
import { rejectionOf } from '../env/rejection.ts';
import { MemoryDisk } from '../support/memory-disk.ts';

const PATH = '/var/lib/shiplog';
const NODE_ID = 'd'.repeat(32);
const history = EpochHistory.EMPTY.opened({ number: 1, id: 'e'.repeat(32) }, { lsn: 0, chain: 0 });

function open(disk: MemoryDisk): Promise<DataDirectory> {
  return DataDirectory.open({ disk, logger: SILENT_LOGGER, path: PATH, newNodeId: () => NODE_ID });
}

async function withData(disk = new MemoryDisk({ seed: 1 })): Promise<MemoryDisk> {
  const directory = await open(disk);
  await directory.setIdentity({ role: 'replica', upstreamUrl: 'http://primary' });
  const generation = await directory.newGeneration();
  disk.place(generation.databasePath, Buffer.from('a database'));
  await directory.setCurrent({ generation, clusterId: 'c'.repeat(32), base: { lsn: 5, chain: 9 }, history, kept: [] });
  await directory.close();
  return disk;
}

describe('DataDirectory', () => {
  it('remembers who it is, its role and its data, through a power cut', async () => {
    const disk = (await withData()).crash({ survives: 'nothing' });
    const directory = await open(disk);
    expect(directory.identity).to.deep.equal({ nodeId: NODE_ID, role: 'replica', upstreamUrl: 'http://primary', configuredFollow: null, followsPrimary: false, reignEpochId: null, fence: null });
    expect(directory.current).to.deep.include({ clusterId: 'c'.repeat(32), base: { lsn: 5, chain: 9 }, history, kept: [] });
    expect((await readCurrent(disk, PATH))?.generation.databasePath).to.equal(`${PATH}/gen-000001/store.sqlite`);
  });

  it('removes the generation of an interrupted attempt, and keeps the one that is current', async () => {
    const disk = await withData();
    const directory = await open(disk);
    const interrupted = await directory.newGeneration();
    disk.place(interrupted.databasePath, Buffer.from('half a database'));
    expect(interrupted.name).to.equal('gen-000002');
    await directory.close();
    const again = await open(disk.crash({ survives: 'everything' }));
    const generation = await again.newGeneration();
    expect(generation.name).to.equal('gen-000002');
    expect([...new Set([again.current?.generation.name])]).to.deep.equal(['gen-000001']);
  });

  it('switches by one rename: after a crash at any call there is the old data or the new', async () => {
    let isThrough = false;
    for (let halt = 1; !isThrough; halt += 1) {
      const disk = (await withData()).kill({ intercept: (call) => (call.index === halt ? { kind: 'halt', effect: halt % 2 === 0 } : undefined) });
      const life = (async () => {
        const directory = await open(disk);
        const generation = await directory.newGeneration();
        disk.place(generation.databasePath, Buffer.from('new'));
        await directory.setCurrent({ generation, clusterId: 'c'.repeat(32), base: { lsn: 50, chain: 90 }, history, kept: [] });
        return true;
      })();
      isThrough = await Promise.race([life, disk.halted.then(() => false)]);
      for (let seed = 0; seed < 5; seed += 1) {
        const found = disk.crash({ seed }, { intercept: () => undefined });
        const current = (await readCurrent(found, PATH))!;
        expect([5, 50]).to.include(current.base.lsn);
        if (isThrough) expect(current.base.lsn).to.equal(50);
        expect(current.generation.name).to.equal(current.base.lsn === 5 ? 'gen-000001' : 'gen-000002');
        expect([...found.contents(current.generation.directory).keys()]).to.include('store.sqlite');
      }
    }
  });

  it('is refused while another process uses it, and free again afterwards', async () => {
    const disk = await withData();
    const directory = await open(disk);
    expect(await rejectionOf(open(disk))).to.include({ code: 'data-directory-in-use' });
    await directory.close();
    await (await open(disk)).close();
  });

  for (const file of ['CURRENT', 'node.json']) {
    it(`refuses a damaged ${file}, byte by byte, and gives the lock back`, async () => {
      const disk = await withData();
      const content = disk.contents(PATH).get(file)!;
      for (let at = 0; at < content.length; at += 1) {
        const damaged = Buffer.from(content);
        damaged[at]! ^= 1;
        disk.place(`${PATH}/${file}`, damaged);
        expect(await rejectionOf(open(disk)), `byte ${at}`).to.include({ code: 'data-directory-invalid' });
      }
      disk.place(`${PATH}/${file}`, content.subarray(0, content.length - 1));
      expect(await rejectionOf(open(disk))).to.include({ code: 'data-directory-invalid' });
      disk.place(`${PATH}/${file}`, content);
      await (await open(disk)).close();
    });

    it(`refuses a ${file} of a newer format`, async () => {
      const disk = await withData();
      await writeDurableJson(disk, PATH, file, { format: 2, everything: 'different' });
      const error = await rejectionOf(open(disk));
      expect(error).to.include({ code: 'data-directory-invalid' });
      expect(error.message).to.contain('needs a newer Shiplog');
    });
  }

  it('names the directory and what the system says where it can not be made', async () => {
    const disk = new MemoryDisk({ seed: 1, intercept: (call) => (call.name === 'makeDirectory' ? { kind: 'error', code: 'EACCES' } : undefined) });
    const error = await rejectionOf(open(disk));
    expect(error).to.include({ code: 'data-directory-invalid' });
    expect(error.message).to.contain(PATH).and.to.contain('EACCES');
  });
});
