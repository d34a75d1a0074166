/** An LSN that only rises, and those who wait for it. Waiting is event-driven, never polled. */
import { assert } from './errors.ts';

interface Waiter {
  readonly lsn: number;
  readonly resolve: () => void;
}

export class Watermark {
  readonly name: string;
  #lsn: number;
  #waiters: Waiter[] = [];

  constructor(name: string, lsn: number) {
    this.name = name;
    this.#lsn = lsn;
  }

  get lsn(): number {
    return this.#lsn;
  }

  get waiterCount(): number {
    return this.#waiters.length;
  }

  /** Raises the mark and wakes those whose LSN is reached. */
  advance(lsn: number): void {
    assert(lsn >= this.#lsn, `${this.name} would fall from ${this.#lsn} to ${lsn}`);
    if (lsn === this.#lsn) return;
    this.#lsn = lsn;
    if (this.#waiters.length === 0) return;
    const reached = this.#waiters.filter((waiter) => waiter.lsn <= lsn);
    if (reached.length === 0) return;
    this.#waiters = this.#waiters.filter((waiter) => waiter.lsn > lsn);
    for (const waiter of reached) waiter.resolve();
  }

  /** Resolves once the mark is at `lsn` or above; rejects with the signal's reason when aborted first. */
  reached(lsn: number, signal?: AbortSignal): Promise<void> {
    if (lsn <= this.#lsn) return Promise.resolve();
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason as Error);
        return;
      }
      const onAbort = (): void => {
        this.#waiters = this.#waiters.filter((each) => each !== waiter);
        reject(signal!.reason as Error);
      };
      const waiter: Waiter = {
        lsn,
        resolve: () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#waiters.push(waiter);
    });
  }
}
