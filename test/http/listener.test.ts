import { expect } from 'chai';

import { isShiplogError } from '../../lib/base/errors.ts';
import { HttpListener } from '../../lib/http/listener.ts';
import { OpenStreams } from '../../lib/http/open-streams.ts';
import { SILENT_LOGGER } from '../../lib/observe/logger.ts';
import { RunningClock } from './test-clock.ts';
import { TestServer, rawProblemOf } from './test-server.ts';

const GET = 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n';
const SET = 'POST /set/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx';

describe('HttpListener', () => {
  it('names a port that is taken', async () => {
    const server = await TestServer.start();
    const second = new HttpListener({
      host: '127.0.0.1',
      port: server.port,
      handler: () => Promise.resolve(),
      streams: new OpenStreams(),
      clock: new RunningClock(),
      logger: SILENT_LOGGER,
    });
    const failure = await second.listen().then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(isShiplogError(failure, 'port-in-use')).to.equal(true);
    expect((failure as Error).message).to.include(`port ${server.port} of 127.0.0.1`);
    await server.stop();
  });

  it('says what to do about an address that this machine does not have', async () => {
    const listener = new HttpListener({
      host: '192.0.2.1',
      port: 0,
      handler: () => Promise.resolve(),
      streams: new OpenStreams(),
      clock: new RunningClock(),
      logger: SILENT_LOGGER,
    });
    const failure = await listener.listen().then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(isShiplogError(failure, 'bad-config')).to.equal(true);
    expect((failure as Error).message).to.include('192.0.2.1').and.to.include('expected an address of this machine');
  });

  it('keeps connections open, and says so', async () => {
    const server = await TestServer.start();
    const client = await server.open();
    for (let round = 0; round < 3; round += 1) {
      await client.send(GET);
      const answer = await client.answer();
      expect(answer!.status).to.equal(200);
      expect(answer!.headers['keep-alive']).to.equal('timeout=75');
    }
    client.close();
    await server.stop();
  });

  it('answers pipelined requests in their order', async () => {
    const server = await TestServer.start();
    const client = await server.open();
    await client.send(SET + GET + SET + GET);
    const bodies = [];
    for (let round = 0; round < 4; round += 1) bodies.push((await client.answer())!.body);
    expect(bodies).to.deep.equal(['OK', 'all is well\n', 'OK', 'all is well\n']);
    client.close();
    await server.stop();
  });

  it('takes no more connections than it may', async () => {
    const server = await TestServer.start({ limits: { connectionsMax: 2 } });
    const clients = await Promise.all([server.open(), server.open()]);
    for (const client of clients) {
      await client.send(GET);
      expect((await client.answer())!.status).to.equal(200);
    }
    const third = await server.open();
    expect(await third.ended()).to.equal('');
    for (const client of [...clients, third]) client.close();
    await server.stop();
  });

  it('answers 503 above the number of requests that may wait', async () => {
    const server = await TestServer.start({ limits: { waitingRequestsMax: 2 } });
    const release = holdWrites(server);
    const waiting = await Promise.all([server.open(), server.open()]);
    for (const client of waiting) await client.send(SET);
    await until(() => server.listener.inFlightCount === 2);
    rawProblemOf(await server.raw(GET), 503, 'overloaded');
    release();
    for (const client of waiting) {
      expect((await client.answer())!.body).to.equal('OK');
      client.close();
    }
    await until(() => server.listener.inFlightCount === 0);
    await server.expectAlive();
    await server.stop();
  });

  describe('close', () => {
    it('finishes what is in flight, takes nothing new and closes idle connections', async () => {
      const server = await TestServer.start();
      const release = holdWrites(server);
      const [busy, idle, silent] = await Promise.all([server.open(), server.open(), server.open()]);
      await idle.send(GET);
      expect((await idle.answer())!.status).to.equal(200);
      await busy.send(SET);
      await until(() => server.listener.inFlightCount === 1);

      const closed = server.listener.close({ graceMs: 10_000 });
      expect(await idle.ended()).to.equal('');
      const refused = await server.open().then(
        () => undefined,
        (error: unknown) => error,
      );
      expect(refused).to.be.instanceOf(Error);
      release();
      const answer = await busy.answer();
      expect(answer!.body).to.equal('OK');
      expect(answer!.headers['connection']).to.equal('close');
      await closed;
      await silent.ended();
      for (const client of [busy, idle, silent]) client.close();
    });

    it('ends streams after everything else, with whatever the node has to say', async () => {
      const server = await TestServer.start();
      let end = (): void => {};
      const ending = new Promise<void>((resolve) => (end = resolve));
      server.node.serve = () =>
        Promise.resolve({
          status: 200,
          headers: {},
          body: (async function* () {
            yield Buffer.from('frames');
            await ending;
            yield Buffer.from('the end');
          })(),
        });
      const release = holdWrites(server);
      const [stream, busy] = await Promise.all([server.open(), server.open()]);
      await stream.send('GET /wal HTTP/1.1\r\nHost: localhost\r\n\r\n');
      expect((await stream.answer({ bodiless: true }))!.status).to.equal(200);
      await busy.send(SET);
      await until(() => server.listener.inFlightCount === 2);

      const order: string[] = [];
      const closed = server.listener.close({
        graceMs: 10_000,
        endStreams: () => {
          order.push('streams');
          end();
        },
      });
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(order).to.deep.equal([]);
      release();
      expect((await busy.answer())!.body).to.equal('OK');
      expect(await stream.ended()).to.match(/frames\r\n7\r\nthe end\r\n0\r\n\r\n$/);
      expect(order).to.deep.equal(['streams']);
      await closed;
      for (const client of [stream, busy]) client.close();
    });

    it('cuts what is not done within the grace', async () => {
      const server = await TestServer.start();
      server.node.beforeWrite = () => new Promise(() => {});
      const client = await server.open();
      await client.send(SET);
      await until(() => server.listener.inFlightCount === 1);
      await server.listener.close({ graceMs: 50 });
      expect(await client.answer()).to.equal(undefined);
      client.close();
    });
  });
});

/** Makes writes wait; the result lets them go. */
function holdWrites(server: TestServer): () => void {
  let release = (): void => {};
  const gate = new Promise<void>((resolve) => (release = resolve));
  server.node.beforeWrite = () => gate;
  return () => release();
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}
