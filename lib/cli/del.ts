import type { Command } from 'commander';
import { ShiplogError } from '../base/errors.ts';
import { type CommandContext, JSON_OPTION, URL_OPTION, clientOf, parseText } from './command-context.ts';

export function addDelCommand(program: Command, context: CommandContext): void {
  program
    .command('del')
    .summary('delete a key')
    .description('Deletes a key. The command ends well once the deletion is on the disk of the primary.')
    .argument('<key>', 'the key, as it is (not percent-encoded)', parseText)
    .option(...URL_OPTION)
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `
Examples:
  $ shiplog del greeting
  $ shiplog del greeting || echo "exit code $?: 3 means that there was no such key"`,
    )
    .action(async (key: string, options: { url?: string; json?: boolean }) => {
      const position = await clientOf(context, options.url).del(key);
      if (position === undefined) throw new ShiplogError('not-found', `there is no key ${JSON.stringify(key)}`);
      if (options.json === true) context.terminal.json({ key, position });
      else context.terminal.success(`OK, ${JSON.stringify(key)} deleted at ${position}`);
    });
}
