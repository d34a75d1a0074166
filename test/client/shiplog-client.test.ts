import { expect } from 'chai';
import { ShiplogError } from '../../lib/base/errors.ts';
import { ShiplogClient } from '../../lib/client/shiplog-client.ts';
import type { StatusDocument } from '../../lib/client/status-document.ts';
import { compareTables } from '../../lib/client/table-comparison.ts';
import type { Environment } from '../../lib/env/environment.ts';
import { createRealEnvironment } from '../../lib/env/real-environment.ts';
import { TransportError } from '../../lib/env/transport.ts';
import type { NodeStatus } from '../../lib/node/node-api.ts';
import { type FakeNode, type FakeRoute, answerProblem, startFakeNode, tableRoute } from './fake-node.ts';

/** Only for the types: does not compile unless what a node says is what the client expects. */
export const statusFits = (status: NodeStatus): StatusDocument => status;

describe('ShiplogClient', () => {
  let environment: Environment;
  let nodes: FakeNode[];

  beforeEach(() => {
    environment = createRealEnvironment();
    nodes = [];
  });
  afterEach(async () => {
    await environment.transport.close();
    await Promise.all(nodes.map((node) => node.close()));
  });

  async function clientOf(route: FakeRoute, timeoutMs = 5_000): Promise<ShiplogClient> {
    const node = await startFakeNode(route);
    nodes.push(node);
    const { transport, clock } = environment;
    return new ShiplogClient({ transport, clock, url: node.url, timeoutMs });
  }

  it('writes, reads and deletes, and says at which position', async () => {
    const client = await clientOf(tableRoute());
    expect(await client.set('greeting', 'hello')).to.deep.equal({ position: '1.c04d-2', ack: 'local' });
    expect(await client.get('greeting')).to.deep.equal({ value: 'hello', position: '1.c04d-2' });
    expect(await client.del('greeting')).to.deep.equal({ position: '1.c04d-3', ack: 'local' });
    expect(await client.get('greeting')).to.equal(undefined);
    expect(await client.del('greeting')).to.equal(undefined);
  });

  it('asks for a level, and says which one was reached', async () => {
    const client = await clientOf(tableRoute({ ack: '2' }));
    expect(await client.set('a', 'b')).to.deep.equal({ position: '1.c04d-2', ack: 2 });
    expect(await client.set('a', 'b', { ack: 1 })).to.deep.equal({ position: '1.c04d-3', ack: 1 });
    expect(await client.del('a', { ack: 'local' })).to.deep.equal({ position: '1.c04d-4', ack: 'local' });
    expect(nodes[0]!.requests).to.deep.equal(['POST /set/a', 'POST /set/a?ack=1', 'DELETE /del/a?ack=local']);
  });

  it('takes no position for that of a write which has none yet', async () => {
    const client = await clientOf(tableRoute({ ack: 'memory' }));
    expect(await client.set('a', 'b')).to.deep.equal({ position: null, ack: 'memory' });
  });

  it('believes no level that there is not', async () => {
    const client = await clientOf(tableRoute({ ack: 'plenty' }));
    expect(await failureOf(client.set('a', 'b'))).to.have.property('code', 'peer-protocol');
  });

  it('hands a position back', async () => {
    const client = await clientOf(tableRoute({ table: new Map([['a', 'b']]) }));
    await client.get('a', { min: '1.c04d-1' });
    await client.get('a');
    expect(nodes[0]!.requests).to.deep.equal(['GET /get/a?min=1.c04d-1', 'GET /get/a']);
  });

  for (const key of ['a/b', '..', '%2F', 'a?b#c', '__proto__', '\0', '🚢', ' ']) {
    it(`carries the key ${JSON.stringify(key)} unharmed`, async () => {
      const table = new Map<string, string>();
      const client = await clientOf(tableRoute({ table }));
      await client.set(key, 'line\nline "quoted" \u2028');
      expect([...table.keys()]).to.deep.equal([key]);
      expect((await client.get(key))!.value).to.equal('line\nline "quoted" \u2028');
    });
  }

  it('raises the error that the node raised', async () => {
    const client = await clientOf((_request, response) => answerProblem(response, 503, 'no-primary', { hint: 7 }));
    const error = await failureOf(client.set('a', 'b'));
    expect(error).to.be.instanceOf(ShiplogError).that.includes({ code: 'no-primary', message: 'the detail of no-primary', retryAfterS: 1 });
    expect((error as ShiplogError).extra).to.deep.equal({ hint: 7 });
  });

  it('tells a missing key from a missing route', async () => {
    const client = await clientOf((_request, response) => answerProblem(response, 404, 'no-such-route'));
    expect(await failureOf(client.get('a'))).to.have.property('code', 'no-such-route');
  });

  for (const [title, body] of [
    ['no problem document', '<html>Bad gateway</html>'],
    ['a code of a later version', '{"code":"brand-new"}'],
    ['a code that every object has', '{"code":"toString"}'],
  ] as const) {
    it(`calls an answer with ${title} a protocol error`, async () => {
      const client = await clientOf((_request, response) => response.writeHead(502).end(body));
      const error = await failureOf(client.get('a'));
      expect(error).to.have.property('code', 'peer-protocol');
      expect((error as Error).message).to.include('HTTP 502').and.to.include(body);
    });
  }

  it('says that there is no answer where nothing listens', async () => {
    const client = await clientOf(tableRoute());
    await nodes.pop()!.close();
    for (const attempt of [client.get('a'), client.set('a', 'b'), client.status()]) {
      expect(await failureOf(attempt)).to.be.instanceOf(TransportError);
    }
  });

  it('does not know the outcome of a write whose answer never came', async () => {
    const client = await clientOf((request) => request.socket.destroy());
    expect(await failureOf(client.set('a', 'b'))).to.have.property('code', 'outcome-unknown');
    expect(await failureOf(client.del('a'))).to.have.property('code', 'outcome-unknown');
    expect(await failureOf(client.get('a'))).to.be.instanceOf(TransportError);
  });

  it('gives up a node that says nothing', async () => {
    const client = await clientOf(() => {}, 50);
    expect(await failureOf(client.get('a'))).to.be.instanceOf(TransportError).with.property('message').that.includes('within 50 ms');
    expect(await failureOf(client.set('a', 'b'))).to.have.property('code', 'outcome-unknown');
  });

  it('gives up a node that stops in the middle of its answer', async () => {
    const client = await clientOf((_request, response) => response.writeHead(200, { 'content-length': '10', etag: '"1.c04d-2"' }).write('hel'), 50);
    expect(await failureOf(client.get('a'))).to.be.instanceOf(TransportError);
  });

  it('refuses a status that is no JSON', async () => {
    const client = await clientOf((_request, response) => response.end('hello'));
    expect(await failureOf(client.status())).to.have.property('code', 'peer-protocol');
  });

  describe('compareTables', () => {
    const named = (name: string, table: Map<string, string>): Promise<ShiplogClient> => clientOf(tableRoute({ name, table }));

    it('finds equal tables equal', async () => {
      const clients = [await named('a', new Map([['k', 'v']])), await named('b', new Map([['k', 'v']]))];
      const comparison = await compareTables(clients, environment.clock);
      expect(comparison.isEqual).to.equal(true);
      expect(comparison.digests.map((digest) => digest.url)).to.deep.equal(clients.map((client) => client.url));
    });

    it('finds one different value', async () => {
      const clients = [await named('a', new Map([['k', 'v']])), await named('b', new Map([['k', 'w']]))];
      expect((await compareTables(clients, environment.clock)).isEqual).to.equal(false);
    });

    it('does not compare a node with itself', async () => {
      const client = await named('a', new Map());
      expect(await failureOf(compareTables([client, client], environment.clock))).to.have.property('code', 'bad-request');
    });

    it('does not compare nodes of two clusters', async () => {
      const clients = [await clientOf(tableRoute({ name: 'a', clusterId: 'c1' })), await clientOf(tableRoute({ name: 'b', clusterId: 'c2' }))];
      const failure = await failureOf(compareTables(clients, environment.clock));
      expect(failure).to.have.property('code', 'other-cluster');
      expect((failure as Error).message).to.include(`${clients[0]!.url} to c1`).and.to.include(`${clients[1]!.url} to c2`);
    });

    it('meets nodes that go on while they are asked', async () => {
      // Each has passed by a few operations whatever it is asked for first, and keeps to what comes after.
      const running = (name: string, headStart: number): FakeRoute => {
        const fixed = tableRoute({ name });
        return (request, response, body) => {
          const asked = Number(/at=(\d+)/.exec(request.url!)?.[1]);
          if (Number.isNaN(asked)) return fixed(request, response, body);
          const lsn = Math.max(asked, headStart);
          return void response.end(JSON.stringify({ position: `1.c04d-${lsn}`, lsn, chain: 7, rowCount: 1, sha256: 'same' }));
        };
      };
      const clients = [await clientOf(running('a', 20)), await clientOf(running('b', 50))];
      const { isEqual, digests } = await compareTables(clients, environment.clock);
      expect(isEqual).to.equal(true);
      expect(digests[0]!.lsn).to.be.at.least(50);
    });
  });
});

async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => expect.fail(`expected an error, got ${JSON.stringify(value)}`),
    (error: unknown) => error,
  );
}
