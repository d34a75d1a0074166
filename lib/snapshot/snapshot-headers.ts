/**
 * What the headers of `GET /snapshot` say about the file: written by the service, read by the
 * download. `curl` users see the position; nodes need the rest.
 */
import { type LogPoint } from '../base/epoch-history.ts';
import { ShiplogError } from '../base/errors.ts';
import { epochTagOf, formatPosition } from '../base/position.ts';

export interface SnapshotDescription extends LogPoint {
  /** SHA-256 of the file, hex. It is the ETag, too. */
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly clusterId: string;
  /** The epoch that the last operation in the file belongs to. */
  readonly epoch: { readonly number: number; readonly id: string };
}

export const SNAPSHOT_CONTENT_TYPE = 'application/vnd.sqlite3';

export function etagOf(description: SnapshotDescription): string {
  return `"sha256-${description.sha256}"`;
}

/** Without those that depend on the range. */
export function snapshotHeaders(description: SnapshotDescription): Record<string, string> {
  const { clusterId, epoch, lsn, chain } = description;
  const position = formatPosition({ epochNumber: epoch.number, epochTag: epochTagOf(epoch.id), lsn });
  return {
    'content-type': SNAPSHOT_CONTENT_TYPE,
    'content-disposition': `attachment; filename="shiplog-${position}.sqlite"`,
    'cache-control': 'no-cache, no-transform',
    'accept-ranges': 'bytes',
    'etag': etagOf(description),
    'shiplog-position': position,
    'shiplog-cluster': clusterId,
    'shiplog-epoch': `${epoch.number}.${epoch.id}`,
    'shiplog-chain': chain.toString(16).padStart(8, '0'),
  };
}

/** @throws ShiplogError `peer-protocol`, naming the header that is wrong. */
export function readSnapshotHeaders(headers: Readonly<Record<string, string>>, sizeBytes: number): SnapshotDescription {
  const [, sha256] = match(headers, 'etag', /^"sha256-([0-9a-f]{64})"$/);
  const [, lsn] = match(headers, 'shiplog-position', /^\d+\.[0-9a-f]{4}-(\d{1,15})$/);
  const [, clusterId] = match(headers, 'shiplog-cluster', /^([0-9a-f]{32})$/);
  const [, epochNumber, epochId] = match(headers, 'shiplog-epoch', /^(\d{1,15})\.([0-9a-f]{32})$/);
  const [, chain] = match(headers, 'shiplog-chain', /^([0-9a-f]{8})$/);
  return {
    sha256: sha256!,
    sizeBytes,
    clusterId: clusterId!,
    epoch: { number: Number(epochNumber), id: epochId! },
    lsn: Number(lsn),
    chain: Number.parseInt(chain!, 16),
  };
}

/** From `Content-Length` of a 200, or `Content-Range` of a 206. */
export function readSnapshotExtent(
  status: number,
  headers: Readonly<Record<string, string>>,
): { readonly fromByte: number; readonly sizeBytes: number } {
  if (status === 200) {
    const [, length] = match(headers, 'content-length', /^(\d{1,15})$/);
    return { fromByte: 0, sizeBytes: Number(length) };
  }
  const [, from, size] = match(headers, 'content-range', /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15})$/);
  return { fromByte: Number(from), sizeBytes: Number(size) };
}

function match(headers: Readonly<Record<string, string>>, name: string, pattern: RegExp): RegExpExecArray {
  const value = headers[name];
  const found = value === undefined ? null : pattern.exec(value);
  if (found === null) {
    throw new ShiplogError('peer-protocol', `the snapshot's ${name} header is ${value ?? 'missing'}, expected ${pattern.source}`);
  }
  return found;
}
