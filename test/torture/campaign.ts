/**
 * Rounds of one fault on one cluster, which lives through all of them:
 *
 *   load → strike → (load goes on) → repair → judge the primary → wait for the replica → judge it
 *
 * Judged are the keys of the round, the shared ones and some older ones, read one by one on both nodes,
 * and the whole table of one node that was struck. That both tables are the same, their digests say.
 *
 * and at the end everything once more, from every side.
 */
import { setTimeout as sleep } from 'node:timers/promises';

import { type ClusterDirectories, TortureCluster } from './cluster.ts';
import { checkLogs, verifyNodes } from './final-check.ts';
import { type Finding, type Reading, checkPositions, checkReading } from './history-check.ts';
import { History, type WriteRecord } from './history.ts';
import type { RowContext, RowResult } from './row.ts';
import { compareDigests, readKeys, readTable } from './table-reader.ts';
import { type Load, Workload } from './workload.ts';

/** The strike falls at a random moment after this many: every round crosses a checkpoint and several segments. */
const ACKNOWLEDGED_MIN = 1_000;
const ACKNOWLEDGED_MORE_MAX = 500;
const ACKNOWLEDGED_TIMEOUT_MS = 60_000;
/** So that it does not always fall on the moment after an answer. */
const STRIKE_DELAY_MS_MAX = 20;
/** Writers go on for a moment while the node is away: some writes have to be refused. */
const OUTAGE_MS_MAX = 120;
const SUCCEEDED_SHARE_MIN = 0.8;
/** Keys of earlier rounds that are also read one by one after each round; the snapshot has all of them. */
const OLD_KEYS_SAMPLED = 200;

export interface Fault {
  /** Where the data of the nodes lies. Called once, before the first start. */
  readonly makeDirectories: () => Promise<ClusterDirectories>;
  /** Breaks something. Resolves when it is broken, with the node (one of those) that was struck. */
  readonly strike: (cluster: TortureCluster, round: number) => Promise<'primary' | 'replica'>;
  /** Resolves when both nodes run and answer again. */
  readonly repair: (cluster: TortureCluster) => Promise<void>;
  /** Do writers write until both nodes run again, or stop before the repair? */
  readonly writersGoOn: boolean;
  readonly notes?: () => readonly string[];
}

export async function runCampaign(context: RowContext, fault: Fault): Promise<RowResult> {
  return new Campaign(context, fault).run();
}

class Campaign {
  readonly #context: RowContext;
  readonly #fault: Fault;
  readonly #history = new History(() => performance.now());

  constructor(context: RowContext, fault: Fault) {
    this.#context = context;
    this.#fault = fault;
  }

  async run(): Promise<RowResult> {
    const { workbench, random, rounds, nodeEnvironment } = this.#context;
    const directories = await this.#fault.makeDirectories();
    const cluster = await TortureCluster.start(workbench, directories, random, nodeEnvironment);
    const workload = new Workload({ primaryUrl: cluster.primary.url, replicaUrl: cluster.replica.url }, this.#history, random);

    for (let round = 1; round <= rounds; round += 1) {
      const findings = await this.#runRound(cluster, workload, round);
      this.#reportRound(round);
      if (findings.length > 0) return this.#result(round, findings);
    }
    return this.#result(rounds, await this.#finish(cluster, directories));
  }

  async #runRound(cluster: TortureCluster, workload: Workload, round: number): Promise<readonly Finding[]> {
    const { random } = this.#context;
    const load = workload.start(round);
    let strikeMs: number;
    let struck: 'primary' | 'replica';
    try {
      await load.acknowledged(ACKNOWLEDGED_MIN + random.below(ACKNOWLEDGED_MORE_MAX), ACKNOWLEDGED_TIMEOUT_MS);
      await sleep(random.uniform() * STRIKE_DELAY_MS_MAX);
      strikeMs = performance.now();
      struck = await this.#fault.strike(cluster, round);
      await sleep(random.uniform() * OUTAGE_MS_MAX);
      if (this.#fault.writersGoOn) await this.#fault.repair(cluster);
    } finally {
      await load.stop();
    }
    if (!this.#fault.writersGoOn) await this.#fault.repair(cluster);
    this.#requireLoad(round, load, strikeMs);
    return this.#judge(cluster, round, struck);
  }

  /** A fault that strikes a cluster which is broken already proves nothing. */
  #requireLoad(round: number, load: Load, strikeMs: number): void {
    const undisturbed = this.#history.records.filter((write) => write.round === round && write.endMs < strikeMs);
    const succeeded = undisturbed.filter(({ outcome }) => outcome === 'acknowledged' || outcome === 'absent');
    if (succeeded.length < undisturbed.length * SUCCEEDED_SHARE_MIN) {
      throw new Error(
        `round ${round}: ${succeeded.length} of ${undisturbed.length} writes succeeded before the fault, expected ${SUCCEEDED_SHARE_MIN * 100} %: ${JSON.stringify(load.counts)}`,
      );
    }
  }

  /** First the primary, which decides what became of the unknown writes, then the replica. */
  async #judge(cluster: TortureCluster, round: number, struck: 'primary' | 'replica'): Promise<readonly Finding[]> {
    const { primary, replica } = cluster;
    const keys = this.#keysToRead(round);
    const lsn = await primary.visibleLsn();
    const onPrimary = await readKeys(primary.url, keys);
    const primaryFindings = onNode('primary', this.#judgeReadings(onPrimary));
    if (primaryFindings.length > 0) return primaryFindings;
    this.#history.settle(round, onPrimary);

    await replica.showsLsn(lsn);
    const replicaFindings = onNode('replica', this.#judgeReadings(await readKeys(replica.url, keys)));
    if (replicaFindings.length > 0) return replicaFindings;

    const table = await readTable(cluster[struck].url, lsn, this.#context.workbench);
    return [...onNode(struck, this.#judgeTable(table)), ...(await compareDigests(primary.url, replica.url, lsn))];
  }

  #keysToRead(round: number): readonly string[] {
    const { random } = this.#context;
    const keys = new Set(Workload.sharedKeys);
    const { records } = this.#history;
    for (const write of records) if (write.round === round) keys.add(write.key);
    for (let sampled = 0; sampled < OLD_KEYS_SAMPLED; sampled += 1) keys.add(random.pick(records).key);
    return [...keys];
  }

  #judgeReadings(readings: readonly Reading[]): readonly Finding[] {
    if (readings.length === 0) throw new Error('no key was read: an empty check proves nothing');
    return readings.flatMap((reading) => checkReading(reading, this.#history.writesOf(reading.key)) ?? []);
  }

  /** Every key that was ever written, and whatever else the node holds. */
  #judgeTable(table: ReadonlyMap<string, Reading>): readonly Finding[] {
    const keys = new Set([...this.#history.keys, ...table.keys()]);
    return this.#judgeReadings([...keys].map((key) => table.get(key) ?? { key, value: null, position: undefined }));
  }

  async #finish(cluster: TortureCluster, { primary, replica }: ClusterDirectories): Promise<readonly Finding[]> {
    const keys = [...new Set([...this.#history.keys, ...Workload.sharedKeys])];
    const readings = await readKeys(cluster.primary.url, keys);
    const findings = [
      ...onNode('primary', this.#judgeReadings(readings)),
      ...onNode('replica', this.#judgeReadings(await readKeys(cluster.replica.url, keys))),
      ...checkPositions(this.#history.records),
      ...(await verifyNodes([cluster.primary.url, cluster.replica.url])),
    ];
    // The replica first: it takes what the primary still has to send.
    await cluster.replica.stop();
    await cluster.primary.stop();
    return [...findings, ...checkLogs({ primaryDirectory: primary, replicaDirectory: replica, readings })];
  }

  #reportRound(round: number): void {
    const writes = this.#history.records.filter((write) => write.round === round);
    const { acknowledged, refused, unknown } = countsOf(writes);
    this.#context.onRound({ round, acknowledged, refused, unknown });
  }

  #result(rounds: number, findings: readonly Finding[]): RowResult {
    return { rounds, ...countsOf(this.#history.records), findings, notes: this.#fault.notes?.() ?? [] };
  }
}

function onNode(name: string, findings: readonly Finding[]): readonly Finding[] {
  return findings.map((finding) => ({ ...finding, detail: `on the ${name}: ${finding.detail}` }));
}

function countsOf(writes: readonly WriteRecord[]): { readonly acknowledged: number; readonly refused: number; readonly unknown: number } {
  const count = (outcome: WriteRecord['outcome']): number => writes.filter((write) => write.outcome === outcome).length;
  return { acknowledged: count('acknowledged'), refused: count('refused'), unknown: count('unknown') };
}
