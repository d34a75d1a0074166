/**
 * All histories of a run, the surviving one and those that were left behind. Epochs form a tree: each
 * begins where its parent ended for it. A position (epoch, LSN) therefore names one history, from LSN 1
 * to itself, its *lineage*:
 *
 *   1.a ──1────────60┬──────100        lost: 61–100 of epoch 1
 *                    └ 2.b ──61──90┬── …
 *                                  └ 3.c ──91──▶   surviving: 1.a 1–60, 2.b 61–90, 3.c
 *
 * What lost positions held is known from salvage files; where none covers them it is not known, and then
 * nothing is claimed about it.
 */
import type { DataOperation } from '../../../lib/base/operation.ts';
import { type Position, epochTagOf } from '../../../lib/base/position.ts';
import type { HistoryTruth, LoggedOperation, OpenedEpoch } from '../history-record.ts';

/** What a key's last write was. */
export interface KeyWrite {
  /** Null for a delete. */
  readonly value: string | null;
  readonly position: Position;
}

export interface LeftBehind {
  /** The surviving epoch that began without the operation; undefined where there is none that explains it. */
  readonly by: OpenedEpoch | undefined;
  /** Last LSN that the lost lineage shares with the surviving history. */
  readonly forkLsn: number;
}

interface SurvivingEpoch {
  readonly firstLsn: number;
  readonly lastLsn: number;
  readonly nextId: string | undefined;
}

export class Lineages {
  readonly truth: HistoryTruth;
  readonly #epochsById = new Map<string, OpenedEpoch>();
  readonly #epochsByTag = new Map<string, OpenedEpoch>();
  readonly #surviving = new Map<string, SurvivingEpoch>();
  readonly #writesByKey = new Map<string, KeyWrite[]>();
  readonly #lsnByValue = new Map<string, number>();
  readonly #salvagedByKey = new Map<string, Map<string, KeyWrite>>();
  readonly #salvagedValues = new Set<string>();

  constructor(truth: HistoryTruth) {
    this.truth = truth;
    for (const opened of truth.epochs) {
      this.#epochsById.set(opened.epoch.id, opened);
      this.#epochsByTag.set(`${opened.epoch.number}.${epochTagOf(opened.epoch.id)}`, opened);
    }
    this.#readLog(truth.log);
    for (const file of truth.salvage) {
      for (const { position, operation } of file.operations) this.#readSalvaged(position, operation);
    }
  }

  /** Was this node's disk destroyed or rolled back? */
  isRuined(nodeId: string | undefined): boolean {
    return this.truth.ruins.some((ruin) => ruin.nodeId === nodeId);
  }

  /** Nodes beside `exceptNodeId` whose disks were destroyed or rolled back after `event`. */
  ruinsAfter(event: number, exceptNodeId: string | undefined): number {
    return this.truth.ruins.filter(({ nodeId, at }) => nodeId !== exceptNodeId && at > event).length;
  }

  get endLsn(): number {
    return this.truth.log.length;
  }

  /** The operation at an LSN of the surviving history. */
  at(lsn: number): LoggedOperation | undefined {
    return this.truth.log[lsn - 1];
  }

  /** The operations of the surviving history that share a frame with the one at `lsn`. */
  frameAt(lsn: number): readonly LoggedOperation[] {
    const frameLsn = this.at(lsn)?.frameLsn;
    if (frameLsn === undefined) return [];
    let endLsn = lsn;
    while (this.at(endLsn + 1)?.frameLsn === frameLsn) endLsn += 1;
    return this.truth.log.slice(frameLsn - 1, endLsn);
  }

  /** Position of an LSN of the surviving history. */
  positionOf(logged: LoggedOperation): Position {
    const number = this.#epochsById.get(logged.epochId)?.epoch.number ?? 0;
    return { epochNumber: number, epochTag: epochTagOf(logged.epochId), lsn: logged.lsn };
  }

  /** The epoch that a position names; undefined where none such was ever opened, or it began later. */
  epochOf(position: Position): OpenedEpoch | undefined {
    const opened = this.#epochsByTag.get(`${position.epochNumber}.${position.epochTag}`);
    return opened !== undefined && position.lsn >= opened.firstLsn ? opened : undefined;
  }

  isSurvivingEpoch(opened: OpenedEpoch): boolean {
    return this.#surviving.has(opened.epoch.id);
  }

  /** The epoch that follows in the surviving history. */
  nextEpoch(opened: OpenedEpoch): OpenedEpoch | undefined {
    const nextId = this.#surviving.get(opened.epoch.id)?.nextId;
    return nextId === undefined ? undefined : this.#epochsById.get(nextId);
  }

  survives(position: Position): boolean {
    if (position.lsn === 0) return true;
    const opened = this.epochOf(position);
    const surviving = opened === undefined ? undefined : this.#surviving.get(opened.epoch.id);
    return surviving !== undefined && position.lsn <= surviving.lastLsn;
  }

  /** True where `earlier` lies in the history that ends at `head`. */
  includes(head: Position, earlier: Position): boolean {
    if (earlier.lsn === 0) return true;
    let endLsn = head.lsn;
    for (let opened = this.epochOf(head); opened !== undefined; opened = this.#parentOf(opened)) {
      if (this.epochOf(earlier) === opened) return earlier.lsn <= endLsn;
      endLsn = opened.firstLsn - 1;
    }
    return false;
  }

  /** The end of an epoch, wherever that is. */
  endOf({ epoch }: OpenedEpoch): Position {
    return { epochNumber: epoch.number, epochTag: epochTagOf(epoch.id), lsn: Number.MAX_SAFE_INTEGER };
  }

  /**
   * True where a later epoch that had left `position` behind was open at `event`, and was itself given up
   * afterwards: by then nobody could know that the position would survive after all.
   */
  seemedLost(position: Position, event: number): boolean {
    return this.truth.epochs.some((opened) => !this.isSurvivingEpoch(opened) && opened.openedAt < event && opened.epoch.number > position.epochNumber && !this.includes(this.endOf(opened), position));
  }

  /** Where a lost position parted from the surviving history, and what left it behind. */
  leftBehind(position: Position): LeftBehind {
    let lineageEndLsn = position.lsn;
    const lost: OpenedEpoch[] = [];
    for (let opened = this.epochOf(position); opened !== undefined; opened = this.#parentOf(opened)) {
      const surviving = this.#surviving.get(opened.epoch.id);
      if (surviving !== undefined) return { by: this.#supersederOf(lost, this.nextEpoch(opened)), forkLsn: Math.min(lineageEndLsn, surviving.lastLsn) };
      lost.unshift(opened);
      lineageEndLsn = opened.firstLsn - 1;
    }
    return { by: undefined, forkLsn: 0 };
  }

  /**
   * The surviving epoch after the fork left the lost ones behind, unless it was there first: then one of
   * those was forced into being beside it, or a later surviving one was, which gave them up.
   */
  #supersederOf(lost: readonly OpenedEpoch[], next: OpenedEpoch | undefined): OpenedEpoch | undefined {
    const branch = lost[0];
    if (branch === undefined || next === undefined) return next;
    // A switchover was decided when the old epoch ended for it: whoever was forced then knew that its target could not be asked.
    const isOverruled = next.begin === 'switchover' && branch.begin === 'forced';
    if (next.openedAt > branch.openedAt && !isOverruled) return next;
    const later: OpenedEpoch[] = [];
    for (let epoch = this.nextEpoch(next); epoch !== undefined; epoch = this.nextEpoch(epoch)) if (epoch.openedAt > branch.openedAt) later.push(epoch);
    return [...lost, ...later].find(({ begin }) => begin === 'forced') ?? next;
  }

  /**
   * The last write of `key` at or below `position`, in its lineage; null where there was none.
   * Undefined where it can't be known: the position is lost, and no complete salvage files cover all since the fork.
   */
  lastWriteAt(key: string, position: Position): KeyWrite | null | undefined {
    if (this.survives(position)) return this.lastSurvivingWriteAt(key, position.lsn);
    const { forkLsn } = this.leftBehind(position);
    if (!this.#isSetAside(forkLsn, position)) return undefined;
    let last = this.lastSurvivingWriteAt(key, forkLsn);
    for (const write of this.#salvagedByKey.get(key)?.values() ?? []) {
      if (this.includes(position, write.position) && write.position.lsn > (last?.position.lsn ?? 0)) last = write;
    }
    return last;
  }

  /** Do complete salvage files hold all of `position`'s lineage after `afterLsn`? One begins where its node's history parted from what survived then. */
  #isSetAside(afterLsn: number, position: Position): boolean {
    return this.truth.salvage.some(({ isComplete, forkLsn, throughPosition }) => isComplete && forkLsn < position.lsn && this.includes(throughPosition, position) && (forkLsn <= afterLsn || this.#isSetAside(afterLsn, this.#before(position, forkLsn))));
  }

  /** The position of an earlier LSN in the lineage of `position`. */
  #before(position: Position, lsn: number): Position {
    let opened = this.epochOf(position);
    while (opened !== undefined && lsn < opened.firstLsn) opened = this.#parentOf(opened);
    return opened === undefined ? { ...position, lsn } : { epochNumber: opened.epoch.number, epochTag: epochTagOf(opened.epoch.id), lsn };
  }

  lastSurvivingWriteAt(key: string, lsn: number): KeyWrite | null {
    const writes = this.survivingWritesOf(key);
    const index = lastIndexAtMost(writes, lsn);
    return index === -1 ? null : writes[index]!;
  }

  /** In the order of their LSNs. */
  survivingWritesOf(key: string): readonly KeyWrite[] {
    return this.#writesByKey.get(key) ?? [];
  }

  /** LSN of the write of `value` in the surviving history. Told by its content, not by what any answer said. */
  lsnOfValue(value: string): number | undefined {
    return this.#lsnByValue.get(value);
  }

  isSalvaged(value: string): boolean {
    return this.#salvagedValues.has(value);
  }

  /** Distinct operations on `key` in salvage files. */
  salvagedWritesOf(key: string): readonly KeyWrite[] {
    return [...(this.#salvagedByKey.get(key)?.values() ?? [])];
  }

  #parentOf(opened: OpenedEpoch): OpenedEpoch | undefined {
    return opened.parent === null ? undefined : this.#epochsById.get(opened.parent.id);
  }

  #readLog(log: readonly LoggedOperation[]): void {
    let firstLsn = 1;
    for (const [index, logged] of log.entries()) {
      const nextId = log[index + 1]?.epochId;
      if (nextId !== logged.epochId) {
        this.#surviving.set(logged.epochId, { firstLsn, lastLsn: logged.lsn, nextId });
        firstLsn = logged.lsn + 1;
      }
      const { operation } = logged;
      if (operation.kind !== 'put' && operation.kind !== 'delete') continue;
      const write: KeyWrite = { value: operation.kind === 'put' ? operation.value : null, position: this.positionOf(logged) };
      const ofKey = this.#writesByKey.get(operation.key);
      if (ofKey === undefined) this.#writesByKey.set(operation.key, [write]);
      else ofKey.push(write);
      if (write.value !== null && !this.#lsnByValue.has(write.value)) this.#lsnByValue.set(write.value, logged.lsn);
    }
  }

  #readSalvaged(position: Position, operation: DataOperation): void {
    const write: KeyWrite = { value: operation.kind === 'put' ? operation.value : null, position };
    const ofKey = this.#salvagedByKey.get(operation.key) ?? new Map<string, KeyWrite>();
    // Several nodes may set the same operation aside.
    ofKey.set(`${position.epochNumber}.${position.epochTag}-${position.lsn}`, write);
    this.#salvagedByKey.set(operation.key, ofKey);
    if (write.value !== null) this.#salvagedValues.add(write.value);
  }
}

function lastIndexAtMost(writes: readonly KeyWrite[], lsn: number): number {
  let low = 0;
  let high = writes.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (writes[middle]!.position.lsn <= lsn) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
