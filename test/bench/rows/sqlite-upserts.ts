/**
 * sqlite-upserts.ts DATABASE FILE
 *
 * What SQLite alone takes for the rows of an import: upserts into the schema of the store, in
 * transactions of 1,000. Reading and parsing the lines does not count.
 */
import { readFileSync } from 'node:fs';
import SqliteDatabase from 'better-sqlite3';
import { createSchema } from '../../../lib/store/schema.ts';

const TRANSACTION_ROWS = 1_000;

interface ParsedRow {
  readonly key: string;
  readonly value: string;
}

const [path, file] = process.argv.slice(2) as [string, string];
const rows = readFileSync(file, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as ParsedRow);
const database = new SqliteDatabase(path);
database.pragma('journal_mode = WAL');
database.pragma('synchronous = NORMAL');
createSchema(database, '0'.repeat(32));
const put = database.prepare<[string, string, number]>(
  'INSERT INTO kv(key, value, lsn) VALUES (?, ?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value, lsn = excluded.lsn',
);
const putSome = database.transaction((first: number) => {
  for (let index = first; index < Math.min(rows.length, first + TRANSACTION_ROWS); index += 1) put.run(rows[index]!.key, rows[index]!.value, index + 1);
});

const startMs = performance.now();
for (let first = 0; first < rows.length; first += TRANSACTION_ROWS) putSome.immediate(first);
const tookS = (performance.now() - startMs) / 1_000;

const count = database.prepare<[], number>('SELECT count(*) FROM kv').pluck().get();
database.close();
if (count !== rows.length) throw new Error(`the table holds ${count} rows, expected ${rows.length}`);
console.log(`RESULT ${JSON.stringify({ rowsPerS: rows.length / tookS })}`);
