/**
 * Verifies a log as it lies on disk, from its first frame to its end, without changing a byte: every
 * header, seal, frame, chain and mark, and that each frame's epoch continues the one before it.
 *
 * What is found behind the last valid record is judged as recovery would judge it (FORMAT.md, "The
 * end of the log"): a torn tail is what a killed node leaves, and the next start cuts it off;
 * anything else is damage. Unlike recovery, this also reads what the store needs no more, and goes on
 * behind damage with the next segment, so that all of it is told at once.
 */
import { EpochHistory, type EpochRef, type LogPoint } from '../base/epoch-history.ts';
import { isShiplogError } from '../base/errors.ts';
import type { Operation } from '../base/operation.ts';
import type { Disk, DiskFile } from '../env/disk.ts';
import { historyAfter } from '../wal/history-check.ts';
import { MARK_BYTES, type MarkKind } from '../wal/mark.ts';
import { OperationFormatError, decodeOperations } from '../wal/operation-codec.ts';
import { type FrameRecord, SegmentReader } from '../wal/segment-reader.ts';
import type { Segment } from '../wal/segment.ts';
import { type LogDamage, type SegmentFile, findMarkAbove, findSegments, readSeal } from './log-directory.ts';

export interface LogVerificationOptions {
  readonly disk: Disk;
  readonly directory: string;
  /** Whose log it must be; where not given, all segments must agree. */
  readonly clusterId?: string;
  /** Where the log of this data directory began. */
  readonly base?: LogPoint;
  /** What the table holds. Where not given, nothing is asked of the log on its behalf. */
  readonly applied?: LogPoint & { readonly history: EpochHistory };
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

export interface LogVerification {
  readonly clusterId: string | undefined;
  /** Readable ones, oldest first, without left-overs. */
  readonly segments: readonly Segment[];
  /** Segments that nothing joins to the rest and that the table needs no more: the next start removes them. */
  readonly leftOverCount: number;
  readonly sizeBytes: number;
  readonly frameCount: number;
  readonly operationCount: number;
  /** The log holds the operations after `start` … */
  readonly start: LogPoint;
  /** … through `end`. */
  readonly end: LogPoint;
  readonly endState: LogEndState;
  /** What the log says of the applied position; undefined where that is not the end of a frame in this log. */
  readonly atApplied: AppliedInLog | undefined;
}

export type LogEndState =
  /** `isStopped`: the node had stopped cleanly, and had not been killed after a whole frame. */
  | { readonly state: 'clean'; readonly isStopped: boolean }
  /** The last write group, never acknowledged as a whole: what a killed node leaves. */
  | { readonly state: 'torn'; readonly path: string; readonly offset: number; readonly bytes: number; readonly reason: string }
  | { readonly state: 'damaged'; readonly damages: readonly LogDamage[] };

export interface AppliedInLog {
  readonly chain: number;
  /**
   * Epochs as the log tells them. Where the log doesn't begin at LSN 1, its first epoch has a first
   * LSN made up. Undefined where no frame tells anything.
   */
  readonly history: EpochHistory | undefined;
}

export function verifyLog(options: LogVerificationOptions): Promise<LogVerification> {
  return new LogVerifier(options).verify();
}

type SegmentEnd = Extract<LogEndState, { state: 'torn' }> | { readonly state: 'whole'; readonly lastMark: MarkKind | undefined };

class LogVerifier {
  readonly #options: LogVerificationOptions;
  readonly #segments: Segment[] = [];
  readonly #damages: LogDamage[] = [];
  #clusterId: string | undefined;
  #leftOverCount = 0;
  #frameCount = 0;
  #operationCount = 0;
  #doneBytes = 0;
  #totalBytes = 0;
  #start: LogPoint | undefined;
  /** End of the last frame that was read. */
  #end: LogPoint | undefined;
  /** What the next frame must follow; undefined before the first segment and behind damage. */
  #point: LogPoint | undefined;
  /** At `#point`; undefined while no frame has told. */
  #history: EpochHistory | undefined;
  #atApplied: AppliedInLog | undefined;

  constructor(options: LogVerificationOptions) {
    this.#options = options;
    this.#clusterId = options.clusterId;
  }

  async verify(): Promise<LogVerification> {
    const { applied, base, directory } = this.#options;
    const files = await this.#withoutLeftOvers(await findSegments(this.#options.disk, directory));
    this.#totalBytes = files.reduce((sum, file) => sum + (file.state === 'readable' ? file.segment.sizeBytes : 0), 0);
    let lastEnd: SegmentEnd = { state: 'whole', lastMark: undefined };
    for (const [index, file] of files.entries()) {
      if (file.state === 'readable') lastEnd = await this.#readSegment(file.segment, index === files.length - 1);
      else this.#damage(file.damage);
    }
    const start = this.#start ?? base ?? { lsn: 0, chain: 0 };
    const end = this.#end ?? start;
    if (files.length === 0) this.#history = this.#historyBefore(start);
    this.#noteApplied(end);
    this.#checkReach(start, end, files.length);
    return {
      clusterId: this.#clusterId,
      segments: this.#segments,
      leftOverCount: this.#leftOverCount,
      sizeBytes: this.#totalBytes,
      frameCount: this.#frameCount,
      operationCount: this.#operationCount,
      start,
      end,
      endState: this.#endState(lastEnd),
      atApplied: applied === undefined ? undefined : this.#atApplied,
    };
  }

  /** As recovery finds them: from the end on back, wholly below what the table holds, and not joined. */
  async #withoutLeftOvers(files: readonly SegmentFile[]): Promise<readonly SegmentFile[]> {
    const { applied, disk } = this.#options;
    const segments = files.flatMap((file) => (file.state === 'readable' ? [file.segment] : []));
    if (applied === undefined || segments.length < files.length) return files;
    for (let index = segments.length - 2; index >= 0; index -= 1) {
      const { before } = segments[index + 1]!.header;
      const sealed = await readSeal(disk, segments[index]!);
      if (sealed === undefined) return files;
      if (sealed.lsn === before.lsn && sealed.chain === before.chain) continue;
      if (sealed.lsn >= before.lsn || before.lsn > applied.lsn) return files;
      this.#leftOverCount = index + 1;
      return files.slice(this.#leftOverCount);
    }
    return files;
  }

  async #readSegment(segment: Segment, isLast: boolean): Promise<SegmentEnd> {
    const { disk, onProgress } = this.#options;
    this.#segments.push(segment);
    this.#checkHeader(segment);
    const file = await disk.open(segment.path, { mode: 'read' });
    try {
      return await this.#readRecords(file, segment, isLast);
    } finally {
      await file.close();
      this.#doneBytes += segment.sizeBytes;
      onProgress?.(this.#doneBytes, this.#totalBytes);
    }
  }

  /** Does the segment continue the one before it? Behind damage the next one is taken as it says. */
  #checkHeader(segment: Segment): void {
    const { clusterId, before } = segment.header;
    const { path } = segment;
    this.#clusterId ??= clusterId;
    if (clusterId !== this.#clusterId) this.#damage({ path, offset: 16, reason: `the segment belongs to cluster ${clusterId}, expected ${this.#clusterId}` });
    if (this.#point !== undefined && (this.#point.lsn !== before.lsn || this.#point.chain !== before.chain)) {
      this.#damage({ path, offset: 56, reason: `the segment follows LSN ${before.lsn} with chain ${before.chain}, but the one before it ends with LSN ${this.#point.lsn} and chain ${this.#point.chain}` });
    }
    if (this.#point === undefined) this.#history = this.#historyBefore(before);
    this.#start ??= before;
    this.#point = before;
    this.#end = before;
  }

  async #readRecords(file: DiskFile, segment: Segment, isLast: boolean): Promise<SegmentEnd> {
    const { onProgress } = this.#options;
    const reader = new SegmentReader(file, segment, segment.boundaryBefore(0), segment.sizeBytes);
    let lastMark: MarkKind | undefined;
    for (let record = await reader.next(); record !== undefined; record = await reader.next()) {
      lastMark = record.type === 'mark' ? record.mark.kind : undefined;
      if (record.type === 'mark') continue;
      const reason = this.#takeFrame(segment, record);
      if (reason !== undefined) {
        this.#damage({ path: segment.path, offset: record.offset, reason });
        return { state: 'whole', lastMark };
      }
      onProgress?.(this.#doneBytes + record.endOffset, this.#totalBytes);
    }
    const isPreparedSpace = isLast && reader.badReason !== undefined && (await reader.hasOnlyZerosLeft());
    if (reader.badReason !== undefined && !isPreparedSpace) return this.#judgeBadBytes(file, segment, reader, isLast);
    if (!isLast && lastMark !== 'seal') {
      this.#damage({ path: segment.path, offset: Math.max(0, segment.sizeBytes - MARK_BYTES), reason: 'another segment follows, but this one does not end with a seal' });
    }
    return { state: 'whole', lastMark };
  }

  /** @returns why the frame, whose checksums are right, is not one that belongs here. */
  #takeFrame(segment: Segment, { header, end, payload }: FrameRecord): string | undefined {
    try {
      const operations = decodeOperations(payload, header.operationCount);
      this.#history ??= this.#seededHistory(segment, header.epochNumber, operations[0]);
      this.#noteApplied(this.#point!);
      this.#history &&= historyAfter(this.#history, { ...header, chainBefore: this.#point!.chain }, operations);
    } catch (error) {
      if (error instanceof OperationFormatError || isShiplogError(error, 'history-diverged')) return error.message;
      throw error;
    }
    this.#frameCount += 1;
    this.#operationCount += header.operationCount;
    this.#point = end;
    this.#end = end;
    return undefined;
  }

  async #judgeBadBytes(file: DiskFile, segment: Segment, reader: SegmentReader, isLast: boolean): Promise<SegmentEnd> {
    const { applied } = this.#options;
    const { path, sizeBytes } = segment;
    const { offset } = reader;
    const { lsn } = reader.point;
    const reason = reader.badReason!;
    const mark = isLast ? await findMarkAbove(file, segment, offset, lsn) : undefined;
    if (!isLast) {
      this.#damage({ path, offset, reason: `${reason}, and another segment follows` });
    } else if (applied !== undefined && applied.lsn > lsn) {
      this.#damage({ path, offset, reason: `${reason}, and the table has applied LSN ${applied.lsn}` });
    } else if (mark !== undefined) {
      this.#damage({ path, offset, reason: `${reason}, and the mark at offset ${mark.offset} says that LSN ${mark.durableLsn} was durable` });
    } else {
      return { state: 'torn', path, offset, bytes: sizeBytes - offset, reason };
    }
    return { state: 'whole', lastMark: undefined };
  }

  /** Where the log begins and ends must fit what the directory and the table say. */
  #checkReach(start: LogPoint, end: LogPoint, fileCount: number): void {
    const { applied, base, directory } = this.#options;
    const [first, last] = [this.#segments[0], this.#segments.at(-1)];
    if (first !== undefined && base !== undefined && start.lsn === base.lsn && start.chain !== base.chain) {
      this.#damage({ path: first.path, offset: 64, reason: `the log begins after LSN ${start.lsn} with chain ${start.chain}, but this directory's log began there with chain ${base.chain}` });
    }
    if (applied === undefined || this.#damages.length > 0) return;
    if (fileCount === 0 && applied.lsn !== end.lsn) {
      this.#damage({ path: directory, offset: 0, reason: `there is no segment, but the table has applied LSN ${applied.lsn}` });
    } else if (first !== undefined && start.lsn > applied.lsn) {
      this.#damage({ path: first.path, offset: 0, reason: `the log begins at LSN ${start.lsn + 1}, the table needs it from ${applied.lsn + 1} on` });
    } else if (last !== undefined && end.lsn < applied.lsn) {
      this.#damage({ path: last.path, offset: last.sizeBytes, reason: `the log ends with LSN ${end.lsn}, but the table has applied ${applied.lsn}` });
    }
  }

  #endState(lastEnd: SegmentEnd): LogEndState {
    if (this.#damages.length > 0) return { state: 'damaged', damages: this.#damages };
    return lastEnd.state === 'torn' ? lastEnd : { state: 'clean', isStopped: lastEnd.lastMark === 'clean-stop' };
  }

  #damage(damage: LogDamage): void {
    this.#damages.push(damage);
    this.#point = undefined;
    this.#history = undefined;
  }

  #noteApplied(point: LogPoint): void {
    if (point.lsn === this.#options.applied?.lsn) this.#atApplied ??= { chain: point.chain, history: this.#history };
  }

  #historyBefore(point: LogPoint): EpochHistory | undefined {
    return point.lsn === 0 ? EpochHistory.EMPTY : undefined;
  }

  /**
   * A history to go on from, where the log begins in the middle of one. The id of an epoch stands in
   * its first record, and there is none here; a segment's header names the epoch that it was made
   * for, which is another one if that group was never written.
   */
  #seededHistory(segment: Segment, epochNumber: number, first: Operation | undefined): EpochHistory | undefined {
    const epoch: EpochRef | null | undefined =
      first?.kind === 'epoch-begin'
        ? first.parent
        : segment.header.epoch.number === epochNumber
          ? segment.header.epoch
          : this.#options.applied?.history.epochs.find((each) => each.number === epochNumber);
    if (epoch === undefined) return undefined;
    if (epoch === null) return EpochHistory.EMPTY;
    return new EpochHistory([{ number: epoch.number, id: epoch.id, firstLsn: 1, lastLsn: null, endChain: null }]);
  }
}
