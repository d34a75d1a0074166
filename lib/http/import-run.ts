/**
 * One import: lines come in, batches go out, one after another, so that what is in the cluster is always
 * the first so many lines and nothing behind them. While one batch is on its way to the disk the next one
 * is gathered; when that is full, nothing more is read, and the client has to wait.
 *
 *   socket ─▶ RequestChunks ─▶ LineSplitter ─▶ ImportLines ─▶ gathered ─▶ on its way ─▶ node.writeBatch
 */
import { ShiplogError, isShiplogError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { DataOperation } from '../base/operation.ts';
import type { Position } from '../base/position.ts';
import { type Clock, sleep } from '../env/clock.ts';
import type { BatchWrite, NodeApi, WriteDurability } from '../node/node-api.ts';
import type { BodyBudget, BodyReservation } from './body-budget.ts';
import { ImportLines } from './import-lines.ts';
import { LineSplitter } from './line-splitter.ts';

export interface ImportRunOptions {
  readonly node: Pick<NodeApi, 'writeBatch' | 'visiblePosition'>;
  readonly clock: Clock;
  readonly budget: BodyBudget;
  readonly durability: WriteDurability;
  readonly skip: number;
  /** Where chunks of the body come from, undefined at its end; `stop` makes the one that is waited for reject. */
  readonly body: { next(): Promise<Buffer | undefined>; stop(reason: Error): void };
  /** Called after each batch that is durable. */
  readonly onProgress: () => void;
}

interface Gathered {
  writes: BatchWrite[];
  /** As they came: never less than what they take in the log. */
  bytes: number;
  throughLine: number;
}

/** How an import that came to its end before that of its body was left. */
export interface ImportFailure {
  readonly error: unknown;
  /** The line that is to blame, where one is. */
  readonly line: number | undefined;
  /** Lines behind those that are durable up to this one may be in the cluster, too: a batch was sent on and not confirmed. */
  readonly uncertainThroughLine: number | undefined;
}

const OVERLOADED_RETRY_MS = 100;
const OVERLOADED_MS_MAX = 10_000;

export class ImportRun {
  readonly #options: ImportRunOptions;
  readonly #lines: ImportLines;
  readonly #splitter: LineSplitter;
  readonly #memory: BodyReservation;
  readonly #stopped = new AbortController();
  #lineBytes = 0;
  #gathered: Gathered = { writes: [], bytes: 0, throughLine: 0 };
  #onItsWayBytes = 0;
  #isRead = false;
  #failure: ImportFailure | undefined;
  #durableLines: number;
  #position: Position;
  /** Wakes whoever waits: the reader for room, the committer for work. */
  #wakeReader: () => void = () => {};
  #wakeCommitter: () => void = () => {};

  constructor(options: ImportRunOptions) {
    this.#options = options;
    this.#lines = new ImportLines(options.skip);
    this.#memory = options.budget.open();
    this.#splitter = new LineSplitter({ lineBytesMax: LIMITS.importLineBytesMax, reserve: (bytes) => this.#reserve(bytes) });
    this.#durableLines = options.skip;
    this.#position = options.node.visiblePosition();
  }

  /** The first so many lines of the body, those that were skipped included, are as durable as asked for. */
  get durableLines(): number {
    return this.#durableLines;
  }

  /** Of the last operation that is durable. */
  get position(): Position {
    return this.#position;
  }

  /** Ends it: what is on its way is finished, what was gathered is dropped. */
  stop(reason: Error): void {
    this.#fail({ error: reason, line: undefined, uncertainThroughLine: undefined });
    this.#gathered = { writes: [], bytes: 0, throughLine: 0 };
    this.#stopped.abort(reason);
  }

  /** Resolves when nothing is on its way any more: undefined where the whole body is durable. Never rejects. */
  async run(): Promise<ImportFailure | undefined> {
    try {
      await Promise.all([this.#read(), this.#commitAll()]);
    } finally {
      this.#memory.release();
    }
    return this.#failure;
  }

  async #read(): Promise<void> {
    const { body } = this.#options;
    try {
      for (let chunk = await body.next(); chunk !== undefined; chunk = await body.next()) {
        for (const line of this.#splitter.lines(chunk)) {
          const room = this.#takeLine(line);
          if (room !== undefined) await room;
        }
      }
      const rest = this.#splitter.end();
      if (rest !== undefined) await this.#takeLine(rest);
      this.#lines.end();
      this.#gathered.throughLine = this.#lines.line;
    } catch (error) {
      const isOfClient = isShiplogError(error) && error.status < 500 && error.code !== 'body-timeout';
      if (isOfClient) this.#fail({ error, line: this.#lines.line, uncertainThroughLine: undefined });
      else this.stop(error as Error);
    }
    this.#isRead = true;
    this.#wakeCommitter();
  }

  /** A promise only where it has to wait: nearly all lines find room. */
  #takeLine(line: Buffer): Promise<void> | undefined {
    this.#throwIfFailed();
    const operation = this.#lines.take(line);
    if (operation === undefined) {
      if (this.#lines.line > this.#options.skip) this.#gathered.throughLine = this.#lines.line;
      return undefined;
    }
    if (!this.#hasRoomFor(line.length)) return this.#room(line.length).then(() => this.#gather(operation, line.length));
    this.#gather(operation, line.length);
    return undefined;
  }

  async #room(bytes: number): Promise<void> {
    while (!this.#hasRoomFor(bytes)) {
      await new Promise<void>((resolve) => (this.#wakeReader = resolve));
      this.#throwIfFailed();
    }
  }

  #gather(operation: DataOperation, bytes: number): void {
    const gathered = this.#gathered;
    gathered.writes.push({ operation, condition: {} });
    gathered.bytes += bytes;
    gathered.throughLine = this.#lines.line;
    this.#reserve(this.#lineBytes);
    this.#wakeCommitter();
  }

  #throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #hasRoomFor(bytes: number): boolean {
    const { writes, bytes: gatheredBytes } = this.#gathered;
    return writes.length === 0 || (writes.length < LIMITS.importBatchOperations && gatheredBytes + bytes <= LIMITS.importBatchBytes);
  }

  async #commitAll(): Promise<void> {
    for (;;) {
      const batch = this.#gathered;
      if (batch.writes.length === 0) {
        if (this.#isRead) return this.#noteDurable(batch.throughLine);
        await new Promise<void>((resolve) => (this.#wakeCommitter = resolve));
        continue;
      }
      this.#gathered = { writes: [], bytes: 0, throughLine: 0 };
      this.#onItsWayBytes = batch.bytes;
      this.#wakeReader();
      try {
        const position = await this.#commit(batch.writes);
        if (position !== null) this.#position = position;
        this.#noteDurable(batch.throughLine);
      } catch (error) {
        const isUncertain = isShiplogError(error, 'ack-timeout') || isShiplogError(error, 'outcome-unknown') || !isShiplogError(error);
        // Whatever the reader has found meanwhile lies behind this.
        this.#failure = { error, line: undefined, uncertainThroughLine: isUncertain ? batch.throughLine : undefined };
        this.stop(error as Error);
        return;
      } finally {
        this.#onItsWayBytes = 0;
        this.#reserve(this.#lineBytes);
      }
    }
  }

  #noteDurable(throughLine: number): void {
    if (throughLine <= this.#durableLines) return;
    this.#durableLines = throughLine;
    this.#options.onProgress();
  }

  /** An import can wait where others are in a hurry. */
  async #commit(writes: readonly BatchWrite[]): Promise<Position | null> {
    const { node, clock, durability } = this.#options;
    const begunMs = clock.monotonicMs();
    for (;;) {
      try {
        const result = await node.writeBatch(writes, durability, { awaitsSync: true });
        if (result.outcome !== 'written') throw new ShiplogError('internal', 'a batch without conditions was refused by one');
        return result.position;
      } catch (error) {
        if (!isShiplogError(error, 'overloaded') || clock.monotonicMs() - begunMs > OVERLOADED_MS_MAX) throw error;
        await sleep(clock, OVERLOADED_RETRY_MS, this.#stopped.signal).catch(() => {});
        if (this.#stopped.signal.aborted) throw error;
      }
    }
  }

  /** What came first counts. The reader ends; what it had gathered before a line that is wrong is still written. */
  #fail(failure: ImportFailure): void {
    this.#failure ??= failure;
    this.#options.body.stop(this.#failure.error as Error);
    this.#wakeReader();
    this.#wakeCommitter();
  }

  /** Counts what is in memory, with a piece of a line of `lineBytes`. @throws ShiplogError `overloaded`. */
  #reserve(lineBytes: number): void {
    const bytes = lineBytes + this.#gathered.bytes + this.#onItsWayBytes;
    if (!this.#memory.resizeTo(bytes)) {
      throw new ShiplogError('overloaded', 'the bodies of other requests fill the memory that is set aside for them; go on later', { retryAfterS: 1 });
    }
    this.#lineBytes = lineBytes;
  }
}
