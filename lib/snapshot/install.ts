/**
 * Between a file that says it is a snapshot and a database that a node opens: nothing is believed
 * that was not checked. The switch itself, by the CURRENT file, is the node's.
 */
import { dirname } from 'node:path';
import { EpochHistory, type LogPoint } from '../base/epoch-history.ts';
import { assert, ShiplogError } from '../base/errors.ts';
import { MIB } from '../base/limits.ts';
import { type Disk, writeFully } from '../env/disk.ts';
import type { AppliedRecord } from '../store/store-calls.ts';
import { StoreThread } from '../store/store-thread.ts';
import type { AppliedState } from '../store/store.ts';

/** What was announced with the file, as far as the caller knows it. */
export interface ExpectedSnapshot extends LogPoint {
  readonly clusterId: string;
  readonly epoch: { readonly number: number; readonly id: string };
}

/**
 * Checks a snapshot from its first page to its last, in a thread. One that was announced, whose SHA-256 the download
 * has compared, is as the primary's VACUUM has just written it, rows and then the index made of them: there SQLite's
 * quick_check is enough. Of a file of unknown origin integrity_check also asks whether the index agrees with the rows.
 * @returns what the file holds. @throws ShiplogError `data-directory-invalid` where it is no
 * Shiplog database, damaged, or not what was expected.
 */
export async function verifySnapshot(path: string, expected?: ExpectedSnapshot): Promise<AppliedState> {
  const state = stateOf(await inThread((thread) => thread.call('verifyFile', { path, check: expected === undefined ? 'all' : 'pages' })));
  if (expected === undefined) return state;
  const epoch = state.history.epochAt(state.lsn);
  const got = `cluster ${state.clusterId}, LSN ${state.lsn}, chain ${state.chain}, epoch ${epoch?.number ?? 0}.${epoch?.id ?? ''}`;
  const wanted = `cluster ${expected.clusterId}, LSN ${expected.lsn}, chain ${expected.chain}, epoch ${expected.epoch.number}.${expected.epoch.id}`;
  if (got !== wanted) {
    throw new ShiplogError('data-directory-invalid', `${path} is not the snapshot that was announced: it holds ${got}, expected ${wanted}`);
  }
  return state;
}

export interface RestoreSnapshotOptions {
  readonly disk: Disk;
  readonly snapshotPath: string;
  /** Where the new database ends up; nothing may be there. */
  readonly databasePath: string;
  /** Id of the new cluster. */
  readonly clusterId: string;
}

/**
 * Makes of a backup the database of a new cluster: all rows and positions stay, the cluster id
 * changes, so that no node of the old cluster ever takes it for one of its own. Its history ends
 * with the backup; the node opens a new epoch there when it first starts. The snapshot is not changed.
 * @throws ShiplogError `data-directory-invalid`, DiskFullError.
 */
export async function restoreSnapshot(options: RestoreSnapshotOptions): Promise<AppliedState> {
  const { disk, snapshotPath, databasePath, clusterId } = options;
  assert(/^[0-9a-f]{32}$/.test(clusterId), `cluster id ${clusterId} is not 32 hex digits`);
  if (await disk.exists(databasePath)) {
    throw new ShiplogError('data-directory-invalid', `${databasePath} exists already: restore into an empty data directory`);
  }
  const temporary = `${databasePath}.part`;
  // A journal that is left of an earlier attempt would be replayed into the new copy.
  for (const suffix of ['', '-journal', '-wal', '-shm']) await disk.remove(temporary + suffix);
  await copyFile(disk, snapshotPath, temporary);
  const state = stateOf(await inThread((thread) => thread.call('adoptFile', { path: temporary, clusterId })));
  await disk.rename(temporary, databasePath);
  await disk.syncDirectory(dirname(databasePath));
  return state;
}

function stateOf({ clusterId, lsn, chain, epochs }: AppliedRecord): AppliedState {
  return { clusterId, lsn, chain, history: new EpochHistory(epochs) };
}

async function inThread<Result>(run: (thread: StoreThread) => Promise<Result>): Promise<Result> {
  const thread = new StoreThread('install');
  try {
    return await run(thread);
  } finally {
    await thread.close();
  }
}

async function copyFile(disk: Disk, from: string, to: string): Promise<void> {
  const source = await disk.open(from, { mode: 'read' });
  try {
    const target = await disk.open(to, { mode: 'create' });
    try {
      const piece = Buffer.allocUnsafe(MIB);
      for (let offset = 0; ; ) {
        const count = await source.readAt(offset, piece);
        if (count === 0) break;
        await writeFully(target, offset, piece.subarray(0, count));
        offset += count;
      }
      await target.sync();
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}
