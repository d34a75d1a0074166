import type { Command } from 'commander';
import type { AckLevel } from '../base/ack-level.ts';
import { ShiplogError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { readBody } from '../env/transport.ts';
import { ACK_OPTION, type CommandContext, JSON_OPTION, URL_OPTION, clientOf, describeWritten, parseText } from './command-context.ts';

export function addSetCommand(program: Command, context: CommandContext): void {
  program
    .command('set')
    .summary('write a value')
    .description('Writes a value. The command ends well once the value is on the disk of the primary, or what --ack asks for is reached.')
    .argument('<key>', 'the key, as it is (not percent-encoded)', parseText)
    .argument('<value>', 'the value, or - for what standard input says', parseText)
    .option(...URL_OPTION)
    .option(...ACK_OPTION)
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `
Examples:
  $ shiplog set greeting "hello, world"
  $ shiplog set report - < report.txt
  $ shiplog set order paid --ack 1
  $ shiplog set -- -5 minus-five

Exit code 6: it is stored by the primary but was not confirmed in time, or it is not known whether it is.`,
    )
    .action(async (key: string, value: string, { url, ack, json }: { url?: string; ack?: AckLevel; json?: boolean }) => {
      const content = value === '-' ? await readText(context) : value;
      const written = await clientOf(context, url).set(key, content, { ...(ack !== undefined && { ack }) });
      if (json === true) context.terminal.json({ key, ...written });
      else context.terminal.success(`OK, ${JSON.stringify(key)} ${describeWritten('written', written)}`);
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
