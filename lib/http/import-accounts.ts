/**
 * What became of imports that were given a name. An answer that is lost with its connection would leave the
 * client with the last progress that it heard of; here it can ask how far its lines really came. Kept in memory,
 * the latest ones.
 */
import { LIMITS } from '../base/limits.ts';
import type { ImportRun } from './import-run.ts';

export interface ImportAccount {
  readonly state: 'running' | 'done' | 'failed';
  readonly lines: number;
  readonly position: string;
}

interface Entry {
  readonly run: ImportRun;
  readonly ended: Promise<void>;
  readonly account: () => ImportAccount;
}

export class ImportAccounts {
  /** The oldest first. */
  readonly #entries = new Map<string, Entry>();

  get(id: string): ImportAccount | undefined {
    return this.#entries.get(id)?.account();
  }

  /**
   * Ends the import that has this name and resolves when nothing of it is on its way any more: whoever begins again
   * has given up what was before, and a late line of that must not come after the lines of this.
   */
  async supersede(id: string, reason: Error): Promise<void> {
    for (let earlier = this.#entries.get(id); earlier?.account().state === 'running'; earlier = this.#entries.get(id)) {
      earlier.run.stop(reason);
      await earlier.ended;
    }
  }

  add(id: string, entry: Entry): void {
    this.#entries.delete(id);
    this.#entries.set(id, entry);
    for (const [oldest, { account }] of this.#entries) {
      if (this.#entries.size <= LIMITS.importAccountsMax) break;
      if (account().state !== 'running') this.#entries.delete(oldest);
    }
  }
}
