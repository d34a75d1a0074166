import { expect } from 'chai';
import { HttpAnswerParser } from '../../lib/bench/http-answer-parser.ts';

const ANSWERS = Buffer.from(
  [
    'HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\nETag: "1.c04d-2"\r\n\r\nhello',
    'HTTP/1.1 404 Not Found\r\ncontent-length:0\r\nContent-Language: en\r\n\r\n',
    // A body that looks like an answer, and a header whose name only begins like ours.
    'HTTP/1.1 200 OK\r\nContent-Length-Hint: 3\r\nCONTENT-LENGTH:   23\r\n\r\nHTTP/1.1 500 X\r\n\r\n12345',
    'HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 12\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n',
  ].join(''),
  'latin1',
);
const STATUSES = [200, 404, 200, 503];

describe('the parser of answers', () => {
  function parse(...pieces: readonly Buffer[]): number[] {
    const statuses: number[] = [];
    const parser = new HttpAnswerParser((status) => statuses.push(status));
    for (const piece of pieces) {
      // The memory of a piece is used again after the call.
      const memory = Buffer.from(piece);
      parser.push(memory);
      memory.fill(0xff);
    }
    return statuses;
  }

  it('finds all answers of one piece', () => {
    expect(parse(ANSWERS)).to.deep.equal(STATUSES);
  });

  it('finds them wherever they are cut', () => {
    for (let at = 0; at <= ANSWERS.length; at += 1) expect(parse(ANSWERS.subarray(0, at), ANSWERS.subarray(at)), `cut at ${at}`).to.deep.equal(STATUSES);
  });

  it('finds them byte by byte, each at its last byte', () => {
    const statuses: number[] = [];
    const parser = new HttpAnswerParser((status) => statuses.push(status));
    const ends: number[] = [];
    for (let at = 0; at < ANSWERS.length; at += 1) {
      parser.push(ANSWERS.subarray(at, at + 1));
      if (statuses.length > ends.length) ends.push(at + 1);
    }
    expect(statuses).to.deep.equal(STATUSES);
    expect(ends.at(-1)).to.equal(ANSWERS.length);
    expect(ANSWERS.toString('latin1', 0, ends[0])).to.match(/hello$/);
  });

  it('refuses what is no answer, or one without a length', () => {
    expect(() => parse(Buffer.from('SSH-2.0-OpenSSH\r\n\r\n'))).to.throw('expected HTTP/1.1');
    expect(() => parse(Buffer.from('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'))).to.throw('without Content-Length');
    expect(() => parse(Buffer.alloc(70_000, 'x'))).to.throw('longer than');
  });
});
