/**
 * Reads what a node holds, in the ways that it offers: key by key, the whole table as a snapshot, a digest.
 * The snapshot is opened with Node's own SQLite, not with the library that wrote it.
 */
import { writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';

import type { Finding, Reading } from './history-check.ts';
import type { Workbench } from './workbench.ts';
import { WriteClient } from './write-client.ts';

const CONNECTIONS = 16;
const SNAPSHOT_TIMEOUT_MS = 30_000;
const SNAPSHOT_RETRY_MS = 50;

/** `GET /get/:key` for each key. @throws Error when one answers neither 200 nor 404. */
export async function readKeys(url: string, keys: readonly string[]): Promise<readonly Reading[]> {
  const client = new WriteClient(url, CONNECTIONS);
  const readings: Reading[] = [];
  let next = 0;
  const readOn = async (): Promise<void> => {
    while (next < keys.length) {
      const key = keys[next]!;
      next += 1;
      readings.push(await client.read(key));
    }
  };
  try {
    await Promise.all(Array.from({ length: CONNECTIONS }, readOn));
  } finally {
    client.close();
  }
  return readings;
}

/**
 * `GET /snapshot`: every row of the table, at a position that is not below `lsn`.
 * @throws Error when the node doesn't give one.
 */
export async function readTable(url: string, lsn: number, workbench: Workbench): Promise<ReadonlyMap<string, Reading>> {
  const { epoch, content } = await downloadSnapshot(url, lsn);
  const path = workbench.path('snapshot.sqlite');
  writeFileSync(path, content);
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    const rows = database.prepare('SELECT key, value, lsn FROM kv').all() as { readonly key: string; readonly value: string; readonly lsn: number }[];
    return new Map(rows.map((row) => [row.key, { key: row.key, value: row.value, position: `${epoch}-${row.lsn}` }]));
  } finally {
    database.close();
  }
}

/** Both nodes' own digests of their tables, at a position where neither moves any more. */
export async function compareDigests(primaryUrl: string, replicaUrl: string, lsn: number): Promise<readonly Finding[]> {
  const [primary, replica] = await Promise.all([primaryUrl, replicaUrl].map((url) => digestOf(url, lsn)));
  if (primary === replica) return [];
  return [{ kind: 'different', key: '', detail: `the tables differ: primary ${primary}, replica ${replica}` }];
}

async function digestOf(url: string, lsn: number): Promise<string> {
  const response = await fetch(`${url}/peer/digest?at=${lsn}`);
  const body = await response.text();
  if (response.status !== 200) throw new Error(`GET ${url}/peer/digest?at=${lsn} answered ${response.status} ${body}`);
  return body.trim();
}

async function downloadSnapshot(url: string, lsn: number): Promise<{ readonly epoch: string; readonly content: Buffer }> {
  const deadlineMs = performance.now() + SNAPSHOT_TIMEOUT_MS;
  for (;;) {
    const response = await fetch(`${url}/snapshot`);
    const content = Buffer.from(await response.arrayBuffer());
    const position = response.headers.get('shiplog-position') ?? '';
    const [epoch, snapshotLsn] = position.split('-');
    // What is visible may not be in SQLite yet, and a snapshot that was made just now is given to all who ask.
    if (response.status === 200 && Number(snapshotLsn) >= lsn) return { epoch: epoch!, content };
    if (performance.now() > deadlineMs) {
      throw new Error(`GET ${url}/snapshot answered ${response.status} at ${JSON.stringify(position)} for ${SNAPSHOT_TIMEOUT_MS} ms, expected LSN ${lsn} or more`);
    }
    await sleep(SNAPSHOT_RETRY_MS);
  }
}
