/**
 * Is the table what the log says? Of each key the log's last write is remembered (its LSN and a hash
 * of the value, nothing more), then every row is held against it:
 *
 *   a key whose last write in the log is …   its row must …
 *   a put                                    be there, with this LSN and this value
 *   a delete                                 not be there
 *   none, the log has other keys             be older than the log, or it comes from nowhere
 *
 * Rows older than the log are counted apart: nothing on this node can tell whether they are right.
 *
 * Memory is bounded by taking the keys in several passes over log and table when the log is long: a
 * key belongs to the pass that its checksum names.
 */
import { hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { unreachable } from '../base/errors.ts';
import type { Disk } from '../env/disk.ts';
import type { openReader } from '../store/sqlite-connection.ts';
import { decodeOperations } from '../wal/operation-codec.ts';
import { SegmentReader } from '../wal/segment-reader.ts';
import type { Segment } from '../wal/segment.ts';
import type { FindingList } from './finding.ts';

/** About 300 MiB, if every operation has a key of its own. */
const OPERATIONS_PER_PASS_MAX = 1_000_000;
/** Of a SHA-256: enough that no row passes by accident, and a plain number. */
const VALUE_HASH_BYTES = 6;

export interface TableVerificationOptions {
  readonly disk: Disk;
  readonly database: ReturnType<typeof openReader>;
  /** A log that was verified, from its start through the applied position at least. */
  readonly segments: readonly Segment[];
  readonly startLsn: number;
  readonly appliedLsn: number;
  /** All that the log holds: an upper bound for the keys. */
  readonly operationCount: number;
  readonly findings: FindingList;
  readonly operationsPerPassMax?: number;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

/** Where nothing was found wrong, `rowCount` is `checkedCount` + `olderCount`. */
export interface TableVerification {
  readonly rowCount: number;
  /** Rows that are exactly the log's last write of their key. */
  readonly checkedCount: number;
  /** Rows last written before the log begins: could not be checked against it. */
  readonly olderCount: number;
  /** Keys that the log deleted last, and that are not there. */
  readonly deletedCount: number;
}

interface LastWrite {
  readonly lsn: number;
  /** Undefined for a delete. */
  readonly valueHash: number | undefined;
}

interface Row {
  readonly key: string;
  readonly lsn: number;
  /** Null for rows that the log can't say anything about. */
  readonly value: string | null;
}

export async function verifyTable(options: TableVerificationOptions): Promise<TableVerification> {
  const passCount = Math.max(1, Math.ceil(options.operationCount / (options.operationsPerPassMax ?? OPERATIONS_PER_PASS_MAX)));
  const counts = { rowCount: 0, checkedCount: 0, olderCount: 0, deletedCount: 0 };
  for (let pass = 0; pass < passCount; pass += 1) {
    const isInPass = (key: string): boolean => passCount === 1 || crc32(key) % passCount === pass;
    const lastWrites = await readLastWrites(options, isInPass, (doneBytes, totalBytes) =>
      options.onProgress?.(pass * totalBytes + doneBytes, passCount * totalBytes),
    );
    compareRows(options, isInPass, lastWrites, counts);
  }
  return counts;
}

async function readLastWrites(
  { disk, segments, appliedLsn }: TableVerificationOptions,
  isInPass: (key: string) => boolean,
  onProgress: (doneBytes: number, totalBytes: number) => void,
): Promise<Map<string, LastWrite>> {
  const lastWrites = new Map<string, LastWrite>();
  const totalBytes = segments.reduce((sum, segment) => sum + segment.sizeBytes, 0);
  let doneBytes = 0;
  for (const segment of segments) {
    if (segment.header.before.lsn >= appliedLsn) break;
    const file = await disk.open(segment.path, { mode: 'read' });
    try {
      const reader = new SegmentReader(file, segment, segment.boundaryBefore(0), segment.sizeBytes);
      for (let record = await reader.next(); record !== undefined; record = await reader.next()) {
        if (record.type === 'mark') continue;
        if (record.header.firstLsn > appliedLsn) break;
        for (const [index, operation] of decodeOperations(record.payload, record.header.operationCount).entries()) {
          const lsn = record.header.firstLsn + index;
          switch (operation.kind) {
            case 'put':
              if (isInPass(operation.key)) lastWrites.set(operation.key, { lsn, valueHash: hashOf(operation.value) });
              break;
            case 'delete':
              if (isInPass(operation.key)) lastWrites.set(operation.key, { lsn, valueHash: undefined });
              break;
            case 'epoch-begin':
            case 'epoch-end':
              break;
            default:
              unreachable(operation);
          }
        }
        onProgress(doneBytes + record.endOffset, totalBytes);
      }
    } finally {
      await file.close();
    }
    doneBytes += segment.sizeBytes;
  }
  return lastWrites;
}

function compareRows(
  { database, startLsn, appliedLsn, findings }: TableVerificationOptions,
  isInPass: (key: string) => boolean,
  lastWrites: Map<string, LastWrite>,
  counts: { -readonly [Name in keyof TableVerification]: TableVerification[Name] },
): void {
  const rows = database.prepare<[number], Row>('SELECT key, lsn, CASE WHEN lsn > ? THEN value END AS value FROM kv');
  for (const row of rows.iterate(startLsn)) {
    if (!isInPass(row.key)) continue;
    counts.rowCount += 1;
    const last = lastWrites.get(row.key);
    lastWrites.delete(row.key);
    const message = last === undefined ? whyUnwritten(row, startLsn, appliedLsn) : whyNotLast(row, last);
    if (message !== undefined) findings.add({ about: 'row', key: row.key, message });
    else if (last === undefined) counts.olderCount += 1;
    else counts.checkedCount += 1;
  }
  // What is left are the keys without a row.
  for (const [key, { lsn, valueHash }] of lastWrites) {
    if (valueHash === undefined) counts.deletedCount += 1;
    else findings.add({ about: 'row', key, message: `the log wrote it at LSN ${lsn}, but there is no such row` });
  }
}

/** What is wrong with a row whose key the log doesn't have. */
function whyUnwritten(row: Row, startLsn: number, appliedLsn: number): string | undefined {
  if (row.lsn > appliedLsn) return `its row claims LSN ${row.lsn}, but the table has applied only ${appliedLsn}`;
  if (row.lsn > startLsn) return `its row claims LSN ${row.lsn}, but the log has no write of this key`;
  if (row.lsn < 1) return `its row claims LSN ${row.lsn}, the first there is is 1`;
  return undefined;
}

function whyNotLast(row: Row, last: LastWrite): string | undefined {
  if (last.valueHash === undefined) return `the log deleted it at LSN ${last.lsn}, but its row of LSN ${row.lsn} is there`;
  if (row.lsn !== last.lsn) return `the log wrote it last at LSN ${last.lsn}, but its row claims LSN ${row.lsn}`;
  if (hashOf(row.value!) !== last.valueHash) return `its row has another value than the log wrote at LSN ${last.lsn}`;
  return undefined;
}

function hashOf(value: string): number {
  return hash('sha256', value, 'buffer').readUIntBE(0, VALUE_HASH_BYTES);
}
