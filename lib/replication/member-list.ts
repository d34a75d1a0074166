/**
 * The nodes of the cluster: the primary learns them at the handshake, all store them.
 *
 * A promotion asks the members that its target knows. So a replica counts for acknowledgements only
 * once it is settled: every other replica has stored a list that contains it, and none can become the
 * primary without asking it.
 */
import { hash } from 'node:crypto';
import { LIMITS } from '../base/limits.ts';
import type { Disk } from '../env/disk.ts';
import { readDurableJson, writeDurableJson } from '../env/durable-file.ts';

export interface Member {
  readonly nodeId: string;
  readonly name: string;
  /** Where other nodes reach it. */
  readonly url: string;
  /** True once no promotion can miss it; absent, as in lists of version 0.1, where that is not known. */
  readonly isSettled?: boolean;
}

const FILE_NAME = 'members.json';

export class MemberList {
  readonly #disk: Disk;
  readonly #directory: string;
  #members: readonly Member[];
  #saving: Promise<void> = Promise.resolve();
  /** What the file holds. */
  #saved: readonly Member[];
  readonly #listeners = new Set<() => void>();

  private constructor(disk: Disk, directory: string, members: readonly Member[]) {
    this.#disk = disk;
    this.#directory = directory;
    this.#members = members;
    this.#saved = members;
  }

  static async load(disk: Disk, directory: string): Promise<MemberList> {
    const stored = (await readDurableJson(disk, directory, FILE_NAME)) as { members: readonly Member[] } | undefined;
    return new MemberList(disk, directory, stored?.members ?? []);
  }

  get all(): readonly Member[] {
    return this.#members;
  }

  /** Says who is in the list; two nodes with equal digests know the same members. */
  get digest(): string {
    return digestOf(this.#members);
  }

  /** The digest of the list that a crash would leave. */
  get savedDigest(): string {
    return digestOf(this.#saved);
  }

  /** Resolves once the member is in the durable list. A known id with another name or URL is updated. */
  async add({ nodeId, name, url }: Member): Promise<void> {
    const known = this.#members.find((each) => each.nodeId === nodeId);
    if (known !== undefined && known.name === name && known.url === url) return this.#save();
    if (known === undefined && this.#members.length >= LIMITS.membersMax) return;
    // Where it is settled it stays so: whoever has its old URL can't ask it, and therefore can't be promoted.
    const member = { nodeId, name, url, ...(known?.isSettled === true && { isSettled: true }) };
    return this.#change([...this.#members.filter((each) => each.nodeId !== nodeId), member]);
  }

  /** All who are in the list now are known to every replica. */
  async settle(): Promise<void> {
    if (this.#members.every((member) => member.isSettled === true)) return;
    return this.#change(this.#members.map((member) => ({ ...member, isSettled: true })));
  }

  async remove(nodeId: string): Promise<void> {
    return this.#change(this.#members.filter((each) => each.nodeId !== nodeId));
  }

  /** Takes over the primary's list. */
  async replace(members: readonly Member[]): Promise<void> {
    if (JSON.stringify(members) === JSON.stringify(this.#members)) return this.#save();
    return this.#change(members);
  }

  #change(members: readonly Member[]): Promise<void> {
    this.#members = members;
    for (const listener of this.#listeners) listener();
    return this.#save();
  }

  /** One write after another: two renames of one file must not overtake each other. One that failed is made again. */
  #save(): Promise<void> {
    this.#saving = this.#saving
      .catch(() => {})
      .then(async () => {
        const members = this.#members;
        if (members === this.#saved) return;
        await writeDurableJson(this.#disk, this.#directory, FILE_NAME, { members });
        this.#saved = members;
      });
    return this.#saving;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

function digestOf(members: readonly Member[]): string {
  const ids = members.map((member) => member.nodeId).toSorted();
  return hash('sha256', ids.join(), 'hex').slice(0, 16);
}
