import { expect } from 'chai';
import { findPrimary } from '../../lib/client/find-primary.ts';
import type { PromoteEvent, PromoteRequest } from '../../lib/client/promotion-document.ts';
import { ShiplogClient } from '../../lib/client/shiplog-client.ts';
import type { Environment } from '../../lib/env/environment.ts';
import { createRealEnvironment } from '../../lib/env/real-environment.ts';
import { TransportError } from '../../lib/env/transport.ts';
import type * as server from '../../lib/failover/promote-events.ts';
import { type FakeNode, type FakeRoute, answerProblem, startFakeNode, tableRoute } from './fake-node.ts';
import { OUTCOME, PLAN, answerEvents } from './fake-promotion.ts';

/** Only for the types: does not compile unless what a node says is what the client expects. */
export const eventFits = (event: server.PromoteEvent): PromoteEvent => event;
export const requestFits = (request: PromoteRequest): server.PromoteOptions => request;

const REQUEST: PromoteRequest = { force: false, acceptLoss: null, isDryRun: false };

describe('ShiplogClient, of promotions', () => {
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

  async function start(route: FakeRoute): Promise<FakeNode> {
    const node = await startFakeNode(route);
    nodes.push(node);
    return node;
  }

  function clientAt(url: string): ShiplogClient {
    const { transport, clock } = environment;
    return new ShiplogClient({ transport, clock, url, timeoutMs: 5_000 });
  }

  async function clientOf(route: FakeRoute): Promise<ShiplogClient> {
    return clientAt((await start(route)).url);
  }

  it('says what is wanted, and hands on what the node says', async () => {
    let asked: unknown;
    const client = await clientOf((request, response, body) => {
      asked = [request.method, request.url, request.headers['content-type'], JSON.parse(body)];
      answerEvents(response, [PLAN, { type: 'refused', code: 'promotion-refused', message: 'no', betterUrl: null, command: null }]);
    });
    const { events, failure } = await eventsOf(client.promote({ force: true, acceptLoss: 12, isDryRun: false }));
    expect(failure).to.equal(undefined);
    expect(events.map((event) => event.type)).to.deep.equal(['plan', 'refused']);
    expect(asked).to.deep.equal(['POST', '/promote', 'application/json', { force: true, acceptLoss: 12, dryRun: false }]);
  });

  it('passes over an event of a later version', async () => {
    const client = await clientOf((_request, response) => answerEvents(response, [PLAN, { type: 'applause' }, null, OUTCOME]));
    expect((await eventsOf(client.promote(REQUEST))).events).to.deep.equal([PLAN, OUTCOME]);
  });

  it('is content with the plan of a dry run', async () => {
    const client = await clientOf((_request, response) => answerEvents(response, [PLAN]));
    expect(await eventsOf(client.promote({ ...REQUEST, isDryRun: true }))).to.deep.equal({ events: [PLAN], failure: undefined });
  });

  for (const [title, end] of [
    ['ends', (response) => response.end()],
    ['breaks', (response) => response.destroy()],
    ['turns into something else', (response) => response.end('<html>\n')],
  ] as [string, (response: Parameters<FakeRoute>[1]) => void][]) {
    it(`does not know how a promotion ended whose answer ${title} before its last event`, async () => {
      const client = await clientOf((_request, response) => {
        response.write(`${JSON.stringify(PLAN)}\n`);
        setTimeout(() => end(response), 20);
      });
      const { events, failure } = await eventsOf(client.promote(REQUEST));
      expect(events).to.deep.equal([PLAN]);
      expect(failure).to.have.property('code', 'outcome-unknown');
      expect((failure as Error).message).to.include('run it again').and.to.include('shiplog status');
    });
  }

  it('does not know the outcome of a promotion whose answer never began', async () => {
    const client = await clientOf((request) => request.socket.destroy());
    expect((await eventsOf(client.promote(REQUEST))).failure).to.have.property('code', 'outcome-unknown');
    expect((await eventsOf(client.promote({ ...REQUEST, isDryRun: true }))).failure).to.be.instanceOf(TransportError);
  });

  it('knows that nothing was promoted where nothing listens, or the node refused at once', async () => {
    const client = await clientOf((_request, response) => answerProblem(response, 409, 'promotion-under-way'));
    expect((await eventsOf(client.promote(REQUEST))).failure).to.have.property('code', 'promotion-under-way');
    const silent = await clientOf(tableRoute());
    await nodes.pop()!.close();
    expect((await eventsOf(silent.promote(REQUEST))).failure).to.be.instanceOf(TransportError);
  });

  it('leaves when it is told to, without knowing the outcome', async () => {
    const client = await clientOf((_request, response) => void response.write(`${JSON.stringify(PLAN)}\n`));
    const leave = new AbortController();
    const { failure } = await eventsOf(client.promote(REQUEST, leave.signal), () => leave.abort(new Error('enough')));
    expect(failure).to.have.property('code', 'outcome-unknown');
    expect((failure as Error).message).to.include('enough');
  });

  it('forgets and rejoins', async () => {
    const node = await start((_request, response) => response.end('OK'));
    await clientAt(node.url).forget('replica 2/é');
    await clientAt(node.url).rejoin();
    expect(node.requests).to.deep.equal(['POST /forget?node=replica%202%2F%C3%A9', 'POST /rejoin']);
  });

  it('does not know whether a node was forgotten whose primary broke off', async () => {
    const client = await clientOf((request) => request.socket.destroy());
    const failure = await client.forget('a').catch((error: unknown) => error);
    expect(failure).to.have.property('code', 'outcome-unknown');
    expect((failure as Error).message).to.include('shiplog status').and.to.not.include('read the key');
  });

  it('takes what a node of 0.1 does not say for nothing', async () => {
    const client = await clientOf((_request, response) => response.end('{"name":"old","members":[]}'));
    expect(await client.status()).to.deep.equal({ name: 'old', members: [], epoch: null, promise: null, fence: null, salvage: [] });
  });

  describe('findPrimary', () => {
    const epoch = (number: number) => ({ number, id: String(number).repeat(32) });

    it('finds the primary among the members of a replica', async () => {
      const primary = await start(tableRoute({ name: 'p' }));
      const silent = await start(tableRoute());
      await nodes.pop()!.close();
      const replica = await clientOf(tableRoute({ name: 'r', members: () => [silent.url, primary.url], status: { role: 'replica', state: 'following' } }));
      const found = await findPrimary(replica, clientAt);
      expect(found.primary!.status.name).to.equal('p');
      expect(found.primary!.client.url).to.equal(primary.url);
      expect(found.start.name).to.equal('r');
      expect(found.answers.map((status) => status.name)).to.deep.equal(['r', 'p']);
    });

    it('believes the later of two that call themselves primary', async () => {
      const later = await start(tableRoute({ name: 'later', status: { epoch: epoch(3) } }));
      const earlier = await clientOf(tableRoute({ name: 'earlier', members: () => [later.url], status: { epoch: epoch(2) } }));
      expect((await findPrimary(earlier, clientAt)).primary!.status.name).to.equal('later');
    });

    it('finds none where the only one was fenced, or belongs to another cluster', async () => {
      const foreign = await start(tableRoute({ clusterId: 'other' }));
      const fenced = await clientOf(tableRoute({ members: () => [foreign.url], status: { state: 'fenced' } }));
      expect((await findPrimary(fenced, clientAt)).primary).to.equal(undefined);
    });
  });
});

async function eventsOf(source: AsyncIterable<PromoteEvent>, onEvent: () => void = () => {}): Promise<{ events: PromoteEvent[]; failure: unknown }> {
  const events: PromoteEvent[] = [];
  try {
    for await (const event of source) {
      events.push(event);
      onEvent();
    }
    return { events, failure: undefined };
  } catch (failure) {
    return { events, failure };
  }
}
