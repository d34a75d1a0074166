import { type Server, createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { LagProbe } from '../../lib/bench/lag-probe.ts';
import { RealClock } from '../../lib/env/real-clock.ts';
import { realRawConnect } from '../../lib/env/real-raw-connection.ts';

describe('the probe for lag', () => {
  const servers: Server[] = [];
  const clock = new RealClock();
  afterEach(() => {
    for (const server of servers.splice(0)) {
      server.close();
      server.closeAllConnections();
    }
  });

  async function serve(answer: (target: string, count: number) => Promise<number>): Promise<{ url: string; requests: string[] }> {
    const requests: string[] = [];
    const server = createServer((request, response) => {
      requests.push(`${request.method} ${request.url}`);
      request.resume().once('end', () => {
        void answer(request.url!, requests.length).then((status) => {
          response.writeHead(status, { 'Shiplog-Position': `1.c04d-${requests.length}`, 'Content-Length': 2 }).end('OK');
        });
      });
    });
    servers.push(server);
    await once(server.listen(0, '127.0.0.1'), 'listening');
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
  }

  it('measures from the answer of the node to that of the replica, asking for the position', async () => {
    const primary = await serve(async () => 200);
    const replica = await serve(async (_target, count) => {
      await new Promise((done) => setTimeout(done, 40));
      // Not there yet the first time: it is asked again, and all of it counts.
      return count === 1 ? 503 : 200;
    });
    const end = new AbortController();
    const lagsMs: number[] = [];
    const onLag = (lagMs: number): void => {
      lagsMs.push(lagMs);
      if (lagsMs.length === 3) end.abort();
    };
    const figures = await new LagProbe({ clock, connect: realRawConnect(clock), url: primary.url, replicaUrl: replica.url, index: 7, onLag }).run(end.signal);
    expect(figures).to.deep.include({ replica: replica.url, samples: 3, error: null });
    expect(lagsMs[0]).to.be.above(75);
    for (const lagMs of lagsMs) expect(lagMs).to.be.above(35);
    expect(figures.lagMs!.max).to.be.closeTo(Math.max(...lagsMs), 0.01);
    expect(primary.requests).to.deep.equal(Array.from({ length: 3 }, () => 'POST /set/bench:lag:7'));
    expect(replica.requests).to.deep.equal([1, 1, 2, 3].map((lsn) => `GET /get/bench:lag:7?min=1.c04d-${lsn}&wait=1000ms`));
  });

  it('ends with the figures so far where the replica refuses, or goes away', async () => {
    const primary = await serve(async () => 200);
    const replica = await serve(async (_target, count) => (count <= 2 ? 200 : 410));
    const probe = new LagProbe({ clock, connect: realRawConnect(clock), url: primary.url, replicaUrl: replica.url, index: 0 });
    const figures = await probe.run(new AbortController().signal);
    expect(figures.samples).to.equal(2);
    expect(figures.error).to.contain(`${replica.url} answered 410 for position 1.c04d-3`);

    const gone = await new LagProbe({ clock, connect: realRawConnect(clock), url: primary.url, replicaUrl: 'http://127.0.0.1:1', index: 0 }).run(new AbortController().signal);
    expect(gone).to.deep.include({ samples: 0, lagMs: null });
    expect(gone.error).to.contain('ECONNREFUSED');
  });
});
