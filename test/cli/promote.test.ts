import { expect } from 'chai';
import { Command, CommanderError } from 'commander';
import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { addPromoteCommand } from '../../lib/cli/promote.ts';
import { TransportError } from '../../lib/env/transport.ts';
import type { PromoteEvent, PromotionRefusal } from '../../lib/client/promotion-document.ts';
import { type FakeNode, type FakeRoute, answerProblem, startFakeNode, tableRoute } from '../client/fake-node.ts';
import { OUTCOME, PLAN, STEPS, planOf, promotableRoute } from '../client/fake-promotion.ts';
import { type TestContext, createTestContext, until } from './test-context.ts';
import { PROGRAM, shiplog } from './shiplog-process.ts';

const EVENTS = [PLAN, ...STEPS, OUTCOME];
const REFUSAL: PromotionRefusal = { code: 'promotion-refused', message: 'gone is further', betterUrl: 'http://gone:3', command: 'bin/promote http://gone:3' };

describe('promote', () => {
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

  /** Runs the command as main.ts would, but for the process. */
  async function promote(...args: readonly string[]): Promise<unknown> {
    const program = new Command('shiplog').exitOverride().configureOutput({ writeErr: (line) => context.terminal.note(line.trimEnd()) });
    addPromoteCommand(program, context);
    return program.parseAsync(['promote', ...args], { from: 'user' }).then(
      () => undefined,
      (error: unknown) => error,
    );
  }

  function atTerminal(answer: string): void {
    Object.assign(context.stdin, { isTTY: true });
    Object.assign(context.stderr, { isTTY: true });
    context.stdin.end(answer);
  }

  describe('with --yes', () => {
    it('shows plan and steps, and names the new primary', async () => {
      const asked: unknown[] = [];
      const url = await start(promotableRoute(EVENTS, {}, asked));
      expect(await promote(url, '--yes')).to.equal(undefined);
      expect(asked).to.deep.equal([{ force: false, acceptLoss: null, dryRun: false }]);
      expect(context.said.stdout.split('\n')).to.deep.equal([
        'node\trole\tstate\tposition\tagainst the target\turl',
        'old\tprimary\tprimary\t1.c04d-42\tequal\thttp://old:1',
        'new (target)\treplica\tfollowing\t1.c04d-42\t-\thttp://new:2',
        'gone\t-\tno answer\t-\t-\thttp://gone:3',
        '',
      ]);
      expect(context.said.stderr.split('\n')).to.deep.equal([
        'Switchover to new (http://new:2): the primary is old (http://old:1) and answers. Nothing will be lost.',
        '1 of 4: old finishes its writes',
        '2 of 4: taking the rest',
        '3 of 4: opening epoch 2',
        '4 of 4: telling the members',
        '✓ new (http://new:2) is the primary now: epoch 2.beef, from 2.beef-44 on',
        '',
      ]);
      expect(context.exitCode).to.equal(undefined);
    });

    it('prints the events themselves with --json, and nothing else', async () => {
      expect(await promote(await start(promotableRoute(EVENTS)), '--yes', '--json')).to.equal(undefined);
      expect(context.said.stdout.trimEnd().split('\n').map((line) => JSON.parse(line) as PromoteEvent)).to.deep.equal(EVENTS);
      expect(context.said.stderr).to.equal('');
    });

    it('passes on by how much it may be forced', async () => {
      const asked: unknown[] = [];
      const url = await start(promotableRoute(EVENTS, {}, asked));
      await promote(url, '--yes', '--force', '--accept-loss', '12');
      await promote(url, '--yes', '--force', '--accept-loss', 'unknown');
      await promote(url, '--yes', '--force');
      expect(asked.map((each) => (each as { acceptLoss: unknown }).acceptLoss)).to.deep.equal([12, 'unknown', null]);
    });

    it('says which positions are given up, and what the node warns of', async () => {
      const plan = planOf({ kind: 'forced', primary: null, warnings: ['overridden: no answer'] });
      const lost = { afterPosition: '1.c04d-30', throughPosition: '1.c04d-42', operations: 12 };
      await promote(await start(promotableRoute([plan, { ...OUTCOME, kind: 'forced', lost, warnings: ['overridden: no answer', 'write soon'] }])), '--yes', '--force');
      expect(context.said.stderr).to.include('given up: 12 operations, those after 1.c04d-30 through 1.c04d-42');
      expect(context.said.stderr.match(/overridden: no answer/g)).to.have.lengthOf(1);
      expect(context.said.stderr).to.include('note: write soon');
    });

    it('exits with 7 and says what goes on where it is refused', async () => {
      await promote(await start(promotableRoute([planOf({ refusal: REFUSAL }), { type: 'refused', ...REFUSAL }])), '--yes');
      expect(context.exitCode).to.equal(7);
      expect(context.said.stderr).to.include('shiplog: refused: gone is further\nThe better node: http://gone:3\nWhat goes on: bin/promote http://gone:3\n');
    });

    it('lets nothing that a node says steer the terminal', async () => {
      const refusal = { ...REFUSAL, message: '\u001b[2J', betterUrl: '\u001b[2J', command: '\u001b[2J' };
      await promote(await start(promotableRoute([planOf({ warnings: ['\u001b[2J'] }), { type: 'step', step: 'x', message: '\u001b[2J' }, { type: 'refused', ...refusal }])), '--yes');
      expect(context.said.stderr).to.include('\\u001b[2J').and.to.not.include('\u001b');
    });

    it('leaves at a signal, and says that the outcome is not known', async () => {
      const url = await start((_request, response) => void response.write(`${JSON.stringify(PLAN)}\n`));
      const running = promote(url, '--yes');
      await until(() => context.said.stderr.includes('Switchover'));
      context.signal();
      const failure = await running;
      expect(failure).to.have.property('code', 'outcome-unknown');
      expect((failure as Error).message).to.include('left by SIGTERM').and.to.include('run it again');
    });
  });

  describe('at a terminal', () => {
    it('asks before it changes anything, and goes on with yes', async () => {
      const asked: { dryRun: boolean; expectKind?: string }[] = [];
      const url = await start(promotableRoute(EVENTS, {}, asked));
      atTerminal('y\n');
      expect(await promote(url)).to.equal(undefined);
      expect(asked.map((each) => each.dryRun)).to.deep.equal([true, false]);
      // What was agreed to, and nothing riskier.
      expect(asked.map((each) => each.expectKind)).to.deep.equal([undefined, 'switchover']);
      expect(context.said.stderr).to.include('Switch over from old to new? [y/N] ').and.to.include('is the primary now');
      // Shown once, although the node says it twice.
      expect(context.said.stdout.match(/new \(target\)/g)).to.have.lengthOf(1);
    });

    for (const answer of ['n\n', '\n', '', 'yesterday\n']) {
      it(`changes nothing when the answer is ${JSON.stringify(answer)}`, async () => {
        const asked: { dryRun: boolean }[] = [];
        const url = await start(promotableRoute(EVENTS, {}, asked));
        atTerminal(answer);
        await promote(url);
        expect(asked.map((each) => each.dryRun)).to.deep.equal([true]);
        expect(context.said.stderr).to.include('nothing was changed');
        expect(context.exitCode).to.equal(1);
      });
    }

    it('says so when the plan has changed while somebody thought it over', async () => {
      let isFirst = true;
      const url = await start((request, response, body) => {
        const plan = isFirst ? PLAN : planOf({ kind: 'failover' });
        isFirst = false;
        promotableRoute([plan, OUTCOME])(request, response, body);
      });
      atTerminal('yes\n');
      await promote(url);
      expect(context.said.stderr).to.match(/things have changed since the plan was shown:\nFailover to new/);
    });

    it('asks nothing where the plan is refused, or nothing is to be done', async () => {
      atTerminal('');
      await promote(await start(promotableRoute([planOf({ refusal: REFUSAL })])));
      expect(context.exitCode).to.equal(7);
      await promote(await start(promotableRoute([planOf({ kind: 'none' }), { ...OUTCOME, kind: 'none' }])));
      expect(context.said.stderr).to.include('is the primary already: epoch 2.beef').and.to.not.include('[y/N]');
    });
  });

  it('changes nothing in a dry run, and needs no terminal', async () => {
    const asked: { dryRun: boolean }[] = [];
    await promote(await start(promotableRoute(EVENTS, {}, asked)), '--dry-run');
    expect(asked.map((each) => each.dryRun)).to.deep.equal([true]);
    expect(context.said.stderr).to.include('nothing was changed');
    expect(context.exitCode).to.equal(undefined);
  });

  it('tells scripts by exit code and last line what a dry run found', async () => {
    await promote(await start(promotableRoute([planOf({ refusal: REFUSAL })])), '--dry-run', '--json');
    expect(context.exitCode).to.equal(7);
    expect(JSON.parse(context.said.stdout.trimEnd().split('\n').at(-1)!)).to.deep.equal({ type: 'refused', ...REFUSAL });
  });

  describe('without a URL', () => {
    /** The default node with members; each is a route of its own. */
    async function withMembers(defaultStatus: object, ...members: readonly FakeRoute[]): Promise<readonly string[]> {
      const urls: string[] = [];
      for (const member of members) urls.push(await start(member));
      const own = await start(promotableRoute(EVENTS, { name: 'here', members: () => urls, status: defaultStatus }));
      context = createTestContext({ SHIPLOG_URL: own });
      return [own, ...urls];
    }

    it('takes the one replica that the default node knows', async () => {
      const asked: unknown[] = [];
      await withMembers({}, promotableRoute(EVENTS, { name: 'there', status: { role: 'replica', state: 'following' } }, asked));
      expect(await promote('--dry-run')).to.equal(undefined);
      expect(asked).to.have.lengthOf(1);
    });

    it('names those to choose from where there are two', async () => {
      const replica = tableRoute({ status: { role: 'replica', state: 'following' } });
      const [, one, two] = await withMembers({}, replica, replica);
      expect(await promote('--dry-run')).to.be.instanceOf(CommanderError);
      expect(context.said.stderr).to.include(`there are 2 replicas, name one of them: ${one} (member-0), ${two} (member-1)`);
    });

    it('does not go back and forth when it is run twice by a script', async () => {
      const asked: unknown[] = [];
      const [, url] = await withMembers({}, promotableRoute(EVENTS, { status: { role: 'replica', state: 'following' } }, asked));
      expect(await promote('--yes')).to.be.instanceOf(CommanderError);
      expect(context.said.stderr).to.include(`with --yes, name the node: bin/promote ${url} --yes`);
      expect(asked).to.deep.equal([]);
    });

    it('takes the only replica that is left, also with --yes, where no primary answers', async () => {
      const asked: unknown[] = [];
      const gone = await start(tableRoute());
      await nodes.pop()!.close();
      // The default node is the replica itself, which is a member too.
      let own = '';
      own = await start((request, response, body) =>
        promotableRoute(EVENTS, { name: 'here', members: () => [gone], status: { role: 'replica', state: 'following', url: own } }, asked)(request, response, body),
      );
      context = createTestContext({ SHIPLOG_URL: own });
      expect(await promote('--yes')).to.equal(undefined);
      expect(asked).to.deep.equal([{ force: false, acceptLoss: null, dryRun: false }]);
    });

    it('asks for a name where the default node does not answer', async () => {
      const gone = await start(tableRoute());
      await nodes.pop()!.close();
      context = createTestContext({ SHIPLOG_URL: gone });
      expect(await promote('--yes')).to.be.instanceOf(TransportError);
      expect(context.said.stderr).to.include('to promote another node, name it: bin/promote URL');
    });
  });

  describe('as a process', () => {
    it('exits with 2 where nobody can be asked', async () => {
      const url = await start(promotableRoute(EVENTS));
      const { code, stdout, stderr } = await shiplog(['promote', url]);
      expect({ code, stdout }).to.deep.equal({ code: 2, stdout: '' });
      expect(stderr).to.equal('shiplog: there is no terminal to ask at: add --yes to go on without being asked, or --dry-run to see the plan\n');
      expect(nodes[0]!.requests).to.deep.equal([]);
    });

    for (const [args, message] of [
      [['--accept-loss', '3'], /--accept-loss goes with --force/],
      [['--force', '--accept-loss', 'all'], /Expected a number of operations, or "unknown"/],
    ] as const) {
      it(`exits with 2 for ${args.join(' ')}`, async () => {
        const { code, stderr } = await shiplog(['promote', 'http://127.0.0.1:1', '--yes', ...args]);
        expect(stderr).to.match(message);
        expect(code).to.equal(2);
      });
    }

    it('exits with 6 where the answer breaks off, with 7 where it is refused, with 75 where another promotion runs', async () => {
      const urls = [
        await start((_request, response) => {
          response.write(`${JSON.stringify(PLAN)}\n`);
          setTimeout(() => response.destroy(), 20);
        }),
        await start(promotableRoute([{ type: 'refused', ...REFUSAL }])),
        await start((_request, response) => answerProblem(response, 409, 'promotion-under-way')),
      ];
      const codes: unknown[] = [];
      for (const url of urls) codes.push((await shiplog(['promote', url, '--yes'])).code);
      expect(codes).to.deep.equal([6, 7, 75]);
    });

    it('is bin/promote, also through a symbolic link and from another directory', async () => {
      const directory = await mkdtemp(join(tmpdir(), 'shiplog-promote-'));
      try {
        const url = await start(promotableRoute(EVENTS));
        await symlink(PROGRAM.replace(/shiplog$/, 'promote'), join(directory, 'promote'));
        const child = spawn(join(directory, 'promote'), [url, '--yes', '--json'], { cwd: directory });
        const exited = once(child, 'close') as Promise<[number | null]>;
        expect((await text(child.stdout)).trimEnd().split('\n')).to.have.lengthOf(EVENTS.length);
        expect((await exited)[0]).to.equal(0);
      } finally {
        await rm(directory, { recursive: true });
      }
    });
  });
});
