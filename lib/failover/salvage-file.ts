/**
 * The format of a salvage file: operations that are in no surviving history, for people and programs to read.
 *
 *   salvage/<position of the last operation>.ndjson     waits for somebody to decide
 *   salvage/done/<the same name>                        somebody has decided
 *
 *   {"format":1,"forkPosition":"1.c04d-42",…}                              header
 *   {"position":"1.c04d-43","wallMs":…,"kind":"put","key":…,"value":…}     a line for each operation
 *   {"footer":true,"operations":1,"crc32":"0a1b2c3d"}                      checksum of all bytes before this line
 *
 * A file that was cut anywhere lacks its footer. Where the log no longer reached back to the fork, rows of
 * the table stand for the operations up to `completeAfterPosition`: these come first, in no order and without
 * a time, and neither what was overwritten later nor what was deleted is among them.
 */
import { type Epoch, EpochHistory, type EpochRef } from '../base/epoch-history.ts';
import { ShiplogError } from '../base/errors.ts';
import type { Operation } from '../base/operation.ts';
import { type Position, formatPosition, parsePosition } from '../base/position.ts';

export const SALVAGE_FORMAT = 1;
/** Within a data directory. */
export const SALVAGE_DIRECTORY = 'salvage';
/** Within the directory of salvage files. */
export const DONE_DIRECTORY = 'done';

const NAME_ENDING = '.ndjson';

export interface SalvageHeader {
  readonly format: typeof SALVAGE_FORMAT;
  readonly clusterId: string;
  /** The node that held the operations. */
  readonly nodeId: string;
  /** The last operation that both histories share. */
  readonly forkPosition: string;
  /** The last operation of the history that was given up. */
  readonly throughPosition: string;
  /** History that was given up, from its beginning: it tells whether a position lies before the fork. */
  readonly epochs: readonly Epoch[];
  /** The epoch that was opened at the fork and survives, where it is known. */
  readonly openedEpoch: EpochRef | null;
  /** Lines between header and footer; null where it was not known when the file was begun. */
  readonly operations: number | null;
  /** False where rows of the table had to stand for a part of the log. */
  readonly isComplete: boolean;
  /** All operations after this one are here, each as the log had it. */
  readonly completeAfterPosition: string;
  /** Why they were set aside, for people. */
  readonly reason: string | null;
  /** Name of the directory, beside the one of salvage files, in which the node's data of that time is kept. */
  readonly generation: string;
  readonly writtenAtMs: number;
}

export type SalvagedOperation =
  | { readonly kind: 'put'; readonly position: string; readonly wallMs: number | null; readonly key: string; readonly value: string }
  | { readonly kind: 'delete'; readonly position: string; readonly wallMs: number | null; readonly key: string }
  /** Control records are only named. */
  | { readonly kind: 'epoch-begin' | 'epoch-end'; readonly position: string; readonly wallMs: number | null };

/** What a client once asked for. */
export type SalvagedWrite = Extract<SalvagedOperation, { readonly key: string }>;

export interface SalvageFooter {
  readonly footer: true;
  readonly operations: number;
  /** Of all bytes before the footer's line: 8 hex digits. */
  readonly crc32: string;
}

/** What a line after the header may be. */
export type SalvageLine = { readonly type: 'operation'; readonly operation: SalvagedOperation } | { readonly type: 'footer'; readonly footer: SalvageFooter };

export function salvageNameOf(throughPosition: Position): string {
  return `${formatPosition(throughPosition)}${NAME_ENDING}`;
}

/** False for what is not, or not yet, a salvage file. */
export function isSalvageName(name: string): boolean {
  return name.endsWith(NAME_ENDING) && parsePosition(name.slice(0, -NAME_ENDING.length)) !== undefined;
}

export function salvagedOperation(operation: Operation, position: string, wallMs: number | null): SalvagedOperation {
  switch (operation.kind) {
    case 'put':
      return { position, wallMs, kind: 'put', key: operation.key, value: operation.value };
    case 'delete':
      return { position, wallMs, kind: 'delete', key: operation.key };
    case 'epoch-begin':
    case 'epoch-end':
      return { position, wallMs, kind: operation.kind };
  }
}

export function formatChecksum(crc32: number): string {
  return crc32.toString(16).padStart(8, '0');
}

export function salvageDamaged(path: string, what: string, cause?: unknown): ShiplogError {
  return new ShiplogError(
    'data-directory-invalid',
    `${path} is damaged: ${what}; nothing of it was used. Look for a copy, or for the operations themselves in the generation that the node kept (\`shiplog wal dump\`)`,
    { cause },
  );
}

/** @throws ShiplogError `data-directory-invalid`, naming the file. */
export function parseSalvageHeader(path: string, line: string): SalvageHeader {
  const header = parseLine(path, 'the header', line);
  if (typeof header['format'] === 'number' && header['format'] > SALVAGE_FORMAT) {
    throw new ShiplogError('data-directory-invalid', `${path} has format ${header['format']}, this version of Shiplog reads ${SALVAGE_FORMAT}: run the newer Shiplog that wrote it`);
  }
  const { clusterId, nodeId, forkPosition, throughPosition, epochs, openedEpoch, operations, isComplete, completeAfterPosition, reason, generation, writtenAtMs } = header;
  const isWhole =
    header['format'] === SALVAGE_FORMAT &&
    typeof clusterId === 'string' &&
    typeof nodeId === 'string' &&
    [forkPosition, throughPosition, completeAfterPosition].every((each) => typeof each === 'string' && parsePosition(each) !== undefined) &&
    Array.isArray(epochs) &&
    (openedEpoch === null || typeof (openedEpoch as EpochRef | undefined)?.id === 'string') &&
    (operations === null || typeof operations === 'number') &&
    typeof isComplete === 'boolean' &&
    (reason === null || typeof reason === 'string') &&
    typeof generation === 'string' &&
    typeof writtenAtMs === 'number';
  if (!isWhole) throw salvageDamaged(path, `its first line is ${JSON.stringify(line.slice(0, 80))}, expected a header of format ${SALVAGE_FORMAT}`);
  salvageHistoryOf(path, header as unknown as SalvageHeader);
  return header as unknown as SalvageHeader;
}

/** The history that was given up. @throws ShiplogError `data-directory-invalid` where it is none. */
export function salvageHistoryOf(path: string, header: SalvageHeader): EpochHistory {
  try {
    return new EpochHistory(header.epochs);
  } catch (error) {
    throw salvageDamaged(path, 'the epochs in its header are no history', error);
  }
}

/** @throws ShiplogError `data-directory-invalid`, naming the file and the line, counted from 1. */
export function parseSalvageLine(path: string, lineNumber: number, line: string): SalvageLine {
  const what = `line ${lineNumber}`;
  const document = parseLine(path, what, line);
  if (document['footer'] === true) {
    if (typeof document['operations'] !== 'number' || typeof document['crc32'] !== 'string') throw salvageDamaged(path, `its footer is ${JSON.stringify(line.slice(0, 80))}`);
    return { type: 'footer', footer: document as unknown as SalvageFooter };
  }
  const { kind, position, key, value } = document;
  const isWrite = kind === 'put' || kind === 'delete';
  const isWhole =
    typeof position === 'string' &&
    parsePosition(position) !== undefined &&
    (isWrite ? typeof key === 'string' && (kind === 'delete' || typeof value === 'string') : kind === 'epoch-begin' || kind === 'epoch-end');
  if (!isWhole) throw salvageDamaged(path, `${what} is ${JSON.stringify(line.slice(0, 80))}, expected an operation`);
  return { type: 'operation', operation: document as unknown as SalvagedOperation };
}

function parseLine(path: string, what: string, line: string): Record<string, unknown> {
  try {
    const document = JSON.parse(line) as unknown;
    if (typeof document === 'object' && document !== null && !Array.isArray(document)) return document as Record<string, unknown>;
  } catch (error) {
    throw salvageDamaged(path, `${what} is no JSON: ${JSON.stringify(line.slice(0, 80))}`, error);
  }
  throw salvageDamaged(path, `${what} is ${JSON.stringify(line.slice(0, 80))}, expected a JSON object`);
}
