import type { Command } from 'commander';
import { downloadSnapshot } from '../client/snapshot-download.ts';
import { type CommandContext, JSON_OPTION, clientOf, parseUrl } from './command-context.ts';
import { readableBytes } from './terminal.ts';

export function addSnapshotCommand(program: Command, context: CommandContext): void {
  const snapshot = program.command('snapshot').summary('save and restore backups').description('Saves and restores backups: snapshots of a whole table.');
  addSave(snapshot, context);
}

function addSave(snapshot: Command, context: CommandContext): void {
  snapshot
    .command('save')
    .summary('back up a node into a file')
    .description('Brings the snapshot of a node into a file, and checks it. A transfer that is cut goes on where it was, also in a later run.')
    .argument('<url>', 'the node: the primary or any replica', parseUrl)
    .argument('<file>', 'where the snapshot goes; must not exist')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `
Examples:
  $ shiplog snapshot save http://127.0.0.1:4466 backup.shiplog
  $ shiplog snapshot save http://127.0.0.1:4466 "backup-$(date +%F).shiplog" --json`,
    )
    .action(async (url: string, file: string, options: { json?: boolean }) => {
      const { terminal, environment } = context;
      const bar = terminal.progress('snapshot');
      try {
        const saved = await downloadSnapshot({
          client: clientOf(context, url),
          clock: environment.clock,
          disk: environment.disk,
          file,
          onProgress: ({ doneBytes, totalBytes }) => bar.show(doneBytes, totalBytes),
        });
        bar.stop();
        if (options.json === true) terminal.json(saved);
        else terminal.success(`${file}: ${readableBytes(saved.sizeBytes)} at ${saved.position}, SHA-256 ${saved.sha256}`);
      } finally {
        bar.stop();
      }
    });
}
