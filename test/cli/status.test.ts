import { expect } from 'chai';
import { Command } from 'commander';
import { PassThrough } from 'node:stream';
import { sparkline } from '../../lib/cli/sparkline.ts';
import { addStatusCommand } from '../../lib/cli/status.ts';
import { Screen, Terminal } from '../../lib/cli/terminal.ts';
import { type FakeNode, type FakeRoute, startFakeNode, tableRoute } from '../client/fake-node.ts';
import { shiplog, spawnShiplog } from './shiplog-process.ts';
import { type TestContext, createTestContext, until } from './test-context.ts';

const FOLLOWING = { role: 'replica', state: 'following' };
const upstream = (lagMs: number | null) => ({ url: 'http://p:1', connected: lagMs !== null, lagOperations: 3, lagMs, lastError: null });

describe('status', () => {
  let nodes: FakeNode[];
  let context: TestContext;
  beforeEach(() => {
    nodes = [];
    context = createTestContext();
  });
  afterEach(async () => {
    await context.environment.transport.close();
    await Promise.all(nodes.map((node) => node.close()));
  });

  async function start(route: FakeRoute): Promise<string> {
    const node = await startFakeNode(route);
    nodes.push(node);
    return node.url;
  }

  async function silentUrl(): Promise<string> {
    const url = await start(tableRoute());
    await nodes.pop()!.close();
    return url;
  }

  async function run(...args: readonly string[]): Promise<void> {
    const program = new Command('shiplog').exitOverride();
    addStatusCommand(program, context);
    await program.parseAsync(['status', ...args], { from: 'user' });
  }

  const rows = (): string[][] => context.said.stdout.trimEnd().split('\n').map((line) => line.split('\t'));

  it('shows the epoch, and the role that counts', async () => {
    await run(
      await start(tableRoute({ name: 'a', status: { epoch: { number: 12, id: `beef${'0'.repeat(28)}` } } })),
      await start(tableRoute({ name: 'b', status: { state: 'fenced', fence: { kind: 'superseded', reason: 'a holds epoch 12' } } })),
      await start(tableRoute({ name: 'c', status: { ...FOLLOWING, epoch: null } })),
    );
    expect(rows().map((row) => row.slice(0, 4))).to.deep.equal([
      ['node', 'role', 'state', 'epoch'],
      ['a', 'primary', 'primary', '12.beef'],
      ['b', 'former primary', 'fenced', '1.c04d'],
      ['c', 'replica', 'following', '-'],
    ]);
    expect(context.said.stderr).to.equal('b takes no part (superseded): a holds epoch 12\n');
  });

  it('says what waits for somebody: diverged nodes, promises, salvage', async () => {
    const promise = { epoch: { number: 3, id: `beef${'0'.repeat(28)}` }, targetNodeId: 't', targetUrl: 'http://t:1' };
    const diverged = await start(tableRoute({ name: 'd', status: { role: 'replica', state: 'diverged', fence: { kind: 'diverged', reason: 'beyond the fork' } } }));
    await run(diverged, await start(tableRoute({ name: 'q', status: { role: 'replica', state: 'promised', promise } })), await start(tableRoute({ name: 's', status: { salvage: ['1.c04d-9.ndjson'] } })));
    expect(context.said.stderr.split('\n')).to.deep.equal([
      'd takes no part (diverged): beyond the fork',
      `  to have it set its own operations aside and follow: shiplog rejoin ${diverged}`,
      'q has promised itself to epoch 3.beef of http://t:1; if that promotion was interrupted: bin/promote http://t:1',
      's keeps operations that a failover left behind: 1.c04d-9.ndjson; to look at them, on its machine: shiplog salvage show --data-dir /somewhere/data',
      '',
    ]);
  });

  it('says which members count for no ack yet, and who keeps them from it', async () => {
    const member = (name: string, isSettled: boolean) => ({ nodeId: name, name, url: `http://${name}:1`, isSettled });
    const follower = (name: string, connected: boolean) => ({ nodeId: name, name, connected, lagOperations: 0 });
    const members = [member('p', false), member('old', true), member('new', false)];
    await run(await start(tableRoute({ name: 'p', status: { members, followers: [follower('new', true), follower('old', false)] } })));
    expect(context.said.stderr).to.equal('not counted for ack yet: new; every replica has to know all members first; away: old (where it is gone for good: shiplog forget)\n');
  });

  it('says nothing of members who all count, nor what a replica believes of them', async () => {
    const members = (isSettled: boolean) => ['p', 'r'].map((name) => ({ nodeId: name, name, url: `http://${name}:1`, isSettled }));
    await run(
      await start(tableRoute({ name: 'p', status: { members: members(true) } })),
      await start(tableRoute({ name: 'r', status: { ...FOLLOWING, members: members(false) } })),
    );
    expect(context.said.stderr).to.equal('');
  });

  it('says that two nodes take themselves for the primary', async () => {
    await run(await start(tableRoute({ name: 'a' })), await start(tableRoute({ name: 'b', status: { epoch: { number: 2, id: `beef${'0'.repeat(28)}` } } })));
    expect(context.said.stderr).to.include('2 nodes take themselves for the primary: a (epoch 1.c04d), b (epoch 2.beef)');
  });

  it('names a member that does not answer, and what the primary knows of it', async () => {
    const silent = await silentUrl();
    const followers = [{ nodeId: 'member-0', name: 'member-0', connected: false, lagOperations: 17 }];
    context = createTestContext({ SHIPLOG_URL: await start(tableRoute({ name: 'p', members: () => [silent], status: { followers } })) });
    await run();
    expect(rows()[2]).to.deep.equal(['member-0', '-', 'no answer', '-', '-', '-', '17 ops', '-', '-', silent]);
    expect(context.exitCode).to.equal(4);
  });

  it('says what to do where no node is the primary', async () => {
    const silent = await silentUrl();
    context = createTestContext({ SHIPLOG_URL: await start(tableRoute({ name: 'r', members: () => [silent], status: FOLLOWING })) });
    await run();
    expect(context.said.stderr).to.include('none of these nodes is the primary').and.to.include('bin/promote');
  });

  describe('with --watch', () => {
    it('adds lines with their time, until it is told to stop', async () => {
      const url = await start(tableRoute({ name: 'p' }));
      const watching = run(url, '--watch', '0.1');
      await until(() => rows().length > 3);
      context.signal();
      await watching;
      expect(rows()[0]!.slice(0, 3)).to.deep.equal(['time', 'node', 'role']);
      for (const row of rows().slice(1)) {
        expect(row[0]).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
        expect(row.slice(1, 3)).to.deep.equal(['p', 'primary']);
      }
      expect(context.exitCode).to.equal(undefined);
    });

    it('prints a document a line with --json', async () => {
      const watching = run(await start(tableRoute({ name: 'p' })), '--watch', '0.1', '--json');
      await until(() => rows().length > 1);
      context.signal();
      await watching;
      const documents = context.said.stdout.trimEnd().split('\n').map((line) => JSON.parse(line) as { time: string; nodes: { status: { name: string } }[] });
      expect(documents.map(({ nodes }) => nodes.map(({ status }) => status.name))).to.deep.equal(documents.map(() => ['p']));
    });

    it('keeps a node in the picture that stops answering, and finds the members when the first one is gone', async () => {
      let others: readonly string[] = [];
      const other = await startFakeNode(tableRoute({ name: 'member-0', members: () => others, status: { ...FOLLOWING, upstream: upstream(0) } }));
      others = [other.url];
      nodes.push(other);
      const first = await startFakeNode(tableRoute({ name: 'p', members: () => [other.url] }));
      nodes.push(first);
      context = createTestContext({ SHIPLOG_URL: first.url });
      const watching = run('--watch', '0.1');
      await until(() => rows().length > 3);
      await first.close();
      nodes = [other];
      await until(() => rows().at(-1)![1] === 'member-0' && rows().at(-2)![3] === 'no answer');
      expect(rows().at(-2)!.at(-1)).to.equal(first.url);
      expect(context.said.stderr).to.include('none of these nodes is the primary');
      context.signal();
      await watching;
    });

    it('says what is wrong once, as long as it stays the same', async () => {
      const url = await start(tableRoute({ name: 'f', status: { state: 'fenced', fence: { kind: 'superseded', reason: 'late' } } }));
      const watching = run(url, '--watch', '0.1');
      await until(() => rows().length > 4);
      context.signal();
      await watching;
      expect(context.said.stderr.match(/takes no part/g)).to.have.lengthOf(1);
    });

    it('paints over itself on a terminal, with the lag of each replica over time', async () => {
      let painted = '';
      const stdout = Object.assign(new PassThrough().on('data', (chunk) => (painted += String(chunk))), { isTTY: true, rows: 40 });
      const terminal = new Terminal({ stdout, stderr: new PassThrough(), environment: { NO_COLOR: '1' }, clock: context.environment.clock });
      const onTerminal = { ...context, terminal };
      const lagsMs = [0, 250, 2_000];
      let asked = 0;
      const url = await start((request, response, body) => {
        const lagMs = lagsMs[Math.min(asked, 2)]!;
        asked += 1;
        tableRoute({ name: 'r', status: { ...FOLLOWING, upstream: upstream(lagMs) } })(request, response, body);
      });
      const program = new Command('shiplog').exitOverride();
      addStatusCommand(program, onTerminal);
      const watching = program.parseAsync(['status', url, '--watch', '0.1'], { from: 'user' });
      await until(() => painted.includes('▁▂█ max 2s'));
      context.signal();
      await watching;
      expect(painted.startsWith('\u001b[?25l\u001b[?7l\u001b[2J\u001b[H')).to.equal(true);
      expect(painted.endsWith('\u001b[?7h\u001b[?25h')).to.equal(true);
      expect(painted.split('\u001b[2J')).to.have.lengthOf(2);
    });

    it('ends when nobody reads any more', async () => {
      const url = await start(tableRoute());
      const child = spawnShiplog(['status', url, '--watch', '0.1']);
      child.stdin.end();
      const [code] = await new Promise<[number | null]>((resolve) => {
        child.once('close', (...end) => resolve(end as unknown as [number | null]));
        child.stdout.once('data', () => child.stdout.destroy());
      });
      expect(code).to.equal(0);
    });

    for (const wrong of ['0', '-1', '7200', 'http://127.0.0.1:4455']) {
      it(`refuses ${wrong} as seconds`, async () => {
        const { code, stderr } = await shiplog(['status', '--watch', wrong]);
        expect(code).to.equal(2);
        expect(stderr).to.match(/Expected seconds|unknown option/);
      });
    }
  });

  describe('sparkline', () => {
    it('fills a block at its ceiling, or at the highest sample', () => {
      expect(sparkline([0, 500, 1_000], 1_000)).to.equal('▁▅█');
      expect(sparkline([0, 500, 2_000], 1_000)).to.equal('▁▃█');
    });

    it('leaves a dot where nothing is known', () => {
      expect(sparkline([null, 0, null], 1_000)).to.equal('·▁·');
      expect(sparkline([], 1_000)).to.equal('');
    });
  });

  describe('screen', () => {
    const paintedBy = (rows: number, ...texts: readonly string[]): string => {
      let painted = '';
      const screen = new Screen(Object.assign(new PassThrough().on('data', (chunk) => (painted += String(chunk))), { rows }));
      for (const text of texts) screen.paint(text);
      return painted;
    };

    it('never scrolls: what would not fit is counted', () => {
      expect(paintedBy(5, 'r1\nr2\nr3\nr4\nr5\nr6\n')).to.match(/r3\S*\n… and 3 more lines\S*\n\S*$/).and.to.not.include('r4');
      expect(paintedBy(5, 'r1\nr2\nr3\nr4\n')).to.include('r4').and.to.not.include('…');
    });

    it('takes a terminal that does not tell its size for one of 24 rows', () => {
      expect(paintedBy(0, Array.from({ length: 23 }, (_, index) => `row${index}`).join('\n'))).to.include('row22').and.to.not.include('…');
    });

    it('clears what the picture before left behind', () => {
      expect(paintedBy(24, 'long\nlonger', 'x').split('\u001b[H').at(-1)).to.equal('x\u001b[K\n\u001b[J');
    });
  });
});
