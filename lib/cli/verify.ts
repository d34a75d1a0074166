import type { Command } from 'commander';
import { compareTables } from '../client/table-comparison.ts';
import { type CommandContext, JSON_OPTION, clientOf, parseUrl } from './command-context.ts';

export function addVerifyCommand(program: Command, context: CommandContext): void {
  const verify = program.command('verify');
  verify
    .summary('check a data directory, or compare nodes')
    .description(
      'With a directory: checks that log and table of a stopped node are sound and tell the same. ' +
        'With two or more URLs: compares the tables of nodes at one position, while they run and take writes.',
    )
    .argument('<dir-or-urls...>', 'one data directory, or the URLs of nodes')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `
Examples:
  $ shiplog verify /var/lib/shiplog/primary
  $ shiplog verify http://127.0.0.1:4455 http://127.0.0.1:4466

Exit code 5: there is damage, or the nodes differ.`,
    )
    .action(async (targets: string[], options: { json?: boolean }) => {
      const isUrl = targets.map((target) => target.includes('://'));
      if (targets.length === 1 && isUrl[0] === false) {
        // It brings the database along, which the other commands do without.
        const { verifyDataDirectory } = await import('./verify-directory.ts');
        return verifyDataDirectory(context, targets[0]!, options.json === true);
      }
      if (isUrl.includes(false)) verify.error('error: expected one directory, or URLs that begin with http://');
      if (targets.length < 2) verify.error('error: expected at least two URLs, a node is always equal to itself');
      return compareNodes(context, targets.map(parseUrl), options.json === true);
    });
}

async function compareNodes(context: CommandContext, urls: readonly string[], asJson: boolean): Promise<void> {
  const { terminal, environment } = context;
  const comparison = await compareTables(
    urls.map((url) => clientOf(context, url)),
    environment.clock,
  );
  if (asJson) {
    terminal.json(comparison);
  } else {
    terminal.table(
      ['node', 'position', 'chain', 'rows', 'sha256'],
      comparison.digests.map(({ url, position, chain, rowCount, sha256 }) => [url, position, chain.toString(16).padStart(8, '0'), String(rowCount), sha256]),
    );
  }
  if (comparison.isEqual) {
    terminal.success(`equal at ${comparison.digests[0]!.position}`);
  } else {
    terminal.fail('the nodes differ: keep all their data directories, and look at each with `shiplog verify DIRECTORY` while it is stopped');
    context.exitWith('notEqual');
  }
}
