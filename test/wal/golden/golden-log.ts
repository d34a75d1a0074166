/**
 * What the golden files of format version 1 hold: every kind of record and every optional field,
 * small enough to be checked by hand with `xxd`. Nothing here may ever change.
 */
import type { EpochRef, LogPoint } from '../../../lib/base/epoch-history.ts';
import type { Operation } from '../../../lib/base/operation.ts';
import type { Disk } from '../../../lib/env/disk.ts';
import type { Random } from '../../../lib/env/random.ts';
import type { FrameSource } from '../../../lib/wal/wal.ts';
import { CLUSTER_ID, StandingClock, frame, makeWalDirectory, openWal } from '../wal-under-test.ts';

export const GOLDEN_DIRECTORY = new URL('../../fixtures/format-1/', import.meta.url).pathname;

const NODE_ID = '0123456789abcdef0123456789abcdef';
const EPOCHS: readonly EpochRef[] = [1, 2, 3, 9].map((number) => ({ number, id: `e${number}`.repeat(16) }));

/** Groups of frames: the operations of each frame, given where the log stands. */
export const GOLDEN_GROUPS: readonly ((end: LogPoint) => readonly { epoch: EpochRef; operations: readonly Operation[] }[])[] = [
  (end) => [
    { epoch: EPOCHS[0]!, operations: [{ kind: 'epoch-begin', begin: 'first', epoch: EPOCHS[0]!, parent: null, parentEnd: end, acceptedLoss: 0 }] },
  ],
  () => [
    { epoch: EPOCHS[0]!, operations: [{ kind: 'put', key: 'key', value: 'value' }] },
    {
      epoch: EPOCHS[0]!,
      operations: [
        { kind: 'put', key: '\0😀', value: '' },
        { kind: 'put', key: 'ex', value: 'pires', expiresAtMs: 1_700_000_123_456 },
        { kind: 'put', key: 're', value: 'quest', requestId: NODE_ID },
        { kind: 'put', key: 'bo', value: '\uFEFFth', expiresAtMs: Number.MAX_SAFE_INTEGER, requestId: 'f'.repeat(32) },
        { kind: 'delete', key: 'key' },
        { kind: 'delete', key: 're', requestId: NODE_ID },
      ],
    },
  ],
  () => [{ epoch: EPOCHS[0]!, operations: [{ kind: 'epoch-end', targetNodeId: NODE_ID, nextEpoch: EPOCHS[1]! }] }],
  (end) => [
    { epoch: EPOCHS[1]!, operations: [{ kind: 'epoch-begin', begin: 'switchover', epoch: EPOCHS[1]!, parent: EPOCHS[0]!, parentEnd: end, acceptedLoss: 0 }] },
  ],
  (end) => [
    { epoch: EPOCHS[2]!, operations: [{ kind: 'epoch-begin', begin: 'failover', epoch: EPOCHS[2]!, parent: EPOCHS[1]!, parentEnd: end, acceptedLoss: 3 }] },
  ],
  () => [{ epoch: EPOCHS[2]!, operations: [{ kind: 'put', key: 'FRAM', value: 'MARK' }] }],
  (end) => [
    { epoch: EPOCHS[3]!, operations: [{ kind: 'epoch-begin', begin: 'forced', epoch: EPOCHS[3]!, parent: EPOCHS[2]!, parentEnd: end, acceptedLoss: null }] },
  ],
];

/** Writes the log with today's code; chance and time stand still. @returns all operations, in order. */
export async function writeGoldenLog(disk: Disk, directory: string): Promise<Operation[]> {
  await makeWalDirectory(disk, directory);
  const clock = new StandingClock();
  const wal = await openWal(disk, { directory, clock, random: new CountedSalts(), segmentBytes: 512, clusterId: CLUSTER_ID });
  const operations: Operation[] = [];
  for (const groupAt of GOLDEN_GROUPS) {
    clock.wall += 1000;
    const group = groupAt(wal.end);
    const sources: FrameSource[] = group.map(({ operations, epoch }) => frame(operations, epoch, clock.wall));
    operations.push(...group.flatMap((frame) => frame.operations));
    await wal.append(sources);
  }
  await wal.close();
  return operations;
}

/** Salts that can be read in a dump: `salt0001`, `salt0002` … */
class CountedSalts implements Random {
  #count = 0;

  bytes(count: number): Buffer {
    this.#count += 1;
    return Buffer.from(`salt${String(this.#count).padStart(count - 4, '0')}`);
  }

  uniform(): number {
    throw new Error('the log draws salts only');
  }
}
