import { expect } from 'chai';
import * as fc from 'fast-check';

import type { HistoryRecord, HistoryTruth, LoggedOperation, MutationRecord, ReadRecord, ViolationCode } from '../history-record.ts';
import { codesOf, nodeEndOf } from './small-history.ts';
import { judgeHistory } from './judge-history.ts';
import { Lineages } from './lineages.ts';
import { isAnsweredRead, isMutation, isStored } from './mutation.ts';
import { type ModelHistory, playModel } from './register-model.ts';

/** Runs that are short on operations of some kind are no concern here: the lies are. */
const OPTIONS = { successShareMin: 0, mayBeEmpty: ['real-time order', 'register', 'set', 'reads against the log', 'sessions', 'batches'] } as const;
const STEPS = 400;

describe('checkers and random histories', function () {
  this.timeout(60_000);

  it('find nothing in histories that are true', () => {
    fc.assert(fc.property(fc.integer({ min: 0 }), fc.integer({ min: 20, max: 600 }), (seed, steps) => {
      const { records, truth } = playModel(seed, steps);
      expect(judgeHistory(records, truth, OPTIONS)).to.deep.equal([]);
    }), { numRuns: 300, seed: 1 });
  });

  it('are given every kind of story', () => {
    const histories = Array.from({ length: 40 }, (_, seed) => playModel(seed, STEPS));
    const begins = new Set(histories.flatMap(({ truth }) => truth.epochs.map(({ begin }) => begin)));
    expect([...begins].sort()).to.deep.equal(['failover', 'first', 'forced', 'switchover']);
    const outcomes = new Set(histories.flatMap(({ records }) => records.map(({ kind, outcome }) => `${kind === 'read' ? 'read' : 'mutation'} ${outcome}`)));
    expect([...outcomes].sort()).to.include.members(['mutation ack-timeout', 'mutation failed', 'mutation not-found', 'mutation ok', 'mutation unknown', 'read not-found', 'read not-reached', 'read ok', 'read position-lost', 'read unknown']);
    expect(histories.filter(({ truth }) => truth.salvage.some(({ operations }) => operations.length > 0))).to.have.length.above(20);
  });

  for (const [story, lie] of Object.entries(lies())) {
    it(`find ${story}`, () => {
      let told = 0;
      fc.assert(fc.property(fc.integer({ min: 0 }), fc.nat(), (seed, choice) => {
        const history = playModel(seed, STEPS);
        const changed = lie.tell(history, choice, new Lineages(history.truth));
        fc.pre(changed !== undefined);
        told += 1;
        expect(codesOf(judgeHistory(changed.records, changed.truth, OPTIONS))).to.include.oneOf(lie.codes);
      }), { numRuns: 60, seed: 2, maxSkipsPerRun: 50 });
      expect(told).to.be.at.least(60);
    });
  }
});

interface Lie {
  readonly codes: readonly ViolationCode[];
  /** Undefined where this history gives no occasion for it. */
  readonly tell: (history: ModelHistory, choice: number, lineages: Lineages) => ModelHistory | undefined;
}

function lies(): Readonly<Record<string, Lie>> {
  return {
    'an answered write that is gone from the log': {
      codes: ['lost'],
      tell: ({ records, truth }, choice, lineages) => {
        const kept = records.filter(isMutation).filter((record) => isStored(record) && record.value !== null && lineages.lsnOfValue(record.value) !== undefined);
        const victim = pick(kept, choice);
        return victim && { records, truth: withLog(truth, (log) => log.filter(({ lsn }) => lsn !== victim.position!.lsn)) };
      },
    },
    'an answered write that is gone from its salvage file': {
      codes: ['lost'],
      tell: ({ records, truth }, choice, lineages) => {
        const victim = pick(records.filter(isMutation).filter((record) => isStored(record) && record.value !== null && lineages.isSalvaged(record.value)), choice);
        const isOther = ({ operation }: { readonly operation: LoggedOperation['operation'] }): boolean => operation.kind !== 'put' || operation.value !== victim?.value;
        return victim && { records, truth: { ...truth, salvage: truth.salvage.map((file) => ({ ...file, operations: file.operations.filter(isOther) })) } };
      },
    },
    'a lost write that replicas had confirmed before an unforced promotion': {
      codes: ['lost'],
      tell: (history, choice, lineages) => {
        const victim = pick(history.records.filter(isMutation).filter((record) => isStored(record) && record.value !== null && lineages.isSalvaged(record.value) && lineages.leftBehind(record.position!).by?.begin === 'failover'), choice);
        return victim && withRecord(history, { ...victim, outcome: 'ok', ackReached: 1 });
      },
    },
    'a stale read by the primary, with the position that belongs to it': {
      codes: ['stale-read', 'not-linearizable'],
      tell: (history, choice, lineages) => {
        const stale = history.records.filter(isAnsweredRead).flatMap((read) => {
          const before = read.role === 'primary' ? endedBefore(history.records, read, lineages) : undefined;
          return before === undefined ? [] : [showing(read, before.position!.lsn - 1, lineages)];
        });
        const victim = pick(stale.filter((read) => read !== undefined), choice);
        return victim && withRecord(history, victim);
      },
    },
    'a stale value of the primary behind a position that claims to be new': {
      codes: ['not-linearizable'],
      tell: (history, choice, lineages) => {
        const stale = history.records.filter(isAnsweredRead).flatMap((read) => {
          if (read.role !== 'primary' || !lineages.survives(read.position!)) return [];
          const opened = lineages.epochOf(read.position!)!;
          if (read.invokedAt > (lineages.nextEpoch(opened)?.openedAt ?? Infinity)) return [];
          const before = endedBefore(history.records.filter(({ key }) => key === read.key), read, lineages);
          const old = before === undefined ? null : lineages.lastSurvivingWriteAt(read.key, before.position!.lsn - 1);
          return old === null || old.value === null || !hadEnded(old.value, before!.invokedAt, history.records) ? [] : [{ ...read, outcome: 'ok' as const, value: old.value }];
        });
        const victim = pick(stale, choice);
        return victim && withRecord(history, victim);
      },
    },
    'a replica that shows another value than its position says': {
      codes: ['wrong-read'],
      tell: (history, choice, lineages) => {
        const reads = history.records.filter(isAnsweredRead).filter((read) => read.value !== null && lineages.survives(read.position!));
        const victim = pick(reads, choice);
        const other = victim && lineages.survivingWritesOf(victim.key).find(({ value }) => value !== null && value !== victim.value);
        return other && withRecord(history, { ...victim, value: other.value });
      },
    },
    'a read below its min': {
      codes: ['stale-read'],
      tell: (history, choice, lineages) => {
        const reads = history.records.filter(isAnsweredRead).filter(({ minPosition }) => minPosition !== null && minPosition.lsn > 1 && lineages.survives(minPosition));
        const victim = pick(reads, choice);
        const shown = victim && showing(victim, victim.minPosition!.lsn - 1, lineages);
        return shown && withRecord(history, shown);
      },
    },
    'a client that reads an older value than its min includes': {
      codes: ['session-went-back'],
      tell: (history, choice, lineages) => {
        const older = history.records.filter(isAnsweredRead).flatMap((read) => {
          const { minPosition, key } = read;
          if (minPosition === null || !lineages.survives(minPosition)) return [];
          const atMin = lineages.lastSurvivingWriteAt(key, minPosition.lsn);
          const before = atMin === null ? null : lineages.lastSurvivingWriteAt(key, atMin.position.lsn - 1);
          return before === null || before.value === null ? [] : [{ ...read, outcome: 'ok' as const, value: before.value }];
        });
        const victim = pick(older, choice);
        return victim && withRecord(history, victim);
      },
    },
    'a 410 for a position that survives': {
      codes: ['wrong-410'],
      tell: (history, choice, lineages) => {
        const reads = history.records.filter(isAnsweredRead).filter(({ minPosition, endedAt }) => minPosition !== null && lineages.survives(minPosition) && !lineages.seemedLost(minPosition, endedAt!));
        const victim = pick(reads, choice);
        return victim && withRecord(history, { ...victim, outcome: 'position-lost', value: null, position: null, keyPosition: null });
      },
    },
    'two writes whose positions are swapped': {
      codes: ['reordered-writes'],
      tell: ({ records, truth }, choice, lineages) => {
        const writes = records.filter(isMutation).filter((record) => isStored(record) && record.kind === 'write' && lineages.survives(record.position!));
        const second = pick(writes.filter((record) => endedBefore(writes, record, lineages) !== undefined), choice);
        if (second === undefined) return undefined;
        const first = endedBefore(writes, second, lineages)!;
        const [one, other] = [first.position!, second.position!];
        const changed = records.map((record) => (record === first ? { ...first, position: other } : record === second ? { ...second, position: one } : record));
        const swap = (log: readonly LoggedOperation[]): LoggedOperation[] => log.with(one.lsn - 1, { ...log[one.lsn - 1]!, operation: log[other.lsn - 1]!.operation }).with(other.lsn - 1, { ...log[other.lsn - 1]!, operation: log[one.lsn - 1]!.operation });
        return { records: changed, truth: withLog(truth, swap) };
      },
    },
    'a write that is in the log twice': {
      codes: ['duplicate'],
      tell: ({ records, truth }, choice) => {
        const again = pick(truth.log.filter(({ operation }) => operation.kind === 'put'), choice);
        return again && { records, truth: withLog(truth, (log) => [...log, { ...again, epochId: log.at(-1)!.epochId }]) };
      },
    },
    'a refused write that is in the log, or was read': {
      codes: ['phantom'],
      tell: (history, choice, lineages) => {
        const victim = pick(history.records.filter(isMutation).filter(({ value, endedAt }) => value !== null && endedAt !== null && lineages.lsnOfValue(value) !== undefined), choice);
        return victim && withRecord(history, { ...victim, outcome: 'failed', position: null });
      },
    },
    'a value that nobody wrote': {
      codes: ['phantom'],
      tell: (history, choice) => {
        const victim = pick(history.records.filter(isAnsweredRead), choice);
        return victim && withRecord(history, { ...victim, outcome: 'ok', value: 'nobody' });
      },
    },
    'a position that two writes were told': {
      codes: ['reused-position', 'misplaced-write'],
      tell: (history, choice) => {
        const stored = history.records.filter(isMutation).filter((record) => isStored(record));
        const [one, other] = [pick(stored, choice), pick(stored, choice + 1)];
        return one === other ? undefined : withRecord(history, { ...one!, position: other!.position });
      },
    },
    'a node that has applied one operation less': {
      codes: ['table-differs'],
      tell: ({ records, truth }, choice) => {
        const node = pick(truth.nodes, choice)!;
        const last = truth.log.findLast(({ lsn, operation }) => operation.kind === 'put' && node.table.get(operation.key)?.lsn === lsn);
        const behind = last && nodeEndOf(node.nodeId, truth.log.map((each) => (each === last ? { ...each, operation: truth.log[0]!.operation } : each)));
        return behind && { records, truth: { ...truth, nodes: truth.nodes.map((each) => (each === node ? { ...behind, log: node.log } : each)) } };
      },
    },
  };
}

function pick<T>(choices: readonly T[], choice: number): T | undefined {
  return choices[choice % Math.max(1, choices.length)];
}

function withRecord({ records, truth }: ModelHistory, changed: HistoryRecord): ModelHistory {
  return { records: records.map((record) => (record.id === changed.id ? changed : record)), truth };
}

/** All nodes agree with the changed log: only the history itself can give it away. */
function withLog(truth: HistoryTruth, change: (log: readonly LoggedOperation[]) => readonly LoggedOperation[]): HistoryTruth {
  const log = change(truth.log).map((logged, index) => ({ ...logged, lsn: index + 1, frameLsn: index + 1 }));
  return { ...truth, log, nodes: truth.nodes.map(({ nodeId }) => nodeEndOf(nodeId, log)) };
}

/** The stored write with the largest LSN, of the epoch that `record` is in, that had ended before it began. */
function endedBefore(records: readonly HistoryRecord[], record: HistoryRecord, lineages: Lineages): MutationRecord | undefined {
  const opened = lineages.epochOf(record.position!);
  const before = records.filter(isMutation).filter((other) => isStored(other) && other.endedAt! < record.invokedAt && lineages.survives(other.position!) && lineages.epochOf(other.position!) === opened && other.position!.lsn <= record.position!.lsn);
  return before.sort((a, b) => a.position!.lsn - b.position!.lsn).at(-1);
}

/** Otherwise the two writes overlap, and either may be the last. */
function hadEnded(value: string, event: number, records: readonly HistoryRecord[]): boolean {
  return records.filter(isMutation).some((record) => record.value === value && isStored(record) && record.endedAt! < event);
}

/** The same read, with all that it would have said at that LSN of the surviving history. */
function showing(read: ReadRecord, lsn: number, lineages: Lineages): ReadRecord | undefined {
  const logged = lineages.at(lsn);
  if (logged === undefined) return undefined;
  const write = lineages.lastSurvivingWriteAt(read.key, lsn);
  const value = write?.value ?? null;
  return { ...read, outcome: value === null ? 'not-found' : 'ok', value, position: lineages.positionOf(logged), keyPosition: value === null ? null : write!.position };
}
