/** Bodies that are too large, too slow, too many, or refused before they are sent. */
import { expect } from 'chai';

import { KIB, MIB } from '../../lib/base/limits.ts';
import { BodyBudget } from '../../lib/http/body-budget.ts';
import { ManualClock } from './test-clock.ts';
import { TestServer, type TestServerOptions, rawProblemOf } from './test-server.ts';

const HOST = 'Host: localhost\r\n';

describe('request bodies', () => {
  let server: TestServer;

  async function start(options: TestServerOptions = {}): Promise<void> {
    server = await TestServer.start(options);
  }

  afterEach(async () => {
    await server.expectAlive();
    await server.stop();
  });

  it('are refused by their announced length before a byte is read', async () => {
    await start();
    const answer = await server.raw(`POST /set/k HTTP/1.1\r\n${HOST}Content-Length: ${16 * MIB + 1}\r\n\r\n`);
    expect(rawProblemOf(answer, 413, 'value-too-large')['detail']).to.match(/16777217 bytes, expected at most 16777216/);
    expect(answer!.headers['connection']).to.equal('close');
  });

  it('are taken at exactly the limit', async () => {
    await start();
    expect((await server.post('/set/k', 'x'.repeat(16 * MIB))).status).to.equal(200);
    expect((await server.post('/set/k', JSON.stringify('x'.repeat(16 * MIB)), { 'content-type': 'application/json' })).status).to.equal(200);
  });

  it('of 400 MiB in chunks get their 413, even where the client reads it only at the end, and memory stays flat', async () => {
    await start();
    const client = await server.open();
    const answer = client.answer();
    await client.send(`POST /set/k HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`);
    const chunk = Buffer.concat([Buffer.from(`${MIB.toString(16)}\r\n`), Buffer.alloc(MIB, 'x'), Buffer.from('\r\n')]);
    const before = process.memoryUsage().arrayBuffers;
    let peakBytes = 0;
    for (let sent = 0; sent < 400; sent += 1) {
      if (!(await client.send(chunk))) break;
      peakBytes = Math.max(peakBytes, process.memoryUsage().arrayBuffers - before);
    }
    rawProblemOf(await answer, 413, 'value-too-large');
    // The buffer at its limit, the smaller ones it grew out of, and pieces that are not collected yet.
    expect(peakBytes).to.be.below(128 * MIB);
    client.close();
  });

  it('of many tiny chunks take no more memory than their bytes', async () => {
    await start();
    const client = await server.open();
    await client.send(`POST /set/k HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`);
    const tiny = Buffer.from('1\r\nx\r\n'.repeat(64 * KIB));
    for (let round = 0; round < 16; round += 1) await client.send(tiny);
    await client.send('0\r\n\r\n');
    expect((await client.answer())!.status).to.equal(200);
    expect(server.node.rows.get('k')!.value).to.have.length(MIB);
    client.close();
  });

  it('are counted against one budget: of a thousand large ones at once, those beyond it get 503 and memory stays bounded', async () => {
    const requestBodies = new BodyBudget(8 * MIB);
    // A thousand clients live in this process too: on a busy machine they are slow to speak and to read.
    await start({ app: { requestBodies, lingerMs: 60_000 }, limits: { headersTimeoutMs: 60_000 } });
    const body = Buffer.alloc(2 * MIB, 'x');
    const before = process.memoryUsage().arrayBuffers;
    let peakMemoryBytes = 0;
    const statuses: number[] = [];

    const clients = await Promise.all(Array.from({ length: 1000 }, () => server.open()));
    const waiting = new Set(clients);
    const answers = clients.map(async (client, index) => {
      const head = `POST /set/k${index} HTTP/1.1\r\n${HOST}Content-Length: ${body.length}\r\n\r\n`;
      void client.send(Buffer.concat([Buffer.from(head), body.subarray(0, 64 * KIB)]));
      const answer = await client.answer();
      waiting.delete(client);
      peakMemoryBytes = Math.max(peakMemoryBytes, process.memoryUsage().arrayBuffers - before);
      statuses.push(answer!.status);
      if (answer!.status === 503) {
        rawProblemOf(answer, 503, 'overloaded');
        expect(answer!.headers['retry-after']).to.match(/^\d+$/);
      }
    });
    // Four of them fill the budget; everybody else hears so before the four have sent their bodies.
    await until(() => waiting.size === 4);
    expect(requestBodies.usedBytes).to.equal(8 * MIB);
    for (const client of waiting) void client.send(body.subarray(64 * KIB));
    await Promise.all(answers);

    expect(statuses.filter((status) => status === 200)).to.have.length(4);
    expect(statuses.filter((status) => status === 503)).to.have.length(996);
    // They announced 2 GB. Beyond the budget there are only pieces that were read to be dropped.
    expect(peakMemoryBytes).to.be.below(256 * MIB);
    for (const client of clients) client.close();
    expect(requestBodies.usedBytes).to.equal(0);
  });

  it('in chunks are counted as they arrive', async () => {
    const requestBodies = new BodyBudget(256 * KIB);
    await start({ app: { requestBodies } });
    const client = await server.open();
    const answer = client.answer();
    await client.send(`POST /set/k HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n`);
    await until(() => requestBodies.usedBytes === 4 * KIB);
    await client.send(`${(512 * KIB).toString(16)}\r\n${'x'.repeat(512 * KIB)}\r\n`);
    rawProblemOf(await answer, 503, 'overloaded');
    await until(() => requestBodies.usedBytes === 0);
    client.close();
  });

  it('give their share of the budget back where the client leaves', async () => {
    const requestBodies = new BodyBudget(8 * MIB);
    await start({ app: { requestBodies } });
    const client = await server.open();
    await client.send(`POST /set/k HTTP/1.1\r\n${HOST}Content-Length: ${MIB}\r\n\r\nabc`);
    await until(() => requestBodies.usedBytes === MIB);
    client.close();
    await until(() => requestBodies.usedBytes === 0);
    expect(server.errors).to.deep.equal([]);
    expect(server.node.rows.size).to.equal(0);
  });

  describe('that dribble', () => {
    it('are given up when ten seconds brought next to nothing', async () => {
      const clock = new ManualClock();
      await start({ clock });
      const client = await server.open();
      await client.send(`POST /set/k HTTP/1.1\r\n${HOST}Content-Length: ${MIB}\r\n\r\n`);
      await until(() => clock.timerCount > 0);
      await client.send('x'.repeat(2 * KIB));
      await settled();
      clock.advance(10_000);
      await client.send('abc');
      await settled();
      clock.advance(10_000);
      rawProblemOf(await client.answer(), 408, 'body-timeout');
      clock.advance(60_000);
      expect(await client.ended()).to.equal('');
      client.close();
    });

    it('may take their time as long as they bring something', async () => {
      const clock = new ManualClock();
      await start({ clock });
      const client = await server.open();
      await client.send(`POST /set/k HTTP/1.1\r\n${HOST}Content-Length: ${10 * KIB}\r\n\r\n`);
      await until(() => clock.timerCount > 0);
      for (let round = 0; round < 10; round += 1) {
        await client.send('x'.repeat(KIB));
        await settled();
        clock.advance(10_000);
      }
      expect((await client.answer())!.status).to.equal(200);
      client.close();
    });
  });

  describe('with Expect: 100-continue', () => {
    const EXPECT = 'Expect: 100-continue\r\n';

    it('are asked for when they are wanted', async () => {
      await start();
      const client = await server.open();
      await client.send(`POST /set/k HTTP/1.1\r\n${HOST}${EXPECT}Content-Length: 5\r\n\r\n`);
      expect((await client.answer())!.status).to.equal(100);
      await client.send('value');
      expect((await client.answer())!.body).to.equal('OK');
      client.close();
    });

    it('are never asked for when the answer is no', async () => {
      await start({ app: { requestBodies: new BodyBudget(MIB) } });
      const cases: readonly (readonly [target: string, headers: string, status: number, code: string])[] = [
        ['/set/%zz', 'Content-Length: 5', 400, 'bad-key'],
        ['/set/k?ack=some', 'Content-Length: 5', 400, 'bad-request'],
        ['/set/k', `Content-Length: ${17 * MIB}`, 413, 'value-too-large'],
        ['/set/k', `Content-Length: ${2 * MIB}`, 503, 'overloaded'],
        ['/set/k', 'Content-Length: 5\r\nContent-Type: multipart/form-data', 415, 'unsupported-media-type'],
        ['/set/k', 'Content-Length: 5\r\nIf-Match: x', 400, 'bad-request'],
        ['/set/k', 'Content-Length: 5\r\nOrigin: http://evil.example', 403, 'foreign-origin'],
        ['/get/k', 'Content-Length: 5', 405, 'method-not-allowed'],
        ['/nothing', 'Content-Length: 5', 404, 'no-such-route'],
      ];
      for (const [target, headers, status, code] of cases) {
        const client = await server.open();
        await client.send(`POST ${target} HTTP/1.1\r\n${HOST}${EXPECT}${headers}\r\n\r\n`);
        const answer = await client.answer();
        rawProblemOf(answer, status, code);
        expect(answer!.headers['connection']).to.equal('close');
        expect(await client.ended()).to.equal('');
        client.close();
      }
      server.node.ready = false;
      const client = await server.open();
      await client.send(`POST /set/k HTTP/1.1\r\n${HOST}${EXPECT}Content-Length: 5\r\n\r\n`);
      rawProblemOf(await client.answer(), 503, 'not-ready');
      client.close();
      server.node.ready = true;
    });
  });

  it('that nobody asked for are read no further than needed, and the answer still arrives', async () => {
    await start({ app: { lingerMs: 100 } });
    await server.post('/set/k', 'v');
    const client = await server.open();
    await client.send(`GET /get/k HTTP/1.1\r\n${HOST}Content-Length: ${100 * MIB}\r\n\r\nabc`);
    const answer = await client.answer();
    expect(answer!.body).to.equal('v');
    expect(answer!.headers['connection']).to.equal('close');
    client.close();
  });
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

/** Enough turns for bytes that were sent to be read on the other side of loopback. */
async function settled(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 20));
}
