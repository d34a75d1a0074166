import { once } from 'node:events';
import { type AddressInfo, type Server, type Socket, createServer } from 'node:net';
import { expect } from 'chai';
import { RealClock } from '../../lib/env/real-clock.ts';
import { realRawConnect } from '../../lib/env/real-raw-connection.ts';
import { TransportError } from '../../lib/env/transport.ts';
import { rejectionOf } from './rejection.ts';

describe('the raw connection', () => {
  const connect = realRawConnect(new RealClock());
  let server: Server;
  let url: string;
  let accepted: Promise<Socket>;

  beforeEach(async () => {
    server = createServer();
    accepted = once(server, 'connection').then(([socket]) => socket as Socket);
    await once(server.listen(0, '127.0.0.1'), 'listening');
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(async () => {
    server.close();
    (await accepted.catch(() => undefined))?.destroy();
  });

  function ignore(): { onBytes: () => void; onLost: (error: Error) => void } {
    return { onBytes: () => {}, onLost: () => {} };
  }

  it('sends buffers in their order, and hands over what comes, piece by piece', async () => {
    const large = Buffer.alloc(300_000, 'x');
    const received: Buffer[] = [];
    let size = 0;
    const all = Promise.withResolvers<void>();
    const connection = await connect(url, {
      // The memory is used again: who keeps it copies it.
      onBytes: (bytes) => {
        received.push(Buffer.from(bytes));
        size += bytes.length;
        if (size === large.length + 4) all.resolve();
      },
      onLost: (error) => all.reject(error),
    });
    const peer = await accepted;
    peer.pipe(peer);
    connection.write([Buffer.from('a'), large, Buffer.from('bc')]);
    connection.write([Buffer.from('d')]);
    await all.promise;
    const echo = Buffer.concat(received);
    expect(received.length).to.be.above(1);
    expect(echo.subarray(0, 1).toString()).to.equal('a');
    expect(echo.subarray(1, -3).equals(large)).to.equal(true);
    expect(echo.subarray(-3).toString()).to.equal('bcd');
    connection.close();
  });

  it('says once that the peer is gone', async () => {
    const losses: Error[] = [];
    const lost = Promise.withResolvers<void>();
    await connect(url, {
      onBytes: () => {},
      onLost: (error) => {
        losses.push(error);
        lost.resolve();
      },
    });
    (await accepted).end();
    await lost.promise;
    await new Promise((done) => setTimeout(done, 30));
    expect(losses.map(String)).to.deep.equal(['Error: the connection was closed']);
  });

  it('is quiet once it was closed here', async () => {
    let calls = 0;
    const connection = await connect(url, { onBytes: () => (calls += 1), onLost: () => (calls += 1) });
    const peer = await accepted;
    connection.close();
    peer.on('error', () => {}).write('late');
    await once(peer, 'close');
    await new Promise((done) => setTimeout(done, 30));
    expect(calls).to.equal(0);
  });

  it('says that nobody listens', async () => {
    server.close();
    await once(server, 'close');
    accepted = Promise.reject(new Error('nobody came'));
    accepted.catch(() => {});
    const error = await rejectionOf(connect(url, ignore()));
    expect(error).to.be.instanceOf(TransportError);
    expect(String(error)).to.contain(url).and.to.contain('ECONNREFUSED');
  });
});
