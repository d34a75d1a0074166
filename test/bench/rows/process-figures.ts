/** What Linux says of a process: its processor time, its memory. */
import { readFileSync } from 'node:fs';

/** Linux counts in hundredths of a second on every platform that Node runs on. */
const TICKS_PER_S = 100;

/** All threads, user and system. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name may hold spaces and brackets; behind it fields are counted from the third on.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [user, system] = [Number(fields[14 - 3]), Number(fields[15 - 3])];
  return (user + system) / TICKS_PER_S;
}

export interface MemoryFigures {
  readonly residentBytes: number;
  /** Without what is only a file's pages. */
  readonly anonymousBytes: number;
  /** The most that `residentBytes` ever was. */
  readonly residentBytesPeak: number;
}

/** @throws Error naming the line that is not there. */
export function memoryOf(pid: number): MemoryFigures {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const bytesOf = (name: string): number => {
    const kib = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
    if (kib === undefined) throw new Error(`/proc/${pid}/status has no ${name}`);
    return Number(kib) * 1_024;
  };
  return { residentBytes: bytesOf('VmRSS'), anonymousBytes: bytesOf('RssAnon'), residentBytesPeak: bytesOf('VmHWM') };
}
