/**
 * System calls of a process, as strace saw them, and the question that they answer: did every 200 leave
 * only after the sync that covers its write had returned?
 *
 * The order of the lines is evidence: strace holds a thread at the entry of a call until it has written
 * the line, and writes the line of a return after it. So a call whose entry stands below the return of
 * another one began after that had returned.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';

import type { Finding } from './history-check.ts';
import type { Workbench } from './workbench.ts';

const WRITE_CALLS: ReadonlySet<string> = new Set(['write', 'writev', 'pwrite64', 'pwritev', 'pwritev2', 'sendto', 'sendmsg']);
const SYNC_CALLS: ReadonlySet<string> = new Set(['fdatasync', 'fsync']);
/** A whole write group has to be seen: the key of the write that is looked for may stand at its end. */
const STRING_BYTES_MAX = 1_000_000;
const ATTACH_TIMEOUT_MS = 20_000;

export interface TracedCall {
  readonly name: string;
  /** As strace prints them, with paths and addresses behind descriptors. */
  readonly args: string;
  /** Undefined where the call never returned. */
  readonly result: number | undefined;
  /** Lines of the trace, which is the order in which things happened. */
  readonly entryLine: number;
  readonly returnLine: number;
}

/** A write that was answered 200, and the position that the answer named. */
export interface AnsweredWrite {
  readonly key: string;
  readonly position: string;
}

export interface SyncOrder {
  readonly findings: readonly Finding[];
  /** Syncs of the log that returned 0. */
  readonly logSyncs: number;
}

/** Traces one process with all its threads, from the moment that this resolves. */
export class Strace {
  readonly #child: ChildProcess;
  readonly #file: string;

  private constructor(child: ChildProcess, file: string) {
    this.#child = child;
    this.#file = file;
  }

  /** @throws Error when strace can't trace it. */
  static async attach(pid: number, workbench: Workbench): Promise<Strace> {
    const file = workbench.path('strace.log');
    const calls = [...WRITE_CALLS, ...SYNC_CALLS].join(',');
    const args = ['-f', '-ttt', '-yy', '-s', String(STRING_BYTES_MAX), '-e', `trace=${calls}`, '-o', file, '-p', String(pid)];
    const child = spawn('strace', args, { stdio: ['ignore', 'ignore', 'pipe'] });
    workbench.addProcess(child);
    await attached(child);
    return new Strace(child, file);
  }

  /** Lets the process go. @returns everything that it did. */
  async detach(): Promise<string> {
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGINT');
    await exited;
    return readFileSync(this.#file, 'latin1');
  }
}

/** @param trace output of `strace -f -ttt -o`: a thread id, a time and a call in each line. */
export function parseTrace(trace: string): readonly TracedCall[] {
  const calls: TracedCall[] = [];
  const unfinished = new Map<string, { readonly name: string; readonly args: string; readonly entryLine: number }>();
  for (const [line, content] of trace.split('\n').entries()) {
    const [, thread, event] = /^(\d+) +\d+\.\d+ (.*)$/.exec(content) ?? [];
    if (thread === undefined || event === undefined || event.startsWith('---') || event.startsWith('+++')) continue;

    const resumed = /^<\.\.\. (\w+) resumed>/.exec(event);
    if (resumed !== null) {
      const begun = unfinished.get(thread);
      unfinished.delete(thread);
      // Without its beginning it was under way when strace attached.
      if (begun === undefined) continue;
      const { args, result } = splitResult(event.slice(resumed[0].length));
      calls.push({ ...begun, args: begun.args + args, result, returnLine: line });
      continue;
    }
    const name = /^\w+(?=\()/.exec(event)?.[0];
    if (name === undefined) continue;
    const rest = event.slice(name.length + 1);
    if (rest.endsWith('<unfinished ...>')) {
      unfinished.set(thread, { name, args: rest.slice(0, -'<unfinished ...>'.length), entryLine: line });
    } else {
      calls.push({ name, ...splitResult(rest), entryLine: line, returnLine: line });
    }
  }
  for (const begun of unfinished.values()) calls.push({ ...begun, result: undefined, returnLine: Number.POSITIVE_INFINITY });
  return calls.toSorted((a, b) => a.entryLine - b.entryLine);
}

/** For each write: the call that put its frame into the log, the sync of that file, the answer; in this order. */
export function checkSyncOrder(calls: readonly TracedCall[], writes: readonly AnsweredWrite[]): SyncOrder {
  const written = calls.filter((call) => WRITE_CALLS.has(call.name));
  const logWrites = written.filter((call) => isOnLog(call) && call.result !== undefined && call.result > 0);
  const answers = written.filter((call) => isOnSocket(call) && call.args.includes('HTTP/1.1 200'));
  const logSyncs = calls.filter((call) => SYNC_CALLS.has(call.name) && isOnLog(call) && call.result === 0);

  const judge = ({ key, position }: AnsweredWrite): string | undefined => {
    const logWrite = logWrites.find((call) => call.args.includes(key));
    if (logWrite === undefined) return 'its frame was never seen on its way into the log';
    const answer = answers.find((call) => call.args.includes(`ETag: \\"${position}\\"`));
    if (answer === undefined) return `no 200 with the position ${position} was seen`;
    const sync = logSyncs.find((call) => fileOf(call) === fileOf(logWrite) && call.entryLine > logWrite.returnLine);
    if (sync === undefined) return 'no sync came after its frame';
    if (sync.returnLine >= answer.entryLine) {
      return `its 200 left (line ${answer.entryLine + 1} of the trace) before the sync had returned (line ${sync.returnLine + 1})`;
    }
    return undefined;
  };
  const findings = writes.flatMap((write): Finding[] => {
    const detail = judge(write);
    return detail === undefined ? [] : [{ kind: 'unsynced', key: write.key, detail }];
  });
  return { findings, logSyncs: logSyncs.length };
}

async function attached(child: ChildProcess): Promise<void> {
  let said = '';
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`strace did not attach within ${ATTACH_TIMEOUT_MS} ms: ${said}`)), ATTACH_TIMEOUT_MS);
    const settle = (act: () => void): void => {
      clearTimeout(timer);
      act();
    };
    child.stderr!.setEncoding('utf8').on('data', (chunk: string) => {
      said += chunk;
      if (said.includes('attached')) settle(resolve);
    });
    child.once('error', (error) => settle(() => reject(error)));
    child.once('exit', (code) => settle(() => reject(new Error(`strace exited with ${code}: ${said}`))));
  });
}

function splitResult(rest: string): { readonly args: string; readonly result: number | undefined } {
  const at = rest.lastIndexOf(') = ');
  if (at === -1) return { args: rest, result: undefined };
  const result = Number.parseInt(rest.slice(at + ') = '.length), 10);
  return { args: rest.slice(0, at), result: Number.isNaN(result) ? undefined : result };
}

/** The first argument: `39</data/wal/00000000000000000001.wal>`. */
function fileOf(call: TracedCall): string {
  return /^\d+<[^>]*>/.exec(call.args)?.[0] ?? '';
}

/** A segment, by its name or the one that it has before its turn. SQLite's `-wal` is another file. */
function isOnLog(call: TracedCall): boolean {
  return /\.(wal|spare)>$/.test(fileOf(call));
}

function isOnSocket(call: TracedCall): boolean {
  return /^\d+<(TCP|socket)/.test(call.args);
}
