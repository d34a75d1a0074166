/** Where figures were measured: without it they mean nothing. */
import { spawnSync } from 'node:child_process';
import { readFileSync, statfsSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';
import { join } from 'node:path';

const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  0xef53: 'ext4',
  0x58465342: 'XFS',
  0x9123683e: 'Btrfs',
  0x2fc12fc1: 'ZFS',
  0x794c7630: 'overlayfs',
  0x01021994: 'tmpfs',
  0x858458f6: 'ramfs',
};

export interface Machine {
  readonly description: string;
  readonly commit: string;
}

export function describeMachine(directory: string): Machine {
  const memoryGib = Math.round(totalmem() / 1024 ** 3);
  const parts = [
    `${availableParallelism()} cores (${cpus()[0]?.model.trim() ?? 'unknown'})`,
    `${memoryGib} GiB`,
    operatingSystem(),
    fileSystemOf(directory),
    `Node ${process.versions.node}`,
    `load average ${loadavg()[0]!.toFixed(1)} at the start`,
  ];
  return { description: parts.join(', '), commit: commit() };
}

/** @throws Error on a file system in memory, where a sync costs nothing. */
export function assertRealDisk(directory: string): void {
  const name = fileSystemOf(directory);
  if (name === 'tmpfs' || name === 'ramfs') throw new Error(`${directory} is on ${name}, where a sync costs nothing: name a directory on a real disk with --dir`);
}

function fileSystemOf(directory: string): string {
  const { type } = statfsSync(directory);
  return FILE_SYSTEMS[type] ?? `file system 0x${type.toString(16)}`;
}

function operatingSystem(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? process.platform;
  } catch {
    return process.platform;
  }
}

function commit(): string {
  const git = (...args: readonly string[]): string => spawnSync('git', [...args], { cwd: join(import.meta.dirname, '../..'), encoding: 'utf8' }).stdout?.trim() ?? '';
  const head = git('rev-parse', '--short', 'HEAD');
  if (head === '') return 'not in a git repository';
  return git('status', '--porcelain', '--', 'lib', 'bin', 'package-lock.json') === '' ? head : `${head} with uncommitted changes`;
}
