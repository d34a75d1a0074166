/**
 * Puts a load on one node: a closed loop (each connection sends its next request when it has an
 * answer) or a fixed rate (requests leave when they are due, whatever became of earlier ones).
 *
 *     running ── time is up, enough requests, abort ──▶ draining ── all answered, or patience is over ──▶ done
 */
import { messageOf } from '../base/errors.ts';
import type { Clock, Timer } from '../env/clock.ts';
import type { RawConnect } from '../env/raw-connection.ts';
import { LoadConnection, type UnansweredRequest } from './load-connection.ts';
import { type LoadFigures, LoadRecord } from './load-figures.ts';
import type { Protocol, RequestKind, RequestTemplate } from './protocol.ts';
import { RateSchedule } from './rate-schedule.ts';
import type { Workload } from './workload.ts';

export interface LoadPlan {
  readonly connections: number;
  /** Requests on their way on each connection. */
  readonly pipeline: number;
  /** The load ends with what comes first; one of the two must be there. */
  readonly requestsMax?: number;
  readonly durationMs?: number;
  /** All connections together; as fast as answers come where it is missing. */
  readonly requestsPerS?: number;
}

export interface LoadGeneratorOptions {
  readonly clock: Clock;
  readonly connect: RawConnect;
  readonly url: string;
  readonly protocol: Protocol;
  readonly workload: Workload;
  readonly plan: LoadPlan;
  /**
   * Timers are up to a millisecond or two late, which at a fixed rate would be measured as latency.
   * So the last part of a wait is spent looking at the clock, turn by turn. 0 = trust the timer.
   */
  readonly spinMs?: number;
}

export interface LoadProgress {
  readonly answered: number;
  readonly failed: number;
  readonly elapsedMs: number;
  /** 0 to 1. */
  readonly fraction: number;
}

const SPIN_MS = 2.5;
const TIMER_MS_MIN = 0.001;
/** How long answers are waited for when no more requests are sent. */
const DRAIN_MS = 5_000;
const RECONNECT_MS = 100;
/** Without a single connection for so long, nobody is there any more. */
const GIVE_UP_MS = 10_000;

const KINDS: readonly RequestKind[] = ['get', 'set', 'del'];

export class LoadGenerator {
  readonly #options: LoadGeneratorOptions;
  readonly #templates: ReadonlyMap<RequestKind, RequestTemplate>;
  readonly #record = new LoadRecord();
  readonly #open = new Set<LoadConnection>();
  /** At a fixed rate: a connection stands here once for each free place. */
  #idle: LoadConnection[] = [];
  readonly #timers = new Set<Timer>();
  readonly #done = Promise.withResolvers<void>();
  readonly #requestsMax: number;
  #schedule: RateSchedule | undefined;
  #state: 'new' | 'running' | 'draining' | 'done' = 'new';
  #startMs = 0;
  #endMs = 0;
  #started = 0;
  #isWakeSet = false;
  #aloneSinceMs: number | undefined;

  constructor(options: LoadGeneratorOptions) {
    this.#options = options;
    this.#templates = new Map(KINDS.map((kind) => [kind, options.protocol.template(kind)]));
    const { requestsMax = Infinity, durationMs = Infinity, requestsPerS } = options.plan;
    this.#requestsMax = requestsPerS === undefined ? requestsMax : Math.min(requestsMax, Math.round((durationMs / 1_000) * requestsPerS));
  }

  get progress(): LoadProgress {
    const { durationMs = Infinity } = this.#options.plan;
    const { answered, failed } = this.#record;
    const elapsedMs = this.#state === 'new' ? 0 : (this.#state === 'done' ? this.#endMs : this.#nowMs()) - this.#startMs;
    return { answered, failed, elapsedMs, fraction: Math.min(1, Math.max(elapsedMs / durationMs, (answered + failed) / this.#requestsMax)) };
  }

  /**
   * Resolves with what came of it, also after an abort, or where nobody is there any more. Failed requests are
   * counted, not thrown. @throws TransportError where there is no connection to begin with.
   */
  async run(signal?: AbortSignal): Promise<LoadFigures> {
    await this.#openAll();
    this.#startMs = this.#nowMs();
    this.#endMs = this.#startMs;
    this.#state = 'running';
    const stop = (): void => this.#drain();
    signal?.addEventListener('abort', stop, { once: true });
    try {
      this.#begin();
      if (signal?.aborted === true) stop();
      await this.#done.promise;
    } finally {
      signal?.removeEventListener('abort', stop);
      this.#finish();
    }
    return this.#record.figures(this.#endMs - this.#startMs);
  }

  async #openAll(): Promise<void> {
    const connections = Array.from({ length: this.#options.plan.connections }, () => this.#makeConnection());
    const outcomes = await Promise.allSettled(connections.map((connection) => connection.open()));
    const failure = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failure !== undefined) {
      for (const connection of connections) connection.close();
      throw failure.reason;
    }
    for (const connection of connections) this.#open.add(connection);
  }

  #begin(): void {
    const { requestsPerS, durationMs } = this.#options.plan;
    if (requestsPerS !== undefined) {
      this.#schedule = new RateSchedule(this.#startMs, requestsPerS);
      for (let place = 0; place < this.#options.plan.pipeline; place += 1) this.#idle.push(...this.#open);
    }
    if (durationMs !== undefined) {
      // At a fixed rate the requests are counted: those that are late are sent all the same, for a while.
      this.#after(this.#schedule === undefined ? durationMs : durationMs + DRAIN_MS, () => (this.#schedule === undefined ? this.#drain() : this.#done.resolve()));
    }
    if (this.#schedule === undefined) for (const connection of this.#open) this.#fill(connection);
    else this.#sendDue();
    this.#endIfComplete();
  }

  /** Closed loop: every place is used. */
  #fill(connection: LoadConnection): void {
    const { workload } = this.#options;
    const nowMs = this.#nowMs();
    while (connection.freeCount > 0 && this.#started < this.#requestsMax) {
      this.#started += 1;
      connection.start(workload.kind(), workload.key(), nowMs);
    }
    connection.flush();
  }

  /** Fixed rate: sends what is due as far as there are free places, and comes back when the next one is. */
  #sendDue(): void {
    const schedule = this.#schedule!;
    const { workload } = this.#options;
    const dueCount = Math.min(this.#requestsMax, schedule.dueCount(this.#nowMs()));
    const used: LoadConnection[] = [];
    while (this.#started < dueCount && this.#idle.length > 0) {
      const connection = this.#idle.pop()!;
      connection.start(workload.kind(), workload.key(), schedule.dueMs(this.#started));
      this.#started += 1;
      used.push(connection);
    }
    for (const connection of used) connection.flush();
    // With all places taken, the next answer goes on.
    if (this.#started === dueCount && this.#started < this.#requestsMax) this.#wakeAt(schedule.dueMs(this.#started));
  }

  #wakeAt(dueMs: number): void {
    if (this.#isWakeSet) return;
    this.#isWakeSet = true;
    const wake = (): void => {
      this.#isWakeSet = false;
      if (this.#state === 'running') this.#sendDue();
    };
    const spinMs = this.#options.spinMs ?? SPIN_MS;
    const waitMs = dueMs - this.#nowMs() - spinMs;
    if (waitMs <= 0 && spinMs > 0) this.#options.clock.defer(wake);
    // Rounding may leave a rest that a clock does not notice.
    else this.#after(Math.max(waitMs, TIMER_MS_MIN), wake);
  }

  #makeConnection(): LoadConnection {
    const { connect, url, protocol, plan } = this.#options;
    return new LoadConnection({
      connect,
      url,
      protocol,
      templates: this.#templates,
      pipeline: plan.pipeline,
      onAnswer: (connection, kind, sinceMs, status) => this.#takeAnswer(connection, kind, sinceMs, status),
      onRead: (connection) => this.#goOn(connection),
      onLost: (connection, unanswered, error) => this.#takeLoss(connection, unanswered, error),
    });
  }

  #takeAnswer(connection: LoadConnection, kind: RequestKind, sinceMs: number, status: number): void {
    this.#endMs = this.#nowMs();
    const isMissing = status === 404 && kind !== 'set';
    if (status === 200 || isMissing) this.#record.answer(kind, this.#endMs - sinceMs, isMissing);
    else this.#record.fail(`status ${status}`);
    if (this.#schedule !== undefined) this.#idle.push(connection);
  }

  #goOn(connection: LoadConnection): void {
    if (this.#state === 'running') {
      if (this.#schedule === undefined) this.#fill(connection);
      else this.#sendDue();
    }
    this.#endIfComplete();
  }

  #takeLoss(connection: LoadConnection, unanswered: readonly UnansweredRequest[], error: Error): void {
    this.#endMs = this.#nowMs();
    this.#open.delete(connection);
    this.#idle = this.#idle.filter((each) => each !== connection);
    for (let count = unanswered.length; count > 0; count -= 1) this.#record.fail(messageOf(error));
    if (this.#open.size === 0) this.#aloneSinceMs ??= this.#nowMs();
    this.#endIfComplete();
    if (this.#state === 'running') this.#after(RECONNECT_MS, () => void this.#reconnect());
  }

  /** Never rejects. */
  async #reconnect(): Promise<void> {
    if (this.#state !== 'running') return;
    const connection = this.#makeConnection();
    try {
      await connection.open();
    } catch (error) {
      if (this.#aloneSinceMs !== undefined && this.#nowMs() - this.#aloneSinceMs > GIVE_UP_MS) {
        this.#record.giveUp(messageOf(error));
        this.#done.resolve();
      } else this.#after(RECONNECT_MS, () => void this.#reconnect());
      return;
    }
    if (this.#hasEnded()) {
      connection.close();
      return;
    }
    this.#aloneSinceMs = undefined;
    this.#open.add(connection);
    if (this.#schedule !== undefined) for (let place = 0; place < this.#options.plan.pipeline; place += 1) this.#idle.push(connection);
    this.#goOn(connection);
  }

  #hasEnded(): boolean {
    return this.#state !== 'running';
  }

  /** Sends no more; waits for what is on its way. */
  #drain(): void {
    if (this.#state !== 'running') return;
    this.#state = 'draining';
    this.#countUnsent();
    this.#after(DRAIN_MS, () => this.#done.resolve());
    this.#endIfComplete();
  }

  #endIfComplete(): void {
    const isOver = this.#state === 'draining' || this.#started >= this.#requestsMax;
    if (isOver && this.#record.answered + this.#record.failed === this.#started) this.#done.resolve();
  }

  #countUnsent(): void {
    if (this.#schedule === undefined) return;
    const nowMs = this.#nowMs();
    const dueCount = Math.min(this.#requestsMax, this.#schedule.dueCount(nowMs));
    for (let index = this.#started; index < dueCount; index += 1) this.#record.neverSent(this.#options.workload.kind(), nowMs - this.#schedule.dueMs(index));
  }

  #finish(): void {
    if (this.#state === 'running') this.#countUnsent();
    this.#state = 'done';
    for (const timer of this.#timers) timer.cancel();
    const nowMs = this.#nowMs();
    for (const connection of this.#open) {
      for (const { kind, sinceMs } of connection.close()) {
        this.#endMs = nowMs;
        this.#record.abandon(kind, nowMs - sinceMs);
      }
    }
  }

  #after(delayMs: number, callback: () => void): void {
    const timer = this.#options.clock.setTimer(delayMs, () => {
      this.#timers.delete(timer);
      callback();
    });
    this.#timers.add(timer);
  }

  #nowMs(): number {
    return this.#options.clock.monotonicMs();
  }
}
