import type { Command } from 'commander';
import { ShiplogError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { readBody } from '../env/transport.ts';
import { type CommandContext, JSON_OPTION, URL_OPTION, clientOf, parseText } from './command-context.ts';

export function addSetCommand(program: Command, context: CommandContext): void {
  program
    .command('set')
    .summary('write a value')
    .description('Writes a value. The command ends well once the value is on the disk of the primary.')
    .argument('<key>', 'the key, as it is (not percent-encoded)', parseText)
    .argument('<value>', 'the value, or - for what standard input says', parseText)
    .option(...URL_OPTION)
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `
Examples:
  $ shiplog set greeting "hello, world"
  $ shiplog set report - < report.txt
  $ shiplog set -- -5 minus-five`,
    )
    .action(async (key: string, value: string, options: { url?: string; json?: boolean }) => {
      const content = value === '-' ? await readText(context) : value;
      const position = await clientOf(context, options.url).set(key, content);
      if (options.json === true) context.terminal.json({ key, position });
      else context.terminal.success(`OK, ${JSON.stringify(key)} written at ${position}`);
    });
}

async function readText({ stdin }: CommandContext): Promise<string> {
  const content = await readBody(stdin, LIMITS.valueBytesMax).catch((error: unknown) => {
    throw new ShiplogError('value-too-large', `standard input is larger than ${LIMITS.valueBytesMax} bytes, the largest value`, { cause: error });
  });
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(content);
  } catch (error) {
    throw new ShiplogError('bad-utf8', 'standard input is not UTF-8 text; values are text: encode other content first, e.g. with base64', {
      cause: error,
    });
  }
}
