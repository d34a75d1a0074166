/** The bytes of answers, as the routes behind Koa and node:http would write them, headers in their order. */
import { type Position, formatPosition } from '../../base/position.ts';
import type { Clock } from '../../env/clock.ts';
import type { ReadResult, WriteResult } from '../../node/node-api.ts';
import { formatETag } from '../conditions.ts';
import { ACK_HEADER, CONTENT_TYPES, DATA_HEADERS, ETAG_HEADER, POSITION_HEADER, WRITTEN_BODY, positionAfterWrite } from '../data-answer.ts';
import { problemOf, reasonOf } from '../problem.ts';

export interface HotAnswer {
  readonly text: string;
  /** One byte per character: cheaper to write. */
  readonly isAscii: boolean;
}

export class HotAnswers {
  readonly #clock: Clock;
  readonly #keepAliveLines: string;
  #second = Number.NaN;
  #dateLine = '';

  constructor(clock: Clock, keepAliveTimeoutMs: number) {
    this.#clock = clock;
    this.#keepAliveLines = `Connection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(keepAliveTimeoutMs / 1_000)}\r\n\r\n`;
  }

  found({ value, position }: ReadResult, visible: Position, { isHead, isLast }: AnswerTerms): HotAnswer {
    const bytes = Buffer.byteLength(value);
    const head = `${OK}${POSITION_HEADER}: ${formatPosition(visible)}\r\n${ETAG_HEADER}: ${formatETag(position, 'text')}\r\n${TEXT}${bytes}\r\n${this.#ending(isLast)}`;
    return isHead ? { text: head, isAscii: true } : { text: head + value, isAscii: bytes === value.length };
  }

  written(result: Extract<WriteResult, { outcome: 'written' }>, visible: Position, isLast: boolean): HotAnswer {
    const position = formatPosition(positionAfterWrite(result, visible));
    const eTag = result.position === null ? '' : `${ETAG_HEADER}: ${formatETag(result.position, 'text')}\r\n`;
    const text = `${OK}${POSITION_HEADER}: ${position}\r\n${eTag}${ACK_HEADER}: ${result.ack}\r\n${TEXT}${WRITTEN_BODY.length}\r\n${this.#ending(isLast)}${WRITTEN_BODY}`;
    return { text, isAscii: true };
  }

  problem(error: unknown, visible: Position, { isHead, isLast }: AnswerTerms): HotAnswer {
    const { status, headers, body } = problemOf(error);
    const bytes = Buffer.byteLength(body);
    const lines = { ...DATA_HEADERS, ...headers, 'Content-Length': String(bytes), [POSITION_HEADER]: formatPosition(visible) };
    const head = `HTTP/1.1 ${status} ${reasonOf(status)}\r\n${linesOf(lines)}${this.#ending(isLast)}`;
    return isHead ? { text: head, isAscii: true } : { text: head + body, isAscii: bytes === body.length };
  }

  /** The last headers, which node:http would add, and the empty line. */
  #ending(isLast: boolean): string {
    const second = Math.floor(this.#clock.wallMs() / 1_000);
    if (second !== this.#second) {
      this.#second = second;
      this.#dateLine = `Date: ${new Date(second * 1_000).toUTCString()}\r\n`;
    }
    return this.#dateLine + (isLast ? LAST_LINES : this.#keepAliveLines);
  }
}

export interface AnswerTerms {
  readonly isHead: boolean;
  /** The connection ends with this answer. */
  readonly isLast: boolean;
}

const OK = `HTTP/1.1 200 ${reasonOf(200)}\r\n${linesOf(DATA_HEADERS)}`;
/** Up to the number of bytes. */
const TEXT = `Content-Type: ${CONTENT_TYPES.text}\r\nContent-Length: `;
const LAST_LINES = 'Connection: close\r\n\r\n';

function linesOf(headers: Readonly<Record<string, string>>): string {
  return Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('');
}
