/** A data directory as a node makes it, with a real log and a real database, to be damaged by tests. */
import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import SqliteDatabase, { type Database } from 'better-sqlite3';
import { expect } from 'chai';
import { EpochHistory, type LogPoint } from '../../lib/base/epoch-history.ts';
import type { DataOperation } from '../../lib/base/operation.ts';
import { RealDisk } from '../../lib/env/real-disk.ts';
import { DataDirectory, type Generation, readCurrent } from '../../lib/node/data-directory.ts';
import { SILENT_LOGGER } from '../../lib/observe/logger.ts';
import { SqliteStore, createSqliteDatabase } from '../../lib/store/sqlite-store.ts';
import { type DirectoryVerification, type DirectoryVerificationOptions, verifyDirectory } from '../../lib/verify/directory-verification.ts';
import type { FrameSource, LoggedBatch, Wal } from '../../lib/wal/wal.ts';
import { CLUSTER_ID, FIRST_EPOCH, frame, openWal } from '../wal/wal-under-test.ts';

export const DISK = new RealDisk();
const ZERO: LogPoint = { lsn: 0, chain: 0 };

export async function makeRoom(): Promise<{ readonly path: string; readonly remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'shiplog-verify-'));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

/** A node without its network: what is written goes into the log, then into the table. */
export class NodeUnderTest {
  readonly path: string;
  readonly generation: Generation;
  readonly wal: Wal;
  readonly store: SqliteStore;
  readonly #directory: DataDirectory;
  #stopped: Promise<void> | undefined;

  private constructor(path: string, directory: DataDirectory, generation: Generation, wal: Wal, store: SqliteStore) {
    this.path = path;
    this.#directory = directory;
    this.generation = generation;
    this.wal = wal;
    this.store = store;
  }

  /** A new cluster; the first epoch is opened and applied. */
  static async found(path: string, options: { readonly segmentBytes?: number } = {}): Promise<NodeUnderTest> {
    const directory = await DataDirectory.open({ disk: DISK, logger: SILENT_LOGGER, path, newNodeId: () => 'a1'.repeat(16) });
    const generation = await directory.newGeneration();
    createSqliteDatabase(generation.databasePath, { clusterId: CLUSTER_ID });
    await directory.setCurrent({ generation, clusterId: CLUSTER_ID, base: ZERO, history: EpochHistory.EMPTY, kept: [] });
    const store = await SqliteStore.open({ path: generation.databasePath });
    const wal = await openWal(DISK, { directory: generation.walDirectory, segmentBytes: options.segmentBytes ?? 600 });
    const node = new NodeUnderTest(path, directory, generation, wal, store);
    await node.append(FIRST_EPOCH);
    return node;
  }

  write(...operations: readonly DataOperation[]): Promise<void> {
    return this.append(frame(operations, this.wal.history.current));
  }

  async append(source: FrameSource): Promise<void> {
    await this.store.apply(await this.log(source));
  }

  /** Into the log only, as far as a node comes that is killed in that moment. */
  log(source: FrameSource): Promise<readonly LoggedBatch[]> {
    return this.wal.append([source]);
  }

  /** As SIGTERM does it. May be called again. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    await this.wal.close();
    await this.store.close();
    await this.#directory.close();
  }

  /**
   * As kill -9 would leave it now, as a copy beside this directory. Made by another process: closing a
   * descriptor of the database in this one would drop SQLite's locks.
   */
  copyKilled(to: string): string {
    const { status, stderr } = spawnSync('cp', ['-r', this.path, to]);
    expect(status, stderr.toString()).to.equal(0);
    return to;
  }
}

/** Changes the database behind the store's back. */
export async function tamper(path: string, change: (database: Database) => void): Promise<void> {
  const current = await readCurrent(DISK, path);
  const database = new SqliteDatabase(current!.generation.databasePath);
  try {
    change(database);
  } finally {
    database.close();
  }
}

export async function verify(path: string, options: Partial<DirectoryVerificationOptions> = {}): Promise<DirectoryVerification> {
  return verifyDirectory({
    disk: DISK,
    lockPath: `${path}/lock`,
    readCurrent: async () => {
      const { generation, clusterId, base } = (await readCurrent(DISK, path))!;
      return { databasePath: generation.databasePath, walDirectory: generation.walDirectory, clusterId, base };
    },
    ...options,
  });
}

/** The names and contents of all files, to show that nothing changed. */
export async function contentsOf(path: string): Promise<Map<string, string>> {
  const names = (await readdir(path, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const { status, stdout } = spawnSync('sha256sum', ['--', ...names.sort()]);
  expect(status).to.equal(0);
  return new Map(stdout.toString().trimEnd().split('\n').map((line) => [line.slice(66), line.slice(0, 64)]));
}
