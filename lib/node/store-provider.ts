/** Where a node gets its tables from: SQLite, or in a simulation, memory. */
import type { Store } from '../store/store.ts';
import { SqliteStore, createSqliteDatabase } from '../store/sqlite-store.ts';
import { type ExpectedSnapshot, verifySnapshot } from '../snapshot/install.ts';
import type { AppliedState } from '../store/store.ts';

export interface StoreProvider {
  /** Makes an empty, synced database; the caller syncs the directory. */
  create(path: string, clusterId: string): Promise<void>;
  open(path: string): Promise<Store>;
  /** Checks a file that was fetched from a peer. @throws ShiplogError `data-directory-invalid` where it is not what was announced. */
  verifySnapshot(path: string, expected: ExpectedSnapshot): Promise<AppliedState>;
}

export const SQLITE_STORES: StoreProvider = {
  create: (path, clusterId) => Promise.resolve(createSqliteDatabase(path, { clusterId })),
  open: (path) => SqliteStore.open({ path }),
  verifySnapshot,
};
