import type { Command } from 'commander';
import { loadConfig } from '../config/load.ts';
import { OPTION_NAMES, isLive } from '../config/schema.ts';
import { type CommandContext, JSON_OPTION } from './command-context.ts';
import { addConfigFlags, configInput, shownValue } from './config-flags.ts';

export function addConfigCommand(program: Command, context: CommandContext): void {
  const config = program.command('config').summary('check a configuration').description('Looks at the configuration of a node.');
  const check = config
    .command('check')
    .summary('say what a node would run with, or what is wrong')
    .description('Reads file, environment and flags as `shiplog serve` does, and shows each value with its source.')
    .argument('[file]', 'configuration file, JSON')
    .option(...JSON_OPTION);
  addConfigFlags(check)
    .addHelpText(
      'after',
      `
Examples:
  $ shiplog config check config/primary.json
  $ SHIPLOG_PORT=5000 shiplog config check --json

Exit code 78: the configuration is wrong.`,
    )
    .action(async (file: string | undefined, options: Record<string, unknown>) => {
      const input = configInput(file === undefined ? options : { ...options, config: file }, context.variables);
      const { values, sources } = await loadConfig(context.environment.disk, input);
      if (options['json'] === true) {
        context.terminal.json(Object.fromEntries(OPTION_NAMES.map((name) => [name, { value: values[name] ?? null, source: sources[name] }])));
        return;
      }
      context.terminal.table(
        ['option', 'value', 'from', 'changes take'],
        OPTION_NAMES.map((name) => [name, shownValue(name, values[name]), sources[name], isLive(name) ? 'effect at once' : 'a restart']),
      );
      context.terminal.success(`${input.file ?? 'the configuration'} is right`);
    });
}
