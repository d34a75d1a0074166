/** `shiplog salvage`: what a failover left behind, shown, written back, or put away. */
import { type Command, InvalidArgumentError } from 'commander';
import { parseAckLevel } from '../base/ack-level.ts';
import { markSalvageDone } from '../failover/salvage-directory.ts';
import { printable } from '../observe/printable.ts';
import { type CommandContext, JSON_OPTION, URL_OPTION, parseText } from './command-context.ts';
import { exitCodeOf } from './exit-codes.ts';
import { canAsk, isConfirmed } from './question.ts';
import { type ApplyAccount, type ApplyPlan, type ApplyRules, type DurableAck, carryOutApply, describeStop, isDecided, planApply, untouched } from './salvage-apply.ts';
import { SalvageComparison } from './salvage-comparison.ts';
import { type JudgedWrite, OPERATION_CLASSES, type OperationClass, noCounts } from './salvage-judgement.ts';
import { type LocatedSalvage, type SalvagePlaces, addPlaceOptions, chooseSalvage, collect, locateSalvage } from './salvage-location.ts';
import { readableBytes } from './terminal.ts';

export function addSalvageCommand(program: Command, context: CommandContext): void {
  const salvage = program
    .command('salvage')
    .summary('deal with what a failover left behind')
    .description('Operations that a failover left behind are in files of the node that held them. These commands read the files; the node may run meanwhile.');
  addList(salvage, context);
  addShow(salvage, context);
  addApply(salvage, context);
  addDone(salvage, context);
}

function addList(salvage: Command, context: CommandContext): void {
  const list = salvage.command('list').summary('list the files that wait').description('Lists the files that wait for somebody to decide.').option(...JSON_OPTION);
  addPlaceOptions(list)
    .addHelpText(
      'after',
      `
Examples:
  $ shiplog salvage list --data-dir /var/lib/shiplog/primary
  $ shiplog salvage list --config /etc/shiplog/a.json --config /etc/shiplog/b.json --json

Exit code 5: a file is damaged.`,
    )
    .action(async (options: SalvagePlaces & { json?: boolean }) => {
      const { terminal, exitWith } = context;
      const files = await locateSalvage(context, options);
      if (options.json === true) terminal.json(files.map(documentOf));
      else if (files.length === 0) terminal.success('nothing waits');
      else terminal.table(['file', 'operations', 'size', 'after', 'written', 'content', 'data directory'], files.map(rowOf));
      for (const file of files) {
        if (file.state !== 'damaged') continue;
        terminal.fail(file.error.message);
        exitWith('notEqual');
      }
    });
}

function rowOf(file: LocatedSalvage): readonly string[] {
  if (file.state === 'damaged') return [file.name, '-', '-', '-', '-', 'damaged', file.dataDirectory];
  const { header, operationCount, sizeBytes } = file;
  return [file.name, String(operationCount), readableBytes(sizeBytes), header.forkPosition, timeOf(header.writtenAtMs), header.isComplete ? 'complete' : 'not complete', file.dataDirectory];
}

function documentOf(file: LocatedSalvage): unknown {
  const { state, name, path, dataDirectory } = file;
  if (state === 'damaged') return { name, path, dataDirectory, state, error: file.error.message };
  const { epochs: _, ...header } = file.header;
  return { name, path, dataDirectory, state, ...header, operations: file.operationCount, sizeBytes: file.sizeBytes };
}

interface ShowOptions extends SalvagePlaces {
  readonly url?: string;
  readonly key?: readonly string[];
  readonly json?: boolean;
}

const NAME_ARGUMENT = ['[name]', 'the file, as `salvage list` names it (default: the only one there is)'] as const;
const KEY_OPTION = ['--key <key>', 'only this key; may be given again', (value: string, previous: readonly string[] | undefined) => collect(parseText(value), previous)] as const;

function addShow(salvage: Command, context: CommandContext): void {
  const show = salvage
    .command('show')
    .summary('compare a file with the cluster')
    .description('Shows the last operation of each key in a file, and what the cluster says about the key now. Changes nothing.')
    .argument(...NAME_ARGUMENT)
    .option(...URL_OPTION)
    .option(...KEY_OPTION)
    .option('--json', 'print JSON, a document each: file, operation, summary');
  addPlaceOptions(show)
    .addHelpText(
      'after',
      `
still newest  the key was last written at or before the fork: nobody has touched it since
superseded    the key was written after the fork
absent now    there is no such key: it may have been deleted after the fork, or is new
in place      the cluster says the same already

Examples:
  $ shiplog salvage show --data-dir /var/lib/shiplog/primary
  $ shiplog salvage show 1.c04d-42 --data-dir data/primary --url http://10.0.0.2:4455 --json`,
    )
    .action(async (name: string | undefined, options: ShowOptions) => {
      const file = chooseSalvage(await locateSalvage(context, options), name);
      if (file === undefined) context.terminal.success('nothing waits');
      else await showFile(context, file, options);
    });
}

/** More rows than that are no table that anybody reads. */
const TABLE_ROWS_MAX = 500;
const SHOW_HEADING = ['class', 'operation', 'key', 'value', 'position'] as const;

async function showFile(context: CommandContext, file: LocatedSalvage, { url, key, json }: ShowOptions): Promise<void> {
  const { terminal } = context;
  const comparison = await SalvageComparison.open(context, file, { needsPrimary: false, ...(url !== undefined && { url }), ...(key !== undefined && { keys: key }) });
  remarkOn(context, comparison);
  const { reason } = comparison.reader.header;
  if (reason !== null) terminal.note(`set aside because ${reason}`);
  const counts = noCounts();
  const tableRows: (readonly string[])[] = [];
  // `| head`: nobody wants the rest.
  let isOutputGone = false;
  void terminal.outputClosed.then(() => {
    isOutputGone = true;
  });
  if (json === true) terminal.json({ type: 'file', ...(documentOf(file) as object), comparedWith: comparison.client.url });
  else if (!terminal.isInteractive) writeLine(context, SHOW_HEADING);
  for await (const portion of comparison.judged()) {
    for (const judged of portion) {
      counts[judged.class] += 1;
      if (json === true) terminal.json({ type: 'operation', class: judged.class, ...judged.write, current: judged.current });
      else if (!terminal.isInteractive) writeLine(context, showRow(judged));
      else if (tableRows.length < TABLE_ROWS_MAX) tableRows.push(showRow(judged));
    }
    if (isOutputGone) return;
  }
  const total = sum(OPERATION_CLASSES.map((each) => counts[each]));
  if (json === true) {
    terminal.json({ type: 'summary', keys: total, ...counts });
    return;
  }
  if (terminal.isInteractive) terminal.table(SHOW_HEADING, tableRows);
  if (terminal.isInteractive && total > tableRows.length) terminal.note(`… and ${total - tableRows.length} more; through a pipe, or with --json, all are shown`);
  terminal.note(`${countsInWords(counts)}; \`shiplog salvage apply\` writes back what is still newest`);
}

function showRow({ class: operationClass, write }: JudgedWrite): readonly string[] {
  return [CLASS_WORDS[operationClass], write.kind, write.key, write.kind === 'put' ? shortened(write.value) : '-', write.position];
}

const VALUE_LENGTH_MAX = 60;

/** In quotes, so that an empty value, or one that begins with a blank, looks like it. */
function shortened(value: string): string {
  const start = JSON.stringify(value.slice(0, VALUE_LENGTH_MAX).toWellFormed());
  return value.length > VALUE_LENGTH_MAX ? `${start}…` : start;
}

function writeLine({ terminal }: CommandContext, cells: readonly string[]): void {
  terminal.write(`${cells.map(printable).join('\t')}\n`);
}

interface ApplyOptions extends ShowOptions {
  readonly absent?: boolean;
  readonly overwrite?: boolean;
  readonly ack?: DurableAck;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

function addApply(salvage: Command, context: CommandContext): void {
  const apply = salvage
    .command('apply')
    .summary('write operations of a file back')
    .description(
      'Writes the last operation of each key back: only where the key was not touched since the fork, unless told otherwise, and only if it is ' +
        'still as it was judged when it is written. A file of which nothing is left to decide moves to salvage/done/.',
    )
    .argument(...NAME_ARGUMENT)
    .option(...URL_OPTION)
    .option(...KEY_OPTION)
    .option('--absent', 'also keys that are absent now: they may have been deleted after the fork')
    .option('--overwrite', 'also keys that were written after the fork: what is newer is lost')
    .option('--ack <level>', 'how durable each write has to be: local, all, or a number of replicas', parseDurableAck)
    .option('--dry-run', 'say what would be written, and write nothing')
    .option('--yes', 'go on without asking')
    .option(...JSON_OPTION);
  addPlaceOptions(apply)
    .addHelpText(
      'after',
      `
Examples:
  $ shiplog salvage apply --data-dir /var/lib/shiplog/primary --dry-run
  $ shiplog salvage apply 1.c04d-42 --data-dir data/primary --ack 1 --yes
  $ shiplog salvage apply --data-dir data/primary --absent --key cart:17 --key cart:18

Exit code 6: of some writes it is not known whether they were carried out; run it again. Exit code 1: you said no.`,
    )
    .action(async (name: string | undefined, options: ApplyOptions) => {
      if (options.yes !== true && options.dryRun !== true && !canAsk(context)) {
        apply.error('error: there is no terminal to ask at: add --yes to go on without being asked, or --dry-run to see what would be written');
      }
      const file = chooseSalvage(await locateSalvage(context, options), name);
      if (file === undefined) context.terminal.success('nothing waits');
      else await applyFile(context, file, options);
    });
}

/** Not `memory`, which the server also knows: these operations were lost once already. */
function parseDurableAck(text: string): DurableAck {
  const level = parseAckLevel(text);
  if (level === undefined || level === 'memory') throw new InvalidArgumentError('Expected local, all, or a number of replicas.');
  return level;
}

async function applyFile(context: CommandContext, file: LocatedSalvage, options: ApplyOptions): Promise<void> {
  const { terminal, environment } = context;
  const rules: ApplyRules = { absent: options.absent === true, overwrite: options.overwrite === true, ack: options.ack };
  const { url, key } = options;
  const comparison = await SalvageComparison.open(context, file, { needsPrimary: true, ...(url !== undefined && { url }), ...(key !== undefined && { keys: key }) });
  remarkOn(context, comparison);
  const plan = await planApply(comparison, rules);
  if (options.dryRun === true) {
    report(context, file, comparison, { ...untouched(comparison, plan, rules) }, undefined, options);
    return;
  }
  if (plan.chosen.size > 0 && options.yes !== true) {
    terminal.note(countsInWords(plan.counts));
    if (!(await isConfirmed(context, questionOf(plan, comparison)))) {
      terminal.note('nothing was changed');
      context.exitWith('failed');
      return;
    }
  }
  const account = plan.chosen.size === 0 ? untouched(comparison, plan, rules) : await carryOutApply(context, comparison, plan, rules);
  // What is missing in the file can't be decided by what is in it.
  const isDone = isDecided(account) && comparison.reader.header.isComplete;
  const donePath = isDone ? await markSalvageDone(environment.disk, file.dataDirectory, file.name) : undefined;
  report(context, file, comparison, account, donePath, options);
  if (account.unknown.length > 0) context.exitWith('outcomeUnknown');
  else if (account.stoppedBy !== undefined) context.exitWith(exitCodeOf(account.stoppedBy));
}

function questionOf({ chosenPuts, chosenDeletes }: ApplyPlan, { client, nodeName }: SalvageComparison): string {
  const what = [...(chosenPuts > 0 ? [`write ${keys(chosenPuts)}`] : []), ...(chosenDeletes > 0 ? [`delete ${keys(chosenDeletes)}`] : [])].join(' and ');
  return `${what[0]!.toUpperCase()}${what.slice(1)} at ${nodeName} (${client.url})?`;
}

function report(context: CommandContext, file: LocatedSalvage, comparison: SalvageComparison, account: ApplyAccount, donePath: string | undefined, { json, dryRun }: ApplyOptions): void {
  const { terminal } = context;
  const { applied, inPlace, skipped, leftOut, supersededMeanwhile, unknown, notTried, stoppedBy } = account;
  if (json === true) {
    const accountDocument = dryRun === true ? { wouldApply: notTried, inPlace, skipped, leftOut } : { applied, inPlace, skipped, leftOut, supersededMeanwhile, unknown, notTried };
    terminal.json({ file: file.path, primary: comparison.client.url, keys: comparison.keyCount, ...accountDocument, movedTo: donePath ?? null });
  } else {
    const rows: readonly (readonly [string, number])[] = [
      ...(dryRun === true ? [['would be written', notTried] as const] : [['written', applied] as const]),
      ['in place already', inPlace],
      ['superseded: left alone', skipped.superseded],
      ['absent now: left alone', skipped.absent],
      ['not among the keys that were named', leftOut],
      ['written by somebody meanwhile: left alone', supersededMeanwhile.length],
      ['not known whether written', unknown.length],
      ...(dryRun === true ? [] : [['not tried', notTried] as const]),
    ];
    terminal.table(['what', 'keys'], rows.filter(([, count], index) => index === 0 || count > 0).map(([what, count]) => [what, String(count)]));
  }
  nameKeys(context, 'written by somebody meanwhile', supersededMeanwhile);
  nameKeys(context, 'not known whether written', unknown);
  if (stoppedBy !== undefined) terminal.fail(describeStop(account));
  if (dryRun === true) terminal.note('nothing was changed');
  else if (donePath !== undefined) terminal.success(`nothing of ${file.name} is left to decide: it is ${donePath} now`);
  else terminal.note(whatIsLeft(file, comparison, account));
}

function whatIsLeft(file: LocatedSalvage, { reader }: SalvageComparison, account: ApplyAccount): string {
  const done = `\`shiplog salvage done ${file.name} --data-dir ${file.dataDirectory}\``;
  if (isDecided(account)) return `${file.name} waits on, because it is not complete: look into ${file.dataDirectory}/${reader.header.generation} for what is missing, then ${done}`;
  const flags = [...(account.skipped.absent > 0 ? ['--absent'] : []), ...(account.skipped.superseded > 0 ? ['--overwrite'] : [])];
  return `${file.name} waits on: ${flags.length === 0 ? '' : `apply it with ${flags.join(' or ')}, or `}put the rest away with ${done}`;
}

const NAMED_KEYS_MAX = 20;

function nameKeys({ terminal }: CommandContext, what: string, names: readonly string[]): void {
  for (const key of names.slice(0, NAMED_KEYS_MAX)) terminal.warn(`${what}: ${JSON.stringify(key)}`);
  if (names.length > NAMED_KEYS_MAX) terminal.warn(`${what}: ${names.length - NAMED_KEYS_MAX} more; --json names them all`);
}

function addDone(salvage: Command, context: CommandContext): void {
  const done = salvage
    .command('done')
    .summary('put a file away')
    .description('Says that what a file holds is decided: moves it to salvage/done/. Nothing is removed.')
    .argument('<names...>', 'the files, as `salvage list` names them')
    .option(...JSON_OPTION);
  addPlaceOptions(done)
    .addHelpText(
      'after',
      `
Examples:
  $ shiplog salvage done 1.c04d-42 --data-dir /var/lib/shiplog/primary`,
    )
    .action(async (names: readonly string[], options: SalvagePlaces & { json?: boolean }) => {
      const located = await locateSalvage(context, options);
      // All of them are looked for before the first one moves.
      const files = [...new Set(names.map((name) => chooseSalvage(located, name)!))];
      const moved: { readonly name: string; readonly movedTo: string }[] = [];
      for (const { dataDirectory, name } of files) moved.push({ name, movedTo: await markSalvageDone(context.environment.disk, dataDirectory, name) });
      if (options.json === true) context.terminal.json(moved);
      else for (const { name, movedTo } of moved) context.terminal.success(`${name} is ${movedTo} now`);
    });
}

/** What somebody should know before they read on. */
function remarkOn({ terminal }: CommandContext, { reader, client, nodeName, isPrimary }: SalvageComparison): void {
  const { header } = reader;
  if (!header.isComplete) {
    terminal.warn(`${reader.path} is not complete: of the operations after ${header.forkPosition} through ${header.completeAfterPosition} it has only what the table still showed, and no deletes; the log of that time is in the directory ${header.generation}`);
  }
  if (!isPrimary) terminal.warn(`there is no primary: compared with ${nodeName} (${client.url}), which may be behind`);
}

const CLASS_WORDS: Readonly<Record<OperationClass, string>> = {
  'still-newest': 'still newest',
  'superseded': 'superseded',
  'absent': 'absent now',
  'in-place': 'in place',
};

function countsInWords(counts: Readonly<Record<OperationClass, number>>): string {
  const parts = OPERATION_CLASSES.filter((each) => counts[each] > 0).map((each) => `${counts[each]} ${CLASS_WORDS[each]}`);
  return parts.length === 0 ? 'no writes' : parts.join(', ');
}

function keys(count: number): string {
  return count === 1 ? '1 key' : `${count} keys`;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}

function timeOf(wallMs: number): string {
  return new Date(wallMs).toISOString();
}
