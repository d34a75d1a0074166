import { expect } from 'chai';
import * as fc from 'fast-check';

import { ShiplogError } from '../../lib/base/errors.ts';
import { MIB } from '../../lib/base/limits.ts';
import { formatPosition } from '../../lib/base/position.ts';
import { BodyBudget } from '../../lib/http/body-budget.ts';
import { TestServer, problemOf } from './test-server.ts';

describe('the data routes', () => {
  let server: TestServer;

  beforeEach(async () => {
    server = await TestServer.start();
  });

  afterEach(async () => {
    await server.stop();
  });

  describe('the calls of the product', () => {
    it('store a JSON string and answer OK', async () => {
      const response = await server.post('/set/key', '"value"', { 'content-type': 'application/json' });
      expect(response.status).to.equal(200);
      expect(await response.text()).to.equal('OK');
      expect(response.headers.get('content-type')).to.equal('text/plain; charset=utf-8');
      expect(response.headers.get('content-length')).to.equal('2');
      expect(response.headers.get('etag')).to.equal('"1.c04d-42"');
      expect(response.headers.get('shiplog-position')).to.equal('1.c04d-42');
    });

    it('answer a JSON string to who asks for JSON', async () => {
      await server.post('/set/key', 'value');
      const response = await server.fetch('/get/key', { headers: { accept: 'application/json' } });
      expect(response.status).to.equal(200);
      expect(await response.text()).to.equal('"value"');
      expect(response.headers.get('content-type')).to.equal('application/json');
      expect(response.headers.get('etag')).to.equal('"1.c04d-42+json"');
    });

    it("store curl's form and answer the plain value", async () => {
      const set = await server.post('/set/key1', 'value=val1', { 'content-type': 'application/x-www-form-urlencoded' });
      expect(await set.text()).to.equal('OK');

      const get = await server.fetch('/get/key1');
      expect(get.status).to.equal(200);
      expect(await get.text()).to.equal('val1');
      expect(Object.fromEntries(get.headers)).to.include({
        'content-type': 'text/plain; charset=utf-8',
        'content-length': '4',
        'etag': '"1.c04d-42"',
        'shiplog-position': '1.c04d-42',
        'vary': 'Accept',
        'cache-control': 'no-cache, no-transform',
        'x-content-type-options': 'nosniff',
      });
    });

    it('work byte for byte over the wire as curl writes them', async () => {
      const client = await server.open();
      await client.send(
        'POST /set/key HTTP/1.1\r\nHost: localhost:4455\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\nContent-type: application/json\r\nContent-Length: 7\r\n\r\n"value"',
      );
      expect((await client.answer())!.body).to.equal('OK');
      await client.send('GET /get/key HTTP/1.1\r\nHost: localhost:4466\r\nUser-Agent: curl/7.88.1\r\nAccept: application/json\r\n\r\n');
      expect((await client.answer())!.body).to.equal('"value"');
      await client.send(
        'POST /set/key1 HTTP/1.1\r\nHost: localhost:4466\r\nAccept: */*\r\nContent-Length: 10\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\nvalue=val1',
      );
      expect((await client.answer())!.body).to.equal('OK');
      await client.send('GET /get/key1 HTTP/1.1\r\nHost: localhost:4455\r\nAccept: */*\r\n\r\n');
      expect((await client.answer())!.body).to.equal('val1');
      client.close();
    });
  });

  it('treat PUT as POST', async () => {
    const response = await server.fetch('/set/k', { method: 'PUT', body: 'v' });
    expect(await response.text()).to.equal('OK');
    expect(server.node.rows.get('k')!.value).to.equal('v');
  });

  it('take an empty value, and answer one', async () => {
    await server.post('/set/k', '');
    const response = await server.fetch('/get/k');
    expect(response.status).to.equal(200);
    expect(await response.text()).to.equal('');
    expect((await server.fetch('/get/k', { headers: { accept: 'application/json' } }).then((r) => r.text()))).to.equal('""');
  });

  it('take chunked bodies', async () => {
    const answer = await server.raw('POST /set/k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3;x=y\r\ncde\r\n0\r\n\r\n');
    expect(answer!.status).to.equal(200);
    expect(server.node.rows.get('k')!.value).to.equal('abcde');
  });

  it('answer HEAD with the head of GET', async () => {
    await server.post('/set/k', 'value');
    const response = await server.fetch('/get/k', { method: 'HEAD' });
    expect(response.status).to.equal(200);
    expect(response.headers.get('content-length')).to.equal('5');
    expect(response.headers.get('etag')).to.equal('"1.c04d-42"');
    expect((await server.fetch('/get/none', { method: 'HEAD' })).status).to.equal(404);
  });

  it('delete a key, and say when there is none', async () => {
    await server.post('/set/k', 'v');
    const deleted = await server.fetch('/del/k', { method: 'DELETE' });
    expect(deleted.status).to.equal(200);
    expect(await deleted.text()).to.equal('OK');
    expect(deleted.headers.get('shiplog-position')).to.equal('1.c04d-43');
    expect(deleted.headers.get('etag')).to.equal(null);
    const again = await server.fetch('/del/k', { method: 'DELETE' });
    await problemOf(again, 404, 'not-found');
    expect(again.headers.get('shiplog-position')).to.equal('1.c04d-43');
    await problemOf(await server.fetch('/get/k'), 404, 'not-found');
  });

  it('carry the position on errors too, written fresh', async () => {
    for (const [path, init, lsn] of [
      ['/get/none', {}, 100],
      ['/get/%zz', {}, 101],
      ['/set/k', { method: 'GET' }, 102],
      ['/set/k', { method: 'POST', body: '{', headers: { 'content-type': 'application/json' } }, 103],
      ['/set/k', { method: 'POST', body: 'v', headers: { origin: 'http://evil.example' } }, 104],
    ] as const) {
      server.node.lsn = lsn;
      const response = await server.fetch(path, init);
      expect(response.status).to.be.within(400, 499);
      expect(response.headers.get('shiplog-position'), path).to.equal(`1.c04d-${lsn}`);
    }
  });

  it('answer 503 while there is no consistent state, never 404', async () => {
    server.node.ready = false;
    for (const response of [
      await server.fetch('/get/k'),
      await server.post('/set/k', 'v'),
      await server.fetch('/del/k', { method: 'DELETE' }),
    ]) {
      expect(response.headers.get('retry-after')).to.match(/^\d+$/);
      await problemOf(response, 503, 'not-ready');
    }
  });

  it('refuse parameters that there are not', async () => {
    await problemOf(await server.fetch('/get/k?foo'), 400, 'unknown-parameter');
    await problemOf(await server.post('/set/k?foo', 'v'), 400, 'unknown-parameter');
    for (const name of ['ack', 'timeout']) {
      const problem = await problemOf(await server.fetch(`/get/k?${name}=1`), 400, 'unknown-parameter');
      expect(problem['detail']).to.equal(`the parameter ${name} is for writes; reads take min and wait`);
    }
    expect(server.node.rows.size).to.equal(0);
    await server.post('/set/k?', 'v');
    expect(server.node.rows.size).to.equal(1);
  });

  describe('say how durable a write has to be', () => {
    it('by level and time, and are told what was reached', async () => {
      for (const [query, asked, reached] of [
        ['', {}, 'local'],
        ['?ack=local', { ack: 'local' }, 'local'],
        ['?ack=2&timeout=500ms', { ack: 2, timeoutMs: 500 }, '2'],
        ['?timeout=1m&ack=all', { ack: 'all', timeoutMs: 60_000 }, '2'],
      ] as const) {
        const response = await server.post(`/set/k${query}`, 'v');
        expect(await response.text()).to.equal('OK');
        expect(server.node.askedDurability).to.deep.equal(asked);
        expect(response.headers.get('shiplog-ack')).to.equal(reached);
        expect(response.headers.get('etag')).to.equal(`"1.c04d-${server.node.lsn}"`);
      }
      await server.fetch('/del/k?ack=1', { method: 'DELETE' });
      expect(server.node.askedDurability).to.deep.equal({ ack: 1 });
    });

    it('and get no ETag for a write that has no position yet', async () => {
      const response = await server.post('/set/k?ack=memory', 'v');
      expect(response.headers.get('shiplog-ack')).to.equal('memory');
      expect(response.headers.get('etag')).to.equal(null);
      expect(response.headers.get('shiplog-position')).to.be.a('string');
    });

    it('and what is no level or no time is refused before anything is stored', async () => {
      for (const query of ['ack=', 'ack=0', 'ack=-1', 'ack=1.5', 'ack=ALL', 'ack=99999', 'timeout=5', 'timeout=61s', 'timeout=2m', 'ack=1&ack=2']) {
        await problemOf(await server.post(`/set/k?${query}`, 'v'), 400, 'bad-request');
      }
      expect(server.node.rows.size).to.equal(0);
    });
  });

  describe('wait for a position', () => {
    it('that comes as parameter or as header', async () => {
      await server.post('/set/k', 'v');
      const asked: [string, number][] = [];
      server.node.whenMissing = async (position, waitMs) => void asked.push([formatPosition(position), waitMs]);
      for (const init of [{}, { headers: { 'shiplog-min-position': '2.ab12-99' } }]) {
        const response = await server.fetch(`/get/k${init.headers === undefined ? '?min=2.ab12-99&wait=250ms' : ''}`, init);
        expect(await response.text()).to.equal('v');
      }
      expect(asked).to.deep.equal([['2.ab12-99', 250], ['2.ab12-99', 5_000]]);
    });

    it('before they write, too', async () => {
      server.node.whenMissing = () => Promise.reject(new ShiplogError('position-lost', 'gone'));
      await problemOf(await server.post('/set/k?min=1.c04d-999', 'v'), 410, 'position-lost');
      await problemOf(await server.fetch('/del/k?min=1.c04d-999', { method: 'DELETE' }), 410, 'position-lost');
      expect(server.node.rows.size).to.equal(0);
      expect(await (await server.post('/set/k?min=1.c04d-41', 'v')).text()).to.equal('OK');
    });

    it('and say 503 with Retry-After where it does not come', async () => {
      const response = await server.fetch('/get/k?min=1.c04d-999&wait=10ms');
      expect(response.headers.get('retry-after')).to.match(/^\d+$/);
      await problemOf(response, 503, 'position-not-reached');
    });

    it('and refuse what is none', async () => {
      for (const query of ['min=', 'min=42', 'min=1.c04d', 'min=1.C04D-1', 'min=1.c04d-1&wait=1h', 'wait=now']) {
        await problemOf(await server.fetch(`/get/k?${query}`), 400, 'bad-request');
      }
      await problemOf(await server.fetch('/get/k?min=1.c04d-1', { headers: { 'shiplog-min-position': '1.c04d-1' } }), 400, 'bad-request');
    });
  });

  it('ask for a body where there is none', async () => {
    for (const method of ['POST', 'PUT']) {
      const answer = await server.raw(`${method} /set/k HTTP/1.1\r\nHost: localhost\r\n\r\n`);
      expect(answer!.status).to.equal(411);
      expect(answer!.body).to.match(/"code":"length-required"/).and.match(/-d value/);
    }
  });

  describe('conditions', () => {
    beforeEach(async () => {
      await server.post('/set/k', 'first');
    });

    it('let a write through that names the last one, in either form', async () => {
      expect((await server.post('/set/k', 'second', { 'if-match': '"1.c04d-42"' })).status).to.equal(200);
      expect((await server.post('/set/k', 'third', { 'if-match': '"1.c04d-43+json"' })).status).to.equal(200);
    });

    it('answer 412 with the current ETag where another write came between', async () => {
      const response = await server.post('/set/k', 'second', { 'if-match': '"1.c04d-41"' });
      expect(response.headers.get('etag')).to.equal('"1.c04d-42"');
      await problemOf(response, 412, 'precondition-failed');
      expect(server.node.rows.get('k')!.value).to.equal('first');
    });

    it('create a key only where there is none', async () => {
      await problemOf(await server.post('/set/k', 'x', { 'if-none-match': '*' }), 412, 'precondition-failed');
      expect((await server.post('/set/new', 'x', { 'if-none-match': '*' })).status).to.equal(200);
      await problemOf(await server.post('/set/none', 'x', { 'if-match': '*' }), 412, 'precondition-failed');
    });

    it('hold for deletes', async () => {
      await problemOf(await server.fetch('/del/k', { method: 'DELETE', headers: { 'if-match': '"1.c04d-7"' } }), 412, 'precondition-failed');
      expect((await server.fetch('/del/k', { method: 'DELETE', headers: { 'if-match': '"1.c04d-42"' } })).status).to.equal(200);
    });

    it('spare a client the value that it has', async () => {
      const response = await server.fetch('/get/k', { headers: { 'if-none-match': '"1.c04d-42"' } });
      expect(response.status).to.equal(304);
      expect(await response.text()).to.equal('');
      expect(Object.fromEntries(response.headers)).to.include({
        'etag': '"1.c04d-42"',
        'vary': 'Accept',
        'cache-control': 'no-cache, no-transform',
        'shiplog-position': '1.c04d-42',
      });
      expect((await server.fetch('/get/k', { headers: { 'if-none-match': '"1.c04d-41"' } })).status).to.equal(200);
    });

    it('hold for reads', async () => {
      await problemOf(await server.fetch('/get/k', { headers: { 'if-match': '"1.c04d-41"' } }), 412, 'precondition-failed');
      expect((await server.fetch('/get/k', { headers: { 'if-match': '"1.c04d-42"' } })).status).to.equal(200);
    });
  });

  it('pass on what the node says about a write', async () => {
    const cases = [
      [new ShiplogError('overloaded', 'the queue is full'), 503, '1'],
      [new ShiplogError('disk-full', 'no space left'), 507, null],
      [new ShiplogError('outcome-unknown', 'the sync failed'), 504, null],
      [new ShiplogError('stopping', 'this node is stopping', { retryAfterS: 7 }), 503, '7'],
    ] as const;
    for (const [error, status, retryAfter] of cases) {
      server.node.beforeWrite = () => Promise.reject(error);
      const response = await server.post('/set/k', 'v');
      expect(response.headers.get('retry-after')).to.equal(retryAfter);
      expect((await problemOf(response, status, error.code))['detail']).to.equal(error.message);
    }
  });

  it('tell clients nothing of an internal error but that there was one, and log it', async () => {
    server.node.beforeWrite = () => Promise.reject(new TypeError('secret of /var/lib'));
    const response = await server.post('/set/k', 'v');
    const problem = await problemOf(response, 500, 'internal');
    expect(JSON.stringify(problem)).not.to.include('secret');
    expect(server.errors).to.have.length(1);
    expect(server.errors[0]!.fields).to.include({ route: '/set/', method: 'POST' });
    server.node.beforeWrite = () => Promise.resolve();
    await server.expectAlive();
  });

  it('send the largest value whole, as text and as JSON, and take it back', async () => {
    const value = 'ü'.repeat(8 * MIB);
    expect((await server.post('/set/k', value)).status).to.equal(200);
    const text = await server.fetch('/get/k');
    expect(text.headers.get('content-length')).to.equal(String(16 * MIB));
    expect((await text.text()) === value).to.equal(true);
    const json = await (await server.fetch('/get/k', { headers: { accept: 'application/json' } })).text();
    expect((await server.post('/set/k2', json, { 'content-type': 'application/json' })).status).to.equal(200);
    expect(server.node.rows.get('k2')!.value === value).to.equal(true);
  });

  it('keep large answers that nobody reads within a budget, and drop who does not read', async () => {
    await server.stop();
    const largeAnswers = new BodyBudget(40 * MIB);
    server = await TestServer.start({ app: { largeAnswers, bodyIdleMs: 300 } });
    await server.post('/set/k', 'v'.repeat(16 * MIB));

    const frozen = await Promise.all(Array.from({ length: 2 }, () => server.open()));
    for (const client of frozen) {
      client.socket.pause();
      await client.send('GET /get/k HTTP/1.1\r\nHost: localhost\r\n\r\n');
    }
    await until(() => largeAnswers.usedBytes === 32 * MIB);
    await problemOf(await server.fetch('/get/k'), 503, 'overloaded');

    await until(() => largeAnswers.usedBytes === 0);
    expect((await (await server.fetch('/get/k')).text()).length).to.equal(16 * MIB);
    for (const client of frozen) client.close();
  });

  it('bring back any value under any key, in every form', async () => {
    const texts = fc.string({ unit: 'binary', maxLength: 100 });
    await fc.assert(
      fc.asyncProperty(texts.filter((key) => key !== ''), texts, fc.constantFrom('text', 'json', 'form'), async (key, value, form) => {
        const path = encodeURIComponent(key);
        const response =
          form === 'text'
            ? await server.post(`/set/${path}`, value)
            : form === 'json'
              ? await server.post(`/set/${path}`, JSON.stringify(value), { 'content-type': 'application/json' })
              : await server.fetch(`/set/${path}`, { method: 'POST', body: new URLSearchParams({ value }) });
        expect(await response.text()).to.equal('OK');
        const text = Buffer.from(await (await server.fetch(`/get/${path}`)).arrayBuffer()).toString();
        expect(text).to.equal(value);
        const json = await (await server.fetch(`/get/${path}`, { headers: { accept: 'application/json' } })).json();
        expect(json).to.equal(value);
      }),
      { numRuns: 100 },
    );
  });
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
