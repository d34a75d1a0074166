/** `shiplog verify DIRECTORY`: the data of a node that is stopped. */
import { ShiplogError, unreachable } from '../base/errors.ts';
import { formatPosition } from '../base/position.ts';
import { readCurrent } from '../node/data-directory.ts';
import { type DirectoryVerification, verifyDirectory } from '../verify/directory-verification.ts';
import type { Finding } from '../verify/finding.ts';
import type { LogEndState } from '../verify/log-verification.ts';
import type { CommandContext } from './command-context.ts';
import { readableBytes } from './terminal.ts';

/** @throws ShiplogError `data-directory-in-use` while a node runs on it, `data-directory-invalid` where it is none. */
export async function verifyDataDirectory(context: CommandContext, path: string, asJson: boolean): Promise<void> {
  const { terminal, environment } = context;
  const { disk } = environment;
  // Before the lock, which would make its file in any directory.
  if ((await readCurrent(disk, path)) === undefined) {
    throw new ShiplogError('data-directory-invalid', `${path} is not the data directory of a node: there is no CURRENT file in it (for a wal directory: shiplog wal verify)`);
  }
  const bars = { log: terminal.progress('log'), table: terminal.progress('table') };
  try {
    const verification = await verifyDirectory({
      disk,
      lockPath: `${path}/lock`,
      readCurrent: async () => {
        const { generation, clusterId, base } = (await readCurrent(disk, path))!;
        return { databasePath: generation.databasePath, walDirectory: generation.walDirectory, clusterId, base };
      },
      onProgress: (stage, doneBytes, totalBytes) => {
        if (stage === 'table') bars.log.stop();
        bars[stage].show(doneBytes, totalBytes);
      },
    });
    bars.log.stop();
    bars.table.stop();
    if (asJson) terminal.json(documentOf(path, verification));
    else show(context, verification);
    conclude(context, path, verification);
  } finally {
    bars.log.stop();
    bars.table.stop();
  }
}

function show({ terminal }: CommandContext, { log, applied, table }: DirectoryVerification): void {
  terminal.table(
    ['what', 'result'],
    [
      ['log', log.end.lsn > log.start.lsn ? `LSN ${log.start.lsn + 1} to ${log.end.lsn}, ${readableBytes(log.sizeBytes)}` : 'empty'],
      ['operations, frames, segments', `${log.operationCount}, ${log.frameCount}, ${log.segments.length}`],
      ['end of the log', describeEnd(log.endState)],
      ...(log.leftOverCount === 0 ? [] : [['left-over segments', `${log.leftOverCount}: the next start removes them`]]),
      ['table', applied === undefined ? 'can not be read' : `applied up to ${formatPosition(applied.history.positionOf(applied.lsn))}`],
      ...(table === undefined
        ? [['rows', 'not compared with the log']]
        : [
            ['rows', String(table.rowCount)],
            ['… equal to their last write in the log', String(table.checkedCount)],
            ['… older than the log, could not be checked against it', String(table.olderCount)],
            ['deleted keys that are gone', String(table.deletedCount)],
          ]),
    ],
  );
}

function describeEnd(end: LogEndState): string {
  switch (end.state) {
    case 'clean':
      return end.isStopped ? 'clean, the node had stopped' : 'clean, after a whole frame (the node was killed)';
    case 'torn':
      return `${end.bytes} bytes of a write that was never finished: what a killed node leaves, the next start drops them`;
    case 'damaged':
      return 'damaged';
    default:
      return unreachable(end);
  }
}

function conclude({ terminal, exitWith }: CommandContext, path: string, { isSound, table, findings, findingCount }: DirectoryVerification): void {
  if (isSound) {
    const unchecked = table === undefined || table.olderCount === 0 ? '' : `; ${table.olderCount} rows are older than the log and could not be checked against it`;
    terminal.success(`${path} is sound${unchecked}`);
    return;
  }
  for (const finding of findings) terminal.fail(describeFinding(finding));
  if (findingCount > findings.length) terminal.fail(`and ${findingCount - findings.length} more`);
  terminal.fail(`${path} is damaged: keep a copy, then restore the node from a snapshot, or empty the directory to let it reseed from the primary`);
  exitWith('notEqual');
}

function describeFinding(finding: Finding): string {
  switch (finding.about) {
    case 'log':
      return `${finding.path}, offset ${finding.offset}: ${finding.message}`;
    case 'database':
      return finding.message;
    case 'row':
      return `key ${JSON.stringify(finding.key)}: ${finding.message}`;
    default:
      return unreachable(finding);
  }
}

function documentOf(path: string, { isSound, log, applied, table, findings, findingCount }: DirectoryVerification): unknown {
  const { clusterId, segments, leftOverCount, sizeBytes, frameCount, operationCount, start, end, endState } = log;
  return {
    path,
    isSound,
    clusterId: clusterId ?? null,
    position: applied === undefined ? null : formatPosition(applied.history.positionOf(applied.lsn)),
    log: { segmentCount: segments.length, leftOverCount, sizeBytes, frameCount, operationCount, start, end, endState },
    table: table ?? null,
    findings,
    findingCount,
  };
}
