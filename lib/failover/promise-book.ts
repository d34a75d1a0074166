/**
 * What a node must not forget about promotions: whom it has promised itself to, and the highest
 * position that it heard the primary announce. Both are durable before anybody is told.
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
  readonly promise: EpochPromise | null;
  readonly heard: HeardPosition | null;
  /** Highest number ever promised: a later promise needs a higher one. */
  readonly numberMax: number;
}

const FILE_NAME = 'promises.json';

export class PromiseBook {
  readonly #disk: Disk;
  readonly #directory: string;
  #content: Content;
  #saving: Promise<void> = Promise.resolve();

  private constructor(disk: Disk, directory: string, content: Content) {
    this.#disk = disk;
    this.#directory = directory;
    this.#content = content;
  }

  static async load(disk: Disk, directory: string): Promise<PromiseBook> {
    const stored = (await readDurableJson(disk, directory, FILE_NAME)) as Content | undefined;
    return new PromiseBook(disk, directory, stored ?? { promise: null, heard: null, numberMax: 0 });
  }

  get promise(): EpochPromise | null {
    return this.#content.promise;
  }

  get heard(): HeardPosition | null {
    return this.#content.heard;
  }

  get numberMax(): number {
    return this.#content.numberMax;
  }

  /** Resolves once the promise is durable. */
  async make(promise: EpochPromise): Promise<void> {
    await this.#change({ promise, numberMax: Math.max(this.#content.numberMax, promise.epoch.number) });
  }

  /** Resolves once the promise is durably given up: from then on nothing can come of its epoch id here. */
  async withdraw(): Promise<void> {
    if (this.#content.promise !== null) await this.#change({ promise: null });
  }

  /** Remembers an announced position; a lower one of the same epoch changes nothing. */
  async hear(heard: HeardPosition): Promise<void> {
    const known = this.#content.heard;
    if (known !== null && known.epoch.id === heard.epoch.id && known.primaryNodeId === heard.primaryNodeId && known.lsn >= heard.lsn) return;
    if (known !== null && known.epoch.number > heard.epoch.number) return;
    await this.#change({ heard });
  }

  /** In memory only after the file is: nobody may act on a promise that a crash would take back. */
  #change(change: Partial<Content>): Promise<void> {
    const saving = this.#saving.then(async () => {
      const content = { ...this.#content, ...change };
      await writeDurableJson(this.#disk, this.#directory, FILE_NAME, content);
      this.#content = content;
    });
    this.#saving = saving.catch(() => {});
    return saving;
  }
}
