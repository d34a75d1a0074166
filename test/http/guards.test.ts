/** Pages of other sites must not be able to change data, whatever a browser sends for them. */
import { expect } from 'chai';

import { TestServer, rawProblemOf } from './test-server.ts';

describe('writes that a web page might have sent', () => {
  let server: TestServer;

  before(async () => {
    server = await TestServer.start({ app: { allowedHosts: ['Kv.Example.com', '10.0.0.5', 'other.example:4455'] } });
  });

  after(async () => {
    await server.stop();
  });

  function write(headers: string, target = '/set/k', method = 'POST'): string {
    return `${method} ${target} HTTP/1.1\r\n${headers}Content-Length: 1\r\n\r\nx`;
  }

  for (const host of ['localhost', 'LOCALHOST:1', '127.0.0.1:4455', '127.1.2.3', '[::1]', '[::1]:4455', 'node1.localhost:80', 'kv.example.com', 'KV.example.com:99', '10.0.0.5:4455', 'other.example:4455']) {
    it(`are taken for the host ${host}`, async () => {
      expect((await server.raw(write(`Host: ${host}\r\n`)))!.status).to.equal(200);
    });
  }

  for (const host of ['evil.example', 'localhost.evil.example', 'other.example:4456', 'other.example', '127.0.0.1.evil.example', '0.0.0.0', '[::2]', '', 'localhost:x', 'localhost@evil', '2130706433']) {
    it(`are refused for the host ${JSON.stringify(host)}, and for every call that changes state`, async () => {
      for (const [target, method] of [['/set/k', 'POST'], ['/set/k', 'PUT'], ['/del/k', 'DELETE'], ['/peer/ack', 'POST']] as const) {
        rawProblemOf(await server.raw(write(`Host: ${host}\r\n`, target, method)), 403, 'foreign-host');
      }
    });
  }

  it('are told apart from reads, which any host may name', async () => {
    expect((await server.raw('GET /get/none HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n\r\n'))!.status).to.equal(404);
  });

  for (const [host, origin] of [
    ['localhost:4455', 'http://localhost:4455'],
    ['localhost', 'http://localhost'],
    ['localhost', 'http://localhost:80'],
    ['kv.example.com', 'https://kv.example.com'],
    ['kv.example.com:443', 'https://KV.example.com'],
    ['[::1]:4455', 'http://[::1]:4455'],
  ] as const) {
    it(`are taken from ${origin} at ${host}`, async () => {
      expect((await server.raw(write(`Host: ${host}\r\nOrigin: ${origin}\r\n`)))!.status).to.equal(200);
    });
  }

  for (const origin of ['http://evil.example', 'http://localhost:3000', 'https://localhost:80', 'null', '', 'localhost:4455', 'file://', 'http://localhost:4455/', 'chrome-extension://abc']) {
    it(`are refused from ${JSON.stringify(origin)} at localhost:4455`, async () => {
      rawProblemOf(await server.raw(write(`Host: localhost:4455\r\nOrigin: ${origin}\r\n`)), 403, 'foreign-origin');
    });
  }

  it('are judged by Sec-Fetch-Site', async () => {
    for (const site of ['cross-site', 'same-site']) {
      rawProblemOf(await server.raw(write(`Host: localhost\r\nSec-Fetch-Site: ${site}\r\n`)), 403, 'foreign-origin');
    }
    for (const site of ['same-origin', 'none']) {
      expect((await server.raw(write(`Host: localhost\r\nSec-Fetch-Site: ${site}\r\n`)))!.status).to.equal(200);
    }
  });
});
