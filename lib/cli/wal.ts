import type { Writable } from 'node:stream';
import type { Command } from 'commander';
import { unreachable } from '../base/errors.ts';
import { type LogVerification, verifyLog } from '../verify/log-verification.ts';
import { type CommandContext, JSON_OPTION } from './command-context.ts';
import { locateLog } from './log-location.ts';
import { readableBytes } from './terminal.ts';
import { addWalDumpCommand } from './wal-dump.ts';

/** `results`: standard output, where the lines of a dump go. */
export function addWalCommand(program: Command, context: CommandContext, results: Writable): void {
  const wal = program.command('wal').summary('look at a log').description('Looks at a write-ahead log without changing it.');
  addWalDumpCommand(wal, context, results);
  addVerify(wal, context);
}

function addVerify(wal: Command, context: CommandContext): void {
  wal
    .command('verify')
    .summary('check every byte of a log')
    .description('Reads a log from its first frame to its end and checks all checksums, chains and marks. Changes nothing.')
    .argument('<dir>', 'a data directory, or the wal directory in it')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `
Examples:
  $ shiplog wal verify /var/lib/shiplog/primary
  $ shiplog wal verify backup/wal --json

Exit code 5: the log is damaged. A torn end is no damage: it is what a killed node leaves.`,
    )
    .action(async (directory: string, options: { json?: boolean }) => {
      const { terminal, environment } = context;
      const bar = terminal.progress('log');
      try {
        const verification = await verifyLog({
          disk: environment.disk,
          ...(await locateLog(environment.disk, directory)),
          onProgress: (doneBytes, totalBytes) => bar.show(doneBytes, totalBytes),
        });
        bar.stop();
        report(context, verification, options.json === true);
      } finally {
        bar.stop();
      }
    });
}

function report({ terminal, exitWith }: CommandContext, verification: LogVerification, asJson: boolean): void {
  const { clusterId, segments, sizeBytes, frameCount, operationCount, start, end, endState } = verification;
  if (asJson) {
    terminal.json({ clusterId, segmentCount: segments.length, sizeBytes, frameCount, operationCount, start, end, endState });
  } else {
    terminal.table(
      ['operations', 'from', 'through', 'frames', 'segments', 'size', 'end'],
      [[String(operationCount), String(start.lsn + 1), String(end.lsn), String(frameCount), String(segments.length), readableBytes(sizeBytes), endState.state]],
    );
  }
  switch (endState.state) {
    case 'clean':
      terminal.success(endState.isStopped ? 'the log is sound' : 'the log is sound; the node did not stop cleanly, or is running');
      break;
    case 'torn':
      terminal.success(`the log is sound; ${endState.bytes} bytes at its end (${endState.path}, offset ${endState.offset}) belong to a write that was never finished`);
      break;
    case 'damaged':
      for (const { path, offset, reason } of endState.damages) terminal.fail(`${path}, offset ${offset}: ${reason}`);
      exitWith('notEqual');
      break;
    default:
      unreachable(endState);
  }
}
