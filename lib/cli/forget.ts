import type { Command } from 'commander';
import { ShiplogError } from '../base/errors.ts';
import { findPrimary } from '../client/find-primary.ts';
import { type CommandContext, JSON_OPTION, URL_OPTION, clientOf, parseText } from './command-context.ts';

export function addForgetCommand(program: Command, context: CommandContext): void {
  program
    .command('forget')
    .summary('take a node that is gone from the members')
    .description(
      'Takes a node from the members of the cluster: one that is gone for good must not hold up a promotion, log, or writes that ask for all. ' +
        'The command asks any node for the primary, and the primary does it. A node that still follows is not forgotten: stop it first.',
    )
    .argument('<node>', 'name or id of the node, as `shiplog status` shows it', parseText)
    .option(...URL_OPTION)
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `
Examples:
  $ shiplog forget replica-2
  $ shiplog forget replica-2 --url http://10.0.0.2:4455

Exit code 3: no member has that name. Exit code 75: there is no primary that could do it.`,
    )
    .action(async (node: string, options: { url?: string; json?: boolean }) => {
      const { start, primary } = await findPrimary(clientOf(context, options.url), (url) => clientOf(context, url));
      if (primary === undefined) {
        throw new ShiplogError('no-primary', `none of the nodes that ${start.name} knows is the primary, and only that one can forget: bring it back, or promote another one first`);
      }
      await primary.client.forget(node);
      if (options.json === true) context.terminal.json({ forgotten: node, primary: primary.status.url });
      else context.terminal.success(`${primary.status.name} (${primary.client.url}) has forgotten ${node}`);
    });
}
