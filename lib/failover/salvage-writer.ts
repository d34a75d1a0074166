/**
 * Operations that are in no surviving history, set aside before the data that holds them is replaced:
 *
 *   salvage/<position of the last one>.ndjson   a header line, one line per operation, a footer with count and CRC-32
 *
 * Made aside, synced, renamed, directory synced. Written again after a crash it replaces itself.
 */
import { crc32 } from 'node:zlib';
import type { EpochHistory } from '../base/epoch-history.ts';
import { KIB } from '../base/limits.ts';
import type { Operation } from '../base/operation.ts';
import { formatPosition } from '../base/position.ts';
import { type Disk, writeFully } from '../env/disk.ts';
import type { Wal } from '../wal/wal.ts';

export interface SalvageInput {
  readonly disk: Disk;
  /** The node's data directory. */
  readonly dataDirectory: string;
  readonly wal: Wal;
  readonly clusterId: string;
  readonly nodeId: string;
  /** Last LSN that both histories share. */
  readonly forkLsn: number;
  /** Name of the generation that is kept beside the file. */
  readonly generation: string;
  readonly writtenAtMs: number;
}

const CHUNK_BYTES = 256 * KIB;

/**
 * Where the log no longer reaches back to the fork, the file has what the log has, and says that it is
 * incomplete: the rest is in the generation that is kept, as rows with an LSN after the fork.
 * @returns the file's name.
 */
export async function writeSalvage(input: SalvageInput): Promise<string> {
  const { disk, wal, forkLsn } = input;
  const directory = `${input.dataDirectory}/salvage`;
  const name = `${formatPosition(wal.history.positionOf(wal.end.lsn))}.ndjson`;
  await disk.makeDirectory(directory);
  await disk.syncDirectory(input.dataDirectory);
  const temporary = `${directory}/${name}.tmp`;
  await disk.remove(temporary);
  const file = await disk.open(temporary, { mode: 'create' });
  try {
    let offset = 0;
    let checksum = 0;
    let operations = 0;
    let pending: string[] = [];
    let pendingLength = 0;
    const flush = async (): Promise<void> => {
      const bytes = Buffer.from(pending.join(''));
      pending = [];
      pendingLength = 0;
      checksum = crc32(bytes, checksum);
      await writeFully(file, offset, bytes);
      offset += bytes.length;
    };
    const add = async (line: unknown): Promise<void> => {
      const text = `${JSON.stringify(line)}\n`;
      pending.push(text);
      pendingLength += text.length;
      if (pendingLength >= CHUNK_BYTES) await flush();
    };
    await add(headerOf(input));
    for await (const batch of wal.readBatches(Math.max(forkLsn, wal.start.lsn))) {
      for (const [index, operation] of batch.operations.entries()) {
        await add(lineOf(operation, batch.firstLsn + index, batch.wallMs, wal.history));
        operations += 1;
      }
    }
    await flush();
    await add({ footer: true, operations, crc32: checksum.toString(16).padStart(8, '0') });
    await flush();
    await file.sync();
  } finally {
    await file.close();
  }
  await disk.rename(temporary, `${directory}/${name}`);
  await disk.syncDirectory(directory);
  return name;
}

function headerOf({ wal, clusterId, nodeId, forkLsn, generation, writtenAtMs }: SalvageInput): Record<string, unknown> {
  return {
    format: 1,
    clusterId,
    nodeId,
    forkPosition: formatPosition(wal.history.positionOf(forkLsn)),
    throughPosition: formatPosition(wal.history.positionOf(wal.end.lsn)),
    isComplete: wal.start.lsn <= forkLsn,
    ...(wal.start.lsn <= forkLsn ? {} : { missing: `operations up to LSN ${wal.start.lsn}: see rows of table kv with lsn > ${forkLsn} in ${generation}/store.sqlite` }),
    generation,
    writtenAtMs,
  };
}

function lineOf(operation: Operation, lsn: number, wallMs: number, history: EpochHistory): Record<string, unknown> {
  const position = formatPosition(history.positionOf(lsn));
  switch (operation.kind) {
    case 'put':
      return { position, wallMs, kind: 'put', key: operation.key, value: operation.value };
    case 'delete':
      return { position, wallMs, kind: 'delete', key: operation.key };
    case 'epoch-begin':
    case 'epoch-end':
      return { position, wallMs, kind: operation.kind };
  }
}
