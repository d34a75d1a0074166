import { type Command, InvalidArgumentError } from 'commander';
import { type AckLevel, parseAckLevel } from '../base/ack-level.ts';
import { ShiplogError, isShiplogError, messageOf } from '../base/errors.ts';
import { type ImportAccount, ImportUpload } from '../client/import-upload.ts';
import type { Disk } from '../env/disk.ts';
import { randomId } from '../env/random.ts';
import { type CommandContext, JSON_OPTION, URL_OPTION, defaultUrl } from './command-context.ts';
import { exitCodeOf } from './exit-codes.ts';

interface ImportOptions {
  readonly url?: string;
  readonly ack?: AckLevel;
  readonly skip: number;
  readonly json?: boolean;
}

const PIECE_BYTES = 256 * 1024;

export function addImportCommand(program: Command, context: CommandContext): void {
  program
    .command('import')
    .summary('write many keys from lines of JSON')
    .description('Writes keys and values from lines of JSON, as `shiplog export` makes them, in their order. Any node will do: a replica names the primary.')
    .argument('[file]', 'the lines; - is standard input', '-')
    .option(...URL_OPTION)
    .option('--ack <level>', 'what each line has to reach before it counts: local, all, or a number of replicas (default: as the server is configured)', parseSyncedAck)
    .option('--skip <lines>', 'leave out so many lines, which are in the cluster already', parseSkip, 0)
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `
Lines are {"key":"…","value":"…"} or {"del":"…"}. Where it breaks, exactly the first so many lines are in the cluster:
the message says how many, and names the command that goes on. Doing a line again does no harm, unless somebody else has
written the key meanwhile.

Examples:
  $ shiplog import all.ndjson
  $ shiplog import all.ndjson --ack 1 --skip 120000
  $ jq -c '{key: .id, value: tojson}' users.ndjson | shiplog import

Exit code 75: it broke off, and the message says where. 6: lines behind those that are counted may be there, too.`,
    )
    .action(async (file: string, options: ImportOptions) => {
      const { terminal, environment } = context;
      const { transport, clock, random, disk } = environment;
      const bar = terminal.progress('import');
      const source = file === '-' ? context.stdin : await openFile(disk, file, (done, total) => bar.show(done, total));
      const { ack, skip } = options;
      const upload = new ImportUpload({ transport, clock, url: options.url ?? defaultUrl(context), id: randomId(random), skip, ...(ack !== undefined && { ack }), lines: source });
      const { account, error } = await upload.run().finally(() => {
        bar.stop();
        // A pipe that nobody reads any more must not hold the process.
        if (file === '-') context.stdin.destroy();
      });
      if (error === undefined) {
        const { lines, position } = account;
        if (options.json === true) terminal.json({ lines, position });
        else terminal.success(`${countOf(lines)} are in the cluster, at ${position ?? 'an unknown position'}`);
        return;
      }
      if (options.json === true) terminal.json({ ...account, code: isShiplogError(error) ? error.code : 'unreachable', message: messageOf(error) });
      terminal.fail(explain(error, account, commandFor(file, options, account)));
      context.exitWith(exitOf(error, account));
    });
}

/** A connection that broke is no reason to doubt what the node says of the lines. */
function exitOf(error: Error, { isExact, uncertainThroughLine }: ImportAccount): number | 'outcomeUnknown' | 'retryLater' {
  if (!isExact || uncertainThroughLine !== undefined) return 'outcomeUnknown';
  return isShiplogError(error) && error.code !== 'peer-protocol' ? exitCodeOf(error) : 'retryLater';
}

function explain(error: Error, { lines, position, isExact, uncertainThroughLine }: ImportAccount, command: string): string {
  const at = position === null ? '' : `, at ${position}`;
  const rest = isExact ? ', and nothing behind them' : '; the node could not be asked whether there are more';
  const sure = lines === 0 && isExact ? 'no line is in the cluster' : `${isExact ? '' : 'at least '}the first ${countOf(lines)} are in the cluster${at}${uncertainThroughLine === undefined ? rest : ''}`;
  const uncertain = uncertainThroughLine === undefined ? '' : `; those up to line ${uncertainThroughLine} may be there, too, and may be written again`;
  return `${messageOf(error)}\n${sure}${uncertain}\ngo on with: ${command}`;
}

function commandFor(file: string, { url, ack }: ImportOptions, { lines }: ImportAccount): string {
  const words = ['shiplog', 'import', file, '--skip', String(lines), ...(ack === undefined ? [] : ['--ack', String(ack)]), ...(url === undefined ? [] : ['--url', url])];
  return words.map((word) => (/^[\w./:@%+=-]+$/.test(word) ? word : `'${word.replaceAll('\'', '\'\\\'\'')}'`)).join(' ');
}

function countOf(lines: number): string {
  return lines === 1 ? '1 line' : `${lines} lines`;
}

async function openFile(disk: Disk, path: string, onProgress: (doneBytes: number, totalBytes: number) => void): Promise<AsyncIterable<Uint8Array>> {
  if (!(await disk.exists(path))) throw new ShiplogError('bad-request', `there is no file ${path}`);
  const file = await disk.open(path, { mode: 'read' });
  const totalBytes = await file.size();
  return (async function* () {
    try {
      for (let offset = 0; ; ) {
        const piece = Buffer.allocUnsafe(PIECE_BYTES);
        const count = await file.readAt(offset, piece);
        if (count === 0) return;
        yield piece.subarray(0, count);
        offset += count;
        onProgress(Math.min(offset, totalBytes), totalBytes);
      }
    } finally {
      await file.close();
    }
  })();
}

function parseSyncedAck(text: string): AckLevel {
  const level = parseAckLevel(text);
  if (level === undefined || level === 'memory') throw new InvalidArgumentError('Expected local, all, or a number of replicas from 1 on.');
  return level;
}

function parseSkip(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('Expected a number of lines.');
  return Number(text);
}
