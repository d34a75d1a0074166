/**
 * What is in a Shiplog database, and how it is recognised.
 *
 *   kv       one row per key. An ordinary table with an index on the key, not WITHOUT ROWID: there a
 *            row of more than a quarter of a page spills into pages of its own. With values of
 *            1000 bytes that took 3 times the space and 5 times the time to write and to read;
 *            with values of 100 bytes it saved 0.7 µs in a read and nothing in a write.
 *   applied  one row: which cluster this is, and up to where its log is in kv
 *   epochs   the epoch history up to there
 *
 * The three change in one transaction (etcd#13766 tells what happens otherwise). Snapshots are
 * databases of this same format.
 */
import type { Database } from 'better-sqlite3';
import { type Epoch, EpochHistory } from '../base/epoch-history.ts';
import { ShiplogError } from '../base/errors.ts';
import type { AppliedState } from './store.ts';

/** "Ship" in ASCII: `file` and `sqlite3 .dbinfo` show it. */
export const APPLICATION_ID = 0x53686970;
/** SQLite's user_version. A higher one is refused, never guessed at. */
export const SCHEMA_FORMAT = 1;

const TABLES = {
  // expires_at_ms and digest are room for expiry and for row digests; null until they are built.
  kv: `CREATE TABLE kv(
  key TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL,
  lsn INTEGER NOT NULL,
  expires_at_ms INTEGER,
  digest INTEGER
) STRICT`,
  applied: `CREATE TABLE applied(
  one INTEGER PRIMARY KEY CHECK (one = 1),
  cluster_id TEXT NOT NULL,
  lsn INTEGER NOT NULL,
  chain INTEGER NOT NULL
) STRICT`,
  epochs: `CREATE TABLE epochs(
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  first_lsn INTEGER NOT NULL,
  last_lsn INTEGER,
  end_chain INTEGER
) STRICT`,
} as const;

/** Makes an empty database into one that holds nothing of `clusterId` yet. */
export function createSchema(database: Database, clusterId: string): void {
  database.exec('BEGIN IMMEDIATE');
  for (const sql of Object.values(TABLES)) database.exec(sql);
  database.pragma(`application_id = ${APPLICATION_ID}`);
  database.pragma(`user_version = ${SCHEMA_FORMAT}`);
  database.prepare('INSERT INTO applied(one, cluster_id, lsn, chain) VALUES (1, ?, 0, 0)').run(clusterId);
  database.exec('COMMIT');
}

/**
 * Refuses whatever is not a Shiplog database of this format. Tables, triggers and views that are
 * not ours are refused too: a snapshot comes from elsewhere, and a trigger in it would run here.
 * @throws ShiplogError `data-directory-invalid`.
 */
export function assertSchema(database: Database, path: string): void {
  const applicationId = database.pragma('application_id', { simple: true }) as number;
  if (applicationId !== APPLICATION_ID) {
    throw new ShiplogError(
      'data-directory-invalid',
      `${path} is no Shiplog database: its application id is ${hex(applicationId)}, expected ${hex(APPLICATION_ID)}`,
    );
  }
  const format = database.pragma('user_version', { simple: true }) as number;
  if (format !== SCHEMA_FORMAT) {
    throw new ShiplogError(
      'data-directory-invalid',
      `${path} has format ${format}, this version of Shiplog reads ${SCHEMA_FORMAT}: ` +
        (format > SCHEMA_FORMAT ? 'run the newer Shiplog that wrote it' : 'it was never completely written'),
    );
  }
  // The index behind kv's key has no SQL of its own. SQLite reserves its name: nobody else can have made it.
  const found = database
    .prepare<[], { name: string; sql: string | null }>("SELECT name, sql FROM sqlite_schema WHERE name <> 'sqlite_autoindex_kv_1'")
    .all();
  const expected = new Map<string, string>(Object.entries(TABLES));
  const foreign = found.find((entry) => expected.get(entry.name) !== entry.sql);
  if (foreign !== undefined || found.length !== expected.size) {
    throw new ShiplogError(
      'data-directory-invalid',
      `${path} has other tables than a Shiplog database: ${foreign?.name ?? `${found.length}, expected ${expected.size}`}`,
    );
  }
}

interface EpochRow {
  readonly number: number;
  readonly id: string;
  readonly first_lsn: number;
  readonly last_lsn: number | null;
  readonly end_chain: number | null;
}

/** One consistent view only where the caller holds a transaction or nobody else writes. */
export function readAppliedState(database: Database): AppliedState {
  const applied = database
    .prepare<[], { cluster_id: string; lsn: number; chain: number }>('SELECT cluster_id, lsn, chain FROM applied')
    .get();
  if (applied === undefined) {
    throw new ShiplogError('data-directory-invalid', `${database.name} does not say which position it holds`);
  }
  const epochs = database
    .prepare<[], EpochRow>('SELECT number, id, first_lsn, last_lsn, end_chain FROM epochs ORDER BY number')
    .all()
    .map((row): Epoch => ({
      number: row.number,
      id: row.id,
      firstLsn: row.first_lsn,
      lastLsn: row.last_lsn,
      endChain: row.end_chain,
    }));
  return { clusterId: applied.cluster_id, lsn: applied.lsn, chain: applied.chain, history: new EpochHistory(epochs) };
}

/** The history is a handful of rows, written once in an epoch: all of them, so that nothing is merged by hand. */
export function replaceEpochs(database: Database, epochs: readonly Epoch[]): void {
  database.exec('DELETE FROM epochs');
  const insert = database.prepare('INSERT INTO epochs(number, id, first_lsn, last_lsn, end_chain) VALUES (?, ?, ?, ?, ?)');
  for (const epoch of epochs) insert.run(epoch.number, epoch.id, epoch.firstLsn, epoch.lastLsn, epoch.endChain);
}

function hex(id: number): string {
  return `0x${id.toString(16).padStart(8, '0')}`;
}
