/**
 * What has to hold when three nodes have come to rest, whatever happened before: every write has one
 * fate, all three show the same, and it is what was written.
 */
import { decodeLog, foldLog } from '../support/second-decoder.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import { type Fates, checkFates } from './fate-check.ts';
import { logDirectoryOf, notClean, sharedBytes, verifyNodes } from './final-check.ts';
import type { History } from './history.ts';
import { type Finding, type Reading, checkOneHistory, checkPositions, checkReading } from './history-check.ts';
import { readLog, readSalvage } from './logged-operation.ts';
import { compareDigests, readKeys } from './table-reader.ts';
import { RovingWorkload } from './roving-workload.ts';
import type { Seat, SettledTrio, TortureTrio } from './trio.ts';

/** Keys that are read one by one besides those of the round; on replicas, all that are. The digests have every key. */
const KEYS_SAMPLED = 200;

export interface JudgedRound {
  readonly findings: readonly Finding[];
  /** Writes in salvage files: all, and those that a client had been told are durable. */
  readonly setAside: number;
  readonly acknowledgedSetAside: number;
}

export interface TrioCheckOptions {
  readonly history: History;
  readonly random: SeededRandom;
  readonly mayBeSetAside: boolean;
}

export class TrioCheck {
  readonly #options: TrioCheckOptions;
  /** Everything up to here has been judged. */
  #judgedLsn: number;

  constructor(options: TrioCheckOptions, startLsn: number) {
    this.#options = options;
    this.#judgedLsn = startLsn;
  }

  /** Judges all writes since the last time. To be called while nothing is written. */
  async judgeRound(round: number, trio: TortureTrio, settled: SettledTrio): Promise<JudgedRound> {
    const { history } = this.#options;
    const { visibleLsn } = settled;
    const fates = this.#checkFates(round, trio, settled);
    this.#judgedLsn = visibleLsn;
    const judged = { setAside: fates.setAside, acknowledgedSetAside: fates.acknowledgedSetAside };
    if (fates.findings.length > 0) return { ...judged, findings: fates.findings };
    history.settleByFate(round, fates.fateOf);

    const ofRound = history.records.filter((write) => write.round === round).map(({ key }) => key);
    for (const seat of [settled.primary, ...settled.replicas]) {
      const keys = seat === settled.primary ? ofRound : this.#sample(ofRound);
      const readings = await readKeys(seat.url, [...new Set([...RovingWorkload.sharedKeys, ...keys, ...this.#sample(history.keys)])]);
      const findings = onNode(seat, this.#judgeReadings(readings));
      if (findings.length > 0) return { ...judged, findings };
    }
    const different = await Promise.all(settled.replicas.map((replica) => compareDigests(settled.primary.url, replica.url, visibleLsn)));
    return { ...judged, findings: different.flat() };
  }

  /** Everything once more, from every side. The nodes are stopped at the end of it. */
  async finish(trio: TortureTrio, settled: SettledTrio): Promise<readonly Finding[]> {
    const { history } = this.#options;
    const keys = [...new Set([...history.keys, ...RovingWorkload.sharedKeys])];
    const readings = await readKeys(settled.primary.url, keys);
    const findings = [
      ...onNode(settled.primary, this.#judgeReadings(readings)),
      ...checkPositions(history.records),
      ...checkOneHistory(history.records),
      ...(await verifyNodes(trio.urls)),
    ];
    await trio.stop(settled);
    return [...findings, ...compareLogs(trio.seats, readings)];
  }

  #checkFates(round: number, trio: TortureTrio, { primary, visibleLsn, epochTags }: SettledTrio): Fates {
    const { history, mayBeSetAside } = this.#options;
    return checkFates({
      writes: history.records.filter((write) => write.round === round),
      surviving: readLog(primary.dataDirectory, { afterLsn: this.#judgedLsn, throughLsn: visibleLsn, epochTags }),
      setAside: trio.seats.flatMap((seat) => readSalvage(seat.dataDirectory)),
      mayBeSetAside,
    });
  }

  #sample(keys: readonly string[]): readonly string[] {
    return Array.from({ length: KEYS_SAMPLED }, () => this.#options.random.pick(keys));
  }

  #judgeReadings(readings: readonly Reading[]): readonly Finding[] {
    if (readings.length === 0) throw new Error('no key was read: an empty check proves nothing');
    return readings.flatMap((reading) => checkReading(reading, this.#options.history.writesOf(reading.key)) ?? []);
  }
}

/**
 * The logs of nodes that were stopped cleanly, read by the second decoder: where two hold the same LSNs,
 * they hold the same bytes; all end alike; and as far as each reaches back, it says what HTTP said.
 * @throws Error where there is nothing to compare.
 */
export function compareLogs(seats: readonly Pick<Seat, 'name' | 'dataDirectory'>[], readings: readonly Reading[]): readonly Finding[] {
  const logs = seats.map(({ name, dataDirectory }) => ({ name, log: decodeLog(logDirectoryOf(dataDirectory)) }));
  for (const { name, log } of logs) if (log.frames.length === 0) throw new Error(`the log of ${name} has no frames: nothing can be told from it`);

  const findings: Finding[] = [];
  const different = (detail: string, key = ''): void => void findings.push({ kind: 'different', key, detail });
  const reference = logs.reduce((longest, each) => (each.log.frames[0]!.firstLsn < longest.log.frames[0]!.firstLsn ? each : longest));
  const byFirstLsn = new Map(reference.log.frames.map((frame) => [frame.firstLsn, frame]));
  const referenceEnd = reference.log.frames.at(-1)!.lastLsn;
  for (const { name, log } of logs) {
    findings.push(...notClean(name, log));
    const end = log.frames.at(-1)!.lastLsn;
    if (end !== referenceEnd) different(`the log of ${reference.name} ends with LSN ${referenceEnd}, that of ${name} with ${end}`);
    const odd = log.frames.find((frame) => {
      const other = byFirstLsn.get(frame.firstLsn);
      return other === undefined || !sharedBytes(frame).equals(sharedBytes(other));
    });
    if (odd !== undefined) different(`the frame of LSN ${odd.firstLsn} in ${odd.file} of ${name} is not that of ${reference.name}`);
  }

  const touched = new Set(reference.log.frames.flatMap(({ operations }) => operations.flatMap((operation) => (operation.kind === 'put' || operation.kind === 'delete' ? [operation.key] : []))));
  const fold = foldLog(reference.log.frames);
  for (const { key, value, position } of readings) {
    // What the oldest log no longer has, it can say nothing about.
    if (!touched.delete(key)) continue;
    const row = fold.get(key);
    const lsn = position === undefined ? undefined : Number(position.split('-')[1]);
    if ((row?.value ?? null) !== value || (lsn !== undefined && lsn !== row?.lsn)) {
      different(`the log of ${reference.name} says LSN ${row?.lsn}, HTTP says ${position}, or their values differ`, key);
    }
  }
  if (touched.size > 0) findings.push({ kind: 'phantom', key: '', detail: `the log of ${reference.name} holds ${touched.size} keys that nobody wrote` });
  return findings;
}

function onNode({ name }: Seat, findings: readonly Finding[]): readonly Finding[] {
  return findings.map((finding) => ({ ...finding, detail: `on ${name}: ${finding.detail}` }));
}
