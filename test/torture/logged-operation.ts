/**
 * What nodes wrote down, as evidence: the log, read by the second decoder, and the salvage files that a
 * failover left behind, read from what their format promises.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';

import { type DecodedFrame, decodeLog } from '../support/second-decoder.ts';
import { logDirectoryOf } from './final-check.ts';

/** One put or delete, wherever it was found. */
export interface LoggedOperation {
  readonly position: string;
  readonly key: string;
  /** Null for a delete. */
  readonly value: string | null;
}

export interface LogRange {
  readonly afterLsn: number;
  readonly throughLsn: number;
  /** `1.c04d` for each epoch number that the log holds there. */
  readonly epochTags: ReadonlyMap<number, string>;
}

/**
 * The operations of a range, from the files of a node that may be running, but writes nothing.
 * @throws Error where the log does not hold all of the range.
 */
export function readLog(dataDirectory: string, range: LogRange): readonly LoggedOperation[] {
  return operationsOf(decodeLog(logDirectoryOf(dataDirectory), { fromLsn: range.afterLsn + 1 }).frames, range);
}

/** @throws Error where the frames do not hold all of the range, without a gap. */
export function operationsOf(frames: readonly DecodedFrame[], { afterLsn, throughLsn, epochTags }: LogRange): readonly LoggedOperation[] {
  const operations: LoggedOperation[] = [];
  let nextLsn = afterLsn + 1;
  for (const frame of frames) {
    for (const [index, operation] of frame.operations.entries()) {
      const lsn = frame.lsns[index]!;
      if (lsn <= afterLsn || lsn > throughLsn) continue;
      if (lsn !== nextLsn) throw new Error(`the log goes on with LSN ${lsn}, expected ${nextLsn}: nothing can be told from it`);
      nextLsn += 1;
      if (operation.kind !== 'put' && operation.kind !== 'delete') continue;
      const tag = epochTags.get(frame.epoch);
      if (tag === undefined) throw new Error(`LSN ${lsn} is of epoch ${frame.epoch}, which the node's history does not name`);
      operations.push({ position: `${tag}-${lsn}`, key: operation.key, value: operation.kind === 'put' ? operation.value : null });
    }
  }
  if (nextLsn !== throughLsn + 1) throw new Error(`the log ends with LSN ${nextLsn - 1}, expected ${throughLsn}: nothing can be told from it`);
  return operations;
}

/** What every salvage file of a node holds. None where there is no such directory; what is half written bears another name. */
export function readSalvage(dataDirectory: string): readonly LoggedOperation[] {
  const directory = join(dataDirectory, 'salvage');
  const names = readdirSync(dataDirectory).includes('salvage') ? readdirSync(directory).filter((name) => name.endsWith('.ndjson')).sort() : [];
  return names.flatMap((name) => {
    try {
      return parseSalvage(readFileSync(join(directory, name), 'utf8'));
    } catch (error) {
      throw new Error(`${join(directory, name)}: ${(error as Error).message}`, { cause: error });
    }
  });
}

/**
 * A header line, a line per operation, a footer with their number and the CRC-32 of all lines before it.
 * @throws Error where it is not whole: whoever relies on it would lose what is missing.
 */
export function parseSalvage(text: string): readonly LoggedOperation[] {
  if (!text.endsWith('\n')) throw new Error('the last line is cut off');
  const lines = text.slice(0, -1).split('\n');
  const [header, footer] = [lines[0], lines.at(-1)].map((line) => JSON.parse(line!) as Record<string, unknown>) as [Record<string, unknown>, Record<string, unknown>];
  if (header['format'] !== 1) throw new Error(`the header says format ${String(header['format'])}, expected 1`);
  if (header['isComplete'] !== true) throw new Error('the header says that it is not complete');
  if (footer['footer'] !== true) throw new Error('the last line is no footer');
  const content = lines.slice(1, -1);
  if (footer['operations'] !== content.length) throw new Error(`the footer counts ${String(footer['operations'])} operations, there are ${content.length}`);
  const checksum = crc32(`${lines.slice(0, -1).join('\n')}\n`).toString(16).padStart(8, '0');
  if (footer['crc32'] !== checksum) throw new Error(`the footer says CRC-32 ${String(footer['crc32'])}, the lines have ${checksum}`);
  return content.flatMap((line) => {
    const { position, kind, key, value } = JSON.parse(line) as { position: string; kind: string; key: string; value?: string };
    if (kind === 'epoch-begin' || kind === 'epoch-end') return [];
    if (kind !== 'put' && kind !== 'delete') throw new Error(`${position} is of kind ${kind}, which is unknown`);
    if (kind === 'put' && typeof value !== 'string') throw new Error(`the put at ${position} has no value`);
    return [{ position, key, value: kind === 'put' ? value! : null }];
  });
}
