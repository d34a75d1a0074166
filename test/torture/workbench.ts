/**
 * Where one row works: a directory on a real disk, and the list of all that has to go again, however the
 * run ends: processes, mounts, files.
 */
import { type ChildProcess, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';

const PREFIX = 'shiplog-torture-';
/** What `statfs` calls file systems that live in memory, where no power cut can be tested. */
const MEMORY_FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0x01021994, 'tmpfs'],
  [0x858458f6, 'ramfs'],
]);

export class Workbench {
  readonly directory: string;
  readonly #processes = new Set<ChildProcess>();
  readonly #mounts = new Set<string>();
  readonly #onExit = (): void => this.close();

  private constructor(directory: string) {
    this.directory = directory;
    process.once('exit', this.#onExit);
  }

  /** @throws Error where `parent` is no directory on a disk. */
  static open(parent: string = tmpdir()): Workbench {
    const memoryFileSystem = MEMORY_FILE_SYSTEMS.get(statfsSync(parent).type);
    if (memoryFileSystem !== undefined) {
      throw new Error(`${parent} is a ${memoryFileSystem}: durability can only be tested on a disk; name another directory (--directory, TMPDIR)`);
    }
    removeLeftOvers(parent);
    return new Workbench(mkdtempSync(join(parent, `${PREFIX}${process.pid}-`)));
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  addProcess(child: ChildProcess): void {
    this.#processes.add(child);
    child.once('exit', () => this.#processes.delete(child));
  }

  addMount(path: string): void {
    this.#mounts.add(path);
  }

  removeMount(path: string): void {
    this.#mounts.delete(path);
  }

  /** Ends all that still runs, and removes the files. */
  close(): void {
    process.removeListener('exit', this.#onExit);
    this.#tidy();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** The same, but somebody has to look at the files: keeps them under a name that no later run removes. */
  closeAndKeepFiles(): string {
    process.removeListener('exit', this.#onExit);
    this.#tidy();
    const kept = join(dirname(this.directory), basename(this.directory).replace(PREFIX, `${PREFIX}failed-`));
    renameSync(this.directory, kept);
    return kept;
  }

  /** Synchronous, since it also runs while the process exits. */
  #tidy(): void {
    for (const child of this.#processes) child.kill('SIGKILL');
    for (const mount of this.#mounts) unmountLazily(mount);
    this.#mounts.clear();
  }
}

/** What a run left behind that was itself killed. Its nodes have ended: their standard input did. */
function removeLeftOvers(parent: string): void {
  for (const name of readdirSync(parent)) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    if (pid === undefined || isAlive(Number(pid))) continue;
    const directory = join(parent, name);
    for (const line of readFileSync('/proc/mounts', 'utf8').split('\n')) {
      const mount = line.split(' ')[1];
      if (mount?.startsWith(`${directory}/`)) unmountLazily(mount);
    }
    rmSync(directory, { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function unmountLazily(path: string): void {
  try {
    // Lazily: a process that was killed just now may not be gone yet.
    execFileSync('umount', ['--lazy', path], { stdio: 'ignore' });
  } catch {
    process.stderr.write(`torture: could not unmount ${path}; run: umount --lazy ${path}\n`);
  }
}
