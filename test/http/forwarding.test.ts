import { expect } from 'chai';

import { ShiplogError } from '../../lib/base/errors.ts';
import { TestServer, problemOf } from './test-server.ts';

const PRIMARY = 'http://primary.example:4455';

describe('writes on a replica', () => {
  let server: TestServer;

  beforeEach(async () => {
    server = await TestServer.start();
    server.node.role = 'replica';
    server.node.route = { kind: 'forward', primaryUrl: PRIMARY };
    server.node.forwardAnswer = () =>
      Promise.resolve({
        status: 200,
        headers: {
          'content-type': 'text/plain; charset=utf-8',
          'etag': '"1.c04d-99"',
          'shiplog-position': '1.c04d-99',
          'shiplog-forwarded': 'x',
          'connection': 'keep-alive, X-Hop',
          'keep-alive': 'timeout=5',
          'x-hop': '1',
          'transfer-encoding': 'chunked',
          'content-length': '77',
        },
        body: Buffer.from('OK'),
      });
  });

  afterEach(async () => {
    await server.stop();
  });

  it('go to the primary with target, body, and what concerns it of the headers', async () => {
    await server.post('/set/a%2Fb', 'value=x%20y', {
      'content-type': 'application/x-www-form-urlencoded',
      'authorization': 'Bearer t',
      'if-match': '"1.c04d-7"',
      'accept': 'text/plain',
      'cookie': 'c=1',
      'x-other': '1',
    });
    const { primaryUrl, request } = server.node.forwarded[0]!;
    expect(primaryUrl).to.equal(PRIMARY);
    expect(request.method).to.equal('POST');
    expect(request.target).to.equal('/set/a%2Fb');
    expect(Buffer.from(request.body as Uint8Array).toString()).to.equal('value=x%20y');
    const { 'user-agent': agent, ...headers } = request.headers;
    expect(agent).to.be.a('string');
    expect(headers).to.deep.equal({
      'accept': 'text/plain',
      'authorization': 'Bearer t',
      'content-length': '11',
      'content-type': 'application/x-www-form-urlencoded',
      'if-match': '"1.c04d-7"',
      'shiplog-forwarded': server.node.nodeId,
    });
  });

  it("come back with the primary's answer and position, without what belongs to one connection", async () => {
    const response = await server.post('/set/k', 'v');
    expect(response.status).to.equal(200);
    expect(await response.text()).to.equal('OK');
    expect(response.headers.get('etag')).to.equal('"1.c04d-99"');
    expect(response.headers.get('shiplog-position')).to.equal('1.c04d-99');
    expect(response.headers.get('content-length')).to.equal('2');
    for (const name of ['shiplog-forwarded', 'x-hop', 'transfer-encoding']) expect(response.headers.get(name), name).to.equal(null);
  });

  it("come back with the primary's refusal too", async () => {
    server.node.forwardAnswer = () =>
      Promise.resolve({ status: 412, headers: { 'content-type': 'application/problem+json' }, body: Buffer.from('{"code":"precondition-failed"}\n') });
    const response = await server.fetch('/del/k', { method: 'DELETE' });
    expect(response.status).to.equal(412);
    expect(response.headers.get('shiplog-position')).to.equal('1.c04d-41');
    expect(await response.text()).to.equal('{"code":"precondition-failed"}\n');
    expect(server.node.forwarded[0]!.request.body).to.equal(undefined);
    expect(server.node.forwarded[0]!.request.headers).not.to.have.property('content-length');
  });

  it('are sent as a path even where the client sent a whole URL', async () => {
    const client = await server.open();
    await client.send('POST http://localhost:4466/set/k%20x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx');
    expect((await client.answer())!.status).to.equal(200);
    expect(server.node.forwarded[0]!.request.target).to.equal('/set/k%20x');
    client.close();
  });

  it('are judged before they are sent', async () => {
    await problemOf(await server.post('/set/%zz', 'v'), 400, 'bad-key');
    await problemOf(await server.post('/set/k', '{}', { 'content-type': 'application/json' }), 400, 'bad-json');
    await problemOf(await server.post('/set/k', 'v', { origin: 'http://evil.example' }), 403, 'foreign-origin');
    expect(server.node.forwarded).to.deep.equal([]);
  });

  it('are answered 503 or 504 by what became of them', async () => {
    server.node.forwardAnswer = () => Promise.reject(new ShiplogError('no-primary', 'the primary does not answer'));
    const response = await server.post('/set/k', 'v');
    expect(response.headers.get('retry-after')).to.equal('1');
    await problemOf(response, 503, 'no-primary');
    server.node.forwardAnswer = () => Promise.reject(new ShiplogError('outcome-unknown', 'the connection broke after the request was sent'));
    await problemOf(await server.post('/set/k', 'v'), 504, 'outcome-unknown');
  });

  it('are never forwarded a second time', async () => {
    for (const route of [server.node.route, { kind: 'redirect', primaryUrl: PRIMARY }] as const) {
      server.node.route = route;
      await problemOf(await server.post('/set/k', 'v', { 'shiplog-forwarded': 'a'.repeat(32) }), 503, 'not-primary');
      await problemOf(await server.fetch('/del/k', { method: 'DELETE', headers: { 'shiplog-forwarded': 'a' } }), 503, 'not-primary');
    }
    expect(server.node.forwarded).to.deep.equal([]);
  });

  it('are taken from another node where this one is the primary', async () => {
    server.node.route = { kind: 'local' };
    expect((await server.post('/set/k', 'v', { 'shiplog-forwarded': 'a'.repeat(32) })).status).to.equal(200);
  });

  it('are redirected where that is configured', async () => {
    server.node.route = { kind: 'redirect', primaryUrl: `${PRIMARY}/` };
    for (const [path, method] of [['/set/a%2Fb', 'POST'], ['/del/a%2Fb', 'DELETE']] as const) {
      const response = await server.fetch(path, { method, ...(method === 'POST' && { body: 'v' }) });
      expect(response.status).to.equal(307);
      expect(response.headers.get('location')).to.equal(`${PRIMARY}${path}`);
      expect(response.headers.get('shiplog-position')).to.equal('1.c04d-41');
      expect(await response.text()).to.equal(`writes go to ${PRIMARY}${path}\n`);
    }
  });
});
