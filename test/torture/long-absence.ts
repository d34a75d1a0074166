/**
 * No crash, but time: a replica that was away while very much was written catches up from the log,
 * and one that begins with nothing while writes go on bootstraps. A round is 10,000 writes.
 */
import { rmSync } from 'node:fs';

import { TortureCluster } from './cluster.ts';
import { verifyNodes } from './final-check.ts';
import { type Finding } from './history-check.ts';
import { plainDirectories } from './kill-primary.ts';
import type { Row, RowContext, RowResult } from './row.ts';
import { WriteClient } from './write-client.ts';

const WRITES_PER_ROUND = 10_000;
const WRITERS = 32;
const KEYS_PER_WRITER = 2_000;
const VALUE_BYTES = 100;
const CATCH_UP_TIMEOUT_MS = 600_000;

export const longAbsence: Row = {
  name: 'long-absence',
  summary: '10,000 writes while the replica is away; it catches up, then an empty one bootstraps under load',
  requirements: [],
  rounds: { full: 100, short: 2 },
  run: (context) => new LongAbsence(context).run(),
};

class LongAbsence {
  readonly #context: RowContext;
  /** What every key must hold: the last acknowledged value of its one writer. */
  readonly #expected = new Map<string, string>();
  readonly #notes: string[] = [];
  #acknowledged = 0;
  #failed = 0;

  constructor(context: RowContext) {
    this.#context = context;
  }

  async run(): Promise<RowResult> {
    const { workbench, random, rounds, onRound } = this.#context;
    const directories = await plainDirectories(workbench)();
    const cluster = await TortureCluster.start(workbench, directories, random);
    const client = new WriteClient(cluster.primary.url, WRITERS);
    try {
      await cluster.replica.kill();
      const startedMs = performance.now();
      for (let round = 1; round <= rounds; round += 1) {
        await this.#write(client, WRITES_PER_ROUND);
        onRound({ round, acknowledged: this.#acknowledged, refused: this.#failed, unknown: 0 });
      }
      this.#notes.push(`away for ${this.#acknowledged} writes, which took ${seconds(performance.now() - startedMs)}`);
      const caughtUp = await this.#returns(cluster, client, 'the replica that was away');
      await cluster.replica.stop();
      rmSync(directories.replica, { recursive: true });
      const bootstrapped = await this.#returns(cluster, client, 'the replica that began empty');
      return this.#result([...caughtUp, ...bootstrapped]);
    } finally {
      client.close();
    }
  }

  /** Starts the replica while writes go on, until it shows all that was written before its start. */
  async #returns(cluster: TortureCluster, client: WriteClient, who: string): Promise<readonly Finding[]> {
    const lsn = await cluster.primary.visibleLsn();
    const startedMs = performance.now();
    let hasReturned = false;
    const writing = (async () => {
      while (!hasReturned) await this.#write(client, 1_000);
    })();
    const replica = cluster.spawnReplica();
    try {
      await replica.ready();
      await replica.showsLsn(lsn, CATCH_UP_TIMEOUT_MS);
    } finally {
      hasReturned = true;
      await writing;
    }
    this.#notes.push(`${who} had all of it ${seconds(performance.now() - startedMs)} after its start, while writes went on`);
    await replica.showsLsn(await cluster.primary.visibleLsn(), CATCH_UP_TIMEOUT_MS);
    return [...(await this.#judge(replica.url)), ...(await verifyNodes([cluster.primary.url, replica.url]))];
  }

  async #write(client: WriteClient, count: number): Promise<void> {
    const { random } = this.#context;
    await Promise.all(
      Array.from({ length: WRITERS }, async (_, writer) => {
        for (let index = 0; index < count / WRITERS; index += 1) {
          const key = `writer-${writer}-${random.below(KEYS_PER_WRITER)}`;
          const value = `${this.#acknowledged}-${writer}-${index}`.padEnd(VALUE_BYTES, '.');
          const { outcome } = await client.write(key, value);
          if (outcome === 'acknowledged') {
            this.#acknowledged += 1;
            this.#expected.set(key, value);
          } else {
            this.#failed += 1;
          }
        }
      }),
    );
  }

  async #judge(url: string): Promise<readonly Finding[]> {
    // Nothing disturbs the primary here: every write has to succeed.
    const findings: Finding[] = this.#failed === 0 ? [] : [{ kind: 'different', key: '', detail: `${this.#failed} writes failed although nothing was wrong with the primary` }];
    const client = new WriteClient(url, WRITERS);
    const keys = [...this.#expected.keys()];
    for (const key of keys.slice(0, 5_000)) {
      const { value } = await client.read(key);
      if (value !== this.#expected.get(key)) findings.push({ kind: 'lost', key, detail: `got ${value}, expected ${this.#expected.get(key)}` });
    }
    client.close();
    return findings;
  }

  #result(findings: readonly Finding[]): RowResult {
    return { rounds: this.#context.rounds, acknowledged: this.#acknowledged, refused: this.#failed, unknown: 0, findings, notes: this.#notes };
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
