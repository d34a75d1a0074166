import { expect } from 'chai';
import { type FakeNode, type FakeRoute, answerProblem, startFakeNode, tableRoute } from '../client/fake-node.ts';
import { shiplog } from './shiplog-process.ts';

describe('forget and rejoin', () => {
  let nodes: FakeNode[] = [];
  afterEach(async () => {
    await Promise.all(nodes.map((node) => node.close()));
    nodes = [];
  });

  async function start(route: FakeRoute): Promise<FakeNode> {
    const node = await startFakeNode(route);
    nodes.push(node);
    return node;
  }

  /** Answers orders, and the rest like any node. */
  function ordered(answer: FakeRoute, options: Parameters<typeof tableRoute>[0]): FakeRoute {
    const table = tableRoute(options);
    return (request, response, body) => (request.method === 'POST' ? answer(request, response, body) : table(request, response, body));
  }

  const yes: FakeRoute = (_request, response) => void response.end('OK');
  const DIVERGED = { role: 'replica', state: 'diverged', fence: { kind: 'diverged', reason: 'LSN 7 through 9 are not in the history of new' } };

  describe('forget', () => {
    it('finds the primary and tells it', async () => {
      const primary = await start(ordered(yes, { name: 'p' }));
      const replica = await start(tableRoute({ name: 'r', members: () => [primary.url], status: { role: 'replica', state: 'following' } }));
      expect(await shiplog(['forget', 'replica-2', '--url', replica.url])).to.deep.equal({ code: 0, stdout: '', stderr: `✓ p (${primary.url}) has forgotten replica-2\n` });
      expect(primary.requests).to.include('POST /forget?node=replica-2');
      expect(replica.requests).to.deep.equal(['GET /status']);
    });

    it('exits with 3 for a member that nobody knows, and with 75 without a primary', async () => {
      const primary = await start(ordered((_request, response) => answerProblem(response, 404, 'not-found'), {}));
      expect((await shiplog(['forget', 'nobody', '--url', primary.url])).code).to.equal(3);
      const replica = await start(tableRoute({ status: { role: 'replica', state: 'following' } }));
      const { code, stderr } = await shiplog(['forget', 'a', '--url', replica.url]);
      expect(code).to.equal(75);
      expect(stderr).to.include('only that one can forget');
      expect(replica.requests).to.deep.equal(['GET /status']);
    });
  });

  describe('rejoin', () => {
    it('says why the node waits, and lets it go on', async () => {
      const node = await start(ordered(yes, { name: 'r', status: DIVERGED }));
      const { code, stdout, stderr } = await shiplog(['rejoin', node.url, '--yes', '--json']);
      expect({ code, stdout }).to.deep.equal({ code: 0, stdout: `${JSON.stringify({ node: 'r', url: node.url })}\n` });
      expect(stderr).to.include('r is diverged: LSN 7 through 9 are not in the history of new');
      expect(node.requests).to.deep.equal(['GET /status', 'POST /rejoin']);
    });

    it('leaves a node alone that waits for nothing', async () => {
      const node = await start(ordered(yes, { name: 'r', status: { role: 'replica', state: 'following' } }));
      const { code, stderr } = await shiplog(['rejoin', node.url, '--yes']);
      expect(code).to.equal(1);
      expect(stderr).to.include('waits for no decision: it is following');
      expect(node.requests).to.deep.equal(['GET /status']);
    });

    it('exits with 2 where nobody can be asked', async () => {
      const node = await start(ordered(yes, { status: DIVERGED }));
      expect((await shiplog(['rejoin', node.url])).code).to.equal(2);
      expect(node.requests).to.deep.equal([]);
    });
  });
});
