/**
 * Verifies the data directory of a node that is stopped: the log by itself, the database by itself,
 * and then that they tell the same: applied position, chain and epoch history, and every row.
 *
 * The log and the database file are only read. A killed node leaves a part of its table in SQLite's
 * -wal; SQLite reads that too, also for a reader, by an index that it keeps in a -shm file. So the
 * files stay where they are (a copy without the -wal would be an older table), the directory must be
 * writable for that -shm, and the lock keeps nodes away meanwhile. A reader never brings the -wal into
 * the database file: a start after this finds the bytes that it would have found before.
 */
import type { EpochHistory, LogPoint } from '../base/epoch-history.ts';
import { ShiplogError, messageOf } from '../base/errors.ts';
import type { Disk } from '../env/disk.ts';
import { readAppliedState } from '../store/schema.ts';
import { openReader } from '../store/sqlite-connection.ts';
import type { AppliedState } from '../store/store.ts';
import { type Finding, FindingList } from './finding.ts';
import { type AppliedInLog, type LogVerification, verifyLog } from './log-verification.ts';
import { type TableVerification, verifyTable } from './table-verification.ts';

/** What the directory's CURRENT file says. */
export interface VerifiedGeneration {
  readonly databasePath: string;
  readonly walDirectory: string;
  readonly clusterId: string;
  /** Where the log began. */
  readonly base: LogPoint;
}

export interface DirectoryVerificationOptions {
  readonly disk: Disk;
  /** The file that a node locks while it uses the directory. */
  readonly lockPath: string;
  /** Asked once the directory is locked. */
  readonly readCurrent: () => Promise<VerifiedGeneration>;
  /** For tests: how many operations are held against the table at once. */
  readonly operationsPerPassMax?: number;
  readonly onProgress?: (stage: 'log' | 'table', doneBytes: number, totalBytes: number) => void;
}

export interface DirectoryVerification {
  readonly isSound: boolean;
  readonly log: LogVerification;
  /** What the database says that it holds; undefined where it can't be read. */
  readonly applied: AppliedState | undefined;
  /** Undefined where log or database are too damaged to be compared. */
  readonly table: TableVerification | undefined;
  /** The first of them; `findingCount` counts all. */
  readonly findings: readonly Finding[];
  readonly findingCount: number;
}

/**
 * @throws ShiplogError `data-directory-in-use` while a node uses the directory;
 * `data-directory-invalid` where the database is of another format; `store-failed` where SQLite can't work there.
 */
export async function verifyDirectory(options: DirectoryVerificationOptions): Promise<DirectoryVerification> {
  const lock = await options.disk.lock(options.lockPath);
  try {
    return await verifyLocked(options, await options.readCurrent());
  } finally {
    await lock.release();
  }
}

type Database = ReturnType<typeof openReader>;

async function verifyLocked(options: DirectoryVerificationOptions, generation: VerifiedGeneration): Promise<DirectoryVerification> {
  const { disk } = options;
  const findings = new FindingList();
  const leftBehind = await filesOfReader(disk, generation.databasePath);
  const database = await openDatabase(disk, generation.databasePath, findings);
  try {
    const applied = database === undefined ? undefined : whereReadable(findings, generation.databasePath, () => readAppliedState(database));
    const log = await verifyLog({
      disk,
      directory: generation.walDirectory,
      clusterId: generation.clusterId,
      base: generation.base,
      ...(applied === undefined ? {} : { applied }),
      onProgress: (doneBytes, totalBytes) => options.onProgress?.('log', doneBytes, totalBytes),
    });
    if (log.endState.state === 'damaged') {
      for (const { path, offset, reason } of log.endState.damages) findings.add({ about: 'log', path, offset, message: reason });
    }
    if (applied !== undefined) checkApplied(applied, generation, log, findings);
    const table = await compareTable(options, { databasePath: generation.databasePath, database, applied, log, findings });
    return { isSound: findings.count === 0, log, applied, table, findings: findings.kept, findingCount: findings.count };
  } finally {
    database?.close();
    for (const path of leftBehind) await disk.remove(path);
  }
}

/** What a reader would leave beside a database that was closed cleanly. The lock is held, so nobody else's are taken. */
async function filesOfReader(disk: Disk, databasePath: string): Promise<string[]> {
  if (await disk.exists(`${databasePath}-wal`)) return [];
  return [`${databasePath}-wal`, `${databasePath}-shm`];
}

async function openDatabase(disk: Disk, path: string, findings: FindingList): Promise<Database | undefined> {
  if (!(await disk.exists(path))) {
    findings.add({ about: 'database', message: `${path} is missing` });
    return undefined;
  }
  return whereReadable(findings, path, () => {
    const database = openReader(path);
    try {
      // Of all checks the one that also compares the table with the index that keys are looked up by.
      const answers = database.prepare<[], string>('PRAGMA integrity_check').pluck().all();
      for (const answer of answers) if (answer !== 'ok') findings.add({ about: 'database', message: `${path}: ${answer}` });
      return database;
    } catch (error) {
      database.close();
      throw error;
    }
  });
}

function whereReadable<Result>(findings: FindingList, path: string, read: () => Result): Result | undefined {
  try {
    return read();
  } catch (error) {
    findings.add(unreadableDatabase(error, path));
    return undefined;
  }
}

/** A damaged database is a finding, not a failure to look. @throws whatever else went wrong. */
function unreadableDatabase(error: unknown, path: string): Finding {
  const code = String((error as { readonly code?: unknown }).code);
  // A history that is none is caught where every history is made.
  if (/^(SQLITE_CORRUPT|SQLITE_NOTADB|ERR_ASSERTION)/.test(code)) return { about: 'database', message: `${path}: ${messageOf(error)}` };
  if (!code.startsWith('SQLITE_')) throw error;
  const hint = /^SQLITE_(CANTOPEN|READONLY)/.test(code)
    ? '; SQLite needs to write a -shm file beside it: copy the whole data directory to where this user may, and verify the copy'
    : '';
  throw new ShiplogError('store-failed', `can't read ${path}: ${messageOf(error)}${hint}`, { cause: error });
}

/** Position, chain and history in the database must be those that the log has there. */
function checkApplied(applied: AppliedState, { clusterId, base }: VerifiedGeneration, log: LogVerification, findings: FindingList): void {
  const complain = (message: string): void => findings.add({ about: 'database', message });
  if (applied.clusterId !== clusterId) complain(`the database belongs to cluster ${applied.clusterId}, the directory to ${clusterId}`);
  if (applied.lsn < base.lsn) complain(`the database has applied LSN ${applied.lsn}, but it began with ${base.lsn}`);
  const { atApplied, endState } = log;
  if (atApplied === undefined) {
    // In a damaged log the place may only be unreadable.
    if (endState.state !== 'damaged') complain(`the database has applied LSN ${applied.lsn}, which is not the end of a batch in the log`);
    return;
  }
  if (atApplied.chain !== applied.chain) {
    complain(`the database has applied LSN ${applied.lsn} with chain ${applied.chain}, in the log the chain there is ${atApplied.chain}`);
  }
  const difference = historyDifference(applied.history, atApplied, log.start.lsn);
  if (difference !== undefined) complain(difference);
}

/** The log tells the last epochs; earlier ones stand in the database alone. */
function historyDifference(stored: EpochHistory, { history }: AppliedInLog, startLsn: number): string | undefined {
  if (history === undefined) return undefined;
  const logged = history.epochs;
  if (startLsn === 0 && stored.epochs.length !== logged.length) {
    return `the database's history has ${stored.epochs.length} epochs, the log has ${logged.length}`;
  }
  for (const [index, epoch] of logged.entries()) {
    const own = stored.epochs[stored.epochs.length - logged.length + index];
    // Where the log begins in the middle of an epoch, it doesn't tell where that one began.
    const isBegunInLog = startLsn === 0 || index > 0;
    const isSame =
      own !== undefined &&
      own.number === epoch.number &&
      own.id === epoch.id &&
      own.lastLsn === epoch.lastLsn &&
      own.endChain === epoch.endChain &&
      (isBegunInLog ? own.firstLsn === epoch.firstLsn : own.firstLsn <= startLsn);
    if (!isSame) return `the database's history says ${JSON.stringify(own ?? null)} where the log has epoch ${JSON.stringify(epoch)}`;
  }
  return undefined;
}

interface FoundParts {
  readonly databasePath: string;
  readonly database: Database | undefined;
  readonly applied: AppliedState | undefined;
  readonly log: LogVerification;
  readonly findings: FindingList;
}

async function compareTable(options: DirectoryVerificationOptions, found: FoundParts): Promise<TableVerification | undefined> {
  const { databasePath, database, applied, log, findings } = found;
  // Against a log with a hole, rows would be called wrong that are right.
  if (database === undefined || applied === undefined || log.atApplied === undefined || log.endState.state === 'damaged') return undefined;
  try {
    return await verifyTable({
      disk: options.disk,
      database,
      segments: log.segments,
      startLsn: log.start.lsn,
      appliedLsn: applied.lsn,
      operationCount: log.operationCount,
      findings,
      ...(options.operationsPerPassMax === undefined ? {} : { operationsPerPassMax: options.operationsPerPassMax }),
      onProgress: (doneBytes, totalBytes) => options.onProgress?.('table', doneBytes, totalBytes),
    });
  } catch (error) {
    findings.add(unreadableDatabase(error, databasePath));
    return undefined;
  }
}
