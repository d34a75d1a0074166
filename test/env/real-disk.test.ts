import { expect } from 'chai';
import { array, assert, asyncProperty, nat, uint8Array } from 'fast-check';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:fs';
import { chmod, mkdir, readdir, readFile, readlink, stat, statfs, symlink, writeFile } from 'node:fs/promises';
import { DiskFullError, writeFully } from '../../lib/env/disk.ts';
import { RealDisk } from '../../lib/env/real-disk.ts';
import { describeSyncError, describeSystemError, SystemError } from '../../lib/env/system-error.ts';
import { requires } from '../support/requires.ts';
import { diskSuite } from './disk-suite.ts';
import { rejectionOf } from './rejection.ts';
import { makeTemporaryDirectory } from './temporary-directory.ts';

diskSuite('RealDisk', async () => {
  const directory = await makeTemporaryDirectory();
  return { disk: new RealDisk(), root: directory.path, dispose: directory.remove };
});

describe('RealDisk', () => {
  const disk = new RealDisk();
  let root: string;
  let removeRoot: () => Promise<void>;

  beforeEach(async () => {
    ({ path: root, remove: removeRoot } = await makeTemporaryDirectory());
  });

  afterEach(() => removeRoot());

  it('keeps files and directories to their owner', async () => {
    await disk.makeDirectory(`${root}/x/y`);
    await (await disk.open(`${root}/x/a`, { mode: 'create' })).close();
    await (await disk.lock(`${root}/x/lock`)).release();
    for (const name of ['x', 'x/y']) expect(await modeOf(`${root}/${name}`)).to.equal(0o700);
    for (const name of ['x/a', 'x/lock']) expect(await modeOf(`${root}/${name}`)).to.equal(0o600);
  });

  it('opens data-synchronous files with O_DSYNC', async () => {
    for (const dataSync of [true, false]) {
      const file = await disk.open(`${root}/a`, { mode: 'create', dataSync });
      expect(((await openFlagsOf(`${root}/a`)) & constants.O_DSYNC) !== 0).to.equal(dataSync);
      await file.close();
    }
  });

  it('writes any list of buffers as one run of bytes', async () => {
    const file = await disk.open(`${root}/a`, { mode: 'create' });
    await assert(
      asyncProperty(array(uint8Array({ maxLength: 40 }), { maxLength: 20 }), nat(10_000), async (buffers, offset) => {
        const whole = Buffer.concat(buffers);
        expect(await file.writeAt(offset, buffers)).to.equal(whole.length);
        const into = Buffer.alloc(whole.length);
        expect(await file.readAt(offset, into)).to.equal(whole.length);
        expect(into.equals(whole)).to.equal(true);
      }),
    );
    await file.close();
  });

  it('takes more buffers at once than the system does', async () => {
    const buffers = Array.from({ length: 3_000 }, (_, index) => Buffer.from(`${index},`));
    const file = await disk.open(`${root}/a`, { mode: 'create' });
    const whole = Buffer.concat(buffers);
    let written = await file.writeAt(0, buffers);
    expect(written).to.be.greaterThan(0);
    if (written < whole.length) await writeFully(file, written, whole.subarray(written));
    await file.close();
    written = (await readFile(`${root}/a`)).compare(whole);
    expect(written).to.equal(0);
  });

  it('ends the calls that are under way before it closes a file', async () => {
    const file = await disk.open(`${root}/a`, { mode: 'create' });
    const writes = Array.from({ length: 50 }, (_, index) => file.writeAt(index * 4096, [Buffer.alloc(4096, index)]));
    await file.close();
    await file.close();
    await Promise.all(writes);
    expect((await stat(`${root}/a`)).size).to.equal(50 * 4096);
  });

  it('reports what an unprivileged writer can still use', async () => {
    const { bavail, bsize } = await statfs(root);
    const free = await disk.freeBytes(root);
    // Others use this file system too, so the two figures differ a little.
    expect(Math.abs(free - bavail * bsize)).to.be.lessThan(2 ** 30);
  });

  it('reports a full disk as such, with the cause, and takes writes again when space is back', async function () {
    requires(this, 'root', 'mount');
    await mkdir(`${root}/small`);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', `${root}/small`]);
    try {
      const file = await disk.open(`${root}/small/a`, { mode: 'create' });
      const error = await rejectionOf(writeFully(file, 0, Buffer.alloc(256 * 1024)));
      expect(error).to.be.instanceOf(DiskFullError);
      expect(error.cause).to.include({ code: 'ENOSPC' });
      expect(error.message).to.contain(`${root}/small/a`);
      expect(await disk.freeBytes(`${root}/small`)).to.equal(0);
      await file.truncate(0);
      expect(await file.writeAt(0, [Buffer.from('x')])).to.equal(1);
      await file.close();
    } finally {
      execFileSync('umount', [`${root}/small`]);
    }
  });

  it('calls a used-up quota a full disk', () => {
    const cause = Object.assign(new Error('EDQUOT: quota exceeded, write'), { code: 'EDQUOT' });
    const error = describeSystemError(cause, 'write to', '/data/a');
    expect(error).to.be.instanceOf(DiskFullError);
    expect(error.cause).to.equal(cause);
  });

  it('never calls a failed sync a full disk: what it lost does not come back with space', () => {
    const cause = Object.assign(new Error('ENOSPC: no space left on device, fdatasync'), { code: 'ENOSPC' });
    const error = describeSyncError(cause, '/data/a');
    expect(error).to.be.instanceOf(SystemError).and.not.instanceOf(DiskFullError);
    expect(error).to.include({ code: 'ENOSPC' });
  });

  it('names the file and the way out where the file system is read-only', async function () {
    requires(this, 'root', 'mount');
    await mkdir(`${root}/fixed`);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'ro', 'tmpfs', `${root}/fixed`]);
    try {
      for (const call of [disk.open(`${root}/fixed/a`, { mode: 'create' }), disk.makeDirectory(`${root}/fixed/b`), disk.lock(`${root}/fixed/c`)]) {
        const error = await rejectionOf(call);
        expect(error).to.be.instanceOf(SystemError).and.include({ code: 'EROFS' });
        expect(error.message).to.match(new RegExp(`${root}/fixed/[abc]: the file system is read-only`));
      }
    } finally {
      execFileSync('umount', [`${root}/fixed`]);
    }
  });

  it('names the file and the way out where permission is missing', async () => {
    if (process.getuid?.() === 0) {
      // Nothing is forbidden to root: only the words can be looked at.
      const error = describeSystemError(Object.assign(new Error('x'), { code: 'EACCES' }), 'open', '/data/a');
      expect(error).to.be.instanceOf(SystemError).and.include({ code: 'EACCES' });
      expect(error.message).to.match(/\/data\/a: permission denied \(EACCES\); let the user/);
      return;
    }
    await mkdir(`${root}/closed`);
    await chmod(`${root}/closed`, 0o500);
    const error = await rejectionOf(disk.open(`${root}/closed/a`, { mode: 'create' }));
    expect(error).to.be.instanceOf(SystemError).and.include({ code: 'EACCES' });
    expect(error.message).to.contain(`${root}/closed/a: permission denied`);
  });

  it('refuses to sync what is no directory', async () => {
    await writeFile(`${root}/a`, '');
    expect(await rejectionOf(disk.syncDirectory(`${root}/a`))).to.include({ code: 'ENOTDIR' });
    expect(await rejectionOf(disk.syncDirectory(`${root}/missing`))).to.include({ code: 'ENOENT' });
  });

  describe('lock', () => {
    const children: ChildProcess[] = [];

    afterEach(() => {
      for (const child of children.splice(0)) child.kill('SIGKILL');
    });

    it('keeps other processes out, and dies with its process', async () => {
      const child = await spawnHolder(`${root}/lock`);
      const error = await rejectionOf(disk.lock(`${root}/lock`));
      expect(error).to.include({ code: 'data-directory-in-use' });
      expect(error.message).to.match(/another process holds .*\/lock; stop it .* or give this node another data directory/);

      child.kill('SIGKILL');
      await once(child, 'exit');
      await (await disk.lock(`${root}/lock`)).release();
    });

    it('keeps other processes out of a lock that was asked for twice here', async () => {
      const lock = await disk.lock(`${root}/lock`);
      await rejectionOf(disk.lock(`${root}/lock`));
      // Closing any descriptor of the file would have dropped the first lock without a word.
      expect((await rejectionOf(spawnHolder(`${root}/lock`))).message).to.contain('data-directory-in-use');
      await lock.release();
    });

    it('leaves nothing but its own file behind', async () => {
      const lock = await disk.lock(`${root}/lock`);
      expect(await disk.list(root)).to.deep.equal(['lock']);
      await lock.release();
      await lock.release();
      expect(await disk.list(root)).to.deep.equal(['lock']);
    });

    it('is not released by the garbage collector where nobody refers to it', async () => {
      const script = `
        import { RealDisk } from ${JSON.stringify(import.meta.resolve('../../lib/env/real-disk.ts'))};
        await new RealDisk().lock(process.argv[1]);
        for (let round = 0; round < 5; round += 1) { gc(); await new Promise((resolve) => setImmediate(resolve)); }
        console.log('held');
        setInterval(() => {}, 1000);
      `;
      const child = spawn(process.execPath, ['--expose-gc', '--input-type=module', '-e', script, `${root}/lock`], { stdio: ['ignore', 'pipe', 'inherit'] });
      children.push(child);
      await once(child.stdout, 'data');
      expect(await rejectionOf(disk.lock(`${root}/lock`))).to.include({ code: 'data-directory-in-use' });
      child.kill('SIGKILL');
      await once(child, 'exit');
    });

    it('refuses a file that something else wrote, and leaves it as it is', async () => {
      await writeFile(`${root}/lock`, 'not a database, but long enough to be looked at as one'.repeat(100));
      const before = await readFile(`${root}/lock`);
      expect(await rejectionOf(disk.lock(`${root}/lock`))).to.include({ code: 'data-directory-invalid' });
      expect((await readFile(`${root}/lock`)).equals(before)).to.equal(true);
    });

    it('names the path where the directory does not exist', async () => {
      const error = await rejectionOf(disk.lock(`${root}/missing/lock`));
      expect(error).to.include({ code: 'ENOENT' });
      expect(error.message).to.contain(`${root}/missing/lock`);
    });

    it('is one lock by whichever path it is asked for', async () => {
      await mkdir(`${root}/data`);
      await symlink(`${root}/data`, `${root}/link`);
      const lock = await disk.lock(`${root}/data/lock`);
      expect(await rejectionOf(disk.lock(`${root}/link/lock`))).to.include({ code: 'data-directory-in-use' });
      await lock.release();
    });

    /** A process that holds the lock until it is killed. Rejects with what it says when it gets none. */
    async function spawnHolder(path: string): Promise<ChildProcess> {
      const script = `
        import { RealDisk } from ${JSON.stringify(import.meta.resolve('../../lib/env/real-disk.ts'))};
        await new RealDisk().lock(process.argv[1]).then(() => console.log('held'), (error) => { console.log(error.code); process.exit(1); });
        setInterval(() => {}, 1000);
      `;
      const child = spawn(process.execPath, ['--input-type=module', '-e', script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
      children.push(child);
      const [said] = (await once(child.stdout, 'data')) as [Buffer];
      if (said.toString().trim() !== 'held') throw new Error(said.toString());
      return child;
    }
  });

  /** The system's own word on how this process has opened a file. */
  async function openFlagsOf(path: string): Promise<number> {
    for (const descriptor of await readdir('/proc/self/fd')) {
      const target = await readlink(`/proc/self/fd/${descriptor}`).catch(() => undefined);
      if (target !== path) continue;
      const info = await readFile(`/proc/self/fdinfo/${descriptor}`, 'utf8');
      return Number.parseInt(/^flags:\s+(\d+)$/m.exec(info)![1]!, 8);
    }
    throw new Error(`${path} is not open`);
  }

  async function modeOf(path: string): Promise<number> {
    return (await stat(path)).mode & 0o777;
  }
});
