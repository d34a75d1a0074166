import type { Readable, Writable } from 'node:stream';
import type { Command } from 'commander';
import { ShiplogError, isShiplogError } from '../base/errors.ts';
import type { Disk } from '../env/disk.ts';
import { StreamDecoder } from '../replication/stream-protocol.ts';
import { readSegment } from '../verify/log-directory.ts';
import { FRAME_HEADER_BYTES, type FrameHeader, chainOfFrame, lastLsnOf } from '../wal/frame.ts';
import { OperationFormatError, decodeOperations } from '../wal/operation-codec.ts';
import { firstLsnOfFileName } from '../wal/segment-header.ts';
import { SegmentReader } from '../wal/segment-reader.ts';
import type { CommandContext } from './command-context.ts';
import { locateLog } from './log-location.ts';
import { LogPrinter } from './log-printer.ts';

/** `results` is where the lines go: the command ends when nobody reads them any more. */
export function addWalDumpCommand(wal: Command, context: CommandContext, results: Writable): void {
  wal
    .command('dump')
    .summary('print what is in a log or a stream')
    .description('Prints each frame, operation, mark and control frame of a log as one line. Changes nothing, and may look at a running node.')
    .argument('<source>', 'a segment file, a data directory, a wal directory, or - for a stream on standard input')
    .option('--values', 'print values too')
    .option('--json', 'print one JSON document per line')
    .addHelpText(
      'after',
      `
Columns: position, kind, key or what the record says, bytes of the value, and with --values the value.
Control characters are printed as \\uXXXX.

Examples:
  $ shiplog wal dump /var/lib/shiplog/primary
  $ shiplog wal dump /var/lib/shiplog/primary/gen-000001/wal/00000000000000000001.wal --values
  $ curl -sN http://127.0.0.1:4455/wal | shiplog wal dump -
  $ shiplog wal dump data/primary --json | jq 'select(.kind == "delete").key'

Exit code 5: not all of it could be read. On a running node, that may be a write that is under way.`,
    )
    .action(async (source: string, options: { values?: boolean; json?: boolean }) => {
      const reader: ResultReader = { isGone: false };
      // `| head`: a stream would otherwise go on for ever, with nobody looking.
      results.once('error', () => {
        reader.isGone = true;
      });
      const printer = new LogPrinter(context.terminal, { asJson: options.json === true, withValues: options.values === true });
      if (source === '-') {
        await dumpStream(context.stdin, printer, reader);
        return;
      }
      const unread = await dumpFiles(context.environment.disk, await segmentPathsOf(context.environment.disk, source), printer, reader);
      for (const message of unread) context.terminal.fail(message);
      if (unread.length > 0) context.exitWith('notEqual');
    });
}

interface ResultReader {
  isGone: boolean;
}

async function segmentPathsOf(disk: Disk, source: string): Promise<string[]> {
  if (!(await disk.exists(source))) throw new ShiplogError('bad-request', `there is no ${source}`);
  // Only a directory has an entry for itself.
  if (!(await disk.exists(`${source}/.`))) return [source];
  const { directory } = await locateLog(disk, source);
  const names = await disk.list(directory);
  return names.filter((name) => firstLsnOfFileName(name) !== undefined).map((name) => `${directory}/${name}`);
}

/** @returns what could not be read, and why; the rest was printed. */
async function dumpFiles(disk: Disk, paths: readonly string[], printer: LogPrinter, results: ResultReader): Promise<string[]> {
  const unread: string[] = [];
  for (const path of paths) {
    if (results.isGone) break;
    try {
      await dumpFile(disk, path, printer, results);
    } catch (error) {
      if (!isShiplogError(error, 'log-damaged')) throw error;
      unread.push(error.message);
    }
  }
  return unread;
}

async function dumpFile(disk: Disk, path: string, printer: LogPrinter, results: ResultReader): Promise<void> {
  const segment = await readSegment(disk, path);
  printer.segment(segment);
  const file = await disk.open(path, { mode: 'read' });
  try {
    const reader = new SegmentReader(file, segment, segment.boundaryBefore(0), segment.sizeBytes);
    for (let record = await reader.next(); record !== undefined; record = await reader.next()) {
      if (results.isGone) return;
      if (record.type === 'mark') printer.mark(record.mark, record.offset);
      else printer.frame(record.header, operationsOf(record.header, record.payload), record.endOffset - record.offset, record.offset);
    }
    if (reader.badReason !== undefined && !(await reader.hasOnlyZerosLeft())) {
      throw new ShiplogError('log-damaged', `${path}, offset ${reader.offset}: ${reader.badReason}; \`shiplog wal verify\` tells whether that is damage`);
    }
  } finally {
    await file.close();
  }
}

/** Reads `GET /wal` as it comes, until it ends. A frame is printed once its chain is known to be right. */
async function dumpStream(stdin: Readable, printer: LogPrinter, results: ResultReader): Promise<void> {
  const decoder = new StreamDecoder();
  let isFirst = true;
  let end: { readonly lsn: number; readonly chain: number } | undefined;
  for await (const chunk of stdin as AsyncIterable<Buffer>) {
    if (isFirst) refuseOtherInput(chunk);
    isFirst = false;
    for (const record of decoder.push(chunk)) {
      if (record.type === 'control') {
        printer.control(record.control);
        continue;
      }
      const { header, bytes } = record;
      checkFollows(header, bytes, end ?? (header.firstLsn === 1 ? { lsn: 0, chain: 0 } : undefined));
      end = { lsn: lastLsnOf(header), chain: header.chain };
      printer.frame(header, operationsOf(header, bytes.subarray(FRAME_HEADER_BYTES)), bytes.length);
    }
    if (results.isGone) return;
  }
}

/** The first frame of a stream that begins in the middle can't be held against anything. */
function checkFollows(header: FrameHeader, bytes: Buffer, end: { readonly lsn: number; readonly chain: number } | undefined): void {
  if (end === undefined) return;
  if (header.firstLsn === end.lsn + 1 && header.chain === chainOfFrame(bytes, end.chain)) return;
  throw new ShiplogError('log-damaged', `the frame at LSN ${header.firstLsn} does not follow the one that ended with LSN ${end.lsn} and chain ${end.chain}`);
}

function operationsOf(header: FrameHeader, payload: Buffer): ReturnType<typeof decodeOperations> {
  try {
    return decodeOperations(payload, header.operationCount);
  } catch (error) {
    if (error instanceof OperationFormatError) throw new ShiplogError('log-damaged', `the frame at LSN ${header.firstLsn}: ${error.message}`, { cause: error });
    throw error;
  }
}

/** What is piped in by mistake: a node's refusal, or a segment. */
function refuseOtherInput(chunk: Buffer): void {
  const text = chunk.toString('utf8', 0, 500);
  if (text.startsWith('SHIPLOGW')) throw new ShiplogError('bad-request', 'that is a segment, not a stream: name the file, shiplog wal dump FILE');
  if (text.startsWith('{')) throw new ShiplogError('peer-protocol', `the node did not answer with a stream: ${text.trimEnd()}`);
}
