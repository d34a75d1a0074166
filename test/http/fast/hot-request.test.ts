import { expect } from 'chai';

import { HOT_BODY_BYTES_MAX, HOT_HEAD_BYTES_MAX, type HotRequest, HotRequestReader } from '../../../lib/http/fast/hot-request.ts';
import { CLIENT_HEADS } from './client-heads.ts';

const GET = 'GET /get/key HTTP/1.1\r\n';
const SET = 'POST /set/key HTTP/1.1\r\n';
const HOST = 'Host: localhost\r\n';
const LENGTH = 'Content-Length: 5\r\n';

describe('HotRequestReader', () => {
  it('reads a read', () => {
    const text = `${GET}${HOST}\r\n`;
    expect(read(text)).to.deep.equal({ kind: 'read', isHead: false, keyIndex: 9, keyEndIndex: 12, endIndex: text.length });
    expect(read(`HEAD /get/a/b!"$ HTTP/1.1\r\nhOsT:x\r\n\r\nrest`)).to.include({ kind: 'read', isHead: true, keyIndex: 10, keyEndIndex: 16 });
  });

  it('reads a write, and says where its parts are', () => {
    const text = `${SET}${HOST}${LENGTH}Content-Type: application/json\r\n\r\n`;
    const request = read(`${text}"abc"rest`);
    expect(request).to.deep.equal({
      kind: 'write',
      method: 'POST',
      keyIndex: 10,
      keyEndIndex: 13,
      host: 'localhost',
      bodyKind: 'json',
      bodyIndex: text.length,
      endIndex: text.length + 5,
    });
    expect(read(`PUT /set/k HTTP/1.1\r\n${HOST}Content-Length: 0\r\n\r\n`)).to.include({ method: 'PUT', bodyKind: 'text' });
  });

  it('begins where it is told to', () => {
    const first = `${GET}${HOST}\r\n`;
    const reader = new HotRequestReader(HOT_HEAD_BYTES_MAX);
    const both = `${first}${SET}${HOST}${LENGTH}\r\nhello`;
    expect(reader.next(Buffer.from(both, 'latin1'), first.length)).to.include({ kind: 'write', keyIndex: first.length + 10, endIndex: both.length });
  });

  for (const { client, get, set } of CLIENT_HEADS) {
    it(`takes what ${client} sends, and no beginning of it for anything else`, () => {
      expect(read(get).kind).to.equal('read');
      expect(read(`${set}hello`).kind).to.equal('write');
      for (const text of [get, set]) {
        for (let length = 0; length < text.length; length += 1) expect(read(text.slice(0, length)), text.slice(0, length)).to.deep.equal({ kind: 'partial' });
      }
    });
  }

  it('remembers the fields of the last head, and no more of it than is the same', () => {
    const reader = new HotRequestReader(HOT_HEAD_BYTES_MAX);
    const next = (text: string): HotRequest => reader.next(Buffer.from(text, 'latin1'), 0);
    expect(next(`${GET}${HOST}\r\n`).kind).to.equal('read');
    expect(next(`GET /get/other HTTP/1.1\r\n${HOST}\r\n`)).to.include({ keyIndex: 9, keyEndIndex: 14 });
    expect(next(`${GET}${HOST}If-Match: *\r\n\r\n`)).to.deep.equal({ kind: 'foreign', reason: 'field' });
    expect(next(`${GET}${HOST}\r\n`).kind).to.equal('read');
    expect(next(`${SET}${HOST}\r\n`)).to.deep.equal({ kind: 'foreign', reason: 'length' });
    expect(next(`${SET}${HOST}${LENGTH}\r\nhello`)).to.include({ kind: 'write', host: 'localhost' });
    expect(next(`${SET}Host: other\r\n${LENGTH}\r\nhello`)).to.include({ kind: 'write', host: 'other' });
    expect(next(`${SET}${HOST}Content-Length: 3\r\n\r\nabc`)).to.include({ kind: 'write', host: 'localhost', endIndex: `${SET}${HOST}Content-Length: 3\r\n\r\nabc`.length });
    expect(next(`${GET}${HOST}${LENGTH}\r\nhello`)).to.deep.equal({ kind: 'foreign', reason: 'length' });
  });

  const foreign: readonly (readonly [reason: string, text: string])[] = [
    ['method', `DELETE /del/key HTTP/1.1\r\n${HOST}\r\n`],
    ['method', `get /get/key HTTP/1.1\r\n${HOST}\r\n`],
    ['method', '\r\n'],
    ['method', '\x16\x03\x01'],
    ['method', ' GET'],
    ['target', `GET /set/key HTTP/1.1\r\n${HOST}\r\n`],
    ['target', `GET http://localhost/get/key HTTP/1.1\r\n${HOST}\r\n`],
    ['target', `GET /healthz`],
    ['target', `GET /get/ HTTP/1.1\r\n${HOST}\r\n`],
    ['target', `GET /get/a%20b HTTP/1.1\r\n${HOST}\r\n`],
    ['target', `GET /get/a?min=1 HTTP/1.1\r\n${HOST}\r\n`],
    ['target', `GET /get/a#b HTTP/1.1\r\n${HOST}\r\n`],
    ['target', `GET /get/\xe9 HTTP/1.1\r\n${HOST}\r\n`],
    ['target', `GET /get/a\tb HTTP/1.1\r\n${HOST}\r\n`],
    ['target', `GET /get/a\r\nX: HTTP/1.1\r\n${HOST}\r\n`],
    ['target', `GET /get/${'k'.repeat(1_025)} HTTP/1.1\r\n${HOST}\r\n`],
    ['version', `GET /get/key HTTP/1.0\r\n${HOST}\r\n`],
    ['version', `GET /get/key  HTTP/1.1\r\n${HOST}\r\n`],
    ['version', `GET /get/key HTTP/1.1\n${HOST}\r\n\r\n\r\n`],
    ['field', `${GET}${HOST}X-Unknown: a\r\n\r\n`],
    ['field', `${GET}${HOST}Accept: */*\r\nAccept: */*\r\n\r\n`],
    ['field', `${GET}${HOST}${HOST}\r\n`],
    ['field', `${GET}${HOST}Via : a\r\n\r\n`],
    ['field', `${GET}${HOST}Via: a\nVia: b\r\n\r\n`],
    ['field', `${GET}${HOST}Via: a\r\n b\r\n\r\n`],
    ['field', `${GET}${HOST}Via: \xe9\r\n\r\n`],
    ['field', `${GET}${HOST}Via: a\0\r\n\r\n`],
    ['field', `${GET}${HOST}Via\r\n\r\n`],
    ['field', `${SET}${HOST}${LENGTH}Transfer-Encoding: chunked\r\n\r\n`],
    ['field', `${SET}${HOST}${LENGTH}Expect: 100-continue\r\n\r\n`],
    ['field', `${SET}${HOST}${LENGTH}Origin: http://localhost\r\n\r\n`],
    ['field', `${SET}${HOST}${LENGTH}Sec-Fetch-Site: none\r\n\r\n`],
    ['field', `${SET}${HOST}${LENGTH}Shiplog-Forwarded: 00\r\n\r\n`],
    ['field', `${SET}${HOST}${LENGTH}Content-Encoding: identity\r\n\r\n`],
    ['field', `${SET}${HOST}${LENGTH}${LENGTH}\r\nhello`],
    ['host', `${GET}\r\n`],
    ['host', `${GET}Host:\r\n\r\n`],
    ['accept', `${GET}${HOST}Accept: application/json\r\n\r\n`],
    ['connection', `${GET}${HOST}Connection: close\r\n\r\n`],
    ['connection', `${GET}${HOST}Connection: upgrade\r\n\r\n`],
    ['length', `${SET}${HOST}\r\n`],
    ['length', `${SET}${HOST}Content-Length: 05\r\n\r\nhello`],
    ['length', `${SET}${HOST}Content-Length: +5\r\n\r\nhello`],
    ['length', `${SET}${HOST}Content-Length:\r\n\r\n`],
    ['length', `${GET}${HOST}Content-Length: 0\r\n\r\n`],
    ['body-type', `${SET}${HOST}${LENGTH}Content-Type: multipart/form-data\r\n\r\nhello`],
    ['body-type', `${SET}${HOST}${LENGTH}Content-Type: text/plain; charset=latin1\r\n\r\nhello`],
    ['large-body', `${SET}${HOST}Content-Length: ${HOT_BODY_BYTES_MAX + 1}\r\n\r\n`],
    ['large-head', `${GET}${HOST}Cookie: ${'c'.repeat(HOT_HEAD_BYTES_MAX)}\r\n\r\n`],
    ['large-head', `${GET}${HOST}Cookie: ${'c'.repeat(HOT_HEAD_BYTES_MAX)}`],
    ['large-head', `GET /get/${'k'.repeat(HOT_HEAD_BYTES_MAX)}`],
  ];
  for (const [reason, text] of foreign) {
    it(`leaves ${JSON.stringify(text.length > 80 ? `${text.slice(0, 60)}…` : text)} to others: ${reason}`, () => {
      expect(read(text)).to.deep.equal({ kind: 'foreign', reason });
    });
  }
});

function read(text: string): HotRequest {
  return new HotRequestReader(HOT_HEAD_BYTES_MAX).next(Buffer.from(text, 'latin1'), 0);
}
