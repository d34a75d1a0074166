/**
 * Read your own writes, on any node: a read that says with `min` which write it comes after shows that
 * write or a later one. Judged with all writes known, on one history that nothing was cut off from. Pure.
 */
import type { WriteRecord } from './history.ts';
import type { Finding } from './history-check.ts';
import type { ReadAnswer } from './write-client.ts';

export interface SessionRead {
  /** The reader's own write, acknowledged before the read began, at a position. */
  readonly own: WriteRecord;
  /** Which node was asked. */
  readonly url: string;
  readonly answer: ReadAnswer;
}

export interface SessionVerdict {
  readonly findings: readonly Finding[];
  /** Reads that showed something. */
  readonly answered: number;
  /** Those that got no answer in time, or 503 or 504: not wrong, but nothing was seen either. */
  readonly unanswered: number;
}

/** @param writesOf all writes of a key that nobody deletes. */
export function checkSessionReads(reads: readonly SessionRead[], writesOf: (key: string) => readonly WriteRecord[]): SessionVerdict {
  const findings: Finding[] = [];
  let unanswered = 0;
  for (const read of reads) {
    const { own, url, answer } = read;
    if (answer.status === 0 || answer.status === 503 || answer.status === 504) {
      unanswered += 1;
      continue;
    }
    const wrong = judge(read, writesOf(own.key));
    if (wrong !== undefined) findings.push({ kind: wrong.kind, key: own.key, detail: `${url}, asked for ${own.position} or later, ${wrong.what}` });
  }
  return { findings, answered: reads.length - unanswered, unanswered };
}

function judge({ own, answer }: SessionRead, writes: readonly WriteRecord[]): { readonly kind: Finding['kind']; readonly what: string } | undefined {
  switch (answer.status) {
    case 200:
      break;
    case 404:
      return { kind: 'lost', what: 'said that there is no such key' };
    case 410:
      return { kind: 'lost', what: 'said that this position is in no surviving history' };
    default:
      return { kind: 'different', what: `answered ${answer.status}` };
  }
  const write = writes.find(({ value }) => value === answer.value);
  if (write === undefined) return { kind: 'phantom', what: 'showed a value that nobody wrote' };
  if (write.outcome === 'refused') return { kind: 'phantom', what: 'showed a value that was refused' };
  if (answer.position === undefined) return { kind: 'misplaced', what: 'did not say which position it showed' };
  if (write.position !== undefined && write.position !== answer.position) return { kind: 'misplaced', what: `showed the write of ${write.position} at ${answer.position}` };
  if (lsnOf(answer.position) < lsnOf(own.position!)) return { kind: 'stale', what: `showed ${answer.position}` };
  return undefined;
}

function lsnOf(position: string): number {
  return Number(position.split('-')[1]);
}
