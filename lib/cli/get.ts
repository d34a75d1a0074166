import type { Command } from 'commander';
import { ShiplogError } from '../base/errors.ts';
import { printable } from '../observe/printable.ts';
import { type CommandContext, JSON_OPTION, URL_OPTION, clientOf, parseMin, parseText } from './command-context.ts';

export function addGetCommand(program: Command, context: CommandContext): void {
  program
    .command('get')
    .summary('print the value of a key')
    .description('Prints the value of a key: as it is when piped, with a newline behind it on a terminal.')
    .argument('<key>', 'the key, as it is (not percent-encoded)', parseText)
    .option(...URL_OPTION)
    .option('--min <position>', 'wait until the node shows this position, as a write printed it', parseMin)
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `
Examples:
  $ shiplog get greeting
  $ shiplog get greeting --url http://127.0.0.1:4466 --json
  $ shiplog get order --min 1.c04d-42
  $ shiplog get report > report.txt || echo "exit code $?: 3 means that there is no such key"

With --min, exit code 75: the node did not get there in time. 8: the position is in no surviving history.`,
    )
    .action(async (key: string, { url, min, json }: { url?: string; min?: string; json?: boolean }) => {
      const { terminal } = context;
      const found = await clientOf(context, url).get(key, { ...(min !== undefined && { min }) });
      if (found === undefined) throw new ShiplogError('not-found', `there is no key ${JSON.stringify(key)}`);
      if (json === true) terminal.json({ key, value: found.value, position: found.position });
      else terminal.write(terminal.isInteractive ? `${harmless(found.value)}\n` : found.value);
    });
}

/** A value must not steer the terminal that shows it, but may have lines and columns. */
function harmless(value: string): string {
  return value
    .split(/(\r?\n|\t)/)
    .map((part, index) => (index % 2 === 0 ? printable(part) : part))
    .join('');
}
