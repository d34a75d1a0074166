import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

import Mocha from 'mocha';

/**
 * What some tests need of the machine, and the Debian package that brings it. `root` is no tool but is
 * asked for in the same way: mounting a file system or tracing another process takes it.
 */
const packageOf = {
  curl: 'curl',
  haproxy: 'haproxy',
  ip: 'iproute2',
  losetup: 'mount',
  'mkfs.ext4': 'e2fsprogs',
  mount: 'mount',
  nft: 'nftables',
  perl: 'perl-base',
  'redis-server': 'redis-server',
  root: undefined,
  ss: 'iproute2',
  strace: 'strace',
  'systemd-analyze': 'systemd',
  wrk: 'wrk',
} as const;

export type Requirement = keyof typeof packageOf;

/**
 * Call first in a test or a `before` hook: `requires(this, 'strace', 'root')`.
 *
 * Where something is missing, the tests are skipped and their titles say what is missing. Under CI=true
 * they fail instead: there a silent skip would pass for a test that ran.
 *
 * @throws Error under CI, naming each missing tool and the package to install.
 */
export function requires(context: Mocha.Context, ...requirements: readonly Requirement[]): void {
  const missing = missingOf(requirements);
  if (missing.length === 0) return;

  const reason = `needs ${missing.join(', ')}`;
  if (isCi()) throw new Error(`this test ${reason}`);

  for (const test of testsUnder(context)) test.title = `${test.title} (skipped: ${reason})`;
  context.skip();
}

/** What is not there, in words that name the package to install. For programs that are no tests. */
export function missingOf(requirements: readonly Requirement[]): readonly string[] {
  return requirements.filter((requirement) => !isPresent(requirement)).map(describeRequirement);
}

/** In a hook the whole suite is skipped, in a test only that one. */
function testsUnder(context: Mocha.Context): readonly Mocha.Runnable[] {
  const runnable = context.test;
  if (!(runnable instanceof Mocha.Hook)) return runnable ? [runnable] : [];

  const tests: Mocha.Runnable[] = [];
  runnable.parent?.eachTest((test) => tests.push(test));
  return tests;
}

function describeRequirement(requirement: Requirement): string {
  const debianPackage = packageOf[requirement];
  return debianPackage === undefined ? requirement : `${requirement} (apt-get install ${debianPackage})`;
}

function isPresent(requirement: Requirement): boolean {
  return requirement === 'root' ? process.getuid?.() === 0 : isExecutableOnPath(requirement);
}

function isExecutableOnPath(name: string): boolean {
  // Debian keeps mkfs.ext4 and losetup in sbin, which is not on every user's PATH.
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function isCi(): boolean {
  const value = process.env['CI'] ?? '';
  return value !== '' && value !== '0' && value !== 'false';
}
