import type { Command } from 'commander';
import type { AckLevel } from '../base/ack-level.ts';
import { ShiplogError } from '../base/errors.ts';
import { ACK_OPTION, type CommandContext, JSON_OPTION, URL_OPTION, clientOf, describeWritten, parseText } from './command-context.ts';

export function addDelCommand(program: Command, context: CommandContext): void {
  program
    .command('del')
    .summary('delete a key')
    .description('Deletes a key. The command ends well once the deletion is on the disk of the primary, or what --ack asks for is reached.')
    .argument('<key>', 'the key, as it is (not percent-encoded)', parseText)
    .option(...URL_OPTION)
    .option(...ACK_OPTION)
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `
Examples:
  $ shiplog del greeting
  $ shiplog del greeting || echo "exit code $?: 3 means that there was no such key"`,
    )
    .action(async (key: string, { url, ack, json }: { url?: string; ack?: AckLevel; json?: boolean }) => {
      const written = await clientOf(context, url).del(key, { ...(ack !== undefined && { ack }) });
      if (written === undefined) throw new ShiplogError('not-found', `there is no key ${JSON.stringify(key)}`);
      if (json === true) context.terminal.json({ key, ...written });
      else context.terminal.success(`OK, ${JSON.stringify(key)} ${describeWritten('deleted', written)}`);
    });
}
