import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { EpochHistory } from '../../lib/base/epoch-history.ts';
import { isShiplogError, messageOf } from '../../lib/base/errors.ts';
import { RealDisk } from '../../lib/env/real-disk.ts';
import { DataDirectory } from '../../lib/node/data-directory.ts';
import { SILENT_LOGGER } from '../../lib/observe/logger.ts';

describe('a data directory that is not what it should be', () => {
  let path: string;
  const open = async (): Promise<DataDirectory> =>
    DataDirectory.open({ disk: new RealDisk(), logger: SILENT_LOGGER, path, newNodeId: () => 'ab'.repeat(16) });
  const refusal = async (): Promise<string> => {
    try {
      const directory = await open();
      await directory.close();
      return 'not refused';
    } catch (error) {
      expect(isShiplogError(error, 'data-directory-invalid'), messageOf(error)).to.equal(true);
      return messageOf(error);
    }
  };

  beforeEach(() => {
    path = mkdtempSync(join(tmpdir(), 'shiplog-directory-'));
  });
  afterEach(() => rmSync(path, { recursive: true }));

  it("is refused where it holds somebody else's files, and nothing is written to it", async () => {
    writeFileSync(join(path, 'report.pdf'), 'not ours');
    expect(await refusal()).to.contain('report.pdf').and.to.contain('name an empty directory');
    expect(() => readFileSync(join(path, 'lock'))).to.throw('ENOENT');
  });

  it('may hold what mkfs makes, and dot files', async () => {
    mkdirSync(join(path, 'lost+found'));
    writeFileSync(join(path, '.gitignore'), '*');
    expect(await refusal()).to.equal('not refused');
  });

  it('is refused where CURRENT is missing although segments are there', async () => {
    mkdirSync(join(path, 'gen-000001/wal'), { recursive: true });
    writeFileSync(join(path, 'gen-000001/wal/00000000000000000001.wal'), 'a log');
    expect(await refusal()).to.contain('its CURRENT file is missing');
  });

  it('is refused where node.json is missing although there are data', async () => {
    const directory = await open();
    const generation = await directory.newGeneration();
    await directory.setCurrent({ generation, clusterId: 'cd'.repeat(16), base: { lsn: 0, chain: 0 }, history: EpochHistory.EMPTY, kept: [] });
    await directory.close();
    // Without a segment it is a founding or restore that was interrupted at its last step.
    expect(await refusal()).to.equal('not refused');
    writeFileSync(join(generation.walDirectory, '00000000000000000001.wal'), 'a log');
    expect(await refusal()).to.contain('its node.json file is missing');
  });
});
