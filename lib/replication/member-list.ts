/**
 * The nodes of the cluster: the primary learns them at the handshake, all store them.
 *
 * A promotion asks the members that its target knows. So a replica counts for acknowledgements only
 * once it is settled: every other replica has stored a list that contains it, and none can become the
 * primary without asking it.
 *
 * Addresses of nodes that left the list are kept: an old primary that was forgotten and comes back all
 * the same has to hear that there is another one.
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

interface MemberListContent {
  readonly members: readonly Member[];
  readonly formerUrls: readonly string[];
}

const FILE_NAME = 'members.json';

export class MemberList {
  readonly #disk: Disk;
  readonly #directory: string;
  #content: MemberListContent;
  #saving: Promise<void> = Promise.resolve();
  /** What the file holds. */
  #saved: MemberListContent;
  readonly #listeners = new Set<() => void>();

  private constructor(disk: Disk, directory: string, content: MemberListContent) {
    this.#disk = disk;
    this.#directory = directory;
    this.#content = content;
    this.#saved = content;
  }

  static async load(disk: Disk, directory: string): Promise<MemberList> {
    const stored = (await readDurableJson(disk, directory, FILE_NAME)) as Partial<MemberListContent> | undefined;
    return new MemberList(disk, directory, { members: stored?.members ?? [], formerUrls: stored?.formerUrls ?? [] });
  }

  get all(): readonly Member[] {
    return this.#content.members;
  }

  /** Where nodes were that this one knew and does not count as members any more; oldest first. */
  get formerUrls(): readonly string[] {
    return this.#content.formerUrls;
  }

  /** Says who is in the list; two nodes with equal digests know the same members. */
  get digest(): string {
    return digestOf(this.all);
  }

  /** The digest of the list that a crash would leave. */
  get savedDigest(): string {
    return digestOf(this.#saved.members);
  }

  get isSaved(): boolean {
    return this.#content === this.#saved;
  }

  /** Resolves once the member is in the durable list. A known id with another name or URL is updated. */
  async add({ nodeId, name, url }: Member): Promise<void> {
    const known = this.all.find((each) => each.nodeId === nodeId);
    if (known !== undefined && known.name === name && known.url === url) return this.save();
    if (known === undefined && this.all.length >= LIMITS.membersMax) return;
    // Where it is settled it stays so: whoever has its old URL can't ask it, and therefore can't be promoted.
    const member = { nodeId, name, url, ...(known?.isSettled === true && { isSettled: true }) };
    return this.#change([...this.all.filter((each) => each.nodeId !== nodeId), member]);
  }

  /** All who are in the list now are known to every replica. */
  async settle(): Promise<void> {
    if (this.all.every((member) => member.isSettled === true)) return;
    return this.#change(this.all.map((member) => ({ ...member, isSettled: true })));
  }

  async remove(nodeId: string): Promise<void> {
    return this.#change(this.all.filter((each) => each.nodeId !== nodeId));
  }

  /** Takes over the primary's list. */
  async replace(members: readonly Member[]): Promise<void> {
    if (JSON.stringify(members) === JSON.stringify(this.all)) return this.save();
    return this.#change(members);
  }

  /** Somebody is at `url` who may never become a member: for instance the upstream that a new primary had. */
  async keepUrl(url: string): Promise<void> {
    this.#content = { members: this.all, formerUrls: this.#former([url], this.all) };
    return this.save();
  }

  #change(members: readonly Member[]): Promise<void> {
    const left = this.all.filter((member) => members.every((each) => each.nodeId !== member.nodeId)).map((member) => member.url);
    this.#content = { members, formerUrls: this.#former(left, members) };
    for (const listener of this.#listeners) listener();
    return this.save();
  }

  #former(more: readonly string[], members: readonly Member[]): readonly string[] {
    const urls = new Set([...this.formerUrls.filter((url) => !more.includes(url)), ...more]);
    for (const { url } of members) urls.delete(url);
    return [...urls].slice(-LIMITS.formerUrlsMax);
  }

  /** One write after another: two renames of one file must not overtake each other. One that failed is made again. */
  save(): Promise<void> {
    this.#saving = this.#saving
      .catch(() => {})
      .then(async () => {
        const content = this.#content;
        if (content === this.#saved) return;
        await writeDurableJson(this.#disk, this.#directory, FILE_NAME, content);
        this.#saved = content;
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
