/**
 * What became of every single write, by the one history that survived and by the salvage files: it is in
 * exactly one of them, once, at the position that the client was told, or in neither. Pure.
 *
 * A write is known by its value, which is never used twice, a delete by its key, which is never deleted
 * twice and never written again.
 */
import type { Fate, WriteRecord } from './history.ts';
import type { Finding } from './history-check.ts';
import type { LoggedOperation } from './logged-operation.ts';

export interface FateEvidence {
  readonly writes: readonly WriteRecord[];
  /** Puts and deletes of the surviving history, since before the first of these writes. */
  readonly surviving: readonly LoggedOperation[];
  /** From salvage files. Those of earlier writes may be among them. */
  readonly setAside: readonly LoggedOperation[];
  /** May an acknowledged write have been left behind, as long as it is in a salvage file? */
  readonly mayBeSetAside: boolean;
}

export interface Fates {
  readonly findings: readonly Finding[];
  readonly fateOf: (write: WriteRecord) => Fate;
  /** Writes that are in a salvage file: all of them, and those that a client had been told are durable. */
  readonly setAside: number;
  readonly acknowledgedSetAside: number;
}

export function checkFates({ writes, surviving, setAside, mayBeSetAside }: FateEvidence): Fates {
  const wanted = new Map<string, WriteRecord>();
  for (const write of writes) {
    const identity = identityOf(write);
    if (wanted.has(identity)) throw new Error(`two writes have the identity ${shorten(identity)}: nothing can be told apart`);
    wanted.set(identity, write);
  }
  const survivors = new Map<string, readonly string[]>();
  const findings: Finding[] = [];
  for (const operation of surviving) {
    const identity = identityOf(operation);
    if (!wanted.has(identity)) findings.push({ kind: 'phantom', key: operation.key, detail: `${shorten(identity)} at ${operation.position} was written by nobody` });
    survivors.set(identity, [...(survivors.get(identity) ?? []), operation.position]);
  }
  const leftBehind = new Map(setAside.map((operation) => [identityOf(operation), operation.position]));

  const fates = new Map<WriteRecord, Fate>();
  for (const [identity, write] of wanted) {
    const positions = survivors.get(identity) ?? [];
    const salvagedPosition = leftBehind.get(identity);
    fates.set(write, fateOf(positions, salvagedPosition));
    const wrong = judge(write, positions, salvagedPosition, mayBeSetAside);
    if (wrong !== undefined) findings.push({ kind: wrong.kind, key: write.key, detail: `${describe(write)} ${wrong.what}` });
  }
  const inSalvage = writes.filter((write) => fates.get(write)!.kind === 'set-aside');
  return {
    findings,
    fateOf: (write) => fates.get(write)!,
    setAside: inSalvage.length,
    acknowledgedSetAside: inSalvage.filter(({ outcome }) => outcome === 'acknowledged').length,
  };
}

function fateOf(positions: readonly string[], salvagedPosition: string | undefined): Fate {
  const [position] = positions;
  if (position !== undefined) return { kind: 'survived', position };
  return salvagedPosition === undefined ? { kind: 'gone' } : { kind: 'set-aside', position: salvagedPosition };
}

function judge(
  write: WriteRecord,
  positions: readonly string[],
  salvagedPosition: string | undefined,
  mayBeSetAside: boolean,
): { readonly kind: Finding['kind']; readonly what: string } | undefined {
  if (positions.length > 1) return { kind: 'phantom', what: `was carried out ${positions.length} times: at ${positions.join(', ')}` };
  const found = positions[0] ?? salvagedPosition;
  if (positions[0] !== undefined && salvagedPosition !== undefined) {
    return { kind: 'phantom', what: `is in the history at ${positions[0]}, and in a salvage file at ${salvagedPosition}` };
  }
  switch (write.outcome) {
    case 'unknown':
      return undefined;
    case 'refused':
    case 'absent':
      return found === undefined ? undefined : { kind: 'phantom', what: `is there at ${found}` };
    case 'left-behind':
      if (positions[0] !== undefined) return { kind: 'phantom', what: `is in the history at ${found}` };
      if (found === undefined) return { kind: 'lost', what: 'is in no salvage file' };
      return mayBeSetAside ? undefined : { kind: 'lost', what: `is only in a salvage file, at ${found}` };
    case 'acknowledged':
      if (found === undefined) return { kind: 'lost', what: 'is neither in the history nor in a salvage file' };
      if (positions[0] === undefined && !mayBeSetAside) return { kind: 'lost', what: `is only in a salvage file, at ${found}` };
      if (write.position !== undefined && write.position !== found) return { kind: 'misplaced', what: `is at ${found}` };
      return undefined;
  }
}

function identityOf({ key, value }: { readonly key: string; readonly value: string | null }): string {
  return value === null ? `delete of ${key}` : `${key} = ${value}`;
}

function describe(write: WriteRecord): string {
  const at = write.position === undefined ? '' : ` at ${write.position}`;
  return `${shorten(identityOf(write))} (${write.outcome}${at}, round ${write.round})`;
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
