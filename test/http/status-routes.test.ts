import { expect } from 'chai';

import { TestServer, problemOf } from './test-server.ts';

describe('the routes for people, monitors and load balancers', () => {
  let server: TestServer;

  beforeEach(async () => {
    server = await TestServer.start();
  });

  afterEach(async () => {
    await server.stop();
  });

  it('show what this is at /', async () => {
    const response = await server.fetch('/');
    expect(response.headers.get('content-type')).to.equal('text/plain; charset=utf-8');
    const lines = (await response.text()).split('\n');
    expect(lines[0]).to.match(/^Shiplog 0\.2\.0/);
    expect(lines.length).to.be.below(25);
    expect(lines.join('\n')).to.include('curl http://127.0.0.1:4455/get/greeting');
  });

  it('show the status as indented JSON', async () => {
    const response = await server.fetch('/status?x=1');
    expect(response.headers.get('content-type')).to.equal('application/json');
    const text = await response.text();
    expect(text).to.equal(`${JSON.stringify(JSON.parse(text), null, 2)}\n`);
    expect(JSON.parse(text)).to.include({ name: 'fake', role: 'primary' });
  });

  it('show the metrics as the node has them', async () => {
    const response = await server.fetch('/metrics');
    expect(response.headers.get('content-type')).to.equal('text/plain; version=0.0.4; charset=utf-8');
    expect(await response.text()).to.match(/shiplog_fake/);
  });

  it('answer health checks with 200 or 503 and one line', async () => {
    for (const path of ['/healthz', '/readyz', '/primary']) {
      server.node.verdict = { ok: true, reason: 'fine' };
      const good = await server.fetch(path);
      expect([good.status, await good.text()]).to.deep.equal([200, 'fine\n']);
      server.node.verdict = { ok: false, reason: 'the log is poisoned' };
      const bad = await server.fetch(path);
      expect([bad.status, await bad.text()]).to.deep.equal([503, 'the log is poisoned\n']);
    }
  });

  it('tell primary from replica', async () => {
    expect((await server.fetch('/primary')).status).to.equal(200);
    const replica = await server.fetch('/replica');
    expect([replica.status, await replica.text()]).to.deep.equal([503, 'this node is a primary\n']);
    server.node.role = 'replica';
    expect((await server.fetch('/primary')).status).to.equal(503);
    expect((await server.fetch('/replica?max_lag=2m')).status).to.equal(200);
    expect(server.node.askedLagMs).to.equal(120_000);
  });

  it('take a bound for the lag, and refuse what is none', async () => {
    await server.fetch('/readyz');
    expect(server.node.askedLagMs).to.equal(undefined);
    await server.fetch('/readyz?max_lag=500ms');
    expect(server.node.askedLagMs).to.equal(500);
    await server.fetch('/readyz?max_lag=5s');
    expect(server.node.askedLagMs).to.equal(5_000);
    for (const bad of ['5', '5 s', '', '-1s', '1h', '1e3ms', '5S']) {
      const problem = await problemOf(await server.fetch(`/readyz?max_lag=${encodeURIComponent(bad)}`), 400, 'bad-request');
      expect(problem['detail']).to.match(/expected a duration like 500ms, 5s or 2m/);
    }
    await problemOf(await server.fetch('/readyz?maxlag=5s'), 400, 'unknown-parameter');
    await problemOf(await server.fetch('/replica?max_lag=1s&max_lag=2s'), 400, 'bad-request');
    await problemOf(await server.fetch('/readyz?max_lag=%zz'), 400, 'bad-request');
  });

  it('answer 404 where there is nothing', async () => {
    for (const path of ['/nothing', '/get', '/set', '/GET/k', '//get/k', '/status/', '/__proto__', '/peer', '/%41']) {
      await problemOf(await server.fetch(path), 404, 'no-such-route');
    }
  });

  it('answer 405 and what is possible', async () => {
    const cases: readonly (readonly [method: string, path: string, allow: string])[] = [
      ['POST', '/get/k', 'GET, HEAD'],
      ['GET', '/set/k', 'POST, PUT'],
      ['DELETE', '/set/k', 'POST, PUT'],
      ['GET', '/del/k', 'DELETE'],
      ['POST', '/del/k', 'DELETE'],
      ['OPTIONS', '/set/k', 'POST, PUT'],
      ['PATCH', '/get/k', 'GET, HEAD'],
      ['POST', '/status', 'GET, HEAD'],
      ['DELETE', '/wal', 'GET, HEAD'],
    ];
    for (const [method, path, allow] of cases) {
      const response = await server.fetch(path, { method });
      expect(response.headers.get('allow'), `${method} ${path}`).to.equal(allow);
      await problemOf(response, 405, 'method-not-allowed');
    }
  });
});
