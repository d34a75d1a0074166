/** Requests for the fast path, hot ones and all kinds of others, as bytes: one character each. */
import * as fc from 'fast-check';

import { CLIENT_FIELDS } from './client-heads.ts';

interface Draft {
  readonly method: string;
  readonly target: string;
  readonly version: string;
  readonly fields: readonly string[];
  readonly body: string;
}

const KEY_KINDS = ['key', 'missing', 'boom', 'unready', 'empty', 'unicode', 'latin', 'slow', 'slow', 'overloaded', 'full', 'unknown', 'memory', 'acked', 'ahead'];
const KEY_CHARACTERS = 'abcABC0123456789/.-_~!"$&\'()*+,:;<=>@[\\]^`{|}'.split('');

const key = fc
  .tuple(fc.constantFrom(...KEY_KINDS), fc.array(fc.constantFrom(...KEY_CHARACTERS), { maxLength: 12 }))
  .map(([kind, rest]) => kind + rest.join(''));

const IGNORED_FIELDS = [
  'User-Agent: x',
  'user-agent:no space',
  'Accept-Encoding: \t gzip, br  ',
  'Accept-Language: *',
  'Cookie: a=b; c=d',
  'Authorization: Basic eDp5',
  'X-Forwarded-For: 10.0.0.1',
  'Via: 1.1 proxy',
  'X-Request-Id:',
  'Cache-Control: no-cache',
  'TRACEPARENT: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  'Referer: http://localhost/\tx',
  'Sec-Fetch-Mode: cors',
];

const BODIES = ['', 'x', 'hello world', 'value=a%20b+c', 'value=a&b=c', 'value=%zz', '{"a":1}', '"json"', '"ž"', '"\xc5\xbe"', '\xc5\xbe\xf0\x9f\x90\x8e', 'bad \xff utf8', '\xc5', '\r\n\r\n', 'GET /get/a HTTP/1.1\r\n', 'v'.repeat(2_000)];
const BODY_TYPES = [[], [], ['Content-Type: text/plain'], ['Content-Type: application/x-www-form-urlencoded'], ['content-type: application/json'], ['Content-Type: text/plain;charset=UTF-8'], ['Content-Type: application/octet-stream'], ['Content-Type:']];

const fields = fc
  .tuple(fc.constantFrom(...CLIENT_FIELDS), fc.subarray(IGNORED_FIELDS, { maxLength: 3 }), fc.boolean(), fc.infiniteStream(fc.boolean()))
  .map(([client, ignored, ownFirst, shout]) => {
    const own = client.map((field) => (/^(host|accept):/i.test(field) && shout.next().value === true ? field.replace(/^[^:]+/, (name) => name.toUpperCase()) : field));
    return ownFirst ? [...own, ...ignored] : [...ignored, ...own];
  });

const readDraft: fc.Arbitrary<Draft> = fc
  .tuple(fc.constantFrom('GET', 'GET', 'GET', 'HEAD'), key, fields)
  .map(([method, name, lines]) => ({ method, target: `/get/${name}`, version: 'HTTP/1.1', fields: lines, body: '' }));

const writeDraft: fc.Arbitrary<Draft> = fc
  .tuple(fc.constantFrom('POST', 'POST', 'PUT'), key, fields, fc.constantFrom(...BODIES), fc.constantFrom(...BODY_TYPES))
  .map(([method, name, lines, body, type]) => ({ method, target: `/set/${name}`, version: 'HTTP/1.1', fields: [...lines.filter((line) => type.length === 0 || !/^content-type:/i.test(line)), ...type, `Content-Length: ${body.length}`], body }));

const draft = fc.oneof(readDraft, writeDraft);

/** Each makes something odd or broken of a draft. */
const CHANGES: readonly ((draft: Draft, number: number) => Draft | string)[] = [
  ...['DELETE', 'OPTIONS', 'get', 'PATCH', 'G', 'GETS', 'CONNECT'].map((method) => (of: Draft) => ({ ...of, method })),
  (of) => ({ ...of, method: of.method === 'GET' ? 'POST' : 'GET' }),
  (of) => ({ ...of, method: 'DELETE', target: of.target.replace(/^.get|^.set/, '/del') }),
  ...['?', '?min=1.c04d-1', '?ack=local', '?wat', '%20', '%', '%zz', '\xc5\xbe', '\xff', '#', '\x7f', '\t', 'k'.repeat(1_100), ' x'].map(
    (end) => (of: Draft) => ({ ...of, target: of.target + end }),
  ),
  (of) => ({ ...of, target: `http://localhost${of.target}` }),
  (of) => ({ ...of, target: `http://elsewhere.example${of.target}` }),
  (of) => ({ ...of, target: of.target.slice(0, 5) }),
  (of) => ({ ...of, target: `/${of.target}` }),
  (of) => ({ ...of, target: '/get/huge' }),
  ...['*', '/', '/healthz', '/get', '/getx/a', '/status', ''].map((target) => (of: Draft) => ({ ...of, target })),
  ...['HTTP/1.0', 'HTTP/1.2', 'HTTP/2.0', 'http/1.1', 'HTTP/1.1 ', ' HTTP/1.1', 'HTTP/1.1\t', 'HTTP/1.', ''].map((version) => (of: Draft) => ({ ...of, version })),
  ...[
    'Host: localhost',
    'Host: elsewhere.example',
    'Accept: application/json',
    'Accept: text/plain',
    'Accept: */*;q=0.5',
    'Accept:',
    'If-None-Match: *',
    'If-Match: "1.c04d-4"',
    'If-Match: nonsense',
    'Range: bytes=0-1',
    'Expect: 100-continue',
    'Expect: the best',
    'Connection: close',
    'Connection: Keep-Alive',
    'Connection: keep-alive, x-request-id',
    'Connection: upgrade',
    'Upgrade: websocket',
    'Keep-Alive: timeout=5',
    'TE: trailers',
    'Trailer: x',
    'Origin: http://localhost',
    'Origin: null',
    'Sec-Fetch-Site: cross-site',
    'Sec-Fetch-Site: none',
    'Shiplog-Forwarded: 00',
    'Shiplog-Min-Position: 1.c04d-3',
    'Shiplog-Min-Position: 1.c04d-99',
    'Content-Encoding: gzip',
    'Content-Encoding: identity',
    'Content-Type: multipart/form-data; boundary=x',
    'Content-Type: text/plain; charset=latin1',
    'Content-Length: 0',
    'Content-Length: 1',
    'Content-Length: +1',
    'Content-Length: 0x1',
    'Content-Length: 1, 1',
    'Content-Length:',
    'Content-Length: 20000000',
    'Transfer-Encoding: chunked',
    'Transfer-Encoding: identity',
    'X-Unknown: yes',
    'User-Agent : spaced',
    'User-Agent: f\xe9',
    'User-Agent: a\0b',
    'User-Agent: a\rb',
    'User-Agent: a\nb',
    'User-Agent: a\x0bb',
    ' folded',
    '\tfolded',
    'no colon',
    ': no name',
    'Us er-Agent: x',
    `User-Agent: ${'l'.repeat(5_000)}`,
    `User-Agent: ${'l'.repeat(17_000)}`,
  ].flatMap((line) => [(of: Draft) => ({ ...of, fields: [...of.fields, line] }), (of: Draft) => ({ ...of, fields: [line, ...of.fields] })]),
  (of) => ({ ...of, fields: of.fields.filter((line) => !/^host:/i.test(line)) }),
  (of) => ({ ...of, fields: [] }),
  (of) => ({ ...of, fields: of.fields.map((line) => (/^host:/i.test(line) ? 'Host:' : line)) }),
  ...['elsewhere.example', 'localhost:1', '127.0.0.1', '[::1]:80', 'two words', 'a/b', 'user@localhost'].map(
    (host) => (of: Draft) => ({ ...of, fields: of.fields.map((line) => (/^host:/i.test(line) ? `Host: ${host}` : line)) }),
  ),
  (of) => ({ ...of, fields: of.fields.filter((line) => !/^content-length:/i.test(line)) }),
  (of) => withLength(of, of.body.length.toString().padStart(4, '0')),
  (of) => withLength(of, '20000000'),
  (of) => withLength({ ...of, body: 'b'.repeat(70_000) }, '70000'),
  (of) => ({ ...withLength(of, ''), fields: [...of.fields.filter((line) => !/^content-length:/i.test(line)), 'Transfer-Encoding: chunked'], body: '3\r\nabc\r\n0\r\n\r\n' }),
  (of) => `\r\n${bytesOf(of)}`,
  (of) => `\n${bytesOf(of)}`,
  (of) => ` ${bytesOf(of)}`,
  (of) => bytesOf(of).replaceAll('\r\n', '\n'),
  (of) => bytesOf(of).replace('\r\n', '\n'),
  (of) => bytesOf(of).replace('\r\n\r\n', '\r\n\n'),
  (of) => bytesOf(of).replaceAll('\r\n', '\r'),
  (of) => bytesOf(of).replace(' ', '  '),
  (of) => bytesOf(of).replace(' ', '\t'),
  (of, number) => insertAt(bytesOf(of), number, String.fromCharCode(number % 256)),
  (of, number) => insertAt(bytesOf(of), number, '\0'),
  (of, number) => replaceAt(bytesOf(of), number, String.fromCharCode((number * 7) % 256)),
  (of, number) => replaceAt(bytesOf(of), number, ''),
  (of, number) => bytesOf(of).slice(0, number % bytesOf(of).length),
  () => '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
  () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
];

/** Written in the way that the fast path takes. */
export const hotRequest: fc.Arbitrary<string> = draft.map(bytesOf);

/** Nearly always something that it does not take. */
export const oddRequest: fc.Arbitrary<string> = fc.tuple(draft, fc.constantFrom(...CHANGES), fc.nat({ max: 4_000 })).map(([of, change, number]) => {
  const changed = change(of, number);
  return typeof changed === 'string' ? changed : bytesOf(changed);
});

function withLength(of: Draft, length: string): Draft {
  return { ...of, fields: of.fields.map((line) => (/^content-length:/i.test(line) ? `Content-Length: ${length}` : line)) };
}

function bytesOf({ method, target, version, fields: lines, body }: Draft): string {
  return `${method} ${target} ${version}\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n${body}`;
}

function insertAt(text: string, number: number, what: string): string {
  const at = number % text.length;
  return text.slice(0, at) + what + text.slice(at);
}

function replaceAt(text: string, number: number, what: string): string {
  const at = number % text.length;
  return text.slice(0, at) + what + text.slice(at + 1);
}
