import { hostname } from 'node:os';
import { type Command, Option } from 'commander';
import type { CommandContext } from './command-context.ts';
import { addConfigFlags, configInput } from './config-flags.ts';
import { type ServeOptions, serveNode } from './serve-node.ts';

/** `start` brings up a node and its listener. */
export function addServeCommand(program: Command, context: CommandContext, start: ServeOptions['start']): void {
  const serve = program
    .command('serve')
    .summary('run one node')
    .description('Runs one node until SIGTERM or SIGINT. Flags win over SHIPLOG_* variables, those over the file, that over the defaults.');
  addConfigFlags(serve)
    .addOption(new Option('--exit-with-parent', 'stop when standard input ends').hideHelp())
    .addHelpText(
      'after',
      `
Examples:
  $ shiplog serve --data-dir /var/lib/shiplog/primary
  $ shiplog serve --data-dir /var/lib/shiplog/replica --port 4466 --follow http://127.0.0.1:4455
  $ shiplog serve --config config/primary.json --log-level debug
  $ SHIPLOG_SEGMENT_BYTES=256MiB shiplog serve`,
    )
    .action(async (options: Record<string, unknown>) => {
      await serveNode(context, {
        input: configInput(options, context.variables),
        start,
        hostName: hostname(),
        pid: context.pid,
        ...(options['exitWithParent'] === true ? { parentLine: context.stdin } : {}),
      });
    });
}
