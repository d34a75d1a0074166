/** The memory of a primary with a large table, many followers and many clients, under a moderate load. */
import { join } from 'node:path';
import { GENERATOR_CORE } from '../bench-process.ts';
import { table, whole } from '../markdown.ts';
import { loadConstantly } from './constant-load.ts';
import { endReaders, startReaders } from './followers.ts';
import { HUGE_TABLE } from './get-10m.ts';
import { type MemoryFigures, memoryOf } from './process-figures.ts';
import type { Rig } from './rig.ts';
import { type Row, type RowReport, type RowsOptions, atMost } from './row.ts';

/** Garbage is collected late: a load has to last until it is. */
const LOADS = 10;
const SAMPLE_MS = 100;
const AT_MOST_MIB = 512;
const AIM_MIB = 256;
const MIB = 1024 * 1024;

export interface MemoryResult {
  readonly afterStart: MemoryFigures;
  /** With all streams and clients. */
  readonly beforeLoad: MemoryFigures;
  readonly atEnd: MemoryFigures;
  readonly anonymousBytesPeak: number;
  readonly requestsPerS: number;
  /** Reads by each client. */
  readonly clientReads: readonly number[];
  /** To each follower. */
  readonly streamedOperations: number;
}

export const memory: Row = {
  name: 'memory',
  run: async (rig) => renderMemory(await measureMemory(rig), rig.options),
};

export async function measureMemory(rig: Rig): Promise<MemoryResult> {
  const { streams, clients, onStep } = rig.options;
  const keys = HUGE_TABLE * rig.options.keys;
  const { url, process: node } = await rig.serve({ dataDirectory: await rig.table(keys) });
  const afterStart = memoryOf(node.pid);
  onStep(`${streams} streams, ${clients} clients`);
  const readers = await startReaders(rig, url, streams);
  const idle = rig.start([process.execPath, join(import.meta.dirname, 'idle-clients.ts'), url, String(clients), String(keys)], GENERATOR_CORE);
  await idle.readyUrl();
  const beforeLoad = memoryOf(node.pid);

  onStep('a mixed load');
  let anonymousBytesPeak = beforeLoad.anonymousBytes;
  const sampling = setInterval(() => (anonymousBytesPeak = Math.max(anonymousBytesPeak, memoryOf(node.pid).anonymousBytes)), SAMPLE_MS);
  const durationMs = LOADS * rig.options.seconds * 1_000;
  const load = await loadConstantly({ url, what: 'mixed', keys, durationMs }, rig.options).finally(() => clearInterval(sampling));
  const atEnd = memoryOf(node.pid);
  await rig.stop({ process: idle });
  const { answered } = await idle.result<{ answered: readonly number[] }>();
  await endReaders(rig, readers, load.writes.answered);
  return { afterStart, beforeLoad, atEnd, anonymousBytesPeak, requestsPerS: load.requestsPerS, clientReads: answered, streamedOperations: load.writes.answered };
}

export function renderMemory(result: MemoryResult, { keys, streams, clients, connections, seconds }: RowsOptions): RowReport {
  const peakMib = result.atEnd.residentBytesPeak / MIB;
  const reads = result.clientReads.reduce((sum, each) => sum + each, 0);
  const method = [
    `A primary with ${whole(HUGE_TABLE * keys)} keys and default configuration, ${streams} streams that are read as they come, ${whole(clients)} connections that read a key once in a second (${whole(reads)} reads), and for ${LOADS * seconds} s a load of ${whole(result.requestsPerS)} requests/s on ${connections} more connections, half of them writes. Each stream brought all ${whole(result.streamedOperations)} writes.`,
    `Resident memory from /proc; its peak since the start of the process as the kernel keeps it, that of the anonymous part in samples of ${SAMPLE_MS} ms.`,
  ];
  const mib = (bytes: number): string => `${(bytes / MIB).toFixed(0)} MiB`;
  const rowOf = (name: string, { residentBytes, anonymousBytes }: MemoryFigures): readonly string[] => [name, mib(residentBytes), mib(anonymousBytes)];
  const rows = [
    rowOf('after the start', result.afterStart),
    rowOf('with streams and clients', result.beforeLoad),
    rowOf('at the end of the load', result.atEnd),
    ['peak', mib(result.atEnd.residentBytesPeak), mib(result.anonymousBytesPeak)],
  ];
  return {
    findings: [
      {
        what: `peak of resident memory, ${whole(HUGE_TABLE * keys)} keys, ${streams} streams, ${whole(clients)} clients`,
        measured: `${peakMib.toFixed(0)} MiB (${(peakMib / AT_MOST_MIB).toFixed(2)} × ${AT_MOST_MIB} MiB)`,
        atLeast: atMost([peakMib], AT_MOST_MIB, 'MiB'),
        aim: atMost([peakMib], AIM_MIB, 'MiB'),
      },
    ],
    isSingleRun: true,
    text: [...method, '', ...table(['', 'VmRSS', 'RssAnon'], rows)].join('\n'),
  };
}
