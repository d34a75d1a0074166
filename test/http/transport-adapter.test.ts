import { expect } from 'chai';

import { ShiplogError } from '../../lib/base/errors.ts';
import { KIB, MIB } from '../../lib/base/limits.ts';
import type { TransportRequest } from '../../lib/env/transport.ts';
import { TestServer, problemOf } from './test-server.ts';

const HOST = 'Host: localhost\r\n';

describe('requests between nodes', () => {
  let server: TestServer;

  beforeEach(async () => {
    server = await TestServer.start({ app: { lingerMs: 100 } });
  });

  afterEach(async () => {
    await server.stop();
  });

  it('reach the node with method, raw target and headers, and its answer goes out as it is', async () => {
    let seen: TransportRequest | undefined;
    server.node.serve = (request) => {
      seen = request;
      return Promise.resolve({ status: 206, headers: { 'etag': '"d"', 'content-length': '4' }, body: chunks('ab', '', 'cd') });
    };
    const response = await server.fetch('/snapshot?x=%2F', { headers: { 'Range': 'bytes=0-3', 'X-One': 'a' } });
    expect(response.status).to.equal(206);
    expect(await response.text()).to.equal('abcd');
    expect(response.headers.get('etag')).to.equal('"d"');
    expect(seen).to.include({ method: 'GET', target: '/snapshot?x=%2F' });
    expect(seen!.headers).to.include({ 'range': 'bytes=0-3', 'x-one': 'a' });
    expect(seen!.body).to.equal(undefined);
  });

  it('get the head of an answer at once, before there is a body', async () => {
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => (release = resolve));
    server.node.serve = () =>
      Promise.resolve({
        status: 200,
        headers: {},
        body: (async function* () {
          await gate;
          yield Buffer.from('late');
        })(),
      });
    const response = await server.fetch('/wal');
    expect(response.status).to.equal(200);
    release();
    expect(await response.text()).to.equal('late');
  });

  it('answer HEAD without a body, and let the body go', async () => {
    let released = false;
    server.node.serve = () =>
      Promise.resolve({ status: 200, headers: { 'content-length': '7' }, body: { [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new Error('read')), return: () => ((released = true), Promise.resolve({ done: true, value: undefined })) }) } });
    const response = await server.fetch('/snapshot', { method: 'HEAD' });
    expect(response.headers.get('content-length')).to.equal('7');
    expect(released).to.equal(true);
  });

  it('fail as problem documents with what the node adds', async () => {
    server.node.serve = () => Promise.reject(new ShiplogError('history-diverged', 'your history left mine', { extra: { history: [1] } }));
    const problem = await problemOf(await server.fetch('/wal?after=3'), 409, 'history-diverged');
    expect(problem['history']).to.deep.equal([1]);
  });

  it('hold one chunk at most for a peer that never reads', async () => {
    let yielded = 0;
    server.node.serve = () =>
      Promise.resolve({
        status: 200,
        headers: {},
        body: (async function* () {
          for (;;) {
            yielded += 1;
            yield Buffer.alloc(64 * KIB);
          }
        })(),
      });
    const client = await server.open();
    client.socket.pause();
    await client.send(`GET /wal HTTP/1.1\r\n${HOST}\r\n`);
    let before = -1;
    // Until the kernel's buffers are full and nothing moves any more.
    while (yielded !== before) {
      before = yielded;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(yielded * 64 * KIB).to.be.below(32 * MIB);
    const pending = [...server.streams.responses()].map((res) => res.writableLength);
    expect(pending).to.have.length(1);
    expect(pending[0]).to.be.at.most(64 * KIB + 100);
    client.close();
  });

  it('hear by their signal that the peer is gone, and leave their body', async () => {
    let ended = (): void => {};
    const left = new Promise<void>((resolve) => (ended = resolve));
    server.node.serve = ({ signal }) =>
      Promise.resolve({
        status: 200,
        headers: {},
        body: (async function* () {
          try {
            yield Buffer.from('first');
            await new Promise<void>((resolve) => signal!.addEventListener('abort', () => resolve()));
          } finally {
            ended();
          }
        })(),
      });
    const client = await server.open();
    await client.send(`GET /wal HTTP/1.1\r\n${HOST}\r\n`);
    expect((await client.answer({ bodiless: true }))!.status).to.equal(200);
    client.close();
    await left;
    while (server.streams.count > 0) await new Promise((resolve) => setTimeout(resolve, 2));
  });

  it('break the connection where the body fails half-way, so that nobody takes it for whole', async () => {
    server.node.serve = () =>
      Promise.resolve({
        status: 200,
        headers: {},
        body: (async function* () {
          yield Buffer.from('half');
          throw new Error('disk');
        })(),
      });
    const response = await server.fetch('/wal');
    const failure = await response.text().then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(failure).to.be.instanceOf(Error);
    await server.expectAlive();
  });

  it('may stream both ways at once', async () => {
    server.node.serve = ({ body }) =>
      Promise.resolve({
        status: 200,
        headers: {},
        body: (async function* () {
          for await (const chunk of body as AsyncIterable<Uint8Array>) yield Buffer.from(`<${Buffer.from(chunk).toString()}>`);
        })(),
      });
    const client = await server.open();
    await client.send(`POST /peer/echo HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`);
    expect((await client.answer({ bodiless: true }))!.status).to.equal(200);
    await client.send('3\r\none\r\n');
    await new Promise((resolve) => setTimeout(resolve, 30));
    await client.send('3\r\ntwo\r\n0\r\n\r\n');
    client.socket.end();
    expect(await client.ended()).to.equal('5\r\n<one>\r\n5\r\n<two>\r\n0\r\n\r\n');
  });

  it('may be answered before their body has ended; then the connection is dropped after a while', async () => {
    server.node.serve = async ({ body }) => {
      const first = await (body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]().next();
      return { status: 200, headers: {}, body: chunks(String((first.value as Uint8Array).length)) };
    };
    const client = await server.open();
    await client.send(`POST /peer/acks HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n`);
    expect((await client.answer({ bodiless: true }))!.status).to.equal(200);
    expect(await client.ended()).to.equal('1\r\n3\r\n0\r\n\r\n');
    client.close();
  });
});

async function* chunks(...texts: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text);
}
