import type { Command } from 'commander';
import { compareTables } from '../client/table-comparison.ts';
import { type CommandContext, JSON_OPTION, clientOf, parseUrl } from './command-context.ts';

export function addVerifyCommand(program: Command, context: CommandContext): void {
  const verify = program.command('verify');
  verify
    .summary('compare the tables of nodes')
    .description('Compares the tables of two or more nodes at one position, while they run and take writes.')
    .argument('<urls...>', 'the nodes', (url: string, before: string[] | undefined) => [...(before ?? []), parseUrl(url)])
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `
Examples:
  $ shiplog verify http://127.0.0.1:4455 http://127.0.0.1:4466

Exit code 5: the nodes differ.`,
    )
    .action(async (urls: string[], options: { json?: boolean }) => {
      if (urls.length < 2) verify.error('error: expected at least two URLs, a node is always equal to itself');
      await compareNodes(context, urls, options.json === true);
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
