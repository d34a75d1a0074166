/**
 * The epoch history says which epoch owns which LSNs. It is never trimmed, it travels in the log
 * (epoch-begin records), in the store and in every snapshot, and it alone decides where two
 * histories part (Kafka's KIP-101 and KIP-279 tell what happens when a watermark decides instead).
 */
import { assert } from './errors.ts';
import { type Position, POSITION_ZERO, epochTagOf } from './position.ts';

/** Names one reign of one primary. Numbers can collide (two promotions at once); ids can't. */
export interface EpochRef {
  readonly number: number;
  /** 128 random bits as 32 hex digits. */
  readonly id: string;
}

export interface Epoch extends EpochRef {
  /** LSN of the epoch's epoch-begin record. */
  readonly firstLsn: number;
  /** Last LSN of the epoch, or null while it is open. */
  readonly lastLsn: number | null;
  /** Chain at the end of the epoch, or null while it is open. */
  readonly endChain: number | null;
}

/** A point in the log that can be compared between nodes. */
export interface LogPoint {
  readonly lsn: number;
  /** Rolling checksum of every frame up to `lsn`. */
  readonly chain: number;
}

export class EpochHistory {
  static readonly EMPTY = new EpochHistory([]);

  readonly epochs: readonly Epoch[];

  constructor(epochs: readonly Epoch[]) {
    for (const [index, epoch] of epochs.entries()) {
      const next = epochs[index + 1];
      assert(/^[0-9a-f]{32}$/.test(epoch.id), `epoch id ${epoch.id} is not 32 hex digits`);
      assert((epoch.lastLsn === null) === (next === undefined), 'exactly the last epoch is open');
      assert(next === undefined || next.firstLsn === epoch.lastLsn! + 1, 'epochs follow without a gap');
      assert(next === undefined || next.number > epoch.number, 'epoch numbers rise');
    }
    this.epochs = epochs;
  }

  get current(): Epoch | undefined {
    return this.epochs.at(-1);
  }

  /** The history with one more epoch, which begins right after `parentEnd`. */
  opened(epoch: EpochRef, parentEnd: LogPoint): EpochHistory {
    const closed = this.epochs.map((each) =>
      each.lastLsn === null ? { ...each, lastLsn: parentEnd.lsn, endChain: parentEnd.chain } : each,
    );
    return new EpochHistory([
      ...closed,
      { number: epoch.number, id: epoch.id, firstLsn: parentEnd.lsn + 1, lastLsn: null, endChain: null },
    ]);
  }

  epochAt(lsn: number): Epoch | undefined {
    // Almost every question is about the current epoch, so look from the end.
    for (let index = this.epochs.length - 1; index >= 0; index -= 1) {
      const epoch = this.epochs[index]!;
      if (lsn >= epoch.firstLsn) return epoch.lastLsn === null || lsn <= epoch.lastLsn ? epoch : undefined;
    }
    return undefined;
  }

  find(epochId: string): Epoch | undefined {
    return this.epochs.find((epoch) => epoch.id === epochId);
  }

  positionOf(lsn: number): Position {
    const epoch = this.epochAt(lsn);
    if (epoch === undefined) return { ...POSITION_ZERO, lsn };
    return { epochNumber: epoch.number, epochTag: epochTagOf(epoch.id), lsn };
  }

  /** True where `position` lies in this history (or is the zero position). */
  contains(position: Position): boolean {
    if (position.lsn === 0) return true;
    const epoch = this.epochAt(position.lsn);
    return epoch !== undefined && epoch.number === position.epochNumber && epochTagOf(epoch.id) === position.epochTag;
  }

  toJSON(): readonly Epoch[] {
    return this.epochs;
  }
}

/**
 * The last LSN that two histories share: the end of the last shared epoch, the smaller of both ends.
 * `ownEndLsn` and `otherEndLsn` stand in for the end of an epoch that is still open.
 */
export function forkPoint(own: EpochHistory, ownEndLsn: number, other: EpochHistory, otherEndLsn: number): number {
  for (let index = own.epochs.length - 1; index >= 0; index -= 1) {
    const epoch = own.epochs[index]!;
    const shared = other.find(epoch.id);
    if (shared !== undefined) {
      return Math.min(epoch.lastLsn ?? ownEndLsn, shared.lastLsn ?? otherEndLsn);
    }
  }
  return 0;
}
