/** A small life of a log, told so that after a crash at any moment it is known what must be there. */
import { expect } from 'chai';
import { unreachable } from '../../lib/base/errors.ts';
import type { Operation } from '../../lib/base/operation.ts';
import type { Disk } from '../../lib/env/disk.ts';
import type { FrameSource, LoggedBatch, Wal } from '../../lib/wal/wal.ts';
import type { MemoryDisk } from '../support/memory-disk.ts';
import { type DecodedLog, type DecodedOperation, decodeFiles } from '../support/second-decoder.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { DIRECTORY, EPOCH, FIRST_EPOCH, del, frame, makeWalDirectory, nextEpoch, openWal, put } from './wal-under-test.ts';

export class WalStory {
  /** Operations of every frame whose append was called, in order, by the LSN of its first operation. */
  readonly attempted: { readonly firstLsn: number; readonly operations: readonly Operation[] }[] = [];
  /** Everything up to here was acknowledged. */
  acknowledgedLsn = 0;

  async append(wal: Wal, sources: readonly FrameSource[]): Promise<void> {
    let lsn = wal.end.lsn + 1;
    // What a crash left out is written no more: its LSNs are given to others.
    while ((this.attempted.at(-1)?.firstLsn ?? 0) >= lsn) this.attempted.pop();
    for (const { operations } of sources) {
      this.attempted.push({ firstLsn: lsn, operations });
      lsn += operations.length;
    }
    await wal.append(sources);
    this.acknowledgedLsn = wal.end.lsn;
  }

  /** Everything acknowledged is there, in order, and nothing but what was attempted. */
  check(batches: readonly LoggedBatch[]): void {
    for (const [index, batch] of batches.entries()) {
      expect({ firstLsn: batch.firstLsn, operations: batch.operations }, `batch ${index}`).to.deep.equal(this.attempted[index]);
    }
    expect(batches.at(-1)?.lastLsn ?? 0).to.be.at.least(this.acknowledgedLsn);
  }
}

export interface StoryOptions {
  readonly seed: number;
  readonly groups?: number;
  readonly segmentBytes?: number;
}

/** First start, groups over several segments, a second epoch, a clean stop, a second start. */
export async function tellStory(disk: Disk, story: WalStory, options: StoryOptions): Promise<Wal> {
  const random = new SeededRandom(options.seed);
  const segmentBytes = options.segmentBytes ?? 600;
  await makeWalDirectory(disk);
  let wal = await openWal(disk, { segmentBytes, random });
  await story.append(wal, [FIRST_EPOCH]);
  let epoch = EPOCH;
  const groups = options.groups ?? 8;
  for (let group = 0; group < groups; group += 1) {
    if (group === Math.floor(groups / 2)) {
      epoch = { number: 2, id: '2e'.repeat(16) };
      await story.append(wal, [nextEpoch(wal, epoch)]);
      await wal.close();
      wal = await openWal(disk, { segmentBytes, random });
    }
    const frames = Array.from({ length: 1 + random.below(3) }, (_, index) => {
      const name = `${group}.${index}.${options.seed}`;
      const operations = [put(`key ${name}`, 'v'.repeat(random.below(300))), ...(random.chance(0.5) ? [del('key'), put('\0', name)] : [])];
      return frame(operations, epoch);
    });
    await story.append(wal, frames);
  }
  return wal;
}

export async function allBatches(wal: Wal, afterLsn = 0): Promise<LoggedBatch[]> {
  const batches: LoggedBatch[] = [];
  for await (const batch of wal.readBatches(afterLsn)) batches.push(batch);
  return batches;
}

export function decodeDisk(disk: MemoryDisk, options: { appliedLsn?: number; fromLsn?: number } = {}): DecodedLog {
  return decodeFiles(disk.contents(DIRECTORY), options);
}

/** Both decoders say the same of a log. */
export function expectSameBatches(batches: readonly LoggedBatch[], decoded: DecodedLog): void {
  const here = batches.map(({ firstLsn, lastLsn, epochNumber, wallMs, chain, frameBytes, operations }) => {
    return { firstLsn, lastLsn, epochNumber, wallMs, chain, frameBytes, operations: operations.map(inWordsOfTheSecondDecoder) };
  });
  const there = decoded.frames.map(({ firstLsn, lastLsn, epoch, wallMs, chain, bytes, operations }) => {
    return { firstLsn, lastLsn, epochNumber: epoch, wallMs, chain, frameBytes: bytes.length, operations };
  });
  expect(here).to.deep.equal(there);
}

export function inWordsOfTheSecondDecoder(operation: Operation): DecodedOperation {
  switch (operation.kind) {
    case 'put':
    case 'delete':
      return operation;
    case 'epoch-begin':
      return {
        kind: 'epoch-begin',
        begin: operation.begin,
        epochNumber: operation.epoch.number,
        epochId: operation.epoch.id,
        parentNumber: operation.parent?.number ?? 0,
        parentId: operation.parent?.id ?? '0'.repeat(32),
        parentLastLsn: operation.parentEnd.lsn,
        parentChain: operation.parentEnd.chain,
        acceptedLoss: operation.acceptedLoss,
      };
    case 'epoch-end':
      return { kind: 'epoch-end', targetNodeId: operation.targetNodeId, nextNumber: operation.nextEpoch.number, nextId: operation.nextEpoch.id };
    default:
      return unreachable(operation);
  }
}
