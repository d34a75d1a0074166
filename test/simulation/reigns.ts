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
  /** LSN and content of that record. */
  readonly record: string;
}

export interface MintedTwice {
  readonly epochId: string;
  /** Node that opened it first. */
  readonly opener: string;
}

/** See lib/wal/FORMAT.md. */
const FRAME_HEADER_BYTES = 48;
const EPOCH_BEGIN_BYTES = 88;
const EPOCH_BEGIN_KIND = 16;

export class Reigns {
  readonly #byEpochId = new Map<string, Reign>();

  get(epochId: string): Reign | undefined {
    return this.#byEpochId.get(epochId);
  }

  /** Takes what a node hands to its log. @returns the epochs in it that were minted before, by somebody else or elsewhere. */
  note(nodeId: string, data: Buffer, onOpened: (epoch: EpochRef) => number): readonly MintedTwice[] {
    return epochRecordsIn(data).flatMap(({ epoch, record }) => {
      const known = this.#byEpochId.get(epoch.id);
      if (known === undefined) this.#byEpochId.set(epoch.id, { nodeId, record, atEvent: onOpened(epoch) });
      return known === undefined || known.record === record ? [] : [{ epochId: epoch.id, opener: known.nodeId }];
    });
  }
}

/** An epoch-begin record is alone in its frame. */
function epochRecordsIn(data: Buffer): readonly { readonly epoch: EpochRef; readonly record: string }[] {
  const found = [];
  for (let at = data.indexOf('FRAM'); at !== -1; at = data.indexOf('FRAM', at + 1)) {
    const payload = data.subarray(at + FRAME_HEADER_BYTES, at + FRAME_HEADER_BYTES + EPOCH_BEGIN_BYTES);
    if (payload.length < EPOCH_BEGIN_BYTES || data.readUInt32LE(at + 4) !== EPOCH_BEGIN_BYTES || payload[0] !== EPOCH_BEGIN_KIND) continue;
    found.push({ epoch: { number: payload.readUInt32LE(16), id: payload.toString('hex', 24, 40) }, record: `${data.toString('hex', at + 8, at + 16)} ${payload.toString('hex')}` });
  }
  return found;
}
