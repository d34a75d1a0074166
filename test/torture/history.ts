/**
 * Everything that the writers of one run asked for, and what they were told. Times are monotonic
 * milliseconds of this process, which is the only one that keeps a history.
 */

/**
 * What is known about a write:
 *
 *   acknowledged   answered 200: it must be there from now on
 *   absent         a delete that was answered 404: nothing was written
 *   refused        certainly not carried out: 4xx but 410, 503, 507, or nobody took the connection
 *   left-behind    carried out as durably as asked for, and then lost to a failover: 410
 *   unknown        sent, but the answer did not come or says that it is not known: both may be true
 */
export type Outcome = 'acknowledged' | 'absent' | 'refused' | 'left-behind' | 'unknown';

export interface WriteRecord {
  readonly round: number;
  readonly key: string;
  /** Null for a delete. No value is ever written twice, so a value names its write. */
  readonly value: string | null;
  readonly startMs: number;
  /** When the answer came. Of an unknown write: when it could no longer take effect; Infinity until then. */
  readonly endMs: number;
  readonly outcome: Outcome;
  /** Position of the write itself, where the answer told it (`ETag`). */
  readonly position: string | undefined;
  /**
   * What the first look after its round showed, of a write whose answer did not settle it. It must stay so.
   * set-aside: a failover left it behind, and it is in a salvage file.
   */
  readonly seen: 'present' | 'absent' | 'set-aside' | undefined;
}

/** What became of a write for good, and where it is if it is anywhere. */
export type Fate =
  | { readonly kind: 'survived' | 'set-aside'; readonly position: string }
  | { readonly kind: 'gone' };

export interface Answer {
  readonly outcome: Outcome;
  readonly position: string | undefined;
}

export class History {
  readonly #records: Mutable<WriteRecord>[] = [];
  readonly #byKey = new Map<string, Mutable<WriteRecord>[]>();
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  get records(): readonly WriteRecord[] {
    return this.#records;
  }

  get keys(): readonly string[] {
    return [...this.#byKey.keys()];
  }

  writesOf(key: string): readonly WriteRecord[] {
    return this.#byKey.get(key) ?? [];
  }

  /** Call before the first byte leaves. Until `end`, the write counts as unknown. */
  begin(write: { readonly round: number; readonly key: string; readonly value: string | null }): WriteRecord {
    const record: Mutable<WriteRecord> = {
      ...write,
      startMs: this.#nowMs(),
      endMs: Number.POSITIVE_INFINITY,
      outcome: 'unknown',
      position: undefined,
      seen: undefined,
    };
    this.#records.push(record);
    const ofKey = this.#byKey.get(write.key);
    if (ofKey === undefined) this.#byKey.set(write.key, [record]);
    else ofKey.push(record);
    return record;
  }

  end(record: WriteRecord, { outcome, position }: Answer): void {
    const mutable: Mutable<WriteRecord> = record;
    mutable.outcome = outcome;
    mutable.position = position;
    if (outcome !== 'unknown') mutable.endMs = this.#nowMs();
  }

  /**
   * After the writers of a round have stopped and the node that holds the truth was read: the unknown
   * writes of that round can't take effect any more. A value that was there must stay there, and one
   * that was absent, of a key that nobody else wrote, must stay away.
   */
  settle(round: number, readings: readonly { readonly key: string; readonly value: string | null; readonly position: string | undefined }[]): void {
    const byKey = new Map(readings.map((reading) => [reading.key, reading]));
    for (const record of this.#records) {
      if (record.round !== round || record.outcome !== 'unknown' || record.endMs !== Number.POSITIVE_INFINITY) continue;
      record.endMs = this.#nowMs();
      const reading = byKey.get(record.key);
      if (reading === undefined || record.value === null) continue;
      if (reading.value === record.value) {
        record.seen = 'present';
        record.position = reading.position;
      } else if (reading.value === null && this.writesOf(record.key).length === 1) {
        record.seen = 'absent';
      }
    }
  }

  /** The same where the log and the salvage files tell it of every single write. */
  settleByFate(round: number, fateOf: (record: WriteRecord) => Fate): void {
    for (const record of this.#records) {
      if (record.round !== round) continue;
      if (record.endMs === Number.POSITIVE_INFINITY) record.endMs = this.#nowMs();
      const fate = fateOf(record);
      switch (fate.kind) {
        case 'survived':
          if (record.outcome === 'unknown') record.seen = 'present';
          record.position = fate.position;
          break;
        case 'set-aside':
          record.seen = 'set-aside';
          record.position = fate.position;
          break;
        case 'gone':
          if (record.outcome === 'unknown') record.seen = 'absent';
          break;
      }
    }
  }
}

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] };
