/**
 * One connection as long as it brings hot requests only.
 *
 *   bytes ─▶ HotRequestReader ─▶ read: answered at once
 *                          │ └─▶ write: answered when the node has it; answers go out in the order of requests
 *                          └───▶ anything else: given to node:http, for good, as soon as all before it is answered
 *
 * What it holds is bounded: it reads on only while less than `UNSENT_BYTES_MAX` of answers and fewer than
 * `PENDING_MAX` requests wait.
 */
import type { Socket } from 'node:net';

import type { EpochHistory } from '../../base/epoch-history.ts';
import { assert, unreachable } from '../../base/errors.ts';
import { KIB } from '../../base/limits.ts';
import type { HotReads, WriteListener, WriteResult } from '../../node/node-api.ts';
import type { BodyReservation } from '../body-budget.ts';
import { noSuchKey } from '../data-answer.ts';
import type { FailedRequest } from '../failure-log.ts';
import { LARGE_ANSWER_LENGTH } from '../large-answer.ts';
import { decodeValue } from '../value.ts';
import type { FastPath, HandOverReason } from './fast-path.ts';
import type { AnswerTerms, HotAnswer, Written } from './hot-answers.ts';
import { type HotRead, HotRequestReader, type HotWrite } from './hot-request.ts';
import { ReadShortcut } from './read-shortcut.ts';
import { WriteShortcut } from './write-shortcut.ts';

/** An answer's place in the order; empty while the node works on it. */
interface Slot {
  answer: HotAnswer | Written | undefined;
}

export const PENDING_MAX = 256;
const UNSENT_BYTES_MAX = 64 * KIB;
/** A request in more pieces than this is not worth being put together here. */
const PIECES_MAX = 16;
/** Beyond what clients are told, as in node:http: the last request may be on its way. */
const KEEP_ALIVE_EXTRA_MS = 1_000;

export class FastConnection {
  readonly #socket: Socket;
  readonly #path: FastPath;
  readonly #reader: HotRequestReader;
  readonly #input: ReadShortcut;
  readonly #output: WriteShortcut;
  /** Received and not taken yet. */
  #rest: Buffer = EMPTY;
  #restPieces = 0;
  /** `#rest` is the beginning of a request. */
  #isPartial = false;
  /** For the body of the write that comes. */
  #reservation: BodyReservation | undefined;
  /** In the order of their requests. */
  readonly #slots: Slot[] = [];
  /** Of answers whose turn has not come. */
  #slotBytes = 0;
  #isTurnPlanned = false;
  /** Why it is handed over once everything before is answered. */
  #leaving: HandOverReason | undefined;
  /** Takes no further request, and ends when all it has taken are answered. */
  #isLast = false;
  /** The client sends nothing more. */
  #hasEnded = false;
  #isGone = false;
  #hasSpoken = false;
  #wasActive = false;
  #wasPartial = false;
  #idleSinceMs: number;

  constructor(socket: Socket, path: FastPath, nowMs: number) {
    this.#socket = socket;
    this.#path = path;
    this.#reader = new HotRequestReader(path.limits.headBytesMax);
    this.#idleSinceMs = nowMs;
    for (const [event, listener] of this.#listeners()) socket.on(event, listener);
    this.#input = new ReadShortcut(socket, this.#onData);
    this.#output = new WriteShortcut(socket, () => this.#proceed());
  }

  /** Looks for what takes too long. Never too early: what has happened since the last tick counts as just now. */
  tick(nowMs: number): void {
    const isStuck = this.#isPartial && this.#wasPartial && !this.#wasActive;
    this.#wasPartial = this.#isPartial;
    if (this.#wasActive || this.#isBusy || this.#output.isBusy) {
      this.#wasActive = false;
      this.#idleSinceMs = nowMs;
      return;
    }
    if (isStuck) {
      // node:http has a time-out for heads, and the application one for bodies.
      this.#leave('slow');
    } else if (!this.#isPartial && nowMs - this.#idleSinceMs >= this.#patienceMs) {
      this.#socket.destroy();
    }
  }

  /** Answers what it has taken, then ends. */
  close(): void {
    if (!this.#isBusy && this.#rest.length > 0) {
      this.#leave('closing');
      return;
    }
    this.#isLast = true;
    this.#proceed();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  get #isBusy(): boolean {
    return this.#slots.length > 0;
  }

  /** For a connection without a request. */
  get #patienceMs(): number {
    const { headersTimeoutMs, keepAliveTimeoutMs } = this.#path.limits;
    return this.#hasSpoken ? keepAliveTimeoutMs + KEEP_ALIVE_EXTRA_MS : headersTimeoutMs;
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#hasSpoken = true;
    this.#isPartial = false;
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#restPieces += 1;
    // A client that sends more than the system hands over at once would fill the memory until the turn comes.
    if (this.#isTurnPlanned) this.#proceed();
    else this.#planTurn();
  };

  readonly #onEnd = (): void => {
    // What came just before has not been looked at yet.
    this.#proceed();
    this.#hasEnded = true;
    if (this.#rest.length > 0) this.#leave('half-closed');
    else this.close();
  };

  readonly #onError = (): void => void this.#socket.destroy();

  readonly #onClose = (): void => {
    this.#isGone = true;
    this.#rest = EMPTY;
    this.#reservation?.release();
    this.#path.noteGone(this, this.#slots.length);
  };

  #listeners(): readonly (readonly [event: string, listener: (chunk: Buffer) => void])[] {
    return [
      ['data', this.#onData],
      ['end', this.#onEnd],
      ['error', this.#onError],
      ['close', this.#onClose],
    ];
  }

  #leave(reason: HandOverReason): void {
    this.#leaving ??= reason;
    this.#proceed();
  }

  /** Does what can be done now: takes requests, sends answers; then reads on, waits, leaves or ends. */
  #proceed(): void {
    if (this.#isGone || this.#socket.destroyed) return;
    assert(this.#path.output.length === 0, 'answers of another connection were not sent');
    this.#collectAnswers();
    if (this.#rest.length > 0 && !this.#isPartial && this.#mayTake()) this.#takeRequests();
    this.#flush();
    if (this.#leaving !== undefined) {
      if (this.#isBusy) this.#socket.pause();
      else this.#handOver(this.#leaving);
    } else if (this.#isLast) {
      if (this.#isBusy) this.#socket.pause();
      else this.#socket.destroySoon();
    } else if (this.#output.isBusy || (this.#rest.length > 0 && !this.#isPartial)) {
      this.#socket.pause();
    } else if (this.#socket.isPaused()) {
      this.#socket.resume();
    }
  }

  #mayTake(): boolean {
    if (this.#leaving !== undefined || this.#isLast) return false;
    if (this.#path.output.length >= UNSENT_BYTES_MAX) this.#flush();
    return this.#slots.length < PENDING_MAX && this.#slotBytes < UNSENT_BYTES_MAX && !this.#output.isBusy;
  }

  #takeRequests(): void {
    const bytes = this.#rest;
    let index = 0;
    do {
      const endIndex = this.#takeRequest(bytes, index);
      if (endIndex === undefined) break;
      index = endIndex;
    } while (index < bytes.length && this.#mayTake());
    if (index === 0) return;
    this.#wasActive = true;
    this.#restPieces = index === bytes.length ? 0 : 1;
    this.#rest = index === bytes.length ? EMPTY : bytes.subarray(index);
  }

  /** @returns where the next one begins; undefined where this one is not to be taken, not here or not yet. */
  #takeRequest(bytes: Buffer, index: number): number | undefined {
    const request = this.#reader.next(bytes, index);
    switch (request.kind) {
      case 'read':
        this.#leaving = this.#path.refusal ?? this.#read(request, bytes);
        break;
      case 'write':
        // Whoever refuses by the head does so before the body is there.
        this.#leaving = this.#path.refusal ?? this.#path.refusalOfWrite(request.host) ?? this.#reserve(request.endIndex - request.bodyIndex);
        if (this.#leaving !== undefined) break;
        if (request.endIndex > bytes.length) return this.#waitForMore();
        this.#write(request, bytes);
        break;
      case 'foreign':
        this.#leaving = request.reason;
        return undefined;
      case 'partial':
        return this.#waitForMore();
      default:
        return unreachable(request);
    }
    if (this.#leaving !== undefined) return undefined;
    this.#path.noteRequest();
    return request.endIndex;
  }

  #waitForMore(): undefined {
    this.#isPartial = true;
    if (this.#restPieces > PIECES_MAX) this.#leaving = 'slow';
  }

  #read(request: HotRead, bytes: Buffer): HandOverReason | undefined {
    const { keyIndex, keyEndIndex, isHead } = request;
    const { node, answers } = this.#path;
    const hot = this.#isBusy ? undefined : node.hotReads();
    if (hot !== undefined && this.#addCached(hot, bytes, request)) {
      hot.noteRead();
      return undefined;
    }
    // A copy: what the node keeps must not keep the chunk.
    const key = bytes.toString('latin1', keyIndex, keyEndIndex);
    let answer: HotAnswer;
    try {
      const found = node.read(key);
      if (found === undefined) throw noSuchKey(key);
      // Now it is in memory, mostly: from there an answer costs less than half.
      if (hot !== undefined && this.#addCached(hot, bytes, request)) return undefined;
      if (!isHead && found.value.length >= LARGE_ANSWER_LENGTH) return 'large-answer';
      answer = answers.found(found, node.visiblePosition(), { isHead, isLast: false });
    } catch (error) {
      answer = this.#path.problem({ method: isHead ? 'HEAD' : 'GET', route: '/get/' }, error, { isHead, isLast: false });
    }
    this.#answerNow(answer);
    return undefined;
  }

  /** Answers a read of a row in memory. @returns false where there is none. */
  #addCached(hot: HotReads, bytes: Buffer, { keyIndex, keyEndIndex, isHead }: HotRead): boolean {
    const place = hot.rows.find(bytes, keyIndex, keyEndIndex);
    return place !== undefined && this.#path.answers.addCached(this.#path.output, hot, place, isHead);
  }

  /** Of a body that is not all here yet, too: until it is handed over it is in memory. */
  #reserve(bodyBytes: number): HandOverReason | undefined {
    this.#reservation ??= this.#path.requestBodies.open();
    return this.#reservation.growTo(bodyBytes) ? undefined : 'memory';
  }

  #takeReservation(): BodyReservation {
    const reservation = this.#reservation!;
    this.#reservation = undefined;
    return reservation;
  }

  #write(request: HotWrite, bytes: Buffer): void {
    const reservation = this.#takeReservation();
    // Copies, both: what the node keeps must not keep the chunk.
    const key = bytes.toString('latin1', request.keyIndex, request.keyEndIndex);
    let value: string;
    try {
      value = decodeValue(request.bodyKind, bytes.subarray(request.bodyIndex, request.endIndex));
    } catch (error) {
      reservation.release();
      this.#answerNow(this.#path.problem(failedWrite(request.method), error, NOT_LAST));
      return;
    }
    const write = new PendingWrite(this, reservation, request.method);
    this.#pushSlot(write);
    this.#path.node.put({ kind: 'put', key, value }, write);
  }

  /** A write of this connection is synced. */
  answerWritten(write: PendingWrite, lsn: number, history: EpochHistory): void {
    this.#fill(write, this.#isLastSlot(write) ? this.#path.writtenLast(lsn, history) : { lsn, history });
  }

  answerOther(write: PendingWrite, result: WriteResult): void {
    this.#fill(write, this.#path.written(result, this.#isLastSlot(write)));
  }

  answerFailed(write: PendingWrite, error: unknown): void {
    this.#fill(write, this.#path.problem(failedWrite(write.method), error, { isHead: false, isLast: this.#isLastSlot(write) }));
  }

  /** What is known at once still has to wait for its turn. */
  #answerNow(answer: HotAnswer): void {
    if (!this.#isBusy) {
      this.#append(answer);
      return;
    }
    this.#pushSlot({ answer });
    this.#slotBytes += answer.text.length;
  }

  #pushSlot(slot: Slot): void {
    this.#slots.push(slot);
    this.#path.notePending(1);
  }

  #isLastSlot(slot: Slot): boolean {
    return this.#isLast && this.#slots.at(-1) === slot;
  }

  #fill(slot: Slot, answer: HotAnswer | Written): void {
    if (this.#isGone) return;
    slot.answer = answer;
    this.#slotBytes += lengthOf(answer);
    this.#planTurn();
  }

  /** The other writes of a group are answered in the same turn: they share one write to the socket. */
  #planTurn(): void {
    if (this.#isTurnPlanned) return;
    this.#isTurnPlanned = true;
    this.#path.planTurn(this);
  }

  /** What was planned: does all that can be done now. */
  takeTurn(): void {
    this.#isTurnPlanned = false;
    this.#proceed();
  }

  #collectAnswers(): void {
    if (!this.#isBusy) return;
    const firstEmpty = this.#slots.findIndex(({ answer }) => answer === undefined);
    const ready = this.#slots.splice(0, firstEmpty === -1 ? this.#slots.length : firstEmpty);
    for (const { answer } of ready) {
      this.#slotBytes -= lengthOf(answer!);
      if ('text' in answer!) this.#append(answer);
      else this.#path.addWritten(answer!);
    }
    if (ready.length > 0) this.#path.notePending(-ready.length);
  }

  #append({ text, isAscii }: HotAnswer): void {
    this.#path.output.addText(text, isAscii);
  }

  #flush(): void {
    this.#path.output.sendTo(this.#output);
  }

  #handOver(reason: HandOverReason): void {
    this.#isGone = true;
    this.#reservation?.release();
    this.#input.end();
    for (const [event, listener] of this.#listeners()) this.#socket.off(event, listener);
    this.#path.handOver(this, this.#socket, { reason, rest: this.#rest, hasEnded: this.#hasEnded });
  }
}

/** Whoever is told what became of a write, and the place of its answer: one object, for there is one of every write. */
class PendingWrite implements Slot, WriteListener {
  answer: Slot['answer'];
  readonly method: HotWrite['method'];
  readonly #connection: FastConnection;
  readonly #reservation: BodyReservation;

  constructor(connection: FastConnection, reservation: BodyReservation, method: HotWrite['method']) {
    this.method = method;
    this.#connection = connection;
    this.#reservation = reservation;
  }

  onWritten(lsn: number, history: EpochHistory): void {
    this.#reservation.release();
    this.#connection.answerWritten(this, lsn, history);
  }

  onOther(result: WriteResult): void {
    this.#reservation.release();
    this.#connection.answerOther(this, result);
  }

  onFailed(error: unknown): void {
    this.#reservation.release();
    this.#connection.answerFailed(this, error);
  }
}

function failedWrite(method: HotWrite['method']): FailedRequest {
  return { method, route: '/set/' };
}

const EMPTY = Buffer.alloc(0);
const NOT_LAST: AnswerTerms = { isHead: false, isLast: false };
/** Of the answer to a write that is written when its turn comes. */
const WRITTEN_LENGTH = 300;

/** About. */
function lengthOf(answer: HotAnswer | Written): number {
  return 'text' in answer ? answer.text.length : WRITTEN_LENGTH;
}
