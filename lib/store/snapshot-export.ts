/** A consistent copy of the whole database as one plain file. Runs in a thread of its own. */
import type { Database } from 'better-sqlite3';
import { createHash } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, openSync, readSync, rmSync } from 'node:fs';
import { assert } from '../base/errors.ts';
import { openReader } from './sqlite-connection.ts';
import { readAppliedState } from './schema.ts';
import type { ExportResult } from './store-calls.ts';

const PIECE_BYTES = 1024 * 1024;

/** Leaves nothing behind where it fails. The caller syncs the directory. */
export function exportSnapshot(database: Database, path: string): ExportResult {
  copyDatabase(database, path);
  try {
    return { ...syncAndDigest(path), ...describe(path) };
  } catch (error) {
    removeCopy(path);
    throw error;
  }
}

/** Not synced. Leaves nothing behind where it fails. */
export function copyDatabase(database: Database, path: string): void {
  assert(!existsSync(path), `${path} exists already`);
  try {
    // One read transaction from beginning to end: the copy is of one position.
    database.prepare('VACUUM INTO ?').run(path);
  } catch (error) {
    removeCopy(path);
    throw error;
  }
}

function removeCopy(path: string): void {
  for (const suffix of ['', '-journal']) rmSync(path + suffix, { force: true });
}

/** The position is read from the copy itself: one asked for separately could be another one (litefs#167). */
function describe(path: string): Omit<ExportResult, 'sizeBytes' | 'sha256'> {
  const copy = openReader(path);
  try {
    const { clusterId, lsn, chain, history } = readAppliedState(copy);
    return { clusterId, lsn, chain, epochs: history.epochs };
  } finally {
    copy.close();
  }
}

function syncAndDigest(path: string): { readonly sizeBytes: number; readonly sha256: string } {
  const hash = createHash('sha256');
  const piece = Buffer.allocUnsafe(PIECE_BYTES);
  let sizeBytes = 0;
  const descriptor = openSync(path, 'r+');
  try {
    fsyncSync(descriptor);
    for (;;) {
      const count = readSync(descriptor, piece, 0, piece.length, sizeBytes);
      if (count === 0) break;
      hash.update(piece.subarray(0, count));
      sizeBytes += count;
    }
  } finally {
    closeSync(descriptor);
  }
  return { sizeBytes, sha256: hash.digest('hex') };
}
