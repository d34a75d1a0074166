/**
 * The segments of a log directory, found by somebody who only looks. Recovery (wal-recovery.ts)
 * throws at the first thing that is wrong and repairs what may be repaired; here everything wrong is
 * named, and nothing is touched. Both follow FORMAT.md, and a test holds their verdicts against each
 * other.
 */
import type { LogPoint } from '../base/epoch-history.ts';
import { isShiplogError } from '../base/errors.ts';
import { MIB } from '../base/limits.ts';
import type { Disk, DiskFile } from '../env/disk.ts';
import { MARK_BYTES, decodeMark, findMarks } from '../wal/mark.ts';
import { SEGMENT_HEADER_BYTES, decodeSegmentHeader, firstLsnOfFileName } from '../wal/segment-header.ts';
import { Segment } from '../wal/segment.ts';

export interface LogDamage {
  /** The file, or the directory where there is none. */
  readonly path: string;
  readonly offset: number;
  readonly reason: string;
}

export type SegmentFile =
  | { readonly state: 'readable'; readonly segment: Segment }
  | { readonly state: 'unreadable'; readonly damage: LogDamage };

/** All files with the name of a segment, oldest first. Whatever else is there is not part of the log. */
export async function findSegments(disk: Disk, directory: string): Promise<SegmentFile[]> {
  const found: SegmentFile[] = [];
  for (const name of await disk.list(directory)) {
    if (firstLsnOfFileName(name) !== undefined) found.push(await openSegment(disk, directory, name));
  }
  return found;
}

async function openSegment(disk: Disk, directory: string, name: string): Promise<SegmentFile> {
  const path = `${directory}/${name}`;
  try {
    const segment = await readSegment(disk, path);
    if (segment.firstLsn === firstLsnOfFileName(name)) return { state: 'readable', segment };
    return unreadable(path, 56, `the header names first LSN ${segment.firstLsn}, the file's name says ${Number.parseInt(name, 10)}`);
  } catch (error) {
    if (!isShiplogError(error, 'log-damaged')) throw error;
    return unreadable(path, 0, withoutPathAndHint(error.message, path));
  }
}

/** Reads the header of one segment. @throws ShiplogError `log-damaged` where there is none. */
export async function readSegment(disk: Disk, path: string): Promise<Segment> {
  const file = await disk.open(path, { mode: 'read' });
  try {
    const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
    const count = await file.readAt(0, bytes);
    return new Segment(path, decodeSegmentHeader(bytes.subarray(0, count), path), await file.size());
  } finally {
    await file.close();
  }
}

/** What the seal at the end of a segment names; undefined where it ends with something else. */
export async function readSeal(disk: Disk, segment: Segment): Promise<LogPoint | undefined> {
  const offset = segment.sizeBytes - MARK_BYTES;
  if (offset < SEGMENT_HEADER_BYTES) return undefined;
  const file = await disk.open(segment.path, { mode: 'read' });
  try {
    const bytes = Buffer.alloc(MARK_BYTES);
    const count = await file.readAt(offset, bytes);
    const mark = count < MARK_BYTES ? undefined : decodeMark(bytes, 0, offset, segment.markSeed);
    return mark?.kind === 'seal' ? mark.durable : undefined;
  } finally {
    await file.close();
  }
}

/** The first valid mark at or behind `offset`, aligned to nothing, that says that more than `lsn` was durable. */
export async function findMarkAbove(file: DiskFile, segment: Segment, offset: number, lsn: number): Promise<{ readonly offset: number; readonly durableLsn: number } | undefined> {
  const window = Buffer.alloc(1 * MIB);
  // Windows overlap by a byte less than a mark, so that a mark across the border is seen whole.
  for (let start = offset; start < segment.sizeBytes; start += window.length - MARK_BYTES + 1) {
    const count = await file.readAt(start, window);
    for (const { position, mark } of findMarks(window.subarray(0, count), start, segment.markSeed)) {
      if (mark.durable.lsn > lsn) return { offset: position, durableLsn: mark.durable.lsn };
    }
  }
  return undefined;
}

function unreadable(path: string, offset: number, reason: string): SegmentFile {
  return { state: 'unreadable', damage: { path, offset, reason } };
}

/** The finding names the file itself, and what to do about it depends on all that is found. */
function withoutPathAndHint(message: string, path: string): string {
  return message.replace(`${path}: `, '').replace(/; restore this node .*$/, '');
}
