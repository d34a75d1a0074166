/**
 * Who opened which epoch: read off what is handed to logs, since the first who writes an epoch-begin record
 * is the one who opens the epoch. Whoever follows writes the same record again; another one under the same
 * id is a second epoch that nobody can tell from the first.
 */
import type { EpochRef } from '../../lib/base/epoch-history.ts';

export interface Reign {
  readonly nodeId: string;
  /** The moment at which the record was handed to the log. */
  readonly atEvent: number;
}

interface OpenedEpoch extends Reign {
  /** LSN and content of the record. */
  readonly record: string;
  /** Frames with which it was written: after a crash that lost it, its opener writes it again, at another time. */
  readonly frames: Set<string>;
}

export interface MintedTwice {
  readonly epochId: string;
  /** Node that opened it first. */
  readonly opener: string;
}

/** See lib/wal/FORMAT.md. */
const FRAME_HEADER_BYTES = 48;
const CHAINED_BYTES = 40;
const EPOCH_BEGIN_BYTES = 88;
const EPOCH_BEGIN_KIND = 16;

export class Reigns {
  readonly #byEpochId = new Map<string, OpenedEpoch>();

  get(epochId: string): Reign | undefined {
    return this.#byEpochId.get(epochId);
  }

  /** Takes what a node hands to its log. @returns the epochs in it that were minted before, by somebody else or elsewhere. */
  note(nodeId: string, data: Buffer, onOpened: (epoch: EpochRef) => number): readonly MintedTwice[] {
    return epochRecordsIn(data).flatMap(({ epoch, record, frame }) => {
      const known = this.#byEpochId.get(epoch.id);
      if (known === undefined) this.#byEpochId.set(epoch.id, { nodeId, record, frames: new Set([frame]), atEvent: onOpened(epoch) });
      else if (known.nodeId === nodeId && known.record === record) known.frames.add(frame);
      return known === undefined || known.frames.has(frame) ? [] : [{ epochId: epoch.id, opener: known.nodeId }];
    });
  }
}

interface EpochRecord {
  readonly epoch: EpochRef;
  readonly record: string;
  /** All that the chain covers: the same on every node. */
  readonly frame: string;
}

/** An epoch-begin record is alone in its frame. */
function epochRecordsIn(data: Buffer): readonly EpochRecord[] {
  const found: EpochRecord[] = [];
  for (let at = data.indexOf('FRAM'); at !== -1; at = data.indexOf('FRAM', at + 1)) {
    const payload = data.subarray(at + FRAME_HEADER_BYTES, at + FRAME_HEADER_BYTES + EPOCH_BEGIN_BYTES);
    if (payload.length < EPOCH_BEGIN_BYTES || data.readUInt32LE(at + 4) !== EPOCH_BEGIN_BYTES || payload[0] !== EPOCH_BEGIN_KIND) continue;
    const content = payload.toString('hex');
    found.push({ epoch: { number: payload.readUInt32LE(16), id: payload.toString('hex', 24, 40) }, record: `${data.toString('hex', at + 8, at + 16)} ${content}`, frame: `${data.toString('hex', at, at + CHAINED_BYTES)} ${content}` });
  }
  return found;
}
