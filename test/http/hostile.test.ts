/** Requests that no honest client sends. After each, the server must still answer a good one. */
import { expect } from 'chai';
import * as fc from 'fast-check';

import { TestServer, rawProblemOf } from './test-server.ts';

const HOST = 'Host: localhost\r\n';
/** What a smuggler hides behind the request that the server sees. */
const SMUGGLED = 'POST /set/smuggled HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx';

describe('hostile requests', () => {
  let server: TestServer;

  before(async () => {
    server = await TestServer.start({ limits: { headersTimeoutMs: 400 }, app: { lingerMs: 200 } });
  });

  after(async () => {
    await server.stop();
  });

  afterEach(async () => {
    expect(server.node.rows.has('smuggled'), 'a smuggled write was carried out').to.equal(false);
    expect(server.errors).to.deep.equal([]);
    await server.expectAlive();
    server.node.rows.clear();
  });

  describe('with a framing that two readers could read differently', () => {
    const cases: readonly (readonly [title: string, head: string, body?: string])[] = [
      ['two different lengths', 'Content-Length: 1\r\nContent-Length: 5\r\n'],
      ['the same length twice', 'Content-Length: 1\r\nContent-Length: 1\r\n'],
      ['a list of lengths', 'Content-Length: 1, 1\r\n'],
      ['a negative length', 'Content-Length: -1\r\n'],
      ['a signed length', 'Content-Length: +1\r\n'],
      ['a length in hex', 'Content-Length: 0x1\r\n'],
      ['an endless length', 'Content-Length: 99999999999999999999999\r\n'],
      ['a length and chunks', 'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n`],
      ['chunks and a length', 'Transfer-Encoding: chunked\r\nContent-Length: 4\r\n', `0\r\n\r\n`],
      ['chunked twice', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n`],
      ['chunked and identity', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n', `0\r\n\r\n`],
      ['chunked before another coding', 'Transfer-Encoding: chunked, gzip\r\n', `0\r\n\r\n`],
      ['another coding before chunked', 'Transfer-Encoding: gzip, chunked\r\n', `0\r\n\r\n`],
      ['an unknown coding', 'Transfer-Encoding: xchunked\r\n', `0\r\n\r\n`],
      ['a coding behind a vertical tab', 'Transfer-Encoding: \x0bchunked\r\n', `0\r\n\r\n`],
      ['a space before the colon', 'Transfer-Encoding : chunked\r\nContent-Length: 1\r\n', `0\r\n\r\n`],
      ['a header folded over two lines', 'X-A: b\r\n Transfer-Encoding: chunked\r\nContent-Length: 1\r\n'],
      ['a coding folded over two lines', 'Transfer-Encoding:\r\n chunked\r\n', `0\r\n\r\n`],
      ['a line that ends in a bare LF', 'X-A: b\nContent-Length: 1\r\n'],
      ['a line that ends in a bare CR', 'X-A: b\rContent-Length: 1\r\n'],
      ['a NUL in a header', 'X-A: b\0c\r\nContent-Length: 1\r\n'],
      ['a header without a name', ': b\r\nContent-Length: 1\r\n'],
      ['a header without a colon', 'nonsense\r\nContent-Length: 1\r\n'],
    ];
    for (const [title, head, body = 'x'] of cases) {
      it(`refuses ${title}`, async () => {
        const client = await server.open();
        await client.send(`POST /set/framing HTTP/1.1\r\n${HOST}${head}\r\n${body}${SMUGGLED}`);
        rawProblemOf(await client.answer(), 400, 'bad-request');
        expect(await client.ended(), 'a second answer').to.equal('');
        expect(server.node.rows.has('framing')).to.equal(false);
        client.close();
      });
    }

    for (const [title, chunks] of [
      ['no hex', 'zz\r\nab\r\n0\r\n\r\n'],
      ['negative', '-1\r\nab\r\n0\r\n\r\n'],
      ['too large for any number', 'fffffffffffffffff\r\nab\r\n'],
      ['ended by a bare LF', '2\nab\r\n0\r\n\r\n'],
      ['smaller than the chunk', '1\r\nab\r\n0\r\n\r\n'],
    ] as const) {
      it(`refuses a chunk whose size is ${title}`, async () => {
        const client = await server.open();
        await client.send(`POST /set/framing HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n${chunks}${SMUGGLED}`);
        rawProblemOf(await client.answer(), 400, 'bad-request');
        expect(await client.ended()).to.equal('');
        expect(server.node.rows.has('framing')).to.equal(false);
        client.close();
      });
    }

    it('refuses chunks in HTTP/1.0', async () => {
      const client = await server.open();
      await client.send(`POST /set/framing HTTP/1.0\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`);
      rawProblemOf(await client.answer(), 400, 'bad-request');
      client.close();
    });
  });

  it('carries out nothing that follows an answer which ended the connection', async () => {
    const client = await server.open();
    await client.send(`POST /set/%zz HTTP/1.1\r\n${HOST}Content-Length: 10\r\n\r\nabc`);
    rawProblemOf(await client.answer(), 400, 'bad-key');
    await client.send(`defghij${SMUGGLED}`);
    expect(await client.ended()).to.equal('');
    client.close();
  });

  it('answers garbage behind a good request after that request, not in its place', async () => {
    let release = (): void => {};
    server.node.beforeWrite = () => new Promise((resolve) => (release = resolve));
    const client = await server.open();
    await client.send(`POST /set/good HTTP/1.1\r\n${HOST}Content-Length: 1\r\n\r\nxGARBAGE\r\n\r\n`);
    await new Promise((resolve) => setTimeout(resolve, 50));
    release();
    expect((await client.answer())!.body).to.equal('OK');
    rawProblemOf(await client.answer(), 400, 'bad-request');
    client.close();
    server.node.beforeWrite = () => Promise.resolve();
  });

  describe('about hosts', () => {
    it('refuses two Host headers, equal or not', async () => {
      rawProblemOf(await server.raw('GET /get/k HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n'), 400, 'bad-request');
      rawProblemOf(await server.raw('GET /get/k HTTP/1.1\r\nHost: a\r\nHOST: b\r\n\r\n'), 400, 'bad-request');
    });

    it('refuses HTTP/1.1 without one', async () => {
      rawProblemOf(await server.raw('GET /get/k HTTP/1.1\r\n\r\n'), 400, 'bad-request');
    });

    it('takes the host of an absolute URL instead of the header', async () => {
      await server.post('/set/a/b', 'v');
      expect((await server.raw('GET http://localhost:4455/get/a%2Fb HTTP/1.1\r\nHost: other\r\n\r\n'))!.body).to.equal('v');
      expect((await server.raw('GET HTTPS://LOCALHOST/healthz HTTP/1.1\r\nHost: other\r\n\r\n'))!.status).to.equal(200);
      const write = (url: string, host: string): string => `POST ${url} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 1\r\n\r\nx`;
      rawProblemOf(await server.raw(write('http://evil.example/set/k', 'localhost')), 403, 'foreign-host');
      rawProblemOf(await server.raw(write('http://localhost/set/k', 'evil.example')), 403, 'foreign-host');
      expect((await server.raw(write('http://localhost/set/k', 'localhost')))!.status).to.equal(200);
    });

    it('refuses URLs that are none', async () => {
      for (const target of ['ftp://localhost/get/k', 'http:///get/k', 'http://u:p@localhost/get/k', '/get/k#x']) {
        rawProblemOf(await server.raw(`GET ${target} HTTP/1.1\r\n${HOST}\r\n`), 400, 'bad-request');
      }
      expect((await server.raw(`OPTIONS * HTTP/1.1\r\n${HOST}\r\n`))!.status).to.equal(400);
      expect((await server.raw(`GET http://[::1/get/k HTTP/1.1\r\n${HOST}\r\n`))!.status).to.equal(400);
      expect((await server.raw(`GET http://localhost?x HTTP/1.1\r\n${HOST}\r\n`))!.status).to.equal(200);
    });
  });

  describe('in the head', () => {
    it('answers 431 where it is too large', async () => {
      rawProblemOf(await server.raw(`GET /get/k HTTP/1.1\r\n${HOST}X-A: ${'a'.repeat(17 * 1024)}\r\n\r\n`), 431, 'head-too-large');
      rawProblemOf(await server.raw(`GET /get/${'k'.repeat(17 * 1024)} HTTP/1.1\r\n${HOST}\r\n`), 431, 'head-too-large');
      rawProblemOf(await server.raw(`GET /get/${'k'.repeat(8 * 1024)} HTTP/1.1\r\n${HOST}\r\n`), 400, 'bad-key');
    });

    it('refuses methods, versions and protocols that it does not know', async () => {
      rawProblemOf(await server.raw(`FROB /get/k HTTP/1.1\r\n${HOST}\r\n`), 400, 'bad-request');
      rawProblemOf(await server.raw(`GET /get/k HTTP/9.9\r\n${HOST}\r\n`), 400, 'bad-request');
      rawProblemOf(await server.raw('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'), 400, 'bad-request');
      rawProblemOf(await server.raw('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), 400, 'bad-request');
    });

    it('answers an offer to upgrade as if it were none', async () => {
      const answer = await server.raw(`GET /healthz HTTP/1.1\r\n${HOST}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n\r\n`);
      expect(answer!.status).to.equal(200);
    });

    it('gives up a head that dribbles', async () => {
      const client = await server.open();
      const dribble = (async () => {
        for (const byte of `GET /get/k HTTP/1.1\r\nHost: localhost\r\nX-A: ${'a'.repeat(1000)}`) {
          if (!(await client.send(byte))) return;
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      })();
      rawProblemOf(await client.answer(), 408, 'head-timeout');
      client.close();
      await dribble;
    });

    it('closes a connection that never says a word', async () => {
      const client = await server.open();
      expect(await client.ended()).to.equal('');
      client.close();
    });

    it('understands only one expectation', async () => {
      rawProblemOf(await server.raw(`POST /set/k HTTP/1.1\r\n${HOST}Expect: 200-ok\r\nContent-Length: 1\r\n\r\nx`), 417, 'expectation-failed');
    });
  });

  describe('keys', () => {
    for (const key of ['__proto__', 'constructor', 'hasOwnProperty', '..', '../..', '.', '%2F', '//', '%00', '%F0%9F%9A%A2', '%2e%2e%2fetc', 'a%3Fb', '%25']) {
      it(`takes ${key} as a key like any other`, async () => {
        expect((await server.raw(`GET /get/${key} HTTP/1.1\r\n${HOST}\r\n`))!.status).to.equal(404);
        expect((await server.raw(`POST /set/${key} HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\nval`))!.body).to.equal('OK');
        expect([...server.node.rows.keys()]).to.deep.equal([decodeURIComponent(key)]);
        expect((await server.raw(`GET /get/${key} HTTP/1.1\r\n${HOST}\r\n`))!.body).to.equal('val');
        expect((await server.raw(`DELETE /del/${key} HTTP/1.1\r\n${HOST}\r\n`))!.body).to.equal('OK');
      });
    }

    it('are refused where they are empty, too long or badly escaped', async () => {
      for (const key of ['', '%', '%4', '%zz', '%ff', '%c0%80', '%ed%a0%80', 'k'.repeat(1025)]) {
        rawProblemOf(await server.raw(`GET /get/${key} HTTP/1.1\r\n${HOST}\r\n`), 400, 'bad-key');
        rawProblemOf(await server.raw(`POST /set/${key} HTTP/1.1\r\n${HOST}Content-Length: 1\r\n\r\nx`), 400, 'bad-key');
        rawProblemOf(await server.raw(`DELETE /del/${key} HTTP/1.1\r\n${HOST}\r\n`), 400, 'bad-key');
      }
    });
  });

  it('never answers 500 to a request made of plausible parts', async () => {
    const part = (...parts: readonly string[]): fc.Arbitrary<string> => fc.oneof(fc.constantFrom(...parts), fc.string({ maxLength: 12 }));
    const request = fc
      .record({
        method: part('GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS', 'PATCH', 'get'),
        target: fc
          .tuple(part('/get/', '/set/', '/del/', '/', '/status', '/readyz', '/wal', '/peer/x', '/snapshot', 'http://localhost/get/', '*', '//'), part('k', '%', '%41', '%ff', '..'), part('', '?', '?ack=1', '?max_lag=5s', '?&&=', '?a=%'))
          .map((parts) => parts.join('')),
        headers: fc.array(
          fc
            .tuple(
              part('Host', 'Content-Length', 'Transfer-Encoding', 'Expect', 'Content-Type', 'Content-Encoding', 'Accept', 'If-Match', 'If-None-Match', 'Origin', 'Connection', 'Shiplog-Forwarded', 'Upgrade'),
              part('localhost', '0', '1', '5', 'chunked', '100-continue', 'application/json', 'application/x-www-form-urlencoded; charset=x', '*', '"1.c04d-42"', ',;q=2', 'null', 'close', 'keep-alive', 'h2c'),
            )
            .map(([name, value]) => `${name}: ${value}\r\n`),
          { maxLength: 6 },
        ),
        body: part('', 'x', '"v"', 'value=1', 'value=%', '0\r\n\r\n', '1\r\nx\r\n0\r\n\r\n'),
      })
      .map(({ method, target, headers, body }) => `${method} ${target} HTTP/1.1\r\n${HOST}${headers.join('')}\r\n${body}`);
    await expectNo500(request, 400);
  });

  it('never answers 500 to bytes', async () => {
    await expectNo500(fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => Buffer.from(bytes)), 150);
  });

  async function expectNo500(requests: fc.Arbitrary<string | Buffer>, numRuns: number): Promise<void> {
    server.node.serve = () => Promise.resolve({ status: 200, headers: {}, body: (async function* () {})() });
    await fc.assert(
      fc.asyncProperty(requests, async (bytes) => {
        const client = await server.open();
        await client.send(bytes);
        client.socket.end();
        expect(await client.ended()).not.to.match(/^HTTP\/1\.1 50[0-2]/);
        client.close();
      }),
      { numRuns },
    );
    server.node.rows.delete('smuggled');
  }
});
