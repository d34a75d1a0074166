import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { type Socket, connect } from 'node:net';
import { expect } from 'chai';

import { ERROR_KINDS, type ErrorCode, ShiplogError } from '../../../lib/base/errors.ts';
import { KIB } from '../../../lib/base/limits.ts';
import { BodyBudget } from '../../../lib/http/body-budget.ts';
import { PENDING_MAX } from '../../../lib/http/fast/fast-connection.ts';
import type { HandOverReason } from '../../../lib/http/fast/fast-path.ts';
import type { RawClient } from '../raw-client.ts';
import { ManualClock } from '../test-clock.ts';
import { TestServer, type TestServerOptions, rawProblemOf } from '../test-server.ts';
import { CLIENT_HEADS } from './client-heads.ts';

const HOST = 'Host: localhost\r\n';
const GET = `GET /get/k HTTP/1.1\r\n${HOST}\r\n`;
const ODD_GET = `GET /get/k HTTP/1.1\r\n${HOST}X-Odd: yes\r\n\r\n`;
const SET = `POST /set/k HTTP/1.1\r\n${HOST}Content-Length: 1\r\n\r\nx`;

describe('a connection on the fast path', () => {
  let server: TestServer;
  let client: RawClient;

  async function start(options: TestServerOptions = {}): Promise<void> {
    server = await TestServer.start(options);
    server.node.rows.set('k', { value: 'v', position: server.node.visiblePosition() });
    client = await server.open();
  }

  afterEach(async () => {
    client.close();
    await server.stop();
  });

  describe('belongs to it', () => {
    for (const { client: name, get, set } of CLIENT_HEADS) {
      it(`with the heads of ${name}, also where the body comes later`, async () => {
        await start();
        await client.send(`${set}hello`);
        expect((await client.answer())!.body).to.equal('OK');
        await client.send(set);
        await turns(3);
        await client.send('hello');
        expect((await client.answer())!.body).to.equal('OK');
        await client.send(get);
        expect((await client.answer())!.body).to.equal('hello');
        expect(server.listener.counts).to.include({ fastRequests: 3, koaRequests: 0 });
      });
    }

    it('until the first odd request, and then never again', async () => {
      await start();
      await client.send(GET + SET + ODD_GET + GET);
      const bodies = [];
      for (let count = 0; count < 4; count += 1) bodies.push((await client.answer())!.body);
      expect(bodies).to.deep.equal(['v', 'OK', 'x', 'x']);
      expect(server.listener.counts).to.include({ fastRequests: 2, koaRequests: 2 });
      expect(handOvers('field')).to.equal(1);
    });

    it('and hands over a body of megabytes whole', async () => {
      await start();
      const value = 'm'.repeat(3_000_000);
      await client.send(`${GET}POST /set/large HTTP/1.1\r\n${HOST}Content-Length: ${value.length}\r\n\r\n${value}`);
      expect((await client.answer())!.body).to.equal('v');
      expect((await client.answer())!.body).to.equal('OK');
      expect(server.node.rows.get('large')!.value).to.equal(value);
      expect(handOvers('large-body')).to.equal(1);
    });
  });

  it('answers in the order of requests, whatever is known first', async () => {
    await start();
    const release = holdWrites();
    await client.send(SET + GET + GET);
    await until(() => server.listener.inFlightCount === 3);
    let early = '';
    client.socket.on('data', (chunk: Buffer) => (early += chunk.toString()));
    await turns(5);
    expect(early).to.equal('');
    release();
    expect((await client.answer())!.body).to.equal('OK');
    expect((await client.answer())!.body).to.equal('v');
    expect((await client.answer())!.body).to.equal('v');
    expect(server.listener.inFlightCount).to.equal(0);
  });

  it('takes a bounded number of requests while none is answered', async () => {
    await start();
    const release = holdWrites();
    await client.send(SET.repeat(2_000));
    await until(() => server.listener.inFlightCount === PENDING_MAX);
    await turns(20);
    expect(server.listener.inFlightCount).to.equal(PENDING_MAX);
    release();
    for (let count = 0; count < 2_000; count += 1) expect((await client.answer())!.body).to.equal('OK');
    expect(server.listener.counts).to.include({ fastRequests: 2_000, koaRequests: 0 });
  });

  it('looks at what has come as soon as more comes, so that no turn gathers megabytes', async () => {
    const accepted = new Promise<Socket>((resolve) => {
      const onSocket = (message: unknown): void => {
        unsubscribe('net.server.socket', onSocket);
        resolve((message as { readonly socket: Socket }).socket);
      };
      subscribe('net.server.socket', onSocket);
    });
    await start();
    const socket = await accepted;
    await turns(3);
    // What the system does where a socket has more than one buffer full: one chunk after another, within one turn.
    socket.push(Buffer.from(GET));
    expect(server.listener.counts.fastRequests).to.equal(0);
    for (let count = 2; count <= 5; count += 1) {
      socket.push(Buffer.from(GET));
      expect(server.listener.counts.fastRequests).to.equal(count);
    }
    for (let count = 0; count < 5; count += 1) expect((await client.answer())!.body).to.equal('v');
  });

  it('takes nothing more from a client that does not read its answers', async () => {
    await start();
    server.node.rows.set('k', { value: 'v'.repeat(60 * KIB), position: server.node.visiblePosition() });
    const requests = 3_000;
    const socket = connect({ port: server.port, host: '127.0.0.1' });
    socket.pause();
    socket.write(GET.repeat(requests));
    let taken = -1;
    while (taken !== server.listener.counts.fastRequests) {
      taken = server.listener.counts.fastRequests;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(taken).to.be.greaterThan(0).and.lessThan(requests / 3);

    let bytes = 0;
    socket.on('data', (chunk: Buffer) => (bytes += chunk.length)).resume();
    await until(() => bytes > requests * 60 * KIB);
    expect(server.listener.counts).to.include({ fastRequests: requests, koaRequests: 0 });
    socket.destroy();
  });

  it('hands over what comes in ever more pieces', async () => {
    await start();
    for (const byte of GET) {
      await client.send(byte);
      await turns(2);
    }
    expect((await client.answer())!.body).to.equal('v');
    expect(handOvers('slow')).to.equal(1);
  });

  it('leaves it to others to refuse when too many requests wait', async () => {
    await start({ limits: { waitingRequestsMax: 2 } });
    const release = holdWrites();
    await client.send(SET + SET);
    await until(() => server.listener.inFlightCount === 2);
    const late = await server.open();
    await late.send(GET);
    rawProblemOf(await late.answer(), 503, 'overloaded');
    expect(handOvers('overload')).to.equal(1);
    late.close();
    release();
    expect((await client.answer())!.body).to.equal('OK');
    expect((await client.answer())!.body).to.equal('OK');
  });

  it('counts as one of the connections that there may be', async () => {
    await start({ limits: { connectionsMax: 2 } });
    const second = await server.open();
    for (const each of [client, second]) {
      await each.send(GET);
      expect((await each.answer())!.body).to.equal('v');
    }
    const third = await server.open();
    expect(await third.ended()).to.equal('');
    for (const each of [second, third]) each.close();
    expect(server.listener.counts).to.include({ fastRequests: 2, koaRequests: 0 });
  });

  it('gives back what it has reserved, also when its client is gone', async () => {
    const requestBodies = new BodyBudget(1_000);
    await start({ app: { requestBodies } });
    const release = holdWrites();
    await client.send(SET + SET);
    await until(() => requestBodies.usedBytes === 2);
    client.socket.resetAndDestroy();
    await until(() => server.listener.inFlightCount === 0);
    expect(requestBodies.usedBytes, 'the values are still in memory').to.equal(2);
    release();
    await until(() => requestBodies.usedBytes === 0);
    await server.expectAlive();
  });

  it('counts bodies that are not all there', async () => {
    const requestBodies = new BodyBudget(1_000);
    await start({ app: { requestBodies } });
    const beginning = `POST /set/k HTTP/1.1\r\n${HOST}Content-Length: 700\r\n\r\nb`;
    await client.send(beginning);
    await until(() => requestBodies.usedBytes === 700);
    const second = await server.open();
    await second.send(beginning);
    rawProblemOf(await second.answer(), 503, 'overloaded');
    expect(handOvers('memory')).to.equal(1);
    second.close();
    await client.send('b'.repeat(699));
    expect((await client.answer())!.body).to.equal('OK');
    expect(requestBodies.usedBytes).to.equal(0);
    await client.send(beginning);
    await until(() => requestBodies.usedBytes === 700);
    client.socket.resetAndDestroy();
    await until(() => requestBodies.usedBytes === 0);
  });

  it('answers a client that has ended its side', async () => {
    await start();
    const release = holdWrites();
    await client.send(SET + GET);
    client.socket.end();
    await until(() => server.listener.inFlightCount === 2);
    await turns(3);
    release();
    expect((await client.answer())!.body).to.equal('OK');
    expect((await client.answer())!.body).to.equal('v');
    expect(await client.ended()).to.equal('');
  });

  it('leaves writes to others while the role changes, and does not mind how that ends', async () => {
    await start();
    server.node.writeRoute = () => Promise.reject(new ShiplogError('no-primary', 'the primary is changing')) as never;
    await client.send(SET);
    rawProblemOf(await client.answer(), ERROR_KINDS['no-primary'].status, 'no-primary');
    expect(handOvers('role')).to.equal(1);
  });

  it('words every error as the application does', async () => {
    await start();
    const oddSet = SET.replace('\r\n\r\n', '\r\nX-Odd: yes\r\n\r\n');
    for (const code of Object.keys(ERROR_KINDS) as ErrorCode[]) {
      server.node.beforeWrite = () => Promise.reject(new ShiplogError(code, `ž ${code}`, { extra: { position: '1.c04d-1' } }));
      const answers = [];
      for (const request of [SET, oddSet]) {
        const each = await server.open();
        let text = '';
        each.socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
        await each.send(request);
        await each.answer();
        each.close();
        answers.push(text.replace(/\r\nDate: [^\r]+/, ''));
      }
      expect(answers[0], code).to.match(/^HTTP\/1\.1 [45]\d\d [A-Z]/).and.to.equal(answers[1]);
    }
    const { fastRequests, koaRequests } = server.listener.counts;
    expect([fastRequests, koaRequests]).to.deep.equal([Object.keys(ERROR_KINDS).length, Object.keys(ERROR_KINDS).length]);
  });

  it('logs failures of the node as the application does', async () => {
    await start();
    server.node.beforeWrite = () => Promise.reject(new Error('broken'));
    await client.send(SET);
    rawProblemOf(await client.answer(), 500, 'internal');
    expect(server.errors.map(({ message, fields }) => ({ message, route: fields!['route'], method: fields!['method'], error: fields!['error'] }))).to.deep.equal([
      { message: 'a request failed', route: '/set/', method: 'POST', error: 'broken' },
    ]);
    expect(server.listener.counts.koaRequests).to.equal(0);
  });

  describe('ends or is handed over in time', () => {
    let clock: ManualClock;

    beforeEach(async () => {
      clock = new ManualClock();
      await start({ clock, limits: { headersTimeoutMs: 5_000, keepAliveTimeoutMs: 75_000 } });
      await client.send(GET);
      expect((await client.answer())!.body).to.equal('v');
    });

    it('when it has said nothing since it was opened', async () => {
      const silent = await server.open();
      await turns(3);
      pass(4_000);
      await turns(3);
      expect(silent.socket.readableEnded).to.equal(false);
      pass(2_000);
      expect(await silent.ended()).to.equal('');
      silent.close();
    });

    it('when it is idle for longer than clients are told', async () => {
      pass(75_000);
      await client.send(GET);
      expect((await client.answer())!.body).to.equal('v');
      pass(75_000);
      await turns(3);
      expect(client.socket.readableEnded).to.equal(false);
      pass(3_000);
      expect(await client.ended()).to.equal('');
    });

    it('but not while a write is under way', async () => {
      const release = holdWrites();
      await client.send(SET);
      await until(() => server.listener.inFlightCount === 1);
      pass(300_000);
      release();
      expect((await client.answer())!.body).to.equal('OK');
    });

    for (const [what, beginning, rest] of [
      ['head', GET.slice(0, 30), GET.slice(30)],
      ['body', SET.slice(0, -1), SET.slice(-1)],
    ] as const) {
      it(`when a ${what} does not come to its end`, async () => {
        await client.send(beginning);
        await turns(3);
        pass(1_000);
        expect(handOvers('slow')).to.equal(0);
        pass(2_000);
        expect(handOvers('slow')).to.equal(1);
        await client.send(rest);
        expect((await client.answer())!.status).to.equal(200);
        expect(server.listener.counts).to.include({ fastRequests: 1, koaRequests: 1 });
      });
    }

    /** In steps: a timer that fires sets the next one. */
    function pass(ms: number): void {
      for (let passed = 0; passed < ms; passed += 500) clock.advance(500);
    }
  });

  describe('when the listener closes', () => {
    it('answers all it has taken, and ends with the last of them', async () => {
      await start();
      const release = holdWrites();
      await client.send(SET + GET + SET);
      await until(() => server.listener.inFlightCount === 3);
      const closed = server.listener.close({ graceMs: 10_000 });
      await turns(5);
      release();
      const answers = [await client.answer(), await client.answer(), await client.answer()];
      expect(answers.map((answer) => answer!.body)).to.deep.equal(['OK', 'v', 'OK']);
      expect(answers.map((answer) => answer!.headers['connection'])).to.deep.equal(['keep-alive', 'keep-alive', 'close']);
      expect(await client.ended()).to.equal('');
      await closed;
    });

    it('ends at once where it is idle, and lets others finish what has begun', async () => {
      await start();
      const release = holdWrites();
      const [busy, partial] = await Promise.all([server.open(), server.open()]);
      await busy.send(SET);
      await partial.send(GET.slice(0, 20));
      await until(() => server.listener.inFlightCount === 1);
      await turns(5);
      const closed = server.listener.close({ graceMs: 10_000 });
      expect(await client.ended()).to.equal('');
      await partial.send(GET.slice(20));
      expect((await partial.answer())!.headers['connection']).to.equal('close');
      expect(handOvers('closing')).to.equal(1);
      release();
      expect((await busy.answer())!.body).to.equal('OK');
      await closed;
      for (const each of [busy, partial]) each.close();
    });

    it('is cut after the grace', async () => {
      await start();
      server.node.beforeWrite = () => new Promise(() => {});
      await client.send(SET);
      await until(() => server.listener.inFlightCount === 1);
      await server.listener.close({ graceMs: 50 });
      expect(await client.answer()).to.equal(undefined);
      expect(server.listener.inFlightCount).to.equal(0);
    });
  });

  function handOvers(reason: HandOverReason): number {
    return server.listener.counts.handOvers.get(reason)!;
  }

  /** Makes writes wait; the result lets them go. */
  function holdWrites(): () => void {
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => (release = resolve));
    server.node.beforeWrite = () => gate;
    return () => release();
  }
});

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setTimeout(resolve, 2));
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}
