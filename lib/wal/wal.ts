/**
 * The write-ahead log of one node: segments of frames, one group at a time appended and synced.
 * Both roles append here, a primary operations, a replica the frames that it received.
 *
 *   append(group) ─▶ rotate? ─▶ encode ─▶ one write ─▶ one sync ─▶ durable rises ─▶ tail, cursors
 *
 * The first failed sync poisons the log for good (fsyncgate: the next sync would report success
 * for data that is gone). A full disk does not: the file is cut back to its last durable byte.
 */
import type { EpochHistory, EpochRef, LogPoint } from '../base/epoch-history.ts';
import { ShiplogError, assert, isShiplogError, messageOf } from '../base/errors.ts';
import { KIB, LIMITS } from '../base/limits.ts';
import type { Batch, EpochEndOperation, Operation } from '../base/operation.ts';
import { Watermark } from '../base/watermark.ts';
import type { Clock } from '../env/clock.ts';
import { type Disk, type DiskFile, DiskFullError, writeFully } from '../env/disk.ts';
import type { Random } from '../env/random.ts';
import type { Logger } from '../observe/logger.ts';
import type { Metrics } from '../observe/metrics.ts';
import { FRAME_HEADER_BYTES, type FrameHeader, chainOfFrame, encodeFrame, lastLsnOf, sealFrameHeader } from './frame.ts';
import { endAfter, historyAfter } from './history-check.ts';
import { MARK_BYTES, type MarkKind, encodeMark } from './mark.ts';
import { decodeOperations, encodedSize } from './operation-codec.ts';
import { type RetentionRules, planRetention } from './retention.ts';
import { Segment } from './segment.ts';
import { SegmentFile } from './segment-file.ts';
import { SALT_BYTES, SEGMENT_HEADER_BYTES, encodeSegmentHeader, segmentFileName } from './segment-header.ts';
import { SegmentReader } from './segment-reader.ts';
import { WalTail } from './wal-tail.ts';
import { type RecoveredLog, damaged, recoverLog } from './wal-recovery.ts';

const SPARE_NAME = 'next.spare';
const RESERVE_NAME = 'reserve.spare';
/** Disk space held back, so that a control record can be written when the disk is full. */
const RESERVE_BYTES = 64 * KIB;

/** One frame to be: operations of a primary's batch, or a frame as a peer sent it. */
export type FrameSource =
  | {
      readonly type: 'operations';
      readonly operations: readonly Operation[];
      /** What they take in the log, where the caller knows. */
      readonly payloadBytes?: number;
      /** Epoch of the frame; with an epoch-begin record, the one that it opens. */
      readonly epoch: EpochRef;
      readonly wallMs: number;
    }
  | {
      readonly type: 'frame';
      readonly header: FrameHeader;
      /** Header and payload; its own header checksum is set anew with this log's salt. */
      readonly bytes: Buffer;
      readonly operations: readonly Operation[];
    };

/** A batch as it stands in the log. */
export interface LoggedBatch extends Batch {
  readonly frameBytes: number;
}

export interface WalOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly directory: string;
  readonly clusterId: string;
  /** Where the log of this data directory began: what the CURRENT file says. */
  readonly base: LogPoint;
  /** What the store holds without the log. */
  readonly applied: LogPoint & { readonly history: EpochHistory };
  /** What of it survives a crash; default: all. Nothing above may be removed from the log. */
  readonly checkpointedLsn?: number;
  /** A segment that has reached this is closed; groups are never split. */
  readonly segmentBytes: number;
  readonly tailBytesMax?: number;
}

export class Wal {
  readonly directory: string;
  readonly durable: Watermark;
  readonly #options: WalOptions;
  readonly #tail: WalTail;
  #segments: Segment[];
  #activeFile: SegmentFile | undefined;
  #isActiveSealed = false;
  #end: LogPoint;
  #history: EpochHistory;
  #ended: EpochEndOperation | undefined;
  #checkpointedLsn: number;
  /** Segments, counted from the oldest, up to the newest that was found damaged. */
  #damagedCount = 0;
  #isAppending = false;
  #isReserveHeld = false;
  #poison: ShiplogError | undefined;

  private constructor(options: WalOptions, recovered: RecoveredLog) {
    this.#options = options;
    this.directory = options.directory;
    this.#segments = [...recovered.segments];
    this.#end = recovered.end;
    this.#history = recovered.history;
    this.#ended = recovered.ended;
    this.#isActiveSealed = recovered.isSealed;
    this.#checkpointedLsn = options.checkpointedLsn ?? options.applied.lsn;
    this.durable = new Watermark('durable', recovered.end.lsn);
    this.#tail = new WalTail(options.tailBytesMax ?? LIMITS.tailBytesMax);
  }

  /**
   * Recovers the log in a directory, which may be empty.
   * @throws ShiplogError `log-damaged`, naming file and offset.
   */
  static async open(options: WalOptions): Promise<Wal> {
    const recovered = await recoverLog({ ...options, history: options.applied.history });
    const wal = new Wal(options, recovered);
    const last = recovered.segments.at(-1);
    if (last !== undefined) wal.#activeFile = new SegmentFile(await options.disk.open(last.path, { mode: 'write' }), last.sizeBytes, options.segmentBytes);
    await wal.#keepReserve();
    return wal;
  }

  /** The durable end of the log. */
  get end(): LogPoint {
    return this.#end;
  }

  /** Epoch history up to `end`. */
  get history(): EpochHistory {
    return this.#history;
  }

  /** The epoch-end record with which the log ends: until an epoch is opened it takes no write. */
  get ended(): EpochEndOperation | undefined {
    return this.#ended;
  }

  /** The end before the oldest frame that can be had from here: what is damaged is as good as gone. */
  get start(): LogPoint {
    return this.#segments[this.#damagedCount]?.header.before ?? this.#end;
  }

  get segments(): readonly Segment[] {
    return this.#segments;
  }

  get tail(): WalTail {
    return this.#tail;
  }

  get isPoisoned(): boolean {
    return this.#poison !== undefined;
  }

  get checkpointedLsn(): number {
    return this.#checkpointedLsn;
  }

  get sizeBytes(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.sizeBytes, 0);
  }

  /** Bytes of log after `lsn`, within a MiB: for lag and bounds, not for addressing. */
  bytesAfter(lsn: number): number {
    if (lsn >= this.#end.lsn) return 0;
    let bytes = 0;
    for (let index = this.#segments.length - 1; index >= 0; index -= 1) {
      const segment = this.#segments[index]!;
      if (segment.header.before.lsn <= lsn) return bytes + segment.sizeBytes - segment.boundaryBefore(lsn).offset;
      bytes += segment.sizeBytes;
    }
    return bytes;
  }

  /**
   * Appends one group of frames and syncs it; calls don't overlap. Resolves, with the batches as
   * they stand in the log, once they would survive a power cut.
   * @throws ShiplogError `disk-full`: nothing was written, a later call may succeed.
   * @throws ShiplogError `log-poisoned`: whether the group survives is not known, and nothing may be appended any more.
   * @throws ShiplogError `peer-protocol`, `history-diverged`: a received frame does not follow; nothing was written.
   */
  async append(sources: readonly FrameSource[]): Promise<readonly LoggedBatch[]> {
    assert(!this.#isAppending, 'appends must not overlap: only one group is ever unsynced');
    assert(sources.length > 0, 'a group has at least one frame');
    if (this.#poison !== undefined) throw this.#poison;
    this.#isAppending = true;
    try {
      return await this.#appendWithinSpace(sources);
    } catch (error) {
      // Once more, in the space that was held back for this.
      if (!isShiplogError(error, 'disk-full') || !sources.some(isControl) || !(await this.#releaseReserve())) throw error;
      return await this.#appendWithinSpace(sources);
    } finally {
      this.#isAppending = false;
    }
  }

  async #appendWithinSpace(sources: readonly FrameSource[]): Promise<readonly LoggedBatch[]> {
    if (!this.#needsRotation()) return this.#appendGroup(sources);
    await this.#rotate(sources[0]!);
    const batches = await this.#appendGroup(sources);
    // Not before the group: it may need this very space.
    await this.#keepReserve();
    return batches;
  }

  async #appendGroup(sources: readonly FrameSource[]): Promise<readonly LoggedBatch[]> {
    const segment = this.#segments.at(-1)!;
    const group = this.#encodeGroup(sources, segment);
    const startedMs = this.#options.clock.monotonicMs();
    await this.#writeDurably(group.bytes);
    this.#options.metrics.syncSeconds.observe((this.#options.clock.monotonicMs() - startedMs) / 1000);
    this.#options.metrics.groupBytes.observe(group.bytes.length);
    this.#tail.add(segment, segment.sizeBytes, group.bytes);
    segment.sizeBytes += group.bytes.length;
    segment.noteBoundary(group.end, segment.sizeBytes);
    this.#end = group.end;
    this.#history = group.history;
    this.#ended = group.ended;
    this.durable.advance(group.end.lsn);
    return group.batches;
  }

  #encodeGroup(sources: readonly FrameSource[], segment: Segment) {
    let size = MARK_BYTES;
    for (const source of sources) size += frameSize(source);
    const bytes = Buffer.allocUnsafe(size);
    let end = this.#end;
    let history = this.#history;
    let ended = this.#ended;
    let offset = encodeMark({ kind: 'sync', durable: end }, bytes, 0, segment.sizeBytes, segment.markSeed);
    const batches: LoggedBatch[] = [];
    for (const source of sources) {
      const firstLsn = end.lsn + 1;
      let frame: { end: number; chain: number };
      let epochNumber: number;
      let wallMs: number;
      if (source.type === 'operations') {
        ({ wallMs } = source);
        epochNumber = source.epoch.number;
        frame = encodeFrame({ firstLsn, epochNumber, wallMs, operations: source.operations }, bytes, offset, { chain: end.chain, seed: segment.frameSeed });
      } else {
        ({ epochNumber, wallMs } = source.header);
        frame = { end: offset + source.bytes.length, chain: checkedChain(source.header, source.bytes, end) };
        source.bytes.copy(bytes, offset);
        sealFrameHeader(bytes, offset, segment.frameSeed);
      }
      // A log that begins with a snapshot does not know how what came before it ended.
      ended = endAfter(ended, firstLsn, source.operations, end.lsn > this.start.lsn);
      history = historyAfter(history, { firstLsn, epochNumber, chainBefore: end.chain }, source.operations);
      end = { lsn: firstLsn + source.operations.length - 1, chain: frame.chain };
      batches.push({ firstLsn, lastLsn: end.lsn, epochNumber, wallMs, chain: end.chain, operations: source.operations, frameBytes: frame.end - offset });
      offset = frame.end;
    }
    assert(offset === size, `group of ${offset} bytes, announced ${size}`);
    return { bytes, end, history, ended, batches };
  }

  /** Writes at the durable end and syncs; on a full disk, cuts back to where it was. */
  async #writeDurably(bytes: Buffer, { isLast = false }: { readonly isLast?: boolean } = {}): Promise<void> {
    const file = this.#activeFile!;
    const offset = this.#segments.at(-1)!.sizeBytes;
    try {
      await (isLast ? file.appendLast(offset, bytes) : file.append(offset, bytes));
    } catch (error) {
      if (!(error instanceof DiskFullError)) throw this.#poisoned('a write', error);
      await file.cut(offset).catch((cause: unknown) => {
        throw this.#poisoned('cutting back after a full disk', cause);
      });
      throw new ShiplogError('disk-full', `the log can not grow: ${messageOf(error)}`, { cause: error, retryAfterS: 5 });
    }
    await this.#sync(file);
  }

  async #sync(file: SegmentFile | DiskFile): Promise<void> {
    try {
      await file.sync();
    } catch (error) {
      throw this.#poisoned('a sync', error);
    }
  }

  #poisoned(what: string, cause: unknown): ShiplogError {
    const path = this.#segments.at(-1)?.path ?? this.directory;
    this.#poison ??= new ShiplogError('log-poisoned', `${what} of ${path} failed: ${messageOf(cause)}; the node has to be restarted`, { cause });
    this.#options.logger.error('the log is poisoned: no write is taken any more', { path, reason: messageOf(cause) });
    return this.#poison;
  }

  #needsRotation(): boolean {
    const active = this.#segments.at(-1);
    return active === undefined || this.#isActiveSealed || active.sizeBytes >= this.#options.segmentBytes;
  }

  /** Seals the active segment and begins the next: header synced before the name exists, directory synced before any frame. */
  async #rotate(next: FrameSource): Promise<void> {
    const { disk, random, clock } = this.#options;
    if (this.#activeFile !== undefined && !this.#isActiveSealed) await this.#writeLastMark('seal');
    const header = {
      clusterId: this.#options.clusterId,
      epoch: next.type === 'operations' ? next.epoch : this.#epochOf(next),
      before: this.#end,
      createdMs: clock.wallMs(),
      frameSalt: random.bytes(SALT_BYTES),
      markSalt: random.bytes(SALT_BYTES),
    };
    const sparePath = `${this.directory}/${SPARE_NAME}`;
    const path = `${this.directory}/${segmentFileName(this.#end.lsn + 1)}`;
    let file: DiskFile | undefined;
    try {
      await disk.remove(sparePath);
      file = await disk.open(sparePath, { mode: 'create' });
      await writeFully(file, 0, encodeSegmentHeader(header));
    } catch (error) {
      await file?.close();
      if (!(error instanceof DiskFullError)) throw this.#poisoned('making a segment', error);
      throw new ShiplogError('disk-full', `no room for another segment: ${messageOf(error)}`, { cause: error, retryAfterS: 5 });
    }
    await this.#sync(file);
    try {
      await disk.rename(sparePath, path);
      await disk.syncDirectory(this.directory);
    } catch (error) {
      throw this.#poisoned('naming a segment', error);
    }
    await this.#activeFile?.close();
    this.#activeFile = new SegmentFile(file, SEGMENT_HEADER_BYTES, this.#options.segmentBytes);
    this.#isActiveSealed = false;
    this.#segments.push(new Segment(path, header, SEGMENT_HEADER_BYTES));
  }

  #epochOf(source: Extract<FrameSource, { type: 'frame' }>): EpochRef {
    const first = source.operations[0];
    const epoch = first?.kind === 'epoch-begin' ? first.epoch : this.#history.current;
    if (epoch === undefined) throw new ShiplogError('history-diverged', 'the first frame of a log must open an epoch');
    return epoch;
  }

  /** The file ends with it. */
  async #writeLastMark(kind: Exclude<MarkKind, 'sync'>): Promise<void> {
    const segment = this.#segments.at(-1)!;
    const bytes = Buffer.alloc(MARK_BYTES);
    encodeMark({ kind, durable: this.#end }, bytes, 0, segment.sizeBytes, segment.markSeed);
    await this.#writeDurably(bytes, { isLast: true });
    this.#tail.add(segment, segment.sizeBytes, bytes);
    segment.sizeBytes += MARK_BYTES;
    this.#isActiveSealed = kind === 'seal';
  }

  /** Holds disk space back. Where that fails the log does without: nothing acknowledged rests on it. */
  async #keepReserve(): Promise<void> {
    if (this.#isReserveHeld) return;
    const { disk, logger } = this.#options;
    const path = `${this.directory}/${RESERVE_NAME}`;
    try {
      const file = await disk.open(path, { mode: 'create' });
      try {
        await writeFully(file, 0, Buffer.alloc(RESERVE_BYTES));
      } finally {
        await file.close();
      }
      this.#isReserveHeld = true;
    } catch (error) {
      logger.warn('no disk space is held back for control records', { path, reason: messageOf(error) });
      // Half a reserve would take the last space from the log itself.
      await disk.remove(path).catch((cause: unknown) => logger.warn('can not remove half a reserve', { path, reason: messageOf(cause) }));
    }
  }

  async #releaseReserve(): Promise<boolean> {
    if (!this.#isReserveHeld) return false;
    await this.#options.disk.remove(`${this.directory}/${RESERVE_NAME}`);
    this.#isReserveHeld = false;
    return true;
  }

  /** All batches after `afterLsn` that are durable now, oldest first: what recovery replays. */
  async *readBatches(afterLsn: number): AsyncGenerator<LoggedBatch> {
    const throughLsn = this.#end.lsn;
    for (const segment of [...this.#segments]) {
      const next = this.#segments[this.#segments.indexOf(segment) + 1];
      if (next !== undefined && next.header.before.lsn <= afterLsn) continue;
      if (segment.header.before.lsn >= throughLsn) return;
      const file = await this.#options.disk.open(segment.path, { mode: 'read' });
      try {
        const reader = new SegmentReader(file, segment, segment.boundaryBefore(afterLsn), segment.sizeBytes);
        for (let record = await reader.next(); record !== undefined; record = await reader.next()) {
          if (record.type === 'mark' || record.end.lsn <= afterLsn) continue;
          if (record.header.firstLsn > throughLsn) return;
          const { header, payload } = record;
          yield {
            firstLsn: header.firstLsn,
            lastLsn: lastLsnOf(header),
            epochNumber: header.epochNumber,
            wallMs: header.wallMs,
            chain: header.chain,
            operations: decodeOperations(payload, header.operationCount),
            frameBytes: record.endOffset - record.offset,
          };
        }
        if (reader.badReason !== undefined) throw damaged(segment.path, reader.offset, reader.badReason);
      } finally {
        await file.close();
      }
    }
  }

  /** What SQLite now holds without the log. */
  setCheckpointed(point: LogPoint): void {
    assert(point.lsn <= this.#end.lsn, `checkpointed LSN ${point.lsn} is above durable ${this.#end.lsn}`);
    this.#checkpointedLsn = Math.max(this.#checkpointedLsn, point.lsn);
  }

  /**
   * A frame of `segment` does not verify. What SQLite has is not touched by that, so the node goes on,
   * but followers that need the frame have to take a snapshot (410), which has it.
   * @throws `error` where the frame is not in SQLite yet: then the node can't go on.
   */
  noteDamage(segment: Segment, error: Error): void {
    const index = this.#segments.indexOf(segment);
    if (index === -1) return;
    const endLsn = this.#segments[index + 1]?.header.before.lsn;
    if (endLsn === undefined || endLsn > this.#checkpointedLsn) throw error;
    this.#damagedCount = Math.max(this.#damagedCount, index + 1);
    this.#options.logger.error('a segment of the log is damaged; followers that need it will take a snapshot', { path: segment.path, reason: error.message });
  }

  /** Removes segments that nobody needs. @returns how many. */
  async removeOldSegments(rules: RetentionRules, neededAfterLsn: number | null): Promise<number> {
    const closed = this.#segments.slice(0, -1);
    const count = planRetention(
      {
        closedSegments: closed.map((segment, index) => ({
          lastLsn: this.#segments[index + 1]!.header.before.lsn,
          sizeBytes: segment.sizeBytes,
          endedMs: this.#segments[index + 1]!.header.createdMs,
        })),
        activeBytes: this.#segments.at(-1)?.sizeBytes ?? 0,
        checkpointedLsn: this.#checkpointedLsn,
        neededAfterLsn,
        nowMs: this.#options.clock.wallMs(),
      },
      rules,
    );
    let removedCount = 0;
    for (const segment of closed.slice(0, count)) {
      // Another removal went on meanwhile: what it took is gone, the rest is its to plan.
      if (this.#segments[0] !== segment) break;
      this.#segments.shift();
      await this.#options.disk.remove(segment.path);
      // Each on its own: after a crash at most the newest removal is undone, never one in the middle.
      await this.#options.disk.syncDirectory(this.directory);
      this.#options.logger.info('removed a segment that nobody needs', { path: segment.path });
      removedCount += 1;
    }
    return removedCount;
  }

  /** Ends the log cleanly: the last group is then known to be durable after any restart. */
  async close(): Promise<void> {
    if (this.#activeFile === undefined) return;
    try {
      if (this.#poison === undefined && !this.#isActiveSealed) await this.#writeLastMark('clean-stop');
    } catch (error) {
      // Without the mark the next start reads as after a crash, which loses nothing.
      if (!(error instanceof ShiplogError && error.code === 'disk-full')) throw error;
    } finally {
      await this.#activeFile.close();
      this.#activeFile = undefined;
    }
  }
}

function frameSize(source: FrameSource): number {
  if (source.type === 'frame') return source.bytes.length;
  if (source.payloadBytes !== undefined) return FRAME_HEADER_BYTES + source.payloadBytes;
  let size = FRAME_HEADER_BYTES;
  for (const operation of source.operations) size += encodedSize(operation);
  return size;
}

function isControl(source: FrameSource): boolean {
  return source.operations.some((operation) => operation.kind === 'epoch-begin' || operation.kind === 'epoch-end');
}

/** The chain after a received frame, which must follow `before` directly and exactly once. */
function checkedChain(header: FrameHeader, bytes: Buffer, before: LogPoint): number {
  if (header.firstLsn !== before.lsn + 1) {
    throw new ShiplogError('peer-protocol', `got a frame that begins with LSN ${header.firstLsn}, expected ${before.lsn + 1}`);
  }
  const chain = chainOfFrame(bytes, before.chain);
  if (chain !== header.chain) {
    // Not the verdict of a handshake: a bit that flipped on the way looks the same, and is sent again.
    throw new ShiplogError('peer-protocol', `the frame at LSN ${header.firstLsn} has chain ${header.chain}, expected ${chain} after this node's log`);
  }
  return chain;
}
