/**
 * Small histories for the tests of the checkers, written so that one can read them:
 *
 *   truthOf({ log: '1.aaaa: a=v1 -a | 2.bbbb: a=v2' })   epoch-begin records are implied: v1 is at 1.aaaa-2
 *   truthOf({ log: '1.aaaa: a=v1&b=v2' })                one frame
 *   write('a', 'v1', [1, 2], '1.aaaa-2')                 began at event 1, ended at event 2
 */
import type { EpochRef } from '../../../lib/base/epoch-history.ts';
import type { DataOperation, Operation } from '../../../lib/base/operation.ts';
import { type Position, formatPosition, parsePosition } from '../../../lib/base/position.ts';
import type { HistoryRecord, HistoryTruth, LoggedOperation, MutationRecord, NodeEnd, OpenedEpoch, ReadRecord, Ruin, SalvageFile, Violation } from '../history-record.ts';
import { digestOf } from './end-state.ts';

/** Event numbers of beginning and end. */
type Span = readonly [number, number | null];

export function at(text: string): Position {
  const position = parsePosition(text);
  if (position === undefined) throw new Error(`${text} is no position`);
  return position;
}

export function write(key: string, value: string, span: Span, position: string | null, more: Partial<MutationRecord> = {}): MutationRecord {
  return { ...common(key, span), kind: 'write', value, outcome: span[1] === null ? 'unknown' : 'ok', ackAsked: 'local', ackReached: span[1] === null ? null : 'local', position: position === null ? null : at(position), ...more };
}

export function del(key: string, span: Span, position: string | null, more: Partial<MutationRecord> = {}): MutationRecord {
  return { ...write(key, '', span, position), kind: 'delete', value: null, ...more };
}

/** Sent together, by one client. */
export function batch(...members: readonly MutationRecord[]): readonly MutationRecord[] {
  const { id, clientId } = members[0]!;
  return members.map((member, index) => ({ ...member, clientId, batch: { id, index } }));
}

/** By the primary n1, unless told otherwise. */
export function read(key: string, value: string | null, span: Span, position: string, more: Partial<ReadRecord> = {}): ReadRecord {
  return { ...common(key, span), kind: 'read', value, outcome: value === null ? 'not-found' : 'ok', role: 'primary', position: at(position), keyPosition: null, ...more };
}

export interface TruthSketch {
  readonly log: string;
  /** Changes to the epochs of `log`, by tag, and those that did not survive. */
  readonly epochs?: Readonly<Record<string, Partial<Omit<OpenedEpoch, 'parent'>> & { readonly parent?: string }>>;
  readonly salvage?: readonly SalvageSketch[];
  readonly ruins?: readonly Ruin[];
}

/** Operations by their positions. */
type SalvageSketch = Partial<Omit<SalvageFile, 'operations'>> & { readonly operations: Readonly<Record<string, string>> };

export function truthOf({ log, epochs = {}, salvage = [], ruins = [] }: TruthSketch): HistoryTruth {
  const opened = new Map<string, OpenedEpoch>();
  const logged: LoggedOperation[] = [];
  const open = (tag: string, parentTag: string | undefined, afterLsn: number): OpenedEpoch => {
    const parent = parentTag === undefined ? null : refOf(parentTag);
    const begin = parent === null ? 'first' : 'failover';
    const epoch: OpenedEpoch = { epoch: refOf(tag), parent, begin, firstLsn: afterLsn + 1, nodeId: `n${refOf(tag).number}`, openedAt: 0, acceptedLoss: 0, announcedLsn: null, safeAck: null };
    const { parent: _, ...changes } = epochs[tag] ?? {};
    opened.set(tag, { ...epoch, ...changes });
    return opened.get(tag)!;
  };
  const append = (epoch: EpochRef, frame: readonly Operation[]): void => {
    const frameLsn = logged.length + 1;
    logged.push(...frame.map((operation, index) => ({ lsn: frameLsn + index, epochId: epoch.id, frameLsn, operation })));
  };
  let parentTag: string | undefined;
  for (const part of log.split('|')) {
    const [tag, operations] = part.split(':').map((text) => text.trim()) as [string, string];
    const { epoch, parent, begin, acceptedLoss } = open(tag, parentTag, logged.length);
    append(epoch, [{ kind: 'epoch-begin', begin, epoch, parent, parentEnd: { lsn: logged.length, chain: 0 }, acceptedLoss }]);
    for (const frame of operations.split(' ').filter(Boolean)) append(epoch, frame.split('&').map(operationOf));
    parentTag = tag;
  }
  for (const [tag, { parent, firstLsn }] of Object.entries(epochs)) if (!opened.has(tag)) open(tag, parent, (firstLsn ?? 1) - 1);
  return {
    log: logged,
    epochs: [...opened.values()],
    salvage: salvage.map(salvageOf),
    nodes: [nodeEndOf('n1', logged), nodeEndOf('n2', logged)],
    ruins,
  };
}

/** What a node holds that has the whole log and applied it. */
export function nodeEndOf(nodeId: string, log: readonly LoggedOperation[]): NodeEnd {
  const table = new Map<string, { readonly value: string; readonly lsn: number }>();
  for (const { lsn, operation } of log) {
    if (operation.kind === 'put') table.set(operation.key, { value: operation.value, lsn });
    if (operation.kind === 'delete') table.delete(operation.key);
  }
  return { nodeId, log, table, digest: { lsn: log.length, chain: 0xc0ffee, rowCount: table.size, sha256: digestOf(table) } };
}

export function codesOf(violations: readonly Violation[]): readonly string[] {
  return violations.map(({ code }) => code);
}

/** The id is the event at which it began, so that a test can name it; each is of a client of its own. */
function common(key: string, [invokedAt, endedAt]: Span): Pick<HistoryRecord, 'id' | 'clientId' | 'nodeId' | 'key' | 'invokedAt' | 'endedAt' | 'minPosition'> {
  return { id: invokedAt, clientId: `c${invokedAt}`, nodeId: 'n1', key, invokedAt, endedAt, minPosition: null };
}

function refOf(tag: string): EpochRef {
  const [number, idPart] = tag.split('.') as [string, string];
  return { number: Number(number), id: idPart.repeat(8) };
}

function operationOf(text: string): DataOperation {
  if (text.startsWith('-')) return { kind: 'delete', key: text.slice(1) };
  const [key, value] = text.split('=') as [string, string];
  return { kind: 'put', key, value };
}

function salvageOf(file: SalvageSketch): SalvageFile {
  const operations = Object.entries(file.operations).map(([position, text]) => ({ position: at(position), operation: operationOf(text) }));
  const first = operations[0]!.position;
  return { nodeId: 'n1', name: `${formatPosition(first)}.ndjson`, isComplete: true, forkLsn: first.lsn - 1, throughPosition: operations.at(-1)!.position, ...file, operations };
}
