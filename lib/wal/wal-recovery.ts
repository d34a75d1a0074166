/**
 * From a directory of segments to a log that may be appended to.
 *
 * 1. Remove what was made ahead and never got its name.
 * 2. Verify every segment header, and that each segment continues the one before it (seals).
 * 3. Read and verify every frame from the segment on that holds the store's applied position.
 * 4. At the first bytes that are no record: zeros that were written ahead and a torn tail are cut off,
 *    damage is refused (FORMAT.md draws the line).
 * 5. Cut the file there in any case, write the last group again, same bytes, same place, and sync: if its
 *    sync failed just before the crash, Linux has marked the pages clean and would call a second sync a success.
 */
import type { EpochHistory, LogPoint } from '../base/epoch-history.ts';
import { ShiplogError, assert } from '../base/errors.ts';
import { MIB } from '../base/limits.ts';
import type { EpochEndOperation, Operation } from '../base/operation.ts';
import { type Disk, type DiskFile, writeFully } from '../env/disk.ts';
import type { Logger } from '../observe/logger.ts';
import { MARK_BYTES, decodeMark, findMarks } from './mark.ts';
import { endAfter, historyAfter } from './history-check.ts';
import { OperationFormatError, decodeOperations } from './operation-codec.ts';
import { Segment } from './segment.ts';
import { SEGMENT_HEADER_BYTES, decodeSegmentHeader, firstLsnOfFileName } from './segment-header.ts';
import { type FrameRecord, SegmentReader } from './segment-reader.ts';

export interface RecoveryOptions {
  readonly disk: Disk;
  readonly directory: string;
  readonly clusterId: string;
  /** Where the log of this data directory began; before its first segment exists, also its end. */
  readonly base: LogPoint;
  /** What the store holds, durably: frames up to here are not read again. */
  readonly applied: LogPoint;
  /** Epoch history at `applied`. */
  readonly history: EpochHistory;
  readonly logger: Logger;
}

export interface RecoveredLog {
  readonly segments: readonly Segment[];
  readonly end: LogPoint;
  readonly history: EpochHistory;
  /** True where the crash came between the seal of the last segment and the name of the next one. */
  readonly isSealed: boolean;
  /** The epoch-end record with which the log ends, if it does. */
  readonly ended: EpochEndOperation | undefined;
}

const HINT = 'restore this node from a snapshot, or empty its data directory to let it reseed from the primary';

export async function recoverLog(options: RecoveryOptions): Promise<RecoveredLog> {
  const { disk, directory, applied } = options;
  for (const name of await disk.list(directory)) {
    if (name.endsWith('.spare')) await disk.remove(`${directory}/${name}`);
  }
  const segments = await joinedSegments(options, await openSegments(options));
  const first = segments[0];
  if (first === undefined) {
    if (applied.lsn !== options.base.lsn) {
      throw damaged(directory, 0, `there is no segment, but the store has applied LSN ${applied.lsn}`);
    }
    await disk.syncDirectory(directory);
    return { segments, end: { lsn: applied.lsn, chain: applied.chain }, history: options.history, isSealed: false, ended: undefined };
  }
  if (first.header.before.lsn > applied.lsn) {
    throw damaged(first.path, 0, `the log begins at LSN ${first.firstLsn}, the store needs it from ${applied.lsn + 1} on`);
  }
  return readToEnd(options, segments);
}

async function openSegments(options: RecoveryOptions): Promise<Segment[]> {
  const { disk, directory, clusterId } = options;
  const segments: Segment[] = [];
  for (const name of await disk.list(directory)) {
    const firstLsn = firstLsnOfFileName(name);
    if (firstLsn === undefined) continue;
    const path = `${directory}/${name}`;
    const file = await disk.open(path, { mode: 'read' });
    try {
      const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
      const count = await file.readAt(0, bytes);
      const header = decodeSegmentHeader(bytes.subarray(0, count), path);
      if (header.before.lsn + 1 !== firstLsn) {
        throw damaged(path, 56, `the header names first LSN ${header.before.lsn + 1}, the file's name says ${firstLsn}`);
      }
      if (header.clusterId !== clusterId) {
        throw damaged(path, 16, `the segment belongs to cluster ${header.clusterId}, this node to ${clusterId}`);
      }
      segments.push(new Segment(path, header, await file.size()));
    } finally {
      await file.close();
    }
  }
  return segments;
}

/** The segments that continue one another up to the last. Removes left-overs wholly below `applied`. */
async function joinedSegments(options: RecoveryOptions, segments: readonly Segment[]): Promise<Segment[]> {
  const { disk, directory, applied, logger } = options;
  for (let index = segments.length - 2; index >= 0; index -= 1) {
    const segment = segments[index]!;
    const next = segments[index + 1]!;
    const sealed = await readSeal(disk, segment);
    if (sealed === undefined) throw damaged(segment.path, segment.sizeBytes - MARK_BYTES, 'another segment follows, but this one has no valid seal');
    if (sealed.lsn === next.header.before.lsn && sealed.chain === next.header.before.chain) continue;
    if (sealed.lsn >= next.header.before.lsn || next.header.before.lsn > applied.lsn) {
      throw damaged(segment.path, segment.sizeBytes - MARK_BYTES, `it ends with LSN ${sealed.lsn}, but the next segment begins at LSN ${next.firstLsn}`);
    }
    for (const leftOver of segments.slice(0, index + 1)) {
      logger.warn('removing a left-over segment that is not joined to the rest of the log', { path: leftOver.path });
      await disk.remove(leftOver.path);
      await disk.syncDirectory(directory);
    }
    return segments.slice(index + 1);
  }
  return [...segments];
}

async function readSeal(disk: Disk, segment: Segment): Promise<LogPoint | undefined> {
  const offset = segment.sizeBytes - MARK_BYTES;
  if (offset < SEGMENT_HEADER_BYTES) return undefined;
  const file = await disk.open(segment.path, { mode: 'read' });
  try {
    const bytes = Buffer.alloc(MARK_BYTES);
    if ((await file.readAt(offset, bytes)) < MARK_BYTES) return undefined;
    const mark = decodeMark(bytes, 0, offset, segment.markSeed);
    return mark?.kind === 'seal' ? mark.durable : undefined;
  } finally {
    await file.close();
  }
}

async function readToEnd(options: RecoveryOptions, segments: Segment[]): Promise<RecoveredLog> {
  const { disk, applied } = options;
  const start = segments.findLastIndex((segment) => segment.header.before.lsn <= applied.lsn);
  let end = segments[start]!.header.before;
  let history = options.history;
  let isSealed = false;
  let ended: EpochEndOperation | undefined;
  let hasFrames = false;
  checkApplied(segments[start]!.path, SEGMENT_HEADER_BYTES, end, applied);
  for (const segment of segments.slice(start)) {
    const isLast = segment === segments.at(-1);
    const file = await disk.open(segment.path, { mode: isLast ? 'write' : 'read' });
    try {
      const reader = new SegmentReader(file, segment, segment.boundaryBefore(0), segment.sizeBytes);
      let lastGroupOffset = SEGMENT_HEADER_BYTES;
      for (;;) {
        const chainBefore = reader.point.chain;
        const record = await reader.next();
        if (record === undefined) break;
        if (record.type === 'mark') {
          lastGroupOffset = record.offset;
          isSealed = isLast && record.mark.kind === 'seal';
          continue;
        }
        checkApplied(segment.path, record.offset, record.end, applied, record.header.firstLsn);
        const { firstLsn, operationCount } = record.header;
        // A control record is alone in its frame, so most of what the store has need not be decoded.
        if (firstLsn > applied.lsn || operationCount === 1) {
          const operations = operationsOf(segment, record);
          const endedBefore = ended;
          ended = inThisLog(segment, record, () => endAfter(endedBefore, firstLsn, operations, hasFrames));
          if (firstLsn > applied.lsn) history = inThisLog(segment, record, () => historyAfter(history, { ...record.header, chainBefore }, operations));
        } else {
          ended = undefined;
        }
        hasFrames = true;
        segment.noteBoundary(record.end, record.endOffset);
      }
      end = reader.point;
      if (reader.badReason !== undefined) {
        await refuseUnlessTorn(options, { segment, file, reader, isLast });
        segment.sizeBytes = reader.offset;
      }
      if (isLast) await rewriteLastGroup(file, lastGroupOffset, segment.sizeBytes);
    } finally {
      await file.close();
    }
  }
  if (end.lsn < applied.lsn) {
    throw damaged(segments.at(-1)!.path, segments.at(-1)!.sizeBytes, `the log ends with LSN ${end.lsn}, but the store has applied ${applied.lsn}`);
  }
  await disk.syncDirectory(options.directory);
  // A crash between the last two steps of a rotation: what the log ends with is in the segment before.
  if (!hasFrames && start > 0) ended = await endOfSegment(disk, segments[start - 1]!);
  return { segments, end, history, isSealed, ended };
}

async function endOfSegment(disk: Disk, segment: Segment): Promise<EpochEndOperation | undefined> {
  const file = await disk.open(segment.path, { mode: 'read' });
  try {
    const reader = new SegmentReader(file, segment, segment.boundaryBefore(segment.sizeBytes), segment.sizeBytes);
    let ended: EpochEndOperation | undefined;
    for (let record = await reader.next(); record !== undefined; record = await reader.next()) {
      if (record.type === 'frame') ended = epochEndOf(operationsOf(segment, record));
    }
    if (reader.badReason !== undefined) throw damaged(segment.path, reader.offset, reader.badReason);
    return ended;
  } finally {
    await file.close();
  }
}

function epochEndOf(operations: readonly Operation[]): EpochEndOperation | undefined {
  return operations.find((operation) => operation.kind === 'epoch-end');
}

/** The store's position must be the end of a frame with the same chain; else log and store don't belong together. */
function checkApplied(path: string, offset: number, end: LogPoint, applied: LogPoint, firstLsn = end.lsn): void {
  if (end.lsn === applied.lsn ? end.chain === applied.chain : applied.lsn < firstLsn || applied.lsn > end.lsn) return;
  throw damaged(path, offset, `the store has applied LSN ${applied.lsn} with chain ${applied.chain}, which is not in this log`);
}

function operationsOf(segment: Segment, record: FrameRecord): readonly Operation[] {
  return inThisLog(segment, record, () => decodeOperations(record.payload, record.header.operationCount));
}

/** What does not fit in a frame whose checksums do is damage: it names file and offset. */
function inThisLog<Value>(segment: Segment, record: FrameRecord, judge: () => Value): Value {
  try {
    return judge();
  } catch (error) {
    if (error instanceof OperationFormatError || error instanceof ShiplogError) {
      throw damaged(segment.path, record.offset, error.message, error);
    }
    throw error;
  }
}

interface BadBytes {
  readonly segment: Segment;
  readonly file: DiskFile;
  readonly reader: SegmentReader;
  readonly isLast: boolean;
}

/** Returns only where the bytes from the reader's offset on may be dropped: nothing claims them durable. */
async function refuseUnlessTorn(options: RecoveryOptions, bad: BadBytes): Promise<void> {
  const { segment, reader } = bad;
  const { lsn } = reader.point;
  // Space that was prepared for the next groups.
  if (bad.isLast && (await reader.hasOnlyZerosLeft())) return;
  const refuse = (why: string): never => {
    throw damaged(segment.path, reader.offset, `${reader.badReason}, and ${why}`);
  };
  if (!bad.isLast) refuse('another segment follows');
  if (options.applied.lsn > lsn) refuse(`the store has applied LSN ${options.applied.lsn}`);
  for await (const { position, mark } of marksFrom(bad.file, segment, reader.offset)) {
    if (mark.durable.lsn > lsn) refuse(`the mark at offset ${position} says that LSN ${mark.durable.lsn} was durable`);
  }
  options.logger.warn('dropping a torn tail: a write group that was never acknowledged', {
    path: segment.path,
    offset: reader.offset,
    bytes: segment.sizeBytes - reader.offset,
    lastLsn: lsn,
    reason: reader.badReason,
  });
}

async function* marksFrom(file: DiskFile, segment: Segment, offset: number): AsyncGenerator<{ position: number; mark: { durable: LogPoint } }> {
  const window = Buffer.allocUnsafe(Math.min(1 * MIB, segment.sizeBytes - offset));
  let position = offset;
  while (position < segment.sizeBytes) {
    const count = await file.readAt(position, window);
    if (count === 0) return;
    yield* findMarks(window.subarray(0, count), position, segment.markSeed);
    // Windows overlap, so that a mark across the border is seen whole.
    position += count <= MARK_BYTES ? count : count - MARK_BYTES + 1;
    if (count < window.length) return;
  }
}

async function rewriteLastGroup(file: DiskFile, offset: number, endOffset: number): Promise<void> {
  await file.truncate(endOffset);
  const bytes = Buffer.alloc(endOffset - offset);
  let filled = 0;
  while (filled < bytes.length) {
    const count = await file.readAt(offset + filled, bytes.subarray(filled));
    assert(count > 0, 'a segment shrank while it was read');
    filled += count;
  }
  await writeFully(file, offset, bytes);
  await file.sync();
}

export function damaged(path: string, offset: number, what: string, cause?: unknown): ShiplogError {
  return new ShiplogError('log-damaged', `${path}, offset ${offset}: ${what}; ${HINT}`, { cause });
}
