/**
 * Every segment that a machine ever removed, and every disk that it lost: with what the disks hold in
 * the end, all that was ever written, so that any history can be told from its first operation.
 */
import type { MemoryDisk } from '../support/memory-disk.ts';

export class LogArchive {
  /** Segments by name, as they were together in one directory. */
  readonly logs: ReadonlyMap<string, Uint8Array>[] = [];
  readonly disks: MemoryDisk[] = [];
  readonly #rots: { readonly name: string; readonly offset: number; readonly byte: number }[] = [];

  /** A file or directory is about to be removed. */
  noteRemoval(disk: MemoryDisk, path: string): void {
    if (path.endsWith('.wal')) {
      const slash = path.lastIndexOf('/');
      const content = disk.contents(path.slice(0, slash)).get(path.slice(slash + 1));
      if (content !== undefined) this.#add(new Map([[path.slice(slash + 1), content]]));
      return;
    }
    for (const directory of disk.directories(path)) this.#add(disk.contents(directory));
  }

  /** A byte of a segment will not be what it was. What is written behind it later shall be readable all the same. */
  noteRot(name: string, offset: number, byte: number): void {
    this.#rots.push({ name, offset, byte });
  }

  /** A segment as it would be if no bit had rotted, where one did. */
  restored(name: string, content: Uint8Array): readonly Uint8Array[] {
    return this.#rots
      .filter((rot) => rot.name === name && rot.offset < content.length)
      .map(({ offset, byte }) => {
        const restored = Buffer.from(content);
        restored[offset] = byte;
        return restored;
      });
  }

  /** This disk is not the machine's any more. */
  noteLoss(disk: MemoryDisk): void {
    this.disks.push(disk);
    this.noteLogs(disk);
  }

  /** It is the machine's again: what becomes of it is seen there. */
  noteReturn(disk: MemoryDisk): void {
    const index = this.disks.indexOf(disk);
    if (index !== -1) this.disks.splice(index, 1);
  }

  /** All segments as they are now. */
  noteLogs(disk: MemoryDisk): void {
    for (const directory of disk.directories('/')) this.#add(disk.contents(directory));
  }

  #add(files: ReadonlyMap<string, Uint8Array>): void {
    if ([...files.keys()].some((name) => name.endsWith('.wal'))) this.logs.push(files);
  }
}
