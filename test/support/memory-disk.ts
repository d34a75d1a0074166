/**
 * A disk in memory that forgets what was not synced: the contract of lib/env/disk.ts, taken literally.
 *
 *   write ──▶ cache ──sync──▶ platter          create, rename, remove ──▶ names ──syncDirectory──▶ platter
 *
 * `crash()` is a power cut: of every unsynced 512-byte sector any version since the last sync may be
 * found, and of every directory any subset of the name changes. `kill()` is the end of the process
 * alone: the cache lives on, so what a new process reads need not be on the platter. Both return the
 * disk of the next incarnation; the promises of the old one never settle.
 *
 * A failed sync does what Linux does: some sectors arrive, the others stay readable in the cache but
 * count as clean, so that the next sync returns OK without writing them.
 *
 * Everything that is left to chance is drawn from the seed.
 */
import { dirname } from 'node:path';
import { ShiplogError, assert } from '../../lib/base/errors.ts';
import { type Disk, type DiskFile, DiskFullError, type DiskLock, type OpenOptions } from '../../lib/env/disk.ts';
import { SeededRandom } from './seeded-random.ts';

export const SECTOR_BYTES = 512;

export interface MemoryDiskOptions {
  readonly seed: number;
  /** What all files together may hold; a write takes what fits, then DiskFullError. */
  readonly capacityBytes?: number;
  /** Probability that a write of several bytes takes only some of them. */
  readonly shortWrites?: number;
  /** Sees every call before it happens, and may make it fail. */
  readonly intercept?: (call: DiskCall) => DiskFault | undefined;
  /** How long a call takes: in a simulation, by its clock. One turn of the promise queue where not given. */
  readonly delay?: (call: DiskCall) => Promise<void>;
}

export interface DiskCall {
  /** 1, 2, 3 … within this incarnation. */
  readonly index: number;
  readonly name:
    | 'open' | 'list' | 'exists' | 'makeDirectory' | 'remove' | 'rename' | 'syncDirectory' | 'freeBytes' | 'lock'
    | 'writeAt' | 'readAt' | 'size' | 'truncate' | 'sync' | 'close';
  readonly path: string;
  /** Where a rename leads. */
  readonly to?: string;
  readonly mode?: OpenOptions['mode'];
  readonly offset?: number;
  readonly bytes?: number;
  /** What is to be written. */
  readonly data?: Buffer;
}

export type DiskFault =
  | { readonly kind: 'error'; readonly code: string }
  /** A write takes only the first bytes. */
  | { readonly kind: 'short'; readonly bytes: number }
  /** The disk lies: it reports success for a sync or a syncDirectory and does nothing. */
  | { readonly kind: 'lie' }
  /** The process is gone while this call is on its way, before or after it had its effect. */
  | { readonly kind: 'halt'; readonly effect: boolean };

export interface CrashOptions {
  /** Another seed than the next draw of the disk's own, to see another outcome of the same crash. */
  readonly seed?: number;
  /** What is left of the unsynced: `anything` draws it. */
  readonly survives?: 'anything' | 'nothing' | 'everything';
  /**
   * Chooses by hand which version of a sector is found, 0 (the synced one) … `versionCount`.
   * Names and sizes are then all kept.
   */
  readonly chooseVersion?: (sector: { path: string; index: number; versionCount: number }) => number;
  /** Probability that a sector behind the synced end of a file holds what was in those blocks before. */
  readonly garble?: number;
}

export class MemoryDisk implements Disk {
  /** Resolves when a `halt` fault or a crash ended this incarnation. */
  readonly halted: Promise<void>;
  /** The path of every open file, in the order of opening: for tests that look for leaks. */
  readonly openFiles: string[] = [];

  readonly #options: MemoryDiskOptions;
  readonly #random: SeededRandom;
  #root: Directory;
  #isHalted = false;
  #resolveHalted!: () => void;
  #callCount = 0;
  #capacityBytes: number;
  readonly #locks = new Set<string>();

  constructor(options: MemoryDiskOptions, root: Directory = new Directory()) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed);
    this.#root = root;
    this.#capacityBytes = options.capacityBytes ?? Number.POSITIVE_INFINITY;
    this.halted = new Promise((resolve) => {
      this.#resolveHalted = resolve;
    });
  }

  // What happens to the machine.

  /**
   * Cuts the power. May be called again on the same disk: each call returns another disk, with another
   * outcome of the same crash.
   */
  crash(options: CrashOptions = {}, next: Partial<MemoryDiskOptions> = {}): MemoryDisk {
    this.#halt();
    const seed = options.seed ?? this.#random.below(0x1_0000_0000);
    return new MemoryDisk(this.#nextOptions(seed, next), this.#root.afterCrash('', new Chance(seed, options)));
  }

  /** Ends the process: nothing is lost but what only the process knew. */
  kill(next: Partial<MemoryDiskOptions> = {}): MemoryDisk {
    this.#halt();
    return new MemoryDisk(this.#nextOptions(this.#random.below(0x1_0000_0000), next), this.#root.copy());
  }

  /** As if someone freed space, or took it. */
  setCapacity(capacityBytes: number): void {
    this.#capacityBytes = capacityBytes;
  }

  get usedBytes(): number {
    return this.#root.usedBytes();
  }

  get callCount(): number {
    return this.#callCount;
  }

  /** The files of a directory as a reader would find them now, by name. */
  contents(directory: string): Map<string, Buffer> {
    const node = this.#find(directory);
    const files = new Map<string, Buffer>();
    if (node instanceof Directory) {
      for (const [name, entry] of node.entries) if (entry instanceof Inode) files.set(name, entry.content());
    }
    return files;
  }

  /** All directories below one, itself included, each before those in it. */
  directories(path: string): string[] {
    const node = this.#find(path);
    if (!(node instanceof Directory)) return [];
    return [path, ...[...node.entries].flatMap(([name, entry]) => (entry instanceof Directory ? this.directories(`${path}/${name}`) : []))];
  }

  /** Puts a file there, synced: a test's way to damage or copy files. Undefined takes it away. */
  place(path: string, content: Uint8Array | undefined): void {
    const directory = this.#makePath(dirname(path));
    if (content === undefined) directory.entries.delete(baseName(path));
    else directory.entries.set(baseName(path), Inode.synced(content));
    for (let parent = path; parent !== '/' && parent !== '.'; ) {
      parent = dirname(parent);
      this.#directory(parent).settle();
    }
  }

  // Disk

  open(path: string, options: OpenOptions): Promise<DiskFile> {
    return this.#call({ name: 'open', path, mode: options.mode }, () => {
      const directory = this.#directory(dirname(path));
      let node = directory.entries.get(baseName(path));
      if (node === undefined && options.mode === 'create') {
        node = new Inode();
        directory.change({ kind: 'set', name: baseName(path), node });
      }
      if (node === undefined) throw systemError('ENOENT', 'open', path);
      if (!(node instanceof Inode)) throw systemError('EISDIR', 'open', path);
      this.openFiles.push(path);
      return this.#handle(node, path, options);
    });
  }

  list(directory: string): Promise<string[]> {
    return this.#call({ name: 'list', path: directory }, () => {
      const node = this.#find(directory);
      return node instanceof Directory ? [...node.entries.keys()].sort() : [];
    });
  }

  exists(path: string): Promise<boolean> {
    return this.#call({ name: 'exists', path }, () => this.#find(path) !== undefined);
  }

  makeDirectory(path: string): Promise<void> {
    return this.#call({ name: 'makeDirectory', path }, () => {
      this.#makePath(path);
    });
  }

  remove(path: string): Promise<void> {
    return this.#call({ name: 'remove', path }, () => {
      if (this.#find(path) === undefined) return;
      this.#directory(dirname(path)).change({ kind: 'remove', name: baseName(path) });
    });
  }

  rename(from: string, to: string): Promise<void> {
    return this.#call({ name: 'rename', path: from, to }, () => {
      const source = this.#directory(dirname(from));
      const target = this.#directory(dirname(to));
      const node = source.entries.get(baseName(from));
      if (node === undefined) throw systemError('ENOENT', 'rename', from);
      if (source === target) {
        source.change({ kind: 'rename', from: baseName(from), name: baseName(to), node });
      } else {
        target.change({ kind: 'set', name: baseName(to), node });
        source.change({ kind: 'remove', name: baseName(from) });
      }
    });
  }

  syncDirectory(path: string): Promise<void> {
    let directory: Directory | undefined;
    let changeCount = 0;
    return this.#call(
      { name: 'syncDirectory', path },
      () => directory?.settle(changeCount),
      () => {
        directory = this.#directory(path);
        changeCount = directory.changeCount;
      },
    );
  }

  freeBytes(path: string): Promise<number> {
    return this.#call({ name: 'freeBytes', path }, () => Math.max(0, this.#freeBytes()));
  }

  lock(path: string): Promise<DiskLock> {
    return this.#call({ name: 'lock', path }, () => {
      if (this.#locks.has(path)) throw new ShiplogError('data-directory-in-use', `${path} is locked`);
      this.#locks.add(path);
      return {
        release: () => {
          this.#locks.delete(path);
          return Promise.resolve();
        },
      };
    });
  }

  // Inside

  #handle(inode: Inode, path: string, options: OpenOptions): DiskFile {
    let isClosed = false;
    const call = <T>(call: Omit<DiskCall, 'index' | 'path'>, effect: (fault?: DiskFault) => T, begin?: () => void): Promise<T> => {
      assert(!isClosed, `${call.name} on ${path} after it was closed`);
      return this.#call({ ...call, path }, effect, begin);
    };
    const refuseReadOnly = (): void => {
      if (options.mode === 'read') throw systemError('EBADF', 'write', path);
    };
    return {
      writeAt: (offset, buffers) => {
        const data = Buffer.concat(buffers);
        return call({ name: 'writeAt', offset, bytes: data.length, data }, (fault) => {
          refuseReadOnly();
          const taken = this.#bytesTaken(inode, offset, data.length, fault);
          if (taken === 0 && data.length > 0) throw new DiskFullError(`ENOSPC: no space left, write '${path}'`);
          const version = inode.write(offset, data.subarray(0, taken));
          if (options.dataSync === true) inode.settle(version);
          return taken;
        });
      },
      readAt: (offset, into) => call({ name: 'readAt', offset, bytes: into.length }, () => inode.read(offset, into)),
      size: () => call({ name: 'size' }, () => inode.size),
      truncate: (sizeBytes) =>
        call({ name: 'truncate', bytes: sizeBytes }, () => {
          refuseReadOnly();
          inode.truncate(sizeBytes);
        }),
      sync: () => {
        let version = 0;
        return call(
          { name: 'sync' },
          (fault) => {
            if (fault?.kind === 'error') inode.settleSome(version, this.#random);
            else inode.settle(version);
          },
          () => {
            // What is written while the sync is on its way may miss it.
            version = inode.lastVersion;
          },
        );
      },
      close: () =>
        call({ name: 'close' }, () => {
          isClosed = true;
          this.openFiles.splice(this.openFiles.indexOf(path), 1);
        }),
    };
  }

  async #call<T>(head: Omit<DiskCall, 'index'>, effect: (fault?: DiskFault) => T, begin?: () => void): Promise<T> {
    if (this.#isHalted) return await never();
    this.#callCount += 1;
    const call: DiskCall = { ...head, index: this.#callCount };
    const fault = this.#options.intercept?.(call);
    if (fault?.kind === 'halt') {
      if (fault.effect) {
        begin?.();
        effect();
      }
      this.#halt();
      return await never();
    }
    begin?.();
    await this.#options.delay?.(call);
    if (this.#isHalted) return await never();
    if (fault?.kind === 'error') {
      // A sync that fails still does something.
      if (call.name === 'sync') effect(fault);
      if (fault.code === 'ENOSPC' || fault.code === 'EDQUOT') throw new DiskFullError(`${fault.code}: ${call.name} '${call.path}'`);
      throw systemError(fault.code, call.name, call.path);
    }
    const isLie = fault?.kind === 'lie' && (call.name === 'sync' || call.name === 'syncDirectory');
    const result = isLie ? (undefined as T) : effect(fault);
    // The answer of a call that happened can still be lost.
    await Promise.resolve();
    return this.#isHalted ? await never() : result;
  }

  #halt(): void {
    this.#isHalted = true;
    this.#resolveHalted();
  }

  #bytesTaken(inode: Inode, offset: number, length: number, fault: DiskFault | undefined): number {
    let taken = length;
    if (fault?.kind === 'short') taken = Math.min(taken, fault.bytes);
    else if (length > 1 && this.#random.chance(this.#options.shortWrites ?? 0)) taken = 1 + this.#random.below(length - 1);
    const growth = offset + taken - inode.size;
    const free = this.#freeBytes();
    return growth > free ? Math.max(0, taken - (growth - Math.max(0, free))) : taken;
  }

  #freeBytes(): number {
    return this.#capacityBytes === Number.POSITIVE_INFINITY ? Number.MAX_SAFE_INTEGER : this.#capacityBytes - this.#root.usedBytes();
  }

  #find(path: string): Node | undefined {
    let node: Node | undefined = this.#root;
    for (const name of namesOf(path)) node = node instanceof Directory ? node.entries.get(name) : undefined;
    return node;
  }

  #directory(path: string): Directory {
    const node = this.#find(path);
    if (!(node instanceof Directory)) throw systemError(node === undefined ? 'ENOENT' : 'ENOTDIR', 'open', path);
    return node;
  }

  #makePath(path: string): Directory {
    let directory = this.#root;
    for (const name of namesOf(path)) {
      let next = directory.entries.get(name);
      if (next === undefined) {
        next = new Directory();
        directory.change({ kind: 'set', name, node: next });
      }
      if (!(next instanceof Directory)) throw systemError('ENOTDIR', 'mkdir', path);
      directory = next;
    }
    return directory;
  }

  #nextOptions(seed: number, next: Partial<MemoryDiskOptions>): MemoryDiskOptions {
    // Faults belong to one incarnation; the size of the disk does not.
    return { capacityBytes: this.#capacityBytes, ...next, seed };
  }
}

type Node = Inode | Directory;

type NameChange =
  | { readonly kind: 'set'; readonly name: string; readonly node: Node }
  | { readonly kind: 'rename'; readonly from: string; readonly name: string; readonly node: Node }
  | { readonly kind: 'remove'; readonly name: string };

class Directory {
  /** As readers see it. */
  readonly entries = new Map<string, Node>();
  #synced = new Map<string, Node>();
  #changes: NameChange[] = [];
  #settledCount = 0;

  /** Changes ever made. */
  get changeCount(): number {
    return this.#settledCount + this.#changes.length;
  }

  change(change: NameChange): void {
    applyChange(this.entries, change);
    this.#changes.push(change);
  }

  /** Makes the first changes durable: all that were made until now, or until `changeCount`. */
  settle(changeCount?: number): void {
    if (changeCount === undefined) {
      this.#synced = new Map(this.entries);
      this.#settledCount += this.#changes.length;
      this.#changes = [];
      return;
    }
    while (this.#settledCount < changeCount) {
      applyChange(this.#synced, this.#changes.shift()!);
      this.#settledCount += 1;
    }
  }

  afterCrash(path: string, chance: Chance): Directory {
    const found = new Map(this.#synced);
    for (const change of this.#changes) if (chance.keepsName()) applyChange(found, change);
    const next = new Directory();
    for (const [name, node] of found) next.entries.set(name, node.afterCrash(`${path}/${name}`, chance));
    next.settle();
    return next;
  }

  copy(copies = new Map<Node, Node>()): Directory {
    // One file can be found under a new name that is synced and an old one that isn't: it stays one file.
    const copyOf = (node: Node): Node => {
      const known = copies.get(node) ?? node.copy(copies);
      copies.set(node, known);
      return known;
    };
    const next = new Directory();
    for (const [name, node] of this.entries) next.entries.set(name, copyOf(node));
    next.#synced = new Map([...this.#synced].map(([name, node]) => [name, copyOf(node)]));
    next.#changes = this.#changes.map((change) => ('node' in change ? { ...change, node: copyOf(change.node) } : change));
    return next;
  }

  usedBytes(): number {
    let bytes = 0;
    for (const node of this.entries.values()) bytes += node instanceof Inode ? node.size : node.usedBytes();
    return bytes;
  }
}

function applyChange(entries: Map<string, Node>, change: NameChange): void {
  if (change.kind === 'rename' && entries.get(change.from) === change.node) entries.delete(change.from);
  if (change.kind === 'remove') entries.delete(change.name);
  else entries.set(change.name, change.node);
}

/** A sector, or a size, as it was after one unsynced change. */
interface Version<T> {
  readonly version: number;
  readonly value: T;
}

class Inode {
  #cache = Buffer.alloc(0);
  #size = 0;
  #platter = Buffer.alloc(0);
  #platterSize = 0;
  /** Unsynced versions of each sector, oldest first. */
  #sectors = new Map<number, Version<Buffer>[]>();
  #sizes: Version<number>[] = [];
  #lastVersion = 0;

  static synced(content: Uint8Array): Inode {
    const inode = new Inode();
    inode.write(0, content);
    inode.settle(inode.lastVersion);
    return inode;
  }

  get size(): number {
    return this.#size;
  }

  get lastVersion(): number {
    return this.#lastVersion;
  }

  content(): Buffer {
    return Buffer.from(this.#cache.subarray(0, this.#size));
  }

  read(offset: number, into: Uint8Array): number {
    const count = Math.max(0, Math.min(into.length, this.#size - offset));
    into.set(this.#cache.subarray(offset, offset + count));
    return count;
  }

  /** @returns the version that the file has now. */
  write(offset: number, data: Uint8Array): number {
    const end = offset + data.length;
    this.#cache = grown(this.#cache, end);
    this.#cache.set(data, offset);
    this.#remember(offset, end);
    // Also where the file had this size already: the size may have been lost in a failed sync.
    this.#rememberSize(Math.max(this.#sizes.at(-1)?.value ?? this.#platterSize, end));
    this.#size = Math.max(this.#size, end);
    return this.#lastVersion;
  }

  truncate(size: number): void {
    this.#cache = grown(this.#cache, size);
    this.#cache.fill(0, size);
    this.#remember(size, Math.max(size, this.#size));
    this.#rememberSize(size);
    this.#size = size;
  }

  #remember(start: number, end: number): void {
    this.#lastVersion += 1;
    const version = this.#lastVersion;
    for (let index = Math.floor(start / SECTOR_BYTES); index * SECTOR_BYTES < end; index += 1) {
      const versions = this.#sectors.get(index) ?? [];
      versions.push({ version, value: sectorOf(this.#cache, index) });
      this.#sectors.set(index, versions);
    }
  }

  #rememberSize(size: number): void {
    const latest = this.#sizes.at(-1)?.value ?? this.#platterSize;
    if (size !== latest) this.#sizes.push({ version: this.#lastVersion, value: size });
  }

  /** Brings everything up to a version onto the platter. */
  settle(version: number): void {
    this.#settle(version, () => true);
  }

  /** A failed sync: some sectors arrive, and none is tried again. */
  settleSome(version: number, random: SeededRandom): void {
    this.#settle(version, () => random.chance(0.5));
  }

  #settle(version: number, arrives: () => boolean): void {
    const size = this.#sizes.findLast((each) => each.version <= version);
    if (size !== undefined && arrives()) this.#setPlatterSize(size.value);
    this.#sizes = this.#sizes.filter((each) => each.version > version);
    for (const [index, versions] of this.#sectors) {
      const latest = versions.findLast((each) => each.version <= version);
      if (latest === undefined) continue;
      if (arrives()) this.#setPlatterSector(index, latest.value);
      const later = versions.filter((each) => each.version > version);
      if (later.length === 0) this.#sectors.delete(index);
      else this.#sectors.set(index, later);
    }
  }

  #setPlatterSize(size: number): void {
    this.#platter = grown(this.#platter, size);
    this.#platter.fill(0, size);
    this.#platterSize = size;
  }

  #setPlatterSector(index: number, value: Buffer): void {
    this.#platter = grown(this.#platter, (index + 1) * SECTOR_BYTES);
    this.#platter.set(value, index * SECTOR_BYTES);
  }

  afterCrash(path: string, chance: Chance): Inode {
    const next = new Inode();
    const size = chance.size(this.#platterSize, this.#sizes.map((each) => each.value));
    next.#setPlatterSize(Math.max(size, this.#platter.length));
    next.#platter.set(this.#platter);
    for (const [index, versions] of this.#sectors) {
      const choice = chance.sector({ path, index, versionCount: versions.length }, index * SECTOR_BYTES >= this.#platterSize);
      if (Buffer.isBuffer(choice)) next.#setPlatterSector(index, choice);
      else if (choice > 0) next.#setPlatterSector(index, versions[choice - 1]!.value);
    }
    next.#setPlatterSize(size);
    next.#cache = Buffer.from(next.#platter);
    next.#size = size;
    return next;
  }

  copy(): Inode {
    const next = new Inode();
    next.#cache = Buffer.from(this.#cache);
    next.#size = this.#size;
    next.#platter = Buffer.from(this.#platter);
    next.#platterSize = this.#platterSize;
    next.#sectors = new Map([...this.#sectors].map(([index, versions]) => [index, [...versions]]));
    next.#sizes = [...this.#sizes];
    next.#lastVersion = this.#lastVersion;
    return next;
  }
}

/** What one power cut leaves of the unsynced. */
class Chance {
  readonly #random: SeededRandom;
  readonly #options: CrashOptions;
  readonly #names: number;
  readonly #bytes: number;

  constructor(seed: number, options: CrashOptions) {
    this.#random = new SeededRandom(seed);
    this.#options = options;
    // Each crash has its own temper, so that "all but one" and "none" are as likely as half and half.
    const temper = (): number => this.#random.pick([0, 0.1, 0.5, 0.9, 1]);
    const survives = options.chooseVersion === undefined ? (options.survives ?? 'anything') : 'everything';
    this.#names = survives === 'anything' ? temper() : survives === 'everything' ? 1 : 0;
    this.#bytes = survives === 'anything' ? temper() : survives === 'everything' ? 1 : 0;
  }

  keepsName(): boolean {
    return this.#random.chance(this.#names);
  }

  /** The version to be found, or foreign bytes. */
  sector(sector: { path: string; index: number; versionCount: number }, isBehindPlatterEnd: boolean): number | Buffer {
    if (this.#options.chooseVersion !== undefined) return this.#options.chooseVersion(sector);
    if (isBehindPlatterEnd && this.#random.chance(this.#options.garble ?? 0)) return this.#random.bytes(SECTOR_BYTES);
    if (!this.#random.chance(this.#bytes)) return 0;
    // Mostly the newest, sometimes one in between.
    return this.#random.chance(0.8) || this.#bytes === 1 ? sector.versionCount : 1 + this.#random.below(sector.versionCount);
  }

  size(synced: number, unsynced: readonly number[]): number {
    const latest = unsynced.at(-1);
    if (latest === undefined || this.#bytes === 0) return synced;
    if (this.#bytes === 1 || this.#random.chance(0.5)) return latest;
    const sizes = [synced, ...unsynced];
    const smallest = Math.min(...sizes);
    const sectorCount = Math.floor((Math.max(...sizes) - smallest) / SECTOR_BYTES);
    // A file can also end at any block on the way.
    const between = Math.floor(smallest / SECTOR_BYTES + this.#random.below(sectorCount + 1)) * SECTOR_BYTES;
    return this.#random.pick([...sizes, Math.max(between, smallest)]);
  }
}

function grown(buffer: Buffer, size: number): Buffer<ArrayBuffer> {
  if (buffer.length >= size) return buffer as Buffer<ArrayBuffer>;
  const larger = Buffer.alloc(Math.max(size, buffer.length * 2, 4 * SECTOR_BYTES));
  larger.set(buffer);
  return larger;
}

function sectorOf(buffer: Buffer, index: number): Buffer {
  // From Node's pool: thousands of these are made and dropped in a simulated second.
  const sector = Buffer.allocUnsafe(SECTOR_BYTES);
  const copied = buffer.copy(sector, 0, index * SECTOR_BYTES, (index + 1) * SECTOR_BYTES);
  return copied === SECTOR_BYTES ? sector : sector.fill(0, copied);
}

function namesOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.');
}

function baseName(path: string): string {
  return namesOf(path).at(-1) ?? '';
}

function systemError(code: string, call: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${call} '${path}'`), { code, syscall: call, path });
}

function never<T>(): Promise<T> {
  return new Promise<T>(() => {});
}
