/**
 * The load under which faults happen: writers with values that are never used twice. Each writes keys of
 * its own, once, and overwrites and deletes keys that all share, with rising counters.
 */
import { setTimeout as sleep } from 'node:timers/promises';

import type { SeededRandom } from '../support/seeded-random.ts';
import type { History, Outcome } from './history.ts';
import { WriteClient } from './write-client.ts';

const WRITERS = 32;
const SHARED_KEYS = 100;
/** Every fourth writer goes through the replica, which forwards. */
const FORWARDED_EVERY = 4;
const UNIQUE_SHARE = 0.5;
const DELETE_SHARE = 0.15;
const PAUSE_MS_MAX = 3;
/** So that writers don't spin while a node is away. */
const REFUSED_PAUSE_MS = 20;

export interface WorkloadTarget {
  readonly primaryUrl: string;
  readonly replicaUrl: string;
}

export class Workload {
  readonly #target: WorkloadTarget;
  readonly #history: History;
  readonly #random: SeededRandom;
  readonly #counters = new Map<string, number>();

  constructor(target: WorkloadTarget, history: History, random: SeededRandom) {
    this.#target = target;
    this.#history = history;
    this.#random = random;
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
    const { primaryUrl, replicaUrl } = this.#target;
    const client = new WriteClient(writer % FORWARDED_EVERY === 0 ? replicaUrl : primaryUrl, 1);
    for (let count = 0; !load.isStopping; count += 1) {
      const record = this.#history.begin({ round, ...this.#nextWrite(round, writer, count) });
      const answer = await client.write(record.key, record.value);
      this.#history.end(record, answer);
      load.count(answer.outcome);
      await sleep(answer.outcome !== 'acknowledged' && answer.outcome !== 'absent' ? REFUSED_PAUSE_MS : this.#random.uniform() * PAUSE_MS_MAX);
    }
    client.close();
  }

  #nextWrite(round: number, writer: number, count: number): { readonly key: string; readonly value: string | null } {
    if (this.#random.chance(UNIQUE_SHARE)) {
      const key = `own-${round}-${writer}-${count}`;
      return { key, value: padded(`${key}:`, this.#random) };
    }
    const key = `shared-${this.#random.below(SHARED_KEYS)}`;
    if (this.#random.chance(DELETE_SHARE / (1 - UNIQUE_SHARE))) return { key, value: null };
    const counter = (this.#counters.get(key) ?? 0) + 1;
    this.#counters.set(key, counter);
    return { key, value: padded(`${key}:${counter}:`, this.#random) };
  }
}

/** Mostly small, now and then larger than a page of SQLite, seldom larger than a whole segment. */
export function padded(start: string, random: SeededRandom): string {
  const draw = random.uniform();
  const length = draw < 0.002 ? 70_000 : draw < 0.02 ? 6_000 : random.below(200);
  return start + 'x'.repeat(length);
}

/** The writers of one round, while they run. */
export class Load {
  readonly #writers: Promise<void>[] = [];
  readonly #counts: Record<Outcome, number> = { acknowledged: 0, absent: 0, refused: 0, 'left-behind': 0, unknown: 0 };
  #isStopping = false;

  get isStopping(): boolean {
    return this.#isStopping;
  }

  get counts(): Readonly<Record<Outcome, number>> {
    return this.#counts;
  }

  add(writer: Promise<void>): void {
    this.#writers.push(writer);
  }

  count(outcome: Outcome): void {
    this.#counts[outcome] += 1;
  }

  /** @throws Error when that takes longer than `timeoutMs`. */
  async acknowledged(count: number, timeoutMs: number): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    while (this.#counts.acknowledged < count) {
      if (performance.now() > deadlineMs) {
        throw new Error(`${this.#counts.acknowledged} writes were acknowledged within ${timeoutMs} ms, expected ${count}: ${JSON.stringify(this.#counts)}`);
      }
      await sleep(2);
    }
  }

  /** Resolves when every write has its outcome. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#writers);
  }
}
