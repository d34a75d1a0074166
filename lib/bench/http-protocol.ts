import type { AckLevel } from '../base/ack-level.ts';
import { HttpAnswerParser } from './http-answer-parser.ts';
import { type AnswerParser, type OnAnswer, type Protocol, type RequestKind, type RequestTemplate, keyAt, templateOf } from './protocol.ts';

export interface HttpProtocolOptions {
  readonly url: string;
  readonly valueBytes: number;
  /** What writes ask for; default: as the server is configured. */
  readonly ack?: AckLevel;
}

export class HttpProtocol implements Protocol {
  readonly #host: string;
  readonly #query: string;
  readonly #value: Buffer;

  constructor({ url, valueBytes, ack }: HttpProtocolOptions) {
    this.#host = new URL(url).host;
    this.#query = ack === undefined ? '' : `?ack=${ack}`;
    this.#value = Buffer.alloc(valueBytes, 'v');
  }

  template(kind: RequestKind): RequestTemplate {
    switch (kind) {
      case 'get':
        return templateOf(this.#head('GET', `/get/${keyAt(0)}`), NOTHING);
      case 'del':
        return templateOf(this.#head('DELETE', `/del/${keyAt(0)}${this.#query}`), NOTHING);
      case 'set':
        return templateOf(this.#head('POST', `/set/${keyAt(0)}${this.#query}`, `Content-Type: text/plain\r\nContent-Length: ${this.#value.length}\r\n`), this.#value);
    }
  }

  parser(onAnswer: OnAnswer): AnswerParser {
    return new HttpAnswerParser(onAnswer);
  }

  #head(method: string, target: string, headers = ''): string {
    return `${method} ${target} HTTP/1.1\r\nHost: ${this.#host}\r\n${headers}\r\n`;
  }
}

const NOTHING = Buffer.alloc(0);
