/** The bytes of answers, as the routes behind Koa and node:http would write them, headers in their order. */
import type { Epoch, EpochHistory } from '../../base/epoch-history.ts';
import { type Position, formatPosition } from '../../base/position.ts';
import type { Clock } from '../../env/clock.ts';
import type { HotReads, ReadResult, WriteResult } from '../../node/node-api.ts';
import { formatETag } from '../conditions.ts';
import { ACK_HEADER, CONTENT_TYPES, DATA_HEADERS, ETAG_HEADER, POSITION_HEADER, WRITTEN_BODY, positionAfterWrite } from '../data-answer.ts';
import { problemOf, reasonOf } from '../problem.ts';
import type { AnswerBuffer } from './answer-buffer.ts';

export interface HotAnswer {
  readonly text: string;
  /** One byte per character: cheaper to write. */
  readonly isAscii: boolean;
}

export class HotAnswers {
  readonly #clock: Clock;
  readonly #keepAliveLines: string;
  #second = Number.NaN;
  #isTimeKept = false;
  #dateLine = '';
  /** From the end of the length on. */
  #ending = NOTHING;
  /** Of the answer to a write, from the end of the LSN on. */
  #writtenEnding = NOTHING;
  #positionEpoch: Epoch | undefined;
  /** Up to the LSN that is visible. */
  #positionHead = '';
  /** With that LSN, which many answers have in common. */
  #positionText = NOTHING;
  #positionLsn = Number.NaN;
  #eTagEpoch: Epoch | undefined;
  /** Between that LSN and the row's. */
  #eTagHead = NOTHING;

  constructor(clock: Clock, keepAliveTimeoutMs: number) {
    this.#clock = clock;
    this.#keepAliveLines = `Connection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(keepAliveTimeoutMs / 1_000)}\r\n\r\n`;
  }

  found({ value, position }: ReadResult, visible: Position, { isHead, isLast }: AnswerTerms): HotAnswer {
    const bytes = Buffer.byteLength(value);
    const head = `${OK}${POSITION_HEADER}: ${formatPosition(visible)}\r\n${ETAG_HEADER}: ${formatETag(position, 'text')}\r\n${TEXT}${bytes}\r\n${this.#endingText(isLast)}`;
    return isHead ? { text: head, isAscii: true } : { text: head + value, isAscii: bytes === value.length };
  }

  /** What `found` says, of a row in memory. @returns false where that can't be: nothing is added then. */
  addCached(output: AnswerBuffer, { history, visibleLsn, rows }: HotReads, place: number, isHead: boolean): boolean {
    const lsn = rows.lsnAt(place);
    const visibleEpoch = history.epochAt(visibleLsn);
    const rowEpoch = history.epochAt(lsn);
    if (visibleEpoch === undefined || rowEpoch === undefined) return false;
    this.#keepHeads(history, visibleEpoch, history, rowEpoch);
    const start = rows.valueStartAt(place);
    const end = rows.valueEndAt(place);
    this.#keepPosition(visibleLsn);
    output.addBytes(this.#positionText);
    output.addBytes(this.#eTagHead);
    output.addDecimal(lsn);
    output.addBytes(AFTER_ETAG);
    output.addDecimal(end - start);
    this.#keepDate();
    output.addBytes(this.#ending);
    if (!isHead) output.addBytes(rows.bytes, start, end);
    return true;
  }

  /** What `written` says of a put that is synced at LSN `lsn` of `history`. @returns false as `addCached`. */
  addWritten(output: AnswerBuffer, { history, lsn }: Written, visible: Written): boolean {
    // As in `positionAfterWrite`.
    const shown = visible.lsn < lsn ? { history, lsn } : visible;
    const shownEpoch = shown.history.epochAt(shown.lsn);
    const rowEpoch = history.epochAt(lsn);
    if (shownEpoch === undefined || rowEpoch === undefined) return false;
    this.#keepHeads(shown.history, shownEpoch, history, rowEpoch);
    this.#keepPosition(shown.lsn);
    output.addBytes(this.#positionText);
    output.addBytes(this.#eTagHead);
    output.addDecimal(lsn);
    this.#keepDate();
    output.addBytes(this.#writtenEnding);
    return true;
  }

  #keepHeads(shownHistory: EpochHistory, shownEpoch: Epoch, rowHistory: EpochHistory, rowEpoch: Epoch): void {
    if (shownEpoch !== this.#positionEpoch) {
      this.#positionEpoch = shownEpoch;
      this.#positionHead = `${OK}${POSITION_HEADER}: ${beforeLsn(formatPosition(shownHistory.positionOf(shownEpoch.firstLsn)))}`;
      this.#positionLsn = Number.NaN;
    }
    if (rowEpoch !== this.#eTagEpoch) {
      this.#eTagEpoch = rowEpoch;
      this.#eTagHead = Buffer.from(`\r\n${ETAG_HEADER}: ${beforeLsn(formatETag(rowHistory.positionOf(rowEpoch.firstLsn), 'text'))}`);
    }
  }

  #keepPosition(lsn: number): void {
    if (lsn === this.#positionLsn) return;
    this.#positionLsn = lsn;
    this.#positionText = Buffer.from(`${this.#positionHead}${lsn}`);
  }

  written(result: Extract<WriteResult, { outcome: 'written' }>, visible: Position, isLast: boolean): HotAnswer {
    const position = formatPosition(positionAfterWrite(result, visible));
    const eTag = result.position === null ? '' : `${ETAG_HEADER}: ${formatETag(result.position, 'text')}\r\n`;
    const text = `${OK}${POSITION_HEADER}: ${position}\r\n${eTag}${ACK_HEADER}: ${result.ack}\r\n${TEXT}${WRITTEN_BODY.length}\r\n${this.#endingText(isLast)}${WRITTEN_BODY}`;
    return { text, isAscii: true };
  }

  problem(error: unknown, visible: Position, { isHead, isLast }: AnswerTerms): HotAnswer {
    const { status, headers, body } = problemOf(error);
    const bytes = Buffer.byteLength(body);
    const lines = { ...DATA_HEADERS, ...headers, 'Content-Length': String(bytes), [POSITION_HEADER]: formatPosition(visible) };
    const head = `HTTP/1.1 ${status} ${reasonOf(status)}\r\n${linesOf(lines)}${this.#endingText(isLast)}`;
    return isHead ? { text: head, isAscii: true } : { text: head + body, isAscii: bytes === body.length };
  }

  /** The last headers, which node:http would add, and the empty line. */
  #endingText(isLast: boolean): string {
    this.#keepDate();
    return this.#dateLine + (isLast ? LAST_LINES : this.#keepAliveLines);
  }

  /** Answers that are made by `make` have one date: asking for the time costs as much as writing it. */
  atOneTime(make: () => void): void {
    this.#keepDate();
    this.#isTimeKept = true;
    try {
      make();
    } finally {
      this.#isTimeKept = false;
    }
  }

  #keepDate(): void {
    if (this.#isTimeKept) return;
    const second = Math.floor(this.#clock.wallMs() / 1_000);
    if (second === this.#second) return;
    this.#second = second;
    this.#dateLine = `Date: ${new Date(second * 1_000).toUTCString()}\r\n`;
    const lines = `\r\n${this.#dateLine}${this.#keepAliveLines}`;
    this.#ending = Buffer.from(lines);
    this.#writtenEnding = Buffer.from(`"\r\n${ACK_HEADER}: local\r\n${TEXT}${WRITTEN_BODY.length}${lines}${WRITTEN_BODY}`);
  }
}

/** An LSN, and the history that it belongs to. */
export interface Written {
  readonly history: EpochHistory;
  readonly lsn: number;
}

export interface AnswerTerms {
  readonly isHead: boolean;
  /** The connection ends with this answer. */
  readonly isLast: boolean;
}

const OK = `HTTP/1.1 200 ${reasonOf(200)}\r\n${linesOf(DATA_HEADERS)}`;
/** Up to the number of bytes. */
const TEXT = `Content-Type: ${CONTENT_TYPES.text}\r\nContent-Length: `;
/** Up to the number of bytes, behind the row's LSN. */
const AFTER_ETAG = Buffer.from(`"\r\n${TEXT}`);
const NOTHING = Buffer.alloc(0);
const LAST_LINES = 'Connection: close\r\n\r\n';

/** Of a position as text, or of an ETag. */
function beforeLsn(text: string): string {
  return text.slice(0, text.indexOf('-') + 1);
}

function linesOf(headers: Readonly<Record<string, string>>): string {
  return Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('');
}
