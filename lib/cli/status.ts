import { type Command, InvalidArgumentError } from 'commander';
import { ShiplogClient } from '../client/shiplog-client.ts';
import { type CommandContext, JSON_OPTION, clientOf, defaultUrl, parseUrl } from './command-context.ts';
import { type NodeAnswer, StatusSurvey } from './status-survey.ts';
import { STATUS_HEADING, remarksOn, statusRow } from './status-table.ts';
import { StatusWatch } from './status-watch.ts';

const WATCH_INTERVAL_MS = 1_000;
/** While one node is silent the picture stands still, so not for long. */
const WATCH_TIMEOUT_MS = 2_000;

export function addStatusCommand(program: Command, context: CommandContext): void {
  program
    .command('status')
    .summary('show what the nodes of a cluster are doing')
    .description('Shows the nodes at the given URLs; without any, the default node and all members that it knows.')
    .argument('[urls...]', 'nodes to ask', (url: string, before: string[] | undefined) => [...(before ?? []), parseUrl(url)])
    .option('--watch [seconds]', 'show it again and again, every second or so often, until Ctrl-C', parseInterval)
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `
Examples:
  $ shiplog status
  $ shiplog status http://10.0.0.1:4455 http://10.0.0.2:4455
  $ shiplog status --watch
  $ shiplog status http://10.0.0.1:4455 --watch 5 >> status.log
  $ shiplog status --json | jq '.[].status.positions.visible'

With --watch, --json prints one document a line for each time: {"time", "nodes"}.
Exit code 4: at least one node did not answer (not with --watch).`,
    )
    .action(async (urls: string[], { json, watch }: { json?: boolean; watch?: number | true }) => {
      const asJson = json === true;
      if (watch !== undefined) return watchNodes(context, urls, watch === true ? WATCH_INTERVAL_MS : watch, asJson);
      const answers = await survey(context, urls);
      if (asJson) context.terminal.json(answers);
      else showTable(context, answers, urls.length === 0);
      if (answers.some((answer) => answer.status === null)) context.exitWith('unreachable');
    });
}

async function survey(context: CommandContext, urls: readonly string[]): Promise<readonly NodeAnswer[]> {
  // Where the default node is not there, nobody meant it: that is said as with any other command.
  if (urls.length === 0) await clientOf(context, undefined).status();
  return new StatusSurvey({ clientAt: (url) => clientOf(context, url), ...scopeOf(context, urls) }).ask();
}

async function watchNodes(context: CommandContext, urls: readonly string[], intervalMs: number, asJson: boolean): Promise<void> {
  const { transport, clock } = context.environment;
  const clientAt = (url: string): ShiplogClient => new ShiplogClient({ transport, clock, url, timeoutMs: WATCH_TIMEOUT_MS });
  await new StatusWatch(context, { survey: new StatusSurvey({ clientAt, ...scopeOf(context, urls) }), intervalMs, isWhole: urls.length === 0, asJson }).run();
}

function scopeOf(context: CommandContext, urls: readonly string[]): { readonly urls: readonly string[]; readonly followsMembers: boolean } {
  return urls.length > 0 ? { urls: [...new Set(urls)], followsMembers: false } : { urls: [defaultUrl(context)], followsMembers: true };
}

function showTable({ terminal }: CommandContext, answers: readonly NodeAnswer[], isWhole: boolean): void {
  terminal.table(
    STATUS_HEADING,
    answers.map((answer) => statusRow(answer, answers)),
  );
  for (const remark of remarksOn(answers, isWhole)) terminal.warn(remark);
}

function parseInterval(text: string): number {
  const seconds = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && seconds >= 0.1 && seconds <= 3_600) return seconds * 1_000;
  throw new InvalidArgumentError('Expected seconds, 0.1 to 3600; URLs go before --watch.');
}
