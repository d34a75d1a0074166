/**
 * What a node must not forget about promotions: whom it has promised itself to, and the highest
 * position that it heard the primary announce. Both are durable before anybody is told.
 *
 * A later promise does not end an earlier one: should nothing come of the later promotion, the earlier
 * one may still be under way, and counts on us. That holds for one target too: it may have opened its
 * epoch with the earlier promise. Each ends when its target says so.
 */
import type { EpochRef } from '../base/epoch-history.ts';
import type { Disk } from '../env/disk.ts';
import { readDurableJson, writeDurableJson } from '../env/durable-file.ts';

/**
 * From here on this node confirms nothing of a lower epoch (`failover`), or, at the target of a
 * switchover, opens this epoch once its log ends with the record that names it. Only the target
 * withdraws it, or a promise with a higher number.
 */
export interface EpochPromise {
  readonly kind: 'switchover' | 'failover';
  readonly epoch: EpochRef;
  readonly targetNodeId: string;
  readonly targetUrl: string;
}

/** Where the primary of an epoch was when it was last heard of. */
export interface HeardPosition {
  readonly epoch: EpochRef;
  readonly lsn: number;
  readonly primaryNodeId: string;
}

interface Content {
  /** In the order in which they were made, numbers rising. */
  readonly promises: readonly EpochPromise[];
  readonly heard: HeardPosition | null;
  /** Highest number ever promised: a later promise needs a higher one. */
  readonly numberMax: number;
}

const FILE_NAME = 'promises.json';

export class PromiseBook {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #nodeId: string;
  #content: Content;
  #saving: Promise<void> = Promise.resolve();

  private constructor(disk: Disk, directory: string, nodeId: string, content: Content) {
    this.#disk = disk;
    this.#directory = directory;
    this.#nodeId = nodeId;
    this.#content = content;
  }

  static async load(disk: Disk, directory: string, nodeId: string): Promise<PromiseBook> {
    const stored = (await readDurableJson(disk, directory, FILE_NAME)) as Content | undefined;
    return new PromiseBook(disk, directory, nodeId, stored ?? { promises: [], heard: null, numberMax: 0 });
  }

  get promises(): readonly EpochPromise[] {
    return this.#content.promises;
  }

  /** The one with the highest number. */
  get promise(): EpochPromise | null {
    return this.#content.promises.at(-1) ?? null;
  }

  /** The promise to itself: a promotion of this node. */
  get own(): EpochPromise | undefined {
    return this.#content.promises.find((promise) => promise.targetNodeId === this.#nodeId);
  }

  get heard(): HeardPosition | null {
    return this.#content.heard;
  }

  get numberMax(): number {
    return this.#content.numberMax;
  }

  /** Resolves once the promise is durable. What this node had promised to itself is over then. */
  async make(promise: EpochPromise): Promise<void> {
    await this.#change(({ promises, numberMax }) => ({
      promises: [...promises.filter(({ targetNodeId }) => targetNodeId !== this.#nodeId), promise],
      numberMax: Math.max(numberMax, promise.epoch.number),
    }));
  }

  /** Resolves once the promise is durably given up: from then on nothing can come of its epoch id here. */
  async withdraw(epochId: string): Promise<void> {
    await this.#withdraw(({ epoch }) => epoch.id === epochId);
  }

  /** An epoch was opened that ends them all. */
  async withdrawAll(): Promise<void> {
    await this.#withdraw(() => true);
  }

  async #withdraw(isOver: (promise: EpochPromise) => boolean): Promise<void> {
    if (!this.#content.promises.some(isOver)) return;
    await this.#change(({ promises }) => ({ promises: promises.filter((promise) => !isOver(promise)) }));
  }

  /** Remembers an announced position; a lower one of the same epoch changes nothing. */
  async hear(heard: HeardPosition): Promise<void> {
    const known = this.#content.heard;
    if (known !== null && known.epoch.id === heard.epoch.id && known.primaryNodeId === heard.primaryNodeId && known.lsn >= heard.lsn) return;
    if (known !== null && known.epoch.number > heard.epoch.number) return;
    await this.#change(() => ({ heard }));
  }

  /** In memory only after the file is: nobody may act on a promise that a crash would take back. */
  #change(change: (content: Content) => Partial<Content>): Promise<void> {
    const saving = this.#saving.then(async () => {
      const content = { ...this.#content, ...change(this.#content) };
      await writeDurableJson(this.#disk, this.#directory, FILE_NAME, content);
      this.#content = content;
    });
    this.#saving = saving.catch(() => {});
    return saving;
  }
}
