import type { Command } from 'commander';
import { messageOf } from '../base/errors.ts';
import type { StatusDocument } from '../client/status-document.ts';
import { type CommandContext, JSON_OPTION, clientOf, defaultUrl, parseUrl } from './command-context.ts';
import { readableDuration } from './terminal.ts';

export function addStatusCommand(program: Command, context: CommandContext): void {
  program
    .command('status')
    .summary('show what the nodes of a cluster are doing')
    .description('Shows the nodes at the given URLs; without any, the default node and all members that it knows.')
    .argument('[urls...]', 'nodes to ask', (url: string, before: string[] | undefined) => [...(before ?? []), parseUrl(url)])
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `
Examples:
  $ shiplog status
  $ shiplog status http://10.0.0.1:4455 http://10.0.0.2:4455
  $ shiplog status --json | jq '.[].status.positions.visible'

Exit code 4: at least one node did not answer.`,
    )
    .action(async (urls: string[], options: { json?: boolean }) => {
      const answers = urls.length > 0 ? await Promise.all(urls.map((url) => ask(context, url))) : await askCluster(context);
      if (options.json === true) context.terminal.json(answers);
      else showTable(context, answers);
      if (answers.some((answer) => answer.status === null)) context.exitWith('unreachable');
    });
}

interface Answer {
  readonly url: string;
  readonly status: StatusDocument | null;
  readonly error?: string;
}

async function ask(context: CommandContext, url: string): Promise<Answer> {
  try {
    return { url, status: await clientOf(context, url).status() };
  } catch (error) {
    return { url, status: null, error: messageOf(error) };
  }
}

async function askCluster(context: CommandContext): Promise<readonly Answer[]> {
  const url = defaultUrl(context);
  const status = await clientOf(context, url).status();
  // A machine that was replaced is two members at one URL.
  const others = new Set(status.members.filter((member) => member.nodeId !== status.nodeId && member.url !== status.url).map((member) => member.url));
  return [{ url, status }, ...(await Promise.all([...others].map((other) => ask(context, other))))];
}

function showTable({ terminal }: CommandContext, answers: readonly Answer[]): void {
  terminal.table(
    ['node', 'role', 'state', 'visible', 'durable', 'lag', 'followers', 'uptime', 'url'],
    answers.map(({ url, status }) =>
      status === null
        ? ['-', '-', 'no answer', '-', '-', '-', '-', '-', url]
        : [
            status.name,
            status.role,
            stateOf(status),
            status.positions.visible,
            status.positions.durable,
            lagOf(status),
            followersOf(status),
            readableDuration(status.uptimeMs),
            url,
          ],
    ),
  );
  for (const { url, error } of answers) if (error !== undefined) terminal.warn(`${url}: ${error}`);
  for (const { status } of answers) {
    if (typeof status?.upstream?.lastError === 'string' && !status.upstream.connected) {
      terminal.warn(`${status.name} is cut off from ${status.upstream.url}: ${status.upstream.lastError}`);
    }
  }
}

/** With what takes long: `bootstrapping, snapshot 45 %`. */
function stateOf(status: StatusDocument): string {
  const tasks = status.tasks.map(({ name, doneBytes, totalBytes }) =>
    totalBytes === null || totalBytes === 0 ? name : `${name} ${Math.floor((doneBytes / totalBytes) * 100)} %`,
  );
  return [status.state, ...tasks].join(', ');
}

function lagOf({ upstream }: StatusDocument): string {
  if (upstream === null) return '-';
  if (!upstream.connected || upstream.lagOperations === null) return 'unknown';
  return upstream.lagMs === null ? `${upstream.lagOperations} ops` : `${upstream.lagOperations} ops, ${readableDuration(upstream.lagMs)}`;
}

function followersOf({ followers }: StatusDocument): string {
  return followers.length === 0 ? '-' : `${followers.filter((follower) => follower.connected).length} of ${followers.length}`;
}
