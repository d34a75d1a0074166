/**
 * A disk that can lose its power: ext4 in a file on the real disk, mounted over a loop device. The ioctl
 * FS_IOC_SHUTDOWN makes the kernel forget everything of it that was not synced, as a power cut would.
 *
 * One thing is unlike a power cut: processes live on. A sync that is under way at that moment may return 0
 * to them although its data is forgotten (seen with a program of ten lines, in one cut of twelve, on Linux
 * 6.18; never for a sync that had returned before the ioctl began). So freeze them before.
 */
import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { promisify } from 'node:util';

import type { Requirement } from '../support/requires.ts';
import type { Workbench } from './workbench.ts';

const run = promisify(execFile);

const IMAGE_SIZE = '2G';
const COMMAND_TIMEOUT_MS = 30_000;
const UNMOUNT_ATTEMPTS_MAX = 50;

export const POWER_REQUIREMENTS: readonly Requirement[] = ['root', 'losetup', 'mkfs.ext4', 'mount', 'perl'];

/**
 * 0x8004587d is FS_IOC_SHUTDOWN, 2 is FS_SHUTDOWN_FLAGS_NOLOGFLUSH: not even the journal is written.
 * Perl, since Node has no ioctl; it is in every Debian.
 */
const CUT_POWER = `for my $mount (@ARGV) {
  open(my $directory, "<", $mount) or die "open $mount: $!\\n";
  my $flags = pack("L", 2);
  ioctl($directory, 0x8004587d, $flags) or die "FS_IOC_SHUTDOWN of $mount: $!\\n";
}`;

export class PowerDisk {
  readonly mountPoint: string;
  readonly #image: string;
  readonly #workbench: Workbench;

  private constructor(workbench: Workbench, name: string) {
    this.#workbench = workbench;
    this.#image = workbench.path(`${name}.img`);
    this.mountPoint = workbench.path(name);
  }

  static async make(workbench: Workbench, name: string): Promise<PowerDisk> {
    const disk = new PowerDisk(workbench, name);
    mkdirSync(disk.mountPoint);
    await command('truncate', ['--size', IMAGE_SIZE, disk.#image]);
    await command('mkfs.ext4', ['-q', '-F', disk.#image]);
    await disk.#mount();
    return disk;
  }

  /** Cuts the power of these disks at the same moment. Their users must be frozen, and get EIO from here on. */
  static async cut(disks: readonly PowerDisk[]): Promise<void> {
    await command('perl', ['-e', CUT_POWER, ...disks.map((disk) => disk.mountPoint)]);
  }

  /** After a cut, and when no process uses the disk any more: what was synced is there again. */
  async restore(): Promise<void> {
    await this.#unmount();
    await this.#mount();
  }

  async #mount(): Promise<void> {
    await command('mount', ['-o', 'loop', this.#image, this.mountPoint]);
    this.#workbench.addMount(this.mountPoint);
  }

  async #unmount(): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await command('umount', [this.mountPoint]);
        break;
      } catch (error) {
        // The kernel may still be closing the files of the process that was killed.
        if (attempt === UNMOUNT_ATTEMPTS_MAX) throw error;
      }
    }
    this.#workbench.removeMount(this.mountPoint);
  }
}

async function command(program: string, args: readonly string[]): Promise<void> {
  const path = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
  await run(program, args, { timeout: COMMAND_TIMEOUT_MS, env: { ...process.env, PATH: path } });
}
