import { expect } from 'chai';
import { existsSync, rmSync, statfsSync, writeFileSync } from 'node:fs';

import { Workbench } from './workbench.ts';

const MEMORY = '/dev/shm';

describe('Workbench', () => {
  it('refuses a file system that lives in memory', function () {
    if (!existsSync(MEMORY) || statfsSync(MEMORY).type !== 0x01021994) this.skip();
    expect(() => Workbench.open(MEMORY)).to.throw('/dev/shm is a tmpfs');
  });

  it('removes its files, or keeps them where no later run removes them', () => {
    const removed = Workbench.open();
    writeFileSync(removed.path('file'), 'x');
    removed.close();
    expect(existsSync(removed.directory)).to.equal(false);

    const failed = Workbench.open();
    writeFileSync(failed.path('file'), 'x');
    const kept = failed.closeAndKeepFiles();
    try {
      Workbench.open().close();
      expect(existsSync(`${kept}/file`)).to.equal(true);
    } finally {
      rmSync(kept, { recursive: true });
    }
  });
});
