/** What came of a load. */
import { type LatencyFigures, LatencyHistogram } from './latency-histogram.ts';
import type { RequestKind } from './protocol.ts';

export interface LoadFigures {
  readonly elapsedMs: number;
  /** Sent; each is answered or failed. */
  readonly requests: number;
  /** With 200, or with 404 where there was no such key. */
  readonly answered: number;
  readonly failed: number;
  /** Of those that were answered: no such key. */
  readonly missing: number;
  /** At a fixed rate: due, but never sent, since all connections were busy to the end. */
  readonly unsent: number;
  /** How many failed for which reason: a status, or what became of the connection. */
  readonly errors: Readonly<Record<string, number>>;
  /** Why it ended early without anybody asking for it: nobody was there any more. Else null. */
  readonly gaveUp: string | null;
  readonly requestsPerS: number;
  readonly reads: OperationFigures;
  readonly writes: OperationFigures;
  readonly all: OperationFigures;
}

export interface OperationFigures {
  readonly answered: number;
  /** Milliseconds; null where nothing was answered. */
  readonly latencyMs: LatencyFigures | null;
}

class OperationRecord {
  readonly histogram = new LatencyHistogram();
  answered = 0;

  get figures(): OperationFigures {
    return { answered: this.answered, latencyMs: this.histogram.figures };
  }
}

export class LoadRecord {
  readonly #reads = new OperationRecord();
  readonly #writes = new OperationRecord();
  readonly #errors = new Map<string, number>();
  #failed = 0;
  #missing = 0;
  #unsent = 0;
  #gaveUp: string | null = null;

  get answered(): number {
    return this.#reads.answered + this.#writes.answered;
  }

  get failed(): number {
    return this.#failed;
  }

  answer(kind: RequestKind, latencyMs: number, isMissing: boolean): void {
    const operation = this.#of(kind);
    operation.answered += 1;
    operation.histogram.record(latencyMs);
    if (isMissing) this.#missing += 1;
  }

  /** A refusal may be quick, and would flatter: its latency does not count. */
  fail(reason: string): void {
    this.#failed += 1;
    this.#errors.set(reason, (this.#errors.get(reason) ?? 0) + 1);
  }

  /** At the end there is no answer: it would have taken longer than this, which must show. */
  abandon(kind: RequestKind, waitedMs: number): void {
    this.fail('no answer');
    this.#of(kind).histogram.record(waitedMs);
  }

  neverSent(kind: RequestKind, waitedMs: number): void {
    this.#unsent += 1;
    this.#of(kind).histogram.record(waitedMs);
  }

  giveUp(reason: string): void {
    this.#gaveUp = reason;
  }

  figures(elapsedMs: number): LoadFigures {
    const { answered } = this;
    const both = new LatencyHistogram();
    both.add(this.#reads.histogram);
    both.add(this.#writes.histogram);
    return {
      elapsedMs: Math.round(elapsedMs * 1_000) / 1_000,
      requests: answered + this.#failed,
      answered,
      failed: this.#failed,
      missing: this.#missing,
      unsent: this.#unsent,
      errors: Object.fromEntries(this.#errors),
      gaveUp: this.#gaveUp,
      requestsPerS: elapsedMs > 0 ? Math.round((10_000 * 1_000 * answered) / elapsedMs) / 10_000 : 0,
      reads: this.#reads.figures,
      writes: this.#writes.figures,
      all: { answered, latencyMs: both.figures },
    };
  }

  #of(kind: RequestKind): OperationRecord {
    return kind === 'get' ? this.#reads : this.#writes;
  }
}
