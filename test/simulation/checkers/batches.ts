/**
 * Check 7: what was sent as one batch is one step.
 *
 * - In the surviving history all of it is there, or nothing: in one frame that holds nothing else, in its order,
 *   at the positions that the answer told. Deletes of what was not there are left out, and only those.
 * - The same of what was set aside: a fork goes between batches, never through one.
 * - Each of its conditions held in the state before the batch, whether or not an answer ever came.
 * - No read tells a position inside of it: that would be a state in which half of it has happened. (That
 *   reads show what is at their position is for check 4.)
 *
 * That nothing is left of one that was refused, and that what was acknowledged is not lost, check 3 says
 * of each operation.
 */
import type { DataOperation } from '../../../lib/base/operation.ts';
import { type Position, formatPosition } from '../../../lib/base/position.ts';
import type { CheckReport, HistoryRecord, LoggedOperation, MutationRecord, ReadRecord, SalvageFile, Violation } from '../history-record.ts';
import { describeRecord, violation } from './describe-record.ts';
import type { Lineages } from './lineages.ts';
import { isAnsweredRead, isMutation, isStored, mayBeStored } from './mutation.ts';
import { unmet } from './reads-against-log.ts';

/** In the order of its operations. */
type SentBatch = readonly MutationRecord[];

/** An operation of a batch that was carried out, and where. */
interface Placed {
  readonly record: MutationRecord;
  readonly position: Position;
}

export function checkBatches(records: readonly HistoryRecord[], lineages: Lineages): CheckReport {
  const batches = batchesIn(records);
  const possible = batches.filter((batch) => batch.some(mayBeStored));
  const violations = [
    ...possible.flatMap(judgeAnswer),
    ...possible.flatMap((batch) => judgeInLog(batch, lineages)),
    ...possible.flatMap((batch) => judgeConditions(batch, lineages)),
    ...completeFiles(lineages).flatMap((file) => judgeSetAside(file, possible)),
    ...judgeReads(records.filter(isAnsweredRead), possible, lineages),
  ];
  return { checkedCount: batches.length, violations };
}

function batchesIn(records: readonly HistoryRecord[]): readonly SentBatch[] {
  const members = records.filter(isMutation).filter(({ batch }) => batch !== undefined);
  return [...Map.groupBy(members, ({ batch }) => batch!.id).values()].map((batch) => batch.toSorted((a, b) => a.batch!.index - b.batch!.index));
}

// ——— what the client was told ———

function judgeAnswer(batch: SentBatch): readonly Violation[] {
  const told = toldPlaces(batch);
  const isInOrder = told.every(({ position }, index) => index === 0 || formatPosition(position) === formatPosition(after(told[index - 1]!.position, 1)));
  return isInOrder ? [] : [violation('wrong-batch', `the positions that were told don't follow one another: ${described(batch)}`, ...batch)];
}

function toldPlaces(batch: SentBatch): readonly Placed[] {
  return batch.flatMap((record) => (isStored(record) && record.position !== null ? [{ record, position: record.position }] : []));
}

// ——— the surviving history ———

function judgeInLog(batch: SentBatch, lineages: Lineages): readonly Violation[] {
  const frame = frameOf(batch, lineages);
  if (frame === undefined) return [];
  const missing = puts(batch).filter(({ value }) => lineages.lsnOfValue(value!) === undefined);
  if (missing.length > 0) return [violation('torn-batch', `${missing.map(({ id }) => `#${id}`).join(', ')} of it is not in the log, the rest is: ${described(batch)}`, ...batch)];
  const expected = carriedOut(batch, lineages.positionOf(frame[0]!), lineages);
  if (!isSameStep(frame, expected)) {
    return [violation('wrong-batch', `it was to be a frame of ${expected.map(({ record }) => textOf(operationOf(record))).join(' ')}, its first operation is in one of ${frame.map(({ operation }) => ('key' in operation ? textOf(operation) : operation.kind)).join(' ')} from LSN ${frame[0]!.lsn} on: ${described(batch)}`, ...batch)];
  }
  return batch.flatMap((record) => judgeOutcome(record, expected.find((placed) => placed.record === record)));
}

/** The frame in which it begins. Where answers told positions, deletes are found by these; all else by its content. */
function frameOf(batch: SentBatch, lineages: Lineages): readonly LoggedOperation[] | undefined {
  const byValue = puts(batch).flatMap(({ value }) => lineages.lsnOfValue(value!) ?? []);
  const told = toldPlaces(batch).filter(({ position }) => lineages.survives(position)).map(({ position }) => position.lsn);
  const lsns = [...byValue, ...told];
  return lsns.length === 0 ? undefined : lineages.frameAt(Math.min(...lsns));
}

/** What becomes of a batch that begins at `first`: all of it but deletes of what is not there. */
function carriedOut(batch: SentBatch, first: Position, lineages: Lineages): readonly Placed[] {
  const isThere = new Map<string, boolean>();
  let count = 0;
  return batch.flatMap((record) => {
    const { key, kind } = record;
    const exists = isThere.get(key) ?? (lineages.lastSurvivingWriteAt(key, first.lsn - 1)?.value ?? null) !== null;
    if (kind === 'delete' && !exists) return [];
    isThere.set(key, kind === 'write');
    count += 1;
    return [{ record, position: after(first, count - 1) }];
  });
}

function isSameStep(frame: readonly LoggedOperation[], expected: readonly Placed[]): boolean {
  return frame.length === expected.length && expected.every(({ record }, index) => isOperationOf(record, frame[index]!.operation));
}

/** @param placed undefined where it had nothing to delete. */
function judgeOutcome(record: MutationRecord, placed: Placed | undefined): readonly Violation[] {
  const { outcome, position } = record;
  if (placed === undefined && outcome === 'ok') return [violation('wrong-batch', `there was nothing that it could delete: ${describeRecord(record)}`, record)];
  if (placed !== undefined && outcome === 'not-found') return [violation('wrong-batch', `it is at ${formatPosition(placed.position)}: ${describeRecord(record)}`, record)];
  if (placed === undefined || !isStored(record) || position === null || formatPosition(position) === formatPosition(placed.position)) return [];
  return [violation('wrong-batch', `its batch has it at ${formatPosition(placed.position)}: ${describeRecord(record)}`, record)];
}

// ——— conditions ———

function judgeConditions(batch: SentBatch, lineages: Lineages): readonly Violation[] {
  const [firstLogged] = frameOf(batch, lineages) ?? [];
  const first = firstLogged === undefined ? toldPlaces(batch)[0]?.position : lineages.positionOf(firstLogged);
  if (first === undefined) return [];
  return batch.flatMap((record) => {
    // The first write of an epoch follows on the epoch-begin record, so the LSN before is of the same epoch.
    const before = lineages.lastWriteAt(record.key, after(first, -1));
    return before === undefined ? [] : unmet(record, before);
  });
}

// ——— what was set aside ———

function judgeSetAside(file: SalvageFile, batches: readonly SentBatch[]): readonly Violation[] {
  const indexes = indexesOf(file);
  return batches.flatMap((batch) => {
    const written = puts(batch);
    const found = written.flatMap(({ value }) => indexes.get(value!) ?? []);
    if (found.length === 0) return [];
    if (found.length < written.length) return [violation('torn-batch', `${file.name} of ${file.nodeId} holds ${found.length} of its ${written.length} writes: ${described(batch)}`, ...batch)];
    if (isRunOf(runOf(batch, file, indexes), batch)) return [];
    return [violation('wrong-batch', `${file.name} of ${file.nodeId} does not hold it as one run of operations, in its order: ${described(batch)}`, ...batch)];
  });
}

/** Others hold rows, of each key the last one. */
function completeFiles({ truth }: Lineages): readonly SalvageFile[] {
  return truth.salvage.filter(({ isComplete }) => isComplete);
}

function indexesOf(file: SalvageFile): ReadonlyMap<string, number> {
  return new Map(file.operations.flatMap(({ operation }, index) => (operation.kind === 'put' ? [[operation.value, index] as const] : [])));
}

/** What a file holds from the first write of the batch to its last one. */
function runOf(batch: SentBatch, file: SalvageFile, indexes: ReadonlyMap<string, number>): SalvageFile['operations'] {
  const found = puts(batch).flatMap(({ value }) => indexes.get(value!) ?? []);
  return found.length === 0 ? [] : file.operations.slice(Math.min(...found), Math.max(...found) + 1);
}

/** Which of the deletes in between found something is not known. */
function isRunOf(run: SalvageFile['operations'], batch: SentBatch): boolean {
  let next = 0;
  for (const record of batch.slice(batch.findIndex(({ kind }) => kind === 'write'))) {
    if (next < run.length && isOperationOf(record, run[next]!.operation)) next += 1;
    else if (record.kind === 'write') return false;
  }
  return next === run.length && run.every(({ position }, index) => formatPosition(position) === formatPosition(after(run[0]!.position, index)));
}

// ——— reads ———

function judgeReads(reads: readonly ReadRecord[], batches: readonly SentBatch[], lineages: Lineages): readonly Violation[] {
  const inside = positionsInside(batches, lineages);
  return reads.flatMap((read) => {
    const batch = read.position === null ? undefined : inside.get(formatPosition(read.position));
    return batch === undefined ? [] : [violation('torn-batch', `its position is in the middle of a batch: ${describeRecord(read)}; ${described(batch)}`, read, ...batch)];
  });
}

/** Every position of a batch but its last one, wherever that is known. */
function positionsInside(batches: readonly SentBatch[], lineages: Lineages): ReadonlyMap<string, SentBatch> {
  const inside = new Map<string, SentBatch>();
  const add = (batch: SentBatch, positions: readonly Position[]): void => {
    for (const position of positions.slice(0, -1)) inside.set(formatPosition(position), batch);
  };
  const files = completeFiles(lineages).map((file) => ({ file, indexes: indexesOf(file) }));
  for (const batch of batches) {
    add(batch, puts(batch).flatMap(({ value }) => lineages.lsnOfValue(value!) ?? []).map((lsn) => lineages.positionOf(lineages.at(lsn)!)));
    const frame = frameOf(batch, lineages);
    if (frame !== undefined) add(batch, frame.map((logged) => lineages.positionOf(logged)));
    add(batch, toldPlaces(batch).map(({ position }) => position));
    for (const { file, indexes } of files) add(batch, runOf(batch, file, indexes).map(({ position }) => position));
  }
  return inside;
}

// ——— operations ———

function puts(batch: SentBatch): readonly MutationRecord[] {
  return batch.filter(({ kind }) => kind === 'write');
}

function operationOf({ key, value }: MutationRecord): DataOperation {
  return value === null ? { kind: 'delete', key } : { kind: 'put', key, value };
}

function isOperationOf(record: MutationRecord, operation: LoggedOperation['operation']): boolean {
  return 'key' in operation && textOf(operation) === textOf(operationOf(record));
}

function textOf(operation: DataOperation): string {
  return operation.kind === 'put' ? `${operation.key}=${JSON.stringify(operation.value)}` : `-${operation.key}`;
}

function after(position: Position, count: number): Position {
  return { ...position, lsn: position.lsn + count };
}

function described(batch: SentBatch): string {
  return batch.map(describeRecord).join('; ');
}
