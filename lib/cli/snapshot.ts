import type { Command } from 'commander';
import { ShiplogError } from '../base/errors.ts';
import { epochTagOf, formatPosition } from '../base/position.ts';
import { SILENT_LOGGER } from '../observe/logger.ts';
import { SnapshotDownload } from '../snapshot/snapshot-download.ts';
import { type CommandContext, JSON_OPTION, clientOf, parseUrl } from './command-context.ts';
import { readableBytes } from './terminal.ts';

export function addSnapshotCommand(program: Command, context: CommandContext): void {
  const snapshot = program.command('snapshot').summary('save and restore backups').description('Saves and restores backups: snapshots of a whole table.');
  addSave(snapshot, context);
  addRestore(snapshot, context);
}

function addSave(snapshot: Command, context: CommandContext): void {
  snapshot
    .command('save')
    .summary('back up a node into a file')
    .description('Brings the snapshot of a node into a file, and checks it. A transfer that is cut goes on where it was.')
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
      if (await environment.disk.exists(file)) throw new ShiplogError('bad-request', `${file} exists already: name another file, or remove it first`);
      // A node that isn't there is told at once; one that goes away in the middle is waited for.
      await clientOf(context, url).status();
      const download = new SnapshotDownload({ ...environment, logger: SILENT_LOGGER, baseUrl: url, path: file });
      const bar = terminal.progress('snapshot');
      const watch = setInterval(() => {
        const { doneBytes, totalBytes } = download.progress;
        if (totalBytes !== null) bar.show(doneBytes, totalBytes);
      }, PROGRESS_INTERVAL_MS);
      try {
        const { sizeBytes, sha256, epoch, lsn } = await download.run();
        const position = formatPosition({ epochNumber: epoch.number, epochTag: epochTagOf(epoch.id), lsn });
        bar.stop();
        if (options.json === true) terminal.json({ file, sizeBytes, sha256, position });
        else terminal.success(`${file}: ${readableBytes(sizeBytes)} at ${position}, SHA-256 ${sha256}`);
      } finally {
        clearInterval(watch);
        bar.stop();
      }
    });
}

const PROGRESS_INTERVAL_MS = 100;

function addRestore(snapshot: Command, context: CommandContext): void {
  snapshot
    .command('restore')
    .summary('make a new cluster of a backup')
    .description('Makes the data directory of a new cluster of a snapshot file. The node that is started on it is the primary.')
    .argument('<file>', 'the snapshot, as `snapshot save` or `curl -O http://HOST:PORT/snapshot` brought it')
    .argument('<data-dir>', 'the data directory; must be empty or missing')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `
Examples:
  $ shiplog snapshot restore backup.shiplog /var/lib/shiplog/restored
  $ shiplog serve --data-dir /var/lib/shiplog/restored`,
    )
    .action(async (file: string, dataDirectory: string, options: { json?: boolean }) => {
      const { terminal, environment } = context;
      if (!(await environment.disk.exists(file))) throw new ShiplogError('bad-request', `there is no file ${file}`);
      // It brings the database along, which the other commands do without.
      const { restoreDirectory } = await import('../node/restore.ts');
      const { clusterId, lsn } = await restoreDirectory(file, dataDirectory, { environment, logger: SILENT_LOGGER });
      if (options.json === true) terminal.json({ dataDirectory, clusterId, lsn });
      else terminal.success(`${dataDirectory}: all operations up to ${lsn}, as cluster ${clusterId}; start it with: shiplog serve --data-dir ${dataDirectory}`);
    });
}
