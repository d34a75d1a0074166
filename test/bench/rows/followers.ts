/** Followers that only read: a process that reads the stream of a node several times at once. */
import { join } from 'node:path';
import { type BenchProcess, GENERATOR_CORE } from '../bench-process.ts';
import type { Rig } from './rig.ts';

/** What one of them has read. */
export interface StreamFigures {
  readonly frames: number;
  readonly operations: number;
}

/** Resolves when all streams have begun. */
export async function startReaders(rig: Rig, url: string, count: number): Promise<BenchProcess> {
  const readers = rig.start([process.execPath, join(import.meta.dirname, 'stream-readers.ts'), url, String(count)], GENERATOR_CORE);
  await readers.readyUrl();
  return readers;
}

/** @throws Error unless each of them has read exactly so many operations. */
export async function endReaders(rig: Rig, readers: BenchProcess, operations: number): Promise<readonly StreamFigures[]> {
  await rig.stop({ process: readers });
  const streams = await readers.result<readonly StreamFigures[]>();
  const behind = streams.find((stream) => stream.operations !== operations);
  if (behind !== undefined) throw new Error(`a stream brought ${behind.operations} operations, ${operations} were answered`);
  return streams;
}
