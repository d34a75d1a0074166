import { expect } from 'chai';
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';

import { requires } from '../support/requires.ts';
import { POWER_REQUIREMENTS, PowerDisk } from './power.ts';
import { Workbench } from './workbench.ts';

describe('PowerDisk', function () {
  this.timeout(30_000);
  let workbench: Workbench | undefined;

  before(function () {
    requires(this, ...POWER_REQUIREMENTS);
    workbench = Workbench.open();
  });

  after(() => workbench?.close());

  it('keeps what was synced and forgets what was not', async () => {
    const disk = await PowerDisk.make(workbench!, 'disk');
    const path = `${disk.mountPoint}/file`;
    const file = openSync(path, 'w');
    writeSync(file, 'synced;');
    fsyncSync(file);
    const directory = openSync(disk.mountPoint, 'r');
    fsyncSync(directory);
    closeSync(directory);
    writeSync(file, 'not synced');
    const unsynced = openSync(`${disk.mountPoint}/unsynced`, 'w');
    writeSync(unsynced, 'neither');

    await PowerDisk.cut([disk]);
    expect(() => fsyncSync(file)).to.throw('EIO');
    closeSync(file);
    closeSync(unsynced);
    await disk.restore();

    expect(readFileSync(path, 'utf8')).to.equal('synced;');
    expect(existsSync(`${disk.mountPoint}/unsynced`)).to.equal(false);
  });

  it('leaves no mount behind', async () => {
    const another = Workbench.open();
    const disk = await PowerDisk.make(another, 'disk');
    expect(readFileSync('/proc/mounts', 'utf8')).to.include(disk.mountPoint);
    another.close();
    expect(readFileSync('/proc/mounts', 'utf8')).not.to.include(disk.mountPoint);
    expect(existsSync(another.directory)).to.equal(false);
  });
});
