import { expect } from 'chai';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { RealClock } from '../../lib/env/real-clock.ts';
import { RealTransport } from '../../lib/env/real-transport.ts';
import { readBody, TransportError, type TransportRequest } from '../../lib/env/transport.ts';
import { rejectionOf } from './rejection.ts';

const CHUNK = Buffer.alloc(64 * 1024, 'x');
/** Far more than all buffers between two processes hold. */
const CHUNKS_MAX = 2_000;

describe('RealTransport', () => {
  const clock = new RealClock();
  let transport: RealTransport;
  let hold: NodeJS.Timeout;
  const servers: net.Server[] = [];
  const serverSockets = new Set<net.Socket>();
  const children: ChildProcess[] = [];
  const fillers: net.Socket[] = [];

  beforeEach(() => {
    transport = new RealTransport({ clock, connectTimeoutMs: 5_000 });
    // The clock's timers don't hold the process, and some tests wait for nothing else.
    hold = setInterval(() => {}, 60_000);
  });

  afterEach(async () => {
    clearInterval(hold);
    await transport.close();
    for (const socket of [...serverSockets, ...fillers.splice(0)]) socket.destroy();
    for (const child of children.splice(0)) child.kill('SIGKILL');
    await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
  });

  it('carries method, target, headers and body there, and status, headers and body back', async () => {
    const url = await serve(async (request, response) => {
      const body = await readBody(request, 1_000);
      response.writeHead(201, { 'X-Answer': 'yes', 'Set-Cookie': ['a', 'b'] });
      const { 'x-question': question, 'content-length': length } = request.headers;
      response.end([request.method, request.url, question, length, body.toString()].join(' '));
    });
    const response = await transport.request(url, {
      method: 'POST',
      target: '/set/a%2Fb/../c?min=1',
      headers: { 'x-question': 'really?' },
      body: Buffer.from('value'),
    });
    expect(response.status).to.equal(201);
    expect(response.headers).to.include({ 'x-answer': 'yes', 'set-cookie': 'a,b' });
    expect((await readBody(response.body, 1_000)).toString()).to.equal('POST /set/a%2Fb/../c?min=1 really? 5 value');
  });

  it('keeps a path before the target, and reaches IPv6 addresses', async () => {
    const server = http.createServer((request, response) => response.end(request.url));
    await listen(server, '::1');
    const response = await transport.request(`http://[::1]:${(server.address() as AddressInfo).port}/shiplog/`, get('/get/k'));
    expect((await readBody(response.body, 1_000)).toString()).to.equal('/shiplog/get/k');
  });

  it('uses one connection for requests that follow each other', async () => {
    let connectionCount = 0;
    const url = await serve((_request, response) => void response.end('ok'));
    servers[0]!.on('connection', () => (connectionCount += 1));
    for (let round = 0; round < 5; round += 1) {
      const response = await transport.request(url, get('/'));
      await readBody(response.body, 1_000);
    }
    expect(connectionCount).to.equal(1);
  });

  it('answers short requests while many endless streams of the same peer are open', async () => {
    const url = await serve((request, response) => {
      response.write('head');
      if (request.url !== '/endless') response.end();
    });
    const streams = await Promise.all(Array.from({ length: 50 }, () => transport.request(url, get('/endless'))));
    const response = await transport.request(url, get('/short'));
    expect((await readBody(response.body, 1_000)).toString()).to.equal('head');
    expect(streams).to.have.length(50);
  });

  it('sends each chunk of an endless request body at once, and takes the answer before its end', async () => {
    const url = await serve(async (request, response) => {
      response.flushHeaders();
      for await (const chunk of request) response.write(`seen ${String(chunk)}`);
    });
    const source = new ManualSource();
    const response = await transport.request(url, { ...post('/peer/confirm'), body: source });
    const reader = response.body[Symbol.asyncIterator]();
    for (const word of ['one', 'two', 'three']) {
      source.push(Buffer.from(word));
      expect(Buffer.from((await reader.next()).value).toString()).to.equal(`seen ${word}`);
    }
    await reader.return!();
    expect(await source.ended).to.equal(true);
  });

  it('sends the head of a request before the first chunk of its body', async () => {
    const url = await serve((request, response) => {
      response.end(request.headers['transfer-encoding']);
    });
    const response = await transport.request(url, { ...post('/'), body: new ManualSource() });
    expect((await readBody(response.body, 100)).toString()).to.equal('chunked');
  });

  it('pulls from the source of a request no faster than the peer reads', async () => {
    let resume = (): void => {};
    const url = await serve(async (request, response) => {
      await new Promise<void>((resolve) => (resume = resolve));
      let size = 0;
      for await (const chunk of request) size += (chunk as Buffer).length;
      response.end(String(size));
    });
    let pulled = 0;
    const body = (async function* () {
      for (; pulled < CHUNKS_MAX; pulled += 1) yield CHUNK;
    })();
    const answer = transport.request(url, { ...post('/'), body });
    const stalledAt = await settled(() => pulled);
    expect(stalledAt).to.be.greaterThan(0).and.lessThan(CHUNKS_MAX / 2);

    resume();
    const response = await answer;
    expect((await readBody(response.body, 100)).toString()).to.equal(String(CHUNKS_MAX * CHUNK.length));
  });

  it('takes from the peer no faster than the response is read', async () => {
    let sent = 0;
    const url = await serve(async (_request, response) => {
      for (; sent < CHUNKS_MAX; sent += 1) {
        if (!response.write(CHUNK)) await once(response, 'drain');
      }
      response.end();
    });
    const response = await transport.request(url, get('/wal'));
    const stalledAt = await settled(() => sent);
    expect(stalledAt).to.be.greaterThan(0).and.lessThan(CHUNKS_MAX / 2);

    let size = 0;
    for await (const chunk of response.body) size += chunk.length;
    expect(size).to.equal(CHUNKS_MAX * CHUNK.length);
  });

  it('drops the connection when the reader leaves the body early', async () => {
    const dropped = Promise.withResolvers<boolean>();
    const url = await serve((request, response) => {
      request.socket.once('close', () => dropped.resolve(true));
      response.write('one');
    });
    const response = await transport.request(url, get('/wal'));
    for await (const chunk of response.body) {
      expect(Buffer.from(chunk).toString()).to.equal('one');
      break;
    }
    expect(await dropped.promise).to.equal(true);
  });

  it('does not end the process when the reader leaves a body in the same turn in which it ends', async () => {
    const url = await serve((_request, response) => {
      response.write('first');
      setTimeout(() => response.end('last'), 20);
    });
    const { body } = await transport.request(url, get('/'));
    const seen: string[] = [];
    for await (const bytes of body) {
      seen.push(Buffer.from(bytes).toString());
      if (seen.at(-1) === 'last') break;
    }
    // An error that nobody hears comes a turn later, and mocha would report it for this test.
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(seen).to.deep.equal(['first', 'last']);
  });

  it('drops the connection, and tells the source, when the answer ends before the request', async () => {
    const dropped = Promise.withResolvers<boolean>();
    const url = await serve((request, response) => {
      request.socket.once('close', () => dropped.resolve(true));
      response.writeHead(409).end('no');
    });
    const source = new ManualSource();
    const response = await transport.request(url, { ...post('/peer/confirm'), body: source });
    expect(response.status).to.equal(409);
    expect((await readBody(response.body, 100)).toString()).to.equal('no');
    expect(await dropped.promise).to.equal(true);
    expect(await source.ended).to.equal(true);
  });

  describe('when it fails', () => {
    it('is certain that nothing arrived where the connection is refused', async () => {
      const error = await failureOf(transport.request(await unusedUrl(), { ...post('/set/k'), body: Buffer.from('v') }));
      expect(error.mayHaveArrived).to.equal(false);
      expect(error.message).to.match(/^POST http:\/\/127.0.0.1:\d+\/set\/k: .*ECONNREFUSED/);
      expect(error.cause).to.include({ code: 'ECONNREFUSED' });
    });

    it('is certain that nothing arrived where no address of a name answers, and says why', async () => {
      const { port } = new URL(await unusedUrl());
      const error = await failureOf(transport.request(`http://localhost:${port}`, get('/')));
      expect(error.mayHaveArrived).to.equal(false);
      expect(error.message).to.contain('ECONNREFUSED');
    });

    it('is certain that nothing arrived where the name is unknown', async () => {
      const error = await failureOf(transport.request('http://no-such-host.invalid:4455', get('/')));
      expect(error.mayHaveArrived).to.equal(false);
    });

    it('is certain that nothing arrived where the connection takes too long', async () => {
      const impatient = new RealTransport({ clock, connectTimeoutMs: 20 });
      const url = await silentUrl();
      const error = await failureOf(impatient.request(url, get('/')));
      expect(error.mayHaveArrived).to.equal(false);
      expect(error.message).to.contain('no connection within 20 ms');
      await impatient.close();
    });

    it('does not limit the time of an answer once it is connected', async () => {
      let fireConnectTimer = (): void => {};
      const watched = new RealTransport({
        clock: {
          monotonicMs: () => clock.monotonicMs(),
          wallMs: () => clock.wallMs(),
          defer: (callback) => clock.defer(callback),
          setTimer: (_delayMs, callback) => {
            fireConnectTimer = callback;
            return { cancel: () => (fireConnectTimer = () => {}) };
          },
        },
        connectTimeoutMs: 1,
      });
      const url = await serve((_request, response) => {
        fireConnectTimer();
        response.end('late');
      });
      const response = await watched.request(url, get('/'));
      expect((await readBody(response.body, 100)).toString()).to.equal('late');
      await watched.close();
    });

    it('does not know what arrived where the peer resets the connection after reading', async () => {
      const url = await serveRaw((socket) => socket.once('data', () => socket.resetAndDestroy()));
      const error = await failureOf(transport.request(url, { ...post('/set/k'), body: Buffer.from('v') }));
      expect(error.mayHaveArrived).to.equal(true);
    });

    it('does not know what arrived where the peer closes without an answer', async () => {
      const url = await serveRaw((socket) => socket.once('data', () => socket.end()));
      const error = await failureOf(transport.request(url, { ...post('/set/k'), body: Buffer.from('v') }));
      expect(error.mayHaveArrived).to.equal(true);
    });

    it('does not know what arrived where the answer is not HTTP', async () => {
      const url = await serveRaw((socket) => socket.end('hello\r\n'));
      expect((await failureOf(transport.request(url, get('/')))).mayHaveArrived).to.equal(true);
    });

    it('reports a response body that breaks off, after the bytes that came', async () => {
      for (const finish of ['reset', 'end'] as const) {
        const url = await serveRaw((socket) => {
          socket.once('data', () => {
            socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfirst', () => {
              // After the first bytes have been read: a reset takes unread ones away.
              broken = () => (finish === 'reset' ? socket.resetAndDestroy() : socket.end());
            });
          });
        });
        let broken = (): unknown => undefined;
        const response = await transport.request(url, get('/wal'));
        const reader = response.body[Symbol.asyncIterator]();
        expect(Buffer.from((await reader.next()).value).toString()).to.equal('first');
        await settled(() => 0);
        broken();
        expect((await failureOf(reader.next())).mayHaveArrived).to.equal(true);
      }
    });

    it('reports a body that broke before anybody read it, and does not end the process', async () => {
      const gone = Promise.withResolvers<void>();
      const url = await serve((_request, response) => {
        response.write('one');
        response.socket!.once('close', () => gone.resolve());
        setImmediate(() => response.socket!.resetAndDestroy());
      });
      const response = await transport.request(url, get('/wal'));
      await gone.promise;
      await settled(() => 0);
      await failureOf(readBody(response.body, 1_000));
    });

    it('breaks off when the source of the request body fails, and names its reason', async () => {
      const dropped = Promise.withResolvers<boolean>();
      const url = await serve((request) => {
        request.on('error', () => {});
        request.socket.once('close', () => dropped.resolve(true));
      });
      const reason = new Error('the file can not be read');
      const body = (async function* () {
        yield Buffer.from('one');
        await settled(() => 0);
        throw reason;
      })();
      const error = await failureOf(transport.request(url, { ...post('/'), body }));
      expect(error.cause).to.equal(reason);
      expect(error.message).to.contain('the file can not be read');
      expect(await dropped.promise).to.equal(true);
    });

    it('refuses https, other schemes, nonsense and forbidden headers before anything is sent', async () => {
      const cases: [string, TransportRequest, RegExp][] = [
        ['https://localhost:4455', get('/'), /https:\/\/ is not supported; expected http:\/\//],
        ['ftp://localhost:4455', get('/'), /ftp:\/\/ is not supported/],
        ['localhost:4455', get('/'), /not supported|not a URL/],
        ['nonsense', get('/'), /"nonsense" is not a URL; expected one like http:\/\/host:4455/],
        ['http://127.0.0.1:1', { ...get('/'), headers: { bad: 'a\r\nb: c' } }, /Invalid character/],
        ['http://127.0.0.1:1', get('/a b'), /unescaped characters/],
      ];
      for (const [url, request, message] of cases) {
        const error = await failureOf(transport.request(url, request));
        expect(error.mayHaveArrived, url).to.equal(false);
        expect(error.message).to.match(message);
      }
    });
  });

  describe('when it is aborted', () => {
    const reason = new Error('no longer wanted');

    it('sends nothing where the signal was aborted before', async () => {
      const error = await failureOf(transport.request('http://127.0.0.1:1', { ...get('/'), signal: AbortSignal.abort(reason) }));
      expect(error.mayHaveArrived).to.equal(false);
      expect(error.cause).to.equal(reason);
    });

    it('is certain that nothing arrived where there is no connection yet', async () => {
      const controller = new AbortController();
      const url = await silentUrl();
      const answer = failureOf(transport.request(url, { ...get('/'), signal: controller.signal }));
      await settled(() => 0);
      controller.abort(reason);
      const error = await answer;
      expect(error.mayHaveArrived).to.equal(false);
      expect(error.cause).to.equal(reason);
    });

    it('does not know what arrived where it waits for the answer', async () => {
      const controller = new AbortController();
      const url = await serve(() => controller.abort(reason));
      const error = await failureOf(transport.request(url, { ...post('/set/k'), body: Buffer.from('v'), signal: controller.signal }));
      expect(error.mayHaveArrived).to.equal(true);
      expect(error.cause).to.equal(reason);
    });

    it('stops waiting for the next chunk of the body', async () => {
      const controller = new AbortController();
      const url = await serve((_request, response) => void response.write('one'));
      const response = await transport.request(url, { ...get('/wal'), signal: controller.signal });
      const reader = response.body[Symbol.asyncIterator]();
      await reader.next();
      const next = failureOf(reader.next());
      controller.abort(reason);
      expect((await next).cause).to.equal(reason);
    });

    it('fails a body that nobody has begun to read', async () => {
      const controller = new AbortController();
      const url = await serve((_request, response) => void response.write('one'));
      const response = await transport.request(url, { ...get('/wal'), signal: controller.signal });
      controller.abort(reason);
      expect((await failureOf(readBody(response.body, 1_000))).cause).to.equal(reason);
    });

    it('tells the source of the request body', async () => {
      const controller = new AbortController();
      const url = await serve((_request, response) => response.flushHeaders());
      const source = new ManualSource();
      const response = await transport.request(url, { ...post('/'), body: source, signal: controller.signal });
      controller.abort(reason);
      expect(await source.ended).to.equal(true);
      await failureOf(readBody(response.body, 1_000));
    });

    it('changes nothing once the exchange is over', async () => {
      const controller = new AbortController();
      const url = await serve((_request, response) => void response.end('ok'));
      const response = await transport.request(url, { ...get('/'), signal: controller.signal });
      expect((await readBody(response.body, 100)).toString()).to.equal('ok');
      controller.abort(reason);
      const again = await transport.request(url, get('/'));
      expect((await readBody(again.body, 100)).toString()).to.equal('ok');
    });
  });

  it('breaks everything off when it is closed, and takes no more requests', async () => {
    const url = await serve((request, response) => {
      if (request.url === '/stream') response.write('one');
    });
    const waiting = failureOf(transport.request(url, get('/never')));
    const stream = await transport.request(url, get('/stream'));
    await transport.close();
    expect((await waiting).message).to.contain('the transport is closed');
    expect((await failureOf(readBody(stream.body, 100))).message).to.contain('the transport is closed');
    expect((await failureOf(transport.request(url, get('/')))).mayHaveArrived).to.equal(false);
  });

  it('leaves no listener on a signal that outlives its requests', async () => {
    const { signal } = new AbortController();
    let listenerCount = 0;
    const { addEventListener, removeEventListener } = signal;
    signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      listenerCount += 1;
      addEventListener.apply(signal, args);
    };
    signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      listenerCount -= 1;
      removeEventListener.apply(signal, args);
    };
    const url = await serve((_request, response) => void response.end('ok'));
    for (let round = 0; round < 20; round += 1) {
      const response = await transport.request(url, { ...get('/'), signal });
      await readBody(response.body, 100);
    }
    await transport.close();
    expect(listenerCount).to.equal(0);
  });

  function get(target: string): TransportRequest {
    return { method: 'GET', target, headers: {} };
  }

  function post(target: string): TransportRequest {
    return { method: 'POST', target, headers: {} };
  }

  async function serve(handle: (request: http.IncomingMessage, response: http.ServerResponse) => void | Promise<void>): Promise<string> {
    return await listen(
      http.createServer((request, response) => {
        // What a handler meets when the other side breaks off is not what these tests look at.
        Promise.resolve(handle(request, response)).catch(() => {});
      }),
    );
  }

  async function serveRaw(handle: (socket: net.Socket) => void): Promise<string> {
    return await listen(
      net.createServer((socket) => {
        socket.on('error', () => {});
        handle(socket);
      }),
    );
  }

  async function listen(server: net.Server, host = '127.0.0.1', backlog = 511): Promise<string> {
    servers.push(server);
    server.on('connection', (socket: net.Socket) => {
      serverSockets.add(socket);
      socket.once('close', () => serverSockets.delete(socket));
    });
    server.listen({ port: 0, host, backlog });
    await once(server, 'listening');
    return `http://${host}:${(server.address() as AddressInfo).port}`;
  }

  /**
   * A listener that answers no SYN: a frozen process never accepts, and its queue is full. Whatever
   * connects to it later waits, without a word from the network.
   */
  async function silentUrl(): Promise<string> {
    const script = `
      const server = require('node:net').createServer();
      server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => console.log(server.address().port));
    `;
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    const [port] = (await once(child.stdout, 'data')) as [Buffer];
    child.kill('SIGSTOP');
    let connectedCount = 0;
    for (let count = 0; count < 6; count += 1) {
      const socket = net.connect(Number(port.toString()), '127.0.0.1', () => (connectedCount += 1));
      socket.on('error', () => {});
      fillers.push(socket);
    }
    expect(await settled(() => connectedCount)).to.be.lessThan(fillers.length);
    return `http://127.0.0.1:${Number(port.toString())}`;
  }

  async function unusedUrl(): Promise<string> {
    const url = await listen(net.createServer());
    await new Promise((resolve) => servers.pop()!.close(resolve));
    return url;
  }
});

async function failureOf(promise: Promise<unknown>): Promise<TransportError> {
  const error = await rejectionOf(promise);
  expect(error).to.be.instanceOf(TransportError);
  return error as TransportError;
}

/** Waits until the value has not changed for a while. */
async function settled<Value>(read: () => Value): Promise<Value> {
  let unchangedRounds = 0;
  let last = read();
  while (unchangedRounds < 10) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    const next = read();
    unchangedRounds = next === last ? unchangedRounds + 1 : 0;
    last = next;
  }
  return last;
}

/** A request body that yields what the test pushes, and knows when its reader has left. */
class ManualSource implements AsyncIterable<Uint8Array> {
  readonly #left = Promise.withResolvers<boolean>();
  readonly #chunks: Uint8Array[] = [];
  #wake = (): void => {};

  get ended(): Promise<boolean> {
    return this.#left.promise;
  }

  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#wake();
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return {
      next: async () => {
        while (this.#chunks.length === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
        return { done: false, value: this.#chunks.shift()! };
      },
      return: async () => {
        this.#left.resolve(true);
        return { done: true, value: undefined };
      },
    };
  }
}
