/**
 * The load under which the primary changes: writers that write through any node, and go on with the next
 * one when theirs refuses or breaks. No value is ever written twice, and a key that is deleted is deleted
 * once and never written again, so that every write can be told from all others in a log.
 */
import { setTimeout as sleep } from 'node:timers/promises';

import type { SeededRandom } from '../support/seeded-random.ts';
import type { History, WriteRecord } from './history.ts';
import { Load, padded } from './workload.ts';
import { WriteClient } from './write-client.ts';

const WRITERS = 32;
const SHARED_KEYS = 100;
const OWN_SHARE = 0.45;
const DELETE_SHARE = 0.1;
const PAUSE_MS_MAX = 3;
/** So that writers don't spin while there is no primary. */
const REFUSED_PAUSE_MS = 20;

export interface RovingWorkloadOptions {
  readonly urls: readonly string[];
  /** What each write asks for. */
  readonly ack: '1' | 'local';
  readonly history: History;
  readonly random: SeededRandom;
  /** After each put that was acknowledged; the writer waits for it. */
  readonly onAcknowledged?: (write: WriteRecord) => Promise<void>;
}

export class RovingWorkload {
  readonly #options: RovingWorkloadOptions;
  readonly #counters = new Map<string, number>();

  constructor(options: RovingWorkloadOptions) {
    this.#options = options;
  }

  static get sharedKeys(): readonly string[] {
    return Array.from({ length: SHARED_KEYS }, (_, index) => `shared-${index}`);
  }

  start(round: number): Load {
    const load = new Load();
    for (let writer = 0; writer < WRITERS; writer += 1) load.add(this.#runWriter(load, round, writer));
    return load;
  }

  async #runWriter(load: Load, round: number, writer: number): Promise<void> {
    const { urls, ack, history, random, onAcknowledged } = this.#options;
    const clients = urls.map((url) => new WriteClient(url, 1, `?ack=${ack}`));
    const ownKeys: string[] = [];
    let home = writer % clients.length;
    for (let count = 0; !load.isStopping; count += 1) {
      const record = history.begin({ round, ...this.#nextWrite(`own-${round}-${writer}-${count}`, ownKeys) });
      const answer = await clients[home]!.write(record.key, record.value);
      history.end(record, answer);
      load.count(answer.outcome);
      if (answer.outcome !== 'acknowledged' && answer.outcome !== 'absent') {
        home = (home + 1) % clients.length;
        await sleep(REFUSED_PAUSE_MS);
        continue;
      }
      if (answer.outcome === 'acknowledged' && record.value !== null) {
        if (record.key.startsWith('own-')) ownKeys.push(record.key);
        await onAcknowledged?.(record);
      }
      await sleep(random.uniform() * PAUSE_MS_MAX);
    }
    for (const client of clients) client.close();
  }

  #nextWrite(ownKey: string, ownKeys: string[]): { readonly key: string; readonly value: string | null } {
    const { random } = this.#options;
    const draw = random.uniform();
    if (draw < DELETE_SHARE && ownKeys.length > 0) {
      // Taken from the list at once: whatever comes of the delete, there is no second one.
      const [key] = ownKeys.splice(random.below(ownKeys.length), 1);
      return { key: key!, value: null };
    }
    if (draw < DELETE_SHARE + OWN_SHARE) return { key: ownKey, value: padded(`${ownKey}:`, random) };
    const key = `shared-${random.below(SHARED_KEYS)}`;
    const counter = (this.#counters.get(key) ?? 0) + 1;
    this.#counters.set(key, counter);
    return { key, value: padded(`${key}:${counter}:`, random) };
  }
}
