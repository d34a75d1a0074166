import { expect } from 'chai';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, type Server, createServer as createTcpServer } from 'node:net';

import { WriteClient, outcomeOfStatus } from './write-client.ts';

describe('WriteClient', () => {
  const servers: Server[] = [];
  const clients: WriteClient[] = [];

  afterEach(async () => {
    for (const client of clients.splice(0)) client.close();
    await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
  });

  it('calls a 200 acknowledged and takes the position of the write from it', async () => {
    const client = await clientOf(createServer((_request, response) => response.setHeader('ETag', '"1.c04d-42"').end('OK')));
    expect(await client.write('k', 'v')).to.deep.equal({ outcome: 'acknowledged', position: '1.c04d-42' });
  });

  it('calls a 200 acknowledged although the connection breaks in its body', async () => {
    const server = createTcpServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nO'));
    });
    const client = await clientOf(server);
    expect((await client.write('k', 'v')).outcome).to.equal('acknowledged');
  });

  it('calls refusals and a connection that was never made refused', async () => {
    expect([400, 409, 413, 503, 507].map((status) => outcomeOfStatus(status, false))).to.deep.equal(Array(5).fill('refused'));
    const server = createTcpServer();
    const client = await clientOf(server);
    await new Promise((resolve) => server.close(resolve));
    expect((await client.write('k', 'v')).outcome).to.equal('refused');
  });

  it('calls a delete of a key that is not there absent', () => {
    expect(outcomeOfStatus(404, true)).to.equal('absent');
    expect(outcomeOfStatus(404, false)).to.equal('refused');
  });

  it('calls a write left behind that was carried out and then lost to a failover', () => {
    expect(outcomeOfStatus(410, true)).to.equal('left-behind');
  });

  it('calls a connection that breaks after sending, and answers that do not know either, unknown', async () => {
    const client = await clientOf(createTcpServer((socket) => socket.once('data', () => socket.destroy())));
    expect((await client.write('k', 'v')).outcome).to.equal('unknown');
    expect([500, 502, 504].map((status) => outcomeOfStatus(status, false))).to.deep.equal(Array(3).fill('unknown'));
  });

  it('refuses to read from a node that does not say what it has', async () => {
    const client = await clientOf(createServer((_request, response) => response.writeHead(503).end()));
    const error = await client.read('k').catch((reason: Error) => reason);
    expect(error).to.be.instanceOf(Error).with.property('message').that.includes('answered 503');
  });

  async function clientOf(server: Server): Promise<WriteClient> {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    if (!servers.includes(server)) servers.push(server);
    const client = new WriteClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, 1);
    clients.push(client);
    return client;
  }
});
