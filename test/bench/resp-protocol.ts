/** GET, SET and DEL as Redis takes them, for the same generator that measures Shiplog. */
import { type AnswerParser, type OnAnswer, type Protocol, type RequestKind, type RequestTemplate, keyAt, templateOf } from '../../lib/bench/protocol.ts';

export class RespProtocol implements Protocol {
  readonly #value: Buffer;

  constructor(valueBytes: number) {
    this.#value = Buffer.alloc(valueBytes, 'v');
  }

  template(kind: RequestKind): RequestTemplate {
    const key = `$${keyAt(0).length}\r\n${keyAt(0)}\r\n`;
    if (kind !== 'set') return templateOf(`*2\r\n$3\r\n${kind.toUpperCase()}\r\n${key}`, Buffer.alloc(0));
    return templateOf(`*3\r\n$3\r\nSET\r\n${key}$${this.#value.length}\r\n`, Buffer.concat([this.#value, Buffer.from('\r\n')]));
  }

  parser(onAnswer: OnAnswer): AnswerParser {
    return new RespAnswerParser(onAnswer);
  }
}

const LINE_END = '\r\n';
const LINE_BYTES_MAX = 64 * 1024;

/** `+OK`, `:1`, `$5` with a value, `$-1` for none, `-ERR …`: all that these commands are answered with. */
export class RespAnswerParser implements AnswerParser {
  readonly #onAnswer: OnAnswer;
  #line: Buffer | undefined;
  #valueBytesLeft = 0;

  constructor(onAnswer: OnAnswer) {
    this.#onAnswer = onAnswer;
  }

  push(bytes: Buffer): void {
    const data = this.#line === undefined ? bytes : Buffer.concat([this.#line, bytes]);
    this.#line = undefined;
    let at = 0;
    while (at < data.length) {
      if (this.#valueBytesLeft > 0) {
        const taken = Math.min(this.#valueBytesLeft, data.length - at);
        at += taken;
        this.#valueBytesLeft -= taken;
        if (this.#valueBytesLeft === 0) this.#onAnswer(200);
        continue;
      }
      const end = data.indexOf(LINE_END, at, 'latin1');
      if (end < 0) {
        if (data.length - at > LINE_BYTES_MAX) throw new Error(`a line of an answer is longer than ${LINE_BYTES_MAX} bytes`);
        this.#line = Buffer.from(data.subarray(at));
        return;
      }
      this.#takeLine(data.toString('latin1', at, end));
      at = end + LINE_END.length;
    }
  }

  #takeLine(line: string): void {
    const rest = line.slice(1);
    switch (line[0]) {
      case '+':
        return this.#onAnswer(200);
      case ':':
        return this.#onAnswer(rest === '0' ? 404 : 200);
      case '-':
        return this.#onAnswer(500);
      case '$':
        if (rest === '-1') return this.#onAnswer(404);
        this.#valueBytesLeft = Number(rest) + LINE_END.length;
        return;
      default:
        throw new Error(`the answer begins with ${JSON.stringify(line.slice(0, 20))}, expected RESP`);
    }
  }
}
