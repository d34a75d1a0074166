import type { Command } from 'commander';
import { ShiplogError } from '../base/errors.ts';
import { printable } from '../observe/printable.ts';
import { type CommandContext, JSON_OPTION, clientOf, parseUrl } from './command-context.ts';
import { canAsk, isConfirmed } from './question.ts';

export function addRejoinCommand(program: Command, context: CommandContext): void {
  const rejoin: Command = program.command('rejoin');
  rejoin
    .summary('have a node that diverged follow again')
    .description(
      'A node that holds operations which the primary lacks, and which are not its own, stops and waits. This shows why, asks, and has ' +
        'the node write those operations to a salvage file and follow. A former primary does the same by itself.',
    )
    .argument('<url>', 'the node that waits', parseUrl)
    .option('--yes', 'go on without asking')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `
Examples:
  $ shiplog rejoin http://10.0.0.3:4455
  $ shiplog rejoin http://10.0.0.3:4455 --yes`,
    )
    .action(async (url: string, options: { yes?: boolean; json?: boolean }) => {
      const { terminal } = context;
      if (options.yes !== true && !canAsk(context)) rejoin.error('error: there is no terminal to ask at: add --yes to go on without being asked');
      const client = clientOf(context, url);
      const { name, state, fence } = await client.status();
      if (fence === null) throw new ShiplogError('bad-request', `${name} (${url}) waits for no decision: it is ${state}`);
      terminal.note(printable(`${name} is ${state}: ${fence.reason}`));
      if (options.yes !== true && !(await isConfirmed(context, `Set these operations aside in a salvage file of ${name}, and have it follow the primary?`))) {
        terminal.note('nothing was changed');
        context.exitWith('failed');
        return;
      }
      await client.rejoin();
      if (options.json === true) terminal.json({ node: name, url });
      else terminal.success(`${name} sets them aside and follows; \`shiplog status ${url}\` shows how far it is`);
    });
}
