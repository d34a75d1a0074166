import { expect } from 'chai';
import { once } from 'node:events';
import { type AddressInfo, type Server, type Socket, connect, createServer } from 'node:net';

import { SeededRandom } from '../support/seeded-random.ts';
import { findFreePort } from './free-port.ts';
import { NodeLink } from './node-link.ts';

describe('NodeLink', () => {
  let received: string;
  let accepted: number;
  let server: Server;
  let link: NodeLink;
  const sockets: Socket[] = [];

  beforeEach(async () => {
    received = '';
    accepted = 0;
    server = createServer((socket) => {
      accepted += 1;
      sockets.push(socket);
      socket.on('error', () => {});
      socket.on('data', (data: Buffer) => {
        received += data.toString();
        socket.write('answer');
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    link = await NodeLink.open(await findFreePort(new SeededRandom(process.pid)), (server.address() as AddressInfo).port);
  });

  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await link.close();
    server.close();
  });

  it('carries both ways, and nothing more once it is cut', async () => {
    const client = await clientOf(link);
    client.write('one');
    expect(String((await once(client, 'data'))[0])).to.equal('answer');
    const closed = closeOf(client);
    link.cut();
    await closed;
    expect(received).to.equal('one');
  });

  it('lets no new connection reach the node while it is cut, and does again when it is restored', async () => {
    link.cut();
    const refused = connect(Number(new URL(link.url).port), '127.0.0.1');
    refused.on('error', () => {});
    refused.write('two');
    await closeOf(refused);
    expect(accepted).to.equal(0);
    link.restore();
    const client = await clientOf(link);
    client.write('three');
    expect(String((await once(client, 'data'))[0])).to.equal('answer');
    expect(received).to.equal('three');
  });

  it('ends at once what nobody reads, and leaves nothing open', async () => {
    const client = await clientOf(link);
    client.write('five');
    await once(client, 'data');
    client.pause();
    const [socket] = sockets;
    const flooded = closeOf(socket!);
    // More than what kernels and streams take in between.
    socket!.write(Buffer.alloc(64 * 2 ** 20));
    await new Promise((resolve) => setTimeout(resolve, 50));
    link.cut();
    await flooded;
    await link.close();
    expect([client, socket!].map(({ destroyed }) => destroyed)).to.deep.equal([true, true]);
  });

  it('ends the connections to a node that ends', async () => {
    const client = await clientOf(link);
    client.write('four');
    await once(client, 'data');
    const closed = closeOf(client);
    for (const socket of sockets) socket.resetAndDestroy();
    await closed;
    expect(client.destroyed).to.equal(true);
  });

  function closeOf(socket: Socket): Promise<void> {
    return new Promise((resolve) => socket.once('close', () => resolve()));
  }

  async function clientOf(to: NodeLink): Promise<Socket> {
    const client = connect(Number(new URL(to.url).port), '127.0.0.1');
    sockets.push(client);
    client.on('error', () => {});
    await once(client, 'connect');
    return client;
  }
});
