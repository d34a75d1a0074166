/**
 * The fast path in front of Koa: takes every connection first and keeps it while it brings nothing but hot
 * requests (see hot-request.ts). With the first byte of anything else the connection goes to node:http, and
 * with it all that this request is answered by. So nothing is decided here but what both decide alike.
 */
import type { Socket } from 'node:net';

import type { EpochHistory } from '../../base/epoch-history.ts';
import { assert, isShiplogError } from '../../base/errors.ts';
import type { Clock } from '../../env/clock.ts';
import type { NodeApi, WriteResult } from '../../node/node-api.ts';
import type { Logger } from '../../observe/logger.ts';
import type { BodyBudget } from '../body-budget.ts';
import { type FailedRequest, logFailure } from '../failure-log.ts';
import type { WriteGuard } from '../write-guard.ts';
import { AnswerBuffer } from './answer-buffer.ts';
import { FastConnection } from './fast-connection.ts';
import { type AnswerTerms, type HotAnswer, HotAnswers, type Written } from './hot-answers.ts';
import { FOREIGN_REASONS, HOT_HEAD_BYTES_MAX, type ForeignReason } from './hot-request.ts';

/** What the fast path and the application behind Koa share. */
export interface FastPathOptions {
  readonly node: NodeApi;
  readonly requestBodies: BodyBudget;
  /** The present one: it may change with the configuration. */
  readonly guard: () => WriteGuard;
}

export interface FastPathLimits {
  readonly headBytesMax: number;
  /** For a new connection that says nothing. */
  readonly headersTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
}

/** What the listener lends. */
export interface FastPathHost {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: FastPathLimits;
  /** Gives a connection to node:http. */
  readonly accept: (socket: Socket) => void;
  /** As many requests wait for their answers as may, everywhere in this listener. */
  readonly isFull: () => boolean;
  /** A connection is gone. */
  readonly onProgress: () => void;
}

const OWN_REASONS = [
  /** Too many requests wait: who is told so is node:http's business. */
  'overload',
  /** The memory for bodies is used up. */
  'memory',
  /** Writes are not for this node to take. */
  'role',
  'large-answer',
  /** A request that takes its time, or comes in many pieces. */
  'slow',
  'half-closed',
  'closing',
] as const;

export const HAND_OVER_REASONS = [...FOREIGN_REASONS, ...OWN_REASONS] as const;
export type HandOverReason = ForeignReason | (typeof OWN_REASONS)[number];

export class FastPath {
  readonly node: NodeApi;
  readonly requestBodies: BodyBudget;
  readonly clock: Clock;
  readonly limits: FastPathLimits;
  readonly answers: HotAnswers;
  /** Filled and sent within one turn by one connection at a time. */
  readonly output = new AnswerBuffer();
  readonly #options: FastPathOptions;
  readonly #host: FastPathHost;
  readonly #connections = new Set<FastConnection>();
  readonly #handOvers = new Map<HandOverReason, number>(HAND_OVER_REASONS.map((reason) => [reason, 0]));
  /** The last host that a guard allowed, and which one. */
  #allowedHost: string | undefined;
  #allowedBy: WriteGuard | undefined;
  /** Connections that have something to do. */
  #turns: FastConnection[] = [];
  #requestCount = 0;
  #pendingCount = 0;
  #isTicking = false;
  #isClosing = false;

  constructor(options: FastPathOptions, host: FastPathHost) {
    this.node = options.node;
    this.requestBodies = options.requestBodies;
    this.clock = host.clock;
    this.limits = { ...host.limits, headBytesMax: Math.min(HOT_HEAD_BYTES_MAX, host.limits.headBytesMax) };
    this.answers = new HotAnswers(host.clock, host.limits.keepAliveTimeoutMs);
    this.#options = options;
    this.#host = host;
  }

  /** Requests that it has answered or will. */
  get requestCount(): number {
    return this.#requestCount;
  }

  /** Requests that wait for their answers. */
  get pendingCount(): number {
    return this.#pendingCount;
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  get handOvers(): ReadonlyMap<HandOverReason, number> {
    return this.#handOvers;
  }

  take(socket: Socket): void {
    if (this.#isClosing) {
      this.#host.accept(socket);
      return;
    }
    this.#connections.add(new FastConnection(socket, this, this.clock.monotonicMs()));
    if (!this.#isTicking) this.#planTick();
  }

  /** Lets every connection answer what it has taken, and end. */
  close(): void {
    this.#isClosing = true;
    for (const connection of this.#connections) connection.close();
  }

  destroyAll(): void {
    for (const connection of this.#connections) connection.destroy();
  }

  /** Why no request at all is taken now. */
  get refusal(): HandOverReason | undefined {
    return this.#host.isFull() ? 'overload' : undefined;
  }

  /** Why a write to this host is not taken. */
  refusalOfWrite(host: string): HandOverReason | undefined {
    const guard = this.#options.guard();
    if (host !== this.#allowedHost || guard !== this.#allowedBy) {
      if (!isAllowedBy(guard, host)) return 'host';
      // Clients mostly name the same one.
      this.#allowedHost = host;
      this.#allowedBy = guard;
    }
    return this.#takesWrites() ? undefined : 'role';
  }

  #takesWrites(): boolean {
    try {
      const route = this.node.writeRoute();
      if (!(route instanceof Promise)) return route.kind === 'local';
      // Whoever gets the request asks again, and hears what this one would have said.
      route.catch(() => {});
      return false;
    } catch {
      return false;
    }
  }

  written(result: WriteResult, isLast: boolean): HotAnswer {
    assert(result.outcome === 'written', 'a write without a condition is written');
    return this.answers.written(result, this.node.visiblePosition(), isLast);
  }

  /** Of the last answer of a connection. */
  writtenLast(lsn: number, history: EpochHistory): HotAnswer {
    return this.written({ outcome: 'written', position: history.positionOf(lsn), ack: 'local' }, true);
  }

  /** Adds the answer to a write without a string in between. */
  addWritten(written: Written): void {
    const hot = this.node.hotReads();
    const visible = hot === undefined ? written : { history: hot.history, lsn: hot.visibleLsn };
    if (this.answers.addWritten(this.output, written, visible)) return;
    const { text } = this.written({ outcome: 'written', position: written.history.positionOf(written.lsn), ack: 'local' }, false);
    this.output.addText(text, true);
  }

  problem(request: FailedRequest, error: unknown, terms: AnswerTerms): HotAnswer {
    if (!isShiplogError(error) || error.status === 500) logFailure(this.#host.logger, request, error);
    return this.answers.problem(error, this.node.visiblePosition(), terms);
  }

  /**
   * Gives a connection a turn when the system has said all it has to say now. The answers of all connections
   * then leave close together, and a client that has many of them is woken once instead of for each.
   */
  planTurn(connection: FastConnection): void {
    this.#turns.push(connection);
    if (this.#turns.length > 1) return;
    this.clock.defer(() => {
      const turns = this.#turns;
      this.#turns = [];
      this.answers.atOneTime(() => {
        for (const each of turns) each.takeTurn();
      });
    });
  }

  noteRequest(): void {
    this.#requestCount += 1;
  }

  notePending(change: number): void {
    this.#pendingCount += change;
  }

  noteGone(connection: FastConnection, pending: number): void {
    this.#connections.delete(connection);
    this.#pendingCount -= pending;
    this.#host.onProgress();
  }

  /** Gives a connection away; `rest` is what was received and not taken. */
  handOver(connection: FastConnection, socket: Socket, { reason, rest, hasEnded }: { reason: HandOverReason; rest: Buffer; hasEnded: boolean }): void {
    this.#handOvers.set(reason, this.#handOvers.get(reason)! + 1);
    socket.pause();
    if (!hasEnded && rest.length > 0) socket.unshift(rest);
    this.#host.accept(socket);
    if (hasEnded) {
      // A stream that has ended takes nothing back.
      socket.emit('data', rest);
      socket.emit('end');
    } else {
      socket.resume();
    }
    this.noteGone(connection, 0);
  }

  #planTick(): void {
    this.#isTicking = this.#connections.size > 0;
    if (!this.#isTicking) return;
    this.clock.setTimer(Math.min(TICK_MS_MAX, this.limits.headersTimeoutMs), () => {
      const nowMs = this.clock.monotonicMs();
      for (const connection of this.#connections) connection.tick(nowMs);
      this.#planTick();
    });
  }
}

const TICK_MS_MAX = 1_000;

function isAllowedBy(guard: WriteGuard, host: string): boolean {
  try {
    guard.check({ host }, undefined);
    return true;
  } catch {
    return false;
  }
}
