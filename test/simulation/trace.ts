/**
 * What happened in a run, event by event, folded into one hash: two runs of one seed are the same run
 * exactly if their hashes are equal. Events are what crosses the border between the nodes and their
 * world (disk calls, exchanges, timers, crashes, clients, operators); what nodes log is only read along.
 */
import { type Hash, createHash } from 'node:crypto';

export interface TraceOptions {
  readonly nowMs: () => number;
  /** Takes every line, as it happens: for replays. */
  readonly onLine?: ((line: string) => void) | undefined;
}

export class Trace {
  readonly #options: TraceOptions;
  readonly #hash: Hash = createHash('sha256');
  #pending = '';
  #count = 0;

  constructor(options: TraceOptions) {
    this.#options = options;
  }

  /** Events so far. */
  get count(): number {
    return this.#count;
  }

  /** @returns the event's number: no two share one. */
  event(who: string, what: string): number {
    this.#count += 1;
    const line = `${this.#options.nowMs().toFixed(3)} ${who} ${what}\n`;
    this.#pending += line;
    // Hashing in larger pieces costs a tenth.
    if (this.#pending.length > 16_384) this.#flush();
    this.#options.onLine?.(this.#readable(who, what));
    return this.#count;
  }

  /** For readers only: not part of the hash. */
  note(who: string, what: () => string): void {
    this.#options.onLine?.(this.#readable(who, `· ${what()}`));
  }

  get hash(): string {
    this.#flush();
    return this.#hash.copy().digest('hex').slice(0, 32);
  }

  #flush(): void {
    this.#hash.update(this.#pending);
    this.#pending = '';
  }

  #readable(who: string, what: string): string {
    return `${String(this.#count).padStart(6)} ${(this.#options.nowMs() / 1000).toFixed(4).padStart(9)} ${who.padEnd(10)} ${what}`;
  }
}
