/**
 * The end of a run: both nodes say that they are equal, and somebody who knows nothing of lib/ reads their
 * logs and gets the same table as over HTTP.
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { type DecodedFrame, type DecodedLog, decodeLog, foldLog } from '../support/second-decoder.ts';
import type { Finding, Reading } from './history-check.ts';
import { SHIPLOG_MAIN } from './node-process.ts';

const VERIFY_TIMEOUT_MS = 60_000;
/** The checksum of the frame header: seeded with the salt of the segment, the only bytes in which nodes may differ. */
const LOCAL_CHECKSUM = { start: 44, end: 48 };

/** `shiplog verify URL URL`. @returns what it said when the nodes are not equal. */
export function verifyNodes(urls: readonly string[]): Promise<readonly Finding[]> {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [SHIPLOG_MAIN, 'verify', ...urls], { timeout: VERIFY_TIMEOUT_MS }, (error, stdout, stderr) => {
      if (error === null) {
        // It has to have said so: exit code 0 alone could also be that of an empty command.
        if (!`${stdout}${stderr}`.includes('equal at')) reject(new Error(`shiplog verify ended with 0, but does not say that the nodes are equal: ${stdout}${stderr}`));
        else resolve([]);
        return;
      }
      resolve([{ kind: 'different', key: '', detail: `shiplog verify exited with ${String(error.code)}: ${stdout}${stderr}` }]);
    });
  });
}

export interface StoppedNodes {
  readonly primaryDirectory: string;
  readonly replicaDirectory: string;
  /** What the primary answered last for every key that was ever written. */
  readonly readings: readonly Reading[];
}

/** For two nodes that were stopped cleanly. @throws Error when there is nothing to compare. */
export function checkLogs({ primaryDirectory, replicaDirectory, readings }: StoppedNodes): readonly Finding[] {
  const primary = decodeLog(logDirectoryOf(primaryDirectory));
  const replica = decodeLog(logDirectoryOf(replicaDirectory));
  if (primary.frames[0]?.firstLsn !== 1) throw new Error(`the primary's log in ${primaryDirectory} does not begin with LSN 1: nothing can be told from it`);
  if (replica.frames.length === 0) throw new Error(`the replica's log in ${replicaDirectory} has no frames: nothing can be told from it`);

  const beforeReplica = primary.frames.filter((frame) => frame.lastLsn < replica.frames[0]!.firstLsn);
  return [
    ...notClean('primary', primary),
    ...notClean('replica', replica),
    ...differentFrames(primary.frames, replica.frames),
    ...differentTable('primary', foldLog(primary.frames), readings),
    // A replica begins with a snapshot; its log continues that.
    ...differentTable('replica', foldLog([...beforeReplica, ...replica.frames]), readings),
  ];
}

/** CURRENT names the generation that holds the data. */
export function logDirectoryOf(dataDirectory: string): string {
  const generation = /"generation": "(gen-\d{6})"/.exec(readFileSync(join(dataDirectory, 'CURRENT'), 'utf8'))?.[1];
  if (generation === undefined) throw new Error(`${dataDirectory}/CURRENT names no generation`);
  return join(dataDirectory, generation, 'wal');
}

export function notClean(name: string, { end }: DecodedLog): readonly Finding[] {
  if (end.kind === 'clean') return [];
  return [{ kind: 'different', key: '', detail: `the ${name}'s log is ${end.kind} at ${end.file}:${end.offset}: ${end.reason}` }];
}

function differentFrames(primary: readonly DecodedFrame[], replica: readonly DecodedFrame[]): readonly Finding[] {
  const byFirstLsn = new Map(primary.map((frame) => [frame.firstLsn, frame]));
  const isSame = (frame: DecodedFrame): boolean => {
    const other = byFirstLsn.get(frame.firstLsn);
    return other !== undefined && sharedBytes(frame).equals(sharedBytes(other));
  };
  const first = replica.find((frame) => !isSame(frame));
  const differing = first === undefined ? [] : [`the frame of LSN ${first.firstLsn} in the replica's ${first.file} is not that of the primary`];
  const [primaryEnd, replicaEnd] = [primary.at(-1)!.lastLsn, replica.at(-1)!.lastLsn];
  if (primaryEnd !== replicaEnd) differing.push(`the primary's log ends with LSN ${primaryEnd}, the replica's with ${replicaEnd}`);
  return differing.map((detail) => ({ kind: 'different', key: '', detail }));
}

export function sharedBytes({ bytes }: DecodedFrame): Buffer {
  return Buffer.concat([bytes.subarray(0, LOCAL_CHECKSUM.start), bytes.subarray(LOCAL_CHECKSUM.end)]);
}

function differentTable(name: string, fold: ReadonlyMap<string, { readonly value: string; readonly lsn: number }>, readings: readonly Reading[]): readonly Finding[] {
  const findings: Finding[] = [];
  let present = 0;
  for (const { key, value, position } of readings) {
    const row = fold.get(key);
    if (row !== undefined) present += 1;
    const lsn = position === undefined ? undefined : Number(position.split('-')[1]);
    if ((row?.value ?? null) === value && (lsn === undefined || lsn === row?.lsn)) continue;
    findings.push({ kind: 'different', key, detail: `the ${name}'s log says ${JSON.stringify(row?.value ?? null)} at LSN ${row?.lsn}, HTTP says ${JSON.stringify(value)} at ${position}` });
  }
  if (present < fold.size) findings.push({ kind: 'phantom', key: '', detail: `the ${name}'s log holds ${fold.size - present} keys that nobody wrote` });
  return findings;
}
