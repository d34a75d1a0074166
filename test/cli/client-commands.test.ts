import { expect } from 'chai';
import { spawn } from 'node:child_process';
import { type AddressInfo, createServer } from 'node:net';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { text } from 'node:stream/consumers';
import { type FakeNode, type FakeRoute, answerProblem, startFakeNode, tableRoute } from '../client/fake-node.ts';
import { PROGRAM, shiplog } from './shiplog-process.ts';

describe('shiplog', () => {
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

  describe('help', () => {
    for (const command of [[], ['get'], ['set'], ['del'], ['export'], ['import'], ['status'], ['promote'], ['forget'], ['rejoin'], ['salvage', 'list'], ['salvage', 'show'], ['salvage', 'apply'], ['salvage', 'done'], ['snapshot', 'save'], ['snapshot', 'restore'], ['verify'], ['wal', 'verify'], ['bench'], ['config', 'check'], ['cluster'], ['serve']]) {
      it(`of "${['shiplog', ...command].join(' ')}" ends well and shows ${command.length === 0 ? 'the exit codes' : 'examples'}`, async () => {
        const { code, stdout, stderr } = await shiplog([...command, '--help']);
        expect(code).to.equal(0);
        expect(stdout).to.match(/^Usage: shiplog /).and.to.include(command.length === 0 ? 'Exit codes:' : 'Examples:\n  $ ');
        expect(stderr).to.equal('');
      });
    }

    it('has the version of the package', async () => {
      const { version } = JSON.parse(await readFile(join(import.meta.dirname, '../../package.json'), 'utf8')) as { version: string };
      expect((await shiplog(['--version'])).stdout).to.equal(`${version}\n`);
    });
  });

  describe('called wrongly', () => {
    const wrong: readonly (readonly [readonly string[], RegExp])[] = [
      [['frobnicate'], /^shiplog: unknown command 'frobnicate'/],
      [['gett', 'a'], /Did you mean get\?/],
      [['get'], /^shiplog: missing required argument 'key'/],
      [['get', 'a', 'b'], /^shiplog: too many arguments/],
      [['get', 'a', '--jsn'], /Did you mean --json\?/],
      [['get', 'a', '--url', 'ftp://x'], /Expected a URL like http:\/\/127\.0\.0\.1:4455/],
      [['get', 'a', '--min', '42'], /Expected a position like 1\.c04d-42/],
      [['set', 'a', 'b', '--ack', '0'], /Expected memory, local, all, or a number of replicas from 1 on/],
      [['bench', '--reads', '101'], /Expected an integer from 0 to 100/],
      [['bench', '--seconds', '0'], /Expected seconds, 0\.1 to 86400/],
      [['verify', 'http://127.0.0.1:1'], /^shiplog: expected at least two URLs/],
      [['verify', '/tmp', 'http://127.0.0.1:1'], /^shiplog: expected one directory, or URLs/],
      // What Node makes of arguments that are no UTF-8.
      [['set', 'k', 'caf\uFFFD'], /^shiplog: .* is invalid for argument 'value'. Expected UTF-8 text/],
      [['get', 'caf\uFFFD'], /^shiplog: .* is invalid for argument 'key'. Expected UTF-8 text/],
      [['cluster', '--replicas', '13'], /Expected an integer from 0 to 12/],
      [['cluster', '--port', '65530'], /^shiplog: the last of 2 nodes would listen on port 65541/],
    ];
    for (const [args, message] of wrong) {
      it(`says what is wrong with "${args.join(' ')}"`, async () => {
        const { code, stdout, stderr } = await shiplog(args);
        expect(stderr).to.match(message);
        expect(stdout).to.equal('');
        expect(code).to.be.oneOf([2, 78]);
      });
    }
  });

  it('says in one line that its results can not be written', async () => {
    const child = spawn('sh', ['-c', 'exec "$0" --help >/dev/full', PROGRAM]);
    const exited = once(child, 'close') as Promise<[number | null]>;
    expect(await text(child.stderr)).to.match(/^shiplog: can't write to standard output: ENOSPC.*\n$/);
    expect((await exited)[0]).to.equal(74);
  });

  describe('get, set and del', () => {
    it('keep the value apart from what is said about it', async () => {
      const { url } = await start(tableRoute());
      expect(await shiplog(['set', 'greeting', 'hello', '--url', url])).to.deep.equal({
        code: 0,
        stdout: '',
        stderr: '✓ OK, "greeting" written at 1.c04d-2\n',
      });
      expect(await shiplog(['get', 'greeting', '--url', url])).to.deep.equal({ code: 0, stdout: 'hello', stderr: '' });
      expect((await shiplog(['del', 'greeting'], { variables: { SHIPLOG_URL: url } })).stderr).to.include('deleted at 1.c04d-3');
    });

    it('speak JSON', async () => {
      const { url } = await start(tableRoute());
      expect(JSON.parse((await shiplog(['set', 'k', 'v', '--json', '--url', url])).stdout)).to.deep.equal({ key: 'k', position: '1.c04d-2', ack: 'local' });
      expect(JSON.parse((await shiplog(['get', 'k', '--json', '--url', url])).stdout)).to.deep.equal({ key: 'k', value: 'v', position: '1.c04d-2' });
    });

    it('ask for a level, and say which one was reached', async () => {
      const node = await start(tableRoute());
      expect((await shiplog(['set', 'k', 'v', '--ack', '2', '--url', node.url])).stderr).to.equal('✓ OK, "k" written at 1.c04d-2, also on 2 replicas\n');
      expect(JSON.parse((await shiplog(['set', 'k', 'v', '--ack', 'memory', '--json', '--url', node.url])).stdout)).to.deep.equal({ key: 'k', position: null, ack: 'memory' });
      expect(JSON.parse((await shiplog(['del', 'k', '--ack', '1', '--json', '--url', node.url])).stdout)).to.deep.equal({ key: 'k', position: '1.c04d-4', ack: 1 });
      expect(node.requests).to.deep.equal(['POST /set/k?ack=2', 'POST /set/k?ack=memory', 'DELETE /del/k?ack=1']);
    });

    it('exit with 6 where a write is stored but not confirmed', async () => {
      const { url } = await start((_request, response) => answerProblem(response, 504, 'ack-timeout'));
      expect(await shiplog(['set', 'k', 'v', '--ack', 'all', '--url', url])).to.deep.equal({ code: 6, stdout: '', stderr: 'shiplog: the detail of ack-timeout\n' });
    });

    it('read no older than a position, and exit with 8 where it is lost, 75 where it is not there yet', async () => {
      const node = await start((request, response) => {
        if (request.url!.endsWith('-9')) answerProblem(response, 410, 'position-lost');
        else answerProblem(response, 503, 'position-not-reached');
      });
      expect((await shiplog(['get', 'k', '--min', '1.c04d-9', '--url', node.url])).code).to.equal(8);
      expect((await shiplog(['get', 'k', '--min', '1.c04d-8', '--url', node.url])).code).to.equal(75);
      expect(node.requests).to.deep.equal(['GET /get/k?min=1.c04d-9', 'GET /get/k?min=1.c04d-8']);
    });

    it('exit with 3 where there is no such key', async () => {
      const { url } = await start(tableRoute());
      for (const command of ['get', 'del']) {
        expect(await shiplog([command, 'nothing', '--url', url])).to.deep.equal({ code: 3, stdout: '', stderr: 'shiplog: there is no key "nothing"\n' });
      }
    });

    it('take a value from standard input, as it is', async () => {
      const table = new Map<string, string>();
      const { url } = await start(tableRoute({ table }));
      expect((await shiplog(['set', 'k', '-', '--url', url], { stdin: '\uFEFFtwo\nlines\n' })).code).to.equal(0);
      expect(table.get('k')).to.equal('\uFEFFtwo\nlines\n');
    });

    it('refuse standard input that is no text, or too much of it', async () => {
      const node = await start(tableRoute());
      const binary = await shiplog(['set', 'k', '-', '--url', node.url], { stdin: Buffer.from([0xff, 0xfe]) });
      expect(binary).to.include({ code: 1, stdout: '' });
      expect(binary.stderr).to.include('not UTF-8');
      const large = await shiplog(['set', 'k', '-', '--url', node.url], { stdin: Buffer.alloc(17 * 1024 * 1024, 'a') });
      expect(large.code).to.equal(1);
      expect(large.stderr).to.include('larger than 16777216 bytes');
      expect(node.requests).to.deep.equal([]);
    });

    it('exit with 4, and a hint, where nothing answers', async () => {
      const { code, stderr } = await shiplog(['get', 'k', '--url', `127.0.0.1:${await freePort()}`]);
      expect(code).to.equal(4);
      expect(stderr).to.include('ECONNREFUSED').and.to.include('npm start');
    });

    it('exit with 6 where a write may have happened', async () => {
      const { url } = await start((request) => request.socket.destroy());
      const { code, stderr } = await shiplog(['set', 'k', 'v', '--url', url]);
      expect(code).to.equal(6);
      expect(stderr).to.include('may have been carried out');
    });

    it('exit with 75 where the node wants a retry', async () => {
      const { url } = await start((_request, response) => answerProblem(response, 503, 'no-primary'));
      expect(await shiplog(['set', 'k', 'v', '--url', url])).to.deep.equal({ code: 75, stdout: '', stderr: 'shiplog: the detail of no-primary\n' });
    });

    it('exit with 78 where SHIPLOG_URL is no URL', async () => {
      const { code, stderr } = await shiplog(['get', 'k'], { variables: { SHIPLOG_URL: 'http://' } });
      expect(code).to.equal(78);
      expect(stderr).to.include('SHIPLOG_URL is "http://"');
    });

    it('let nothing that a node says steer the terminal', async () => {
      const { url } = await start((_request, response) => response.writeHead(500).end('\u001b[2Jgone'));
      const { stderr } = await shiplog(['get', 'k', '--url', url]);
      expect(stderr).to.include('\\u001b[2Jgone').and.not.include('\u001b');
    });
  });

  describe('status', () => {
    it('prints one line with tabs for each node', async () => {
      const nodes = [await start(tableRoute({ name: 'first' })), await start(tableRoute({ name: 'second' }))];
      const { code, stdout } = await shiplog(['status', ...nodes.map((node) => node.url)]);
      expect(code).to.equal(0);
      const rows = stdout.trimEnd().split('\n').map((line) => line.split('\t'));
      expect(rows.map((row) => row[0])).to.deep.equal(['node', 'first', 'second']);
      expect(rows[1]).to.include.members(['primary', '1.c04d-1', '1m 30s', nodes[0]!.url]);
    });

    it('asks the members that the default node knows', async () => {
      const other = await start(tableRoute({ name: 'other' }));
      const first = await start(tableRoute({ name: 'first', members: () => [other.url] }));
      const { stdout } = await shiplog(['status', '--json'], { variables: { SHIPLOG_URL: first.url } });
      const answers = JSON.parse(stdout) as { url: string; status: { name: string } }[];
      expect(answers.map(({ url, status }) => [url, status.name])).to.deep.equal([
        [first.url, 'first'],
        [other.url, 'other'],
      ]);
    });

    it('asks once where a replaced machine has two members at one URL', async () => {
      const other = await start(tableRoute({ name: 'other' }));
      const first = await start(tableRoute({ name: 'first', members: () => [other.url, other.url] }));
      const { stdout } = await shiplog(['status', '--json'], { variables: { SHIPLOG_URL: first.url } });
      expect(JSON.parse(stdout)).to.have.lengthOf(2);
    });

    it('shows the nodes that answer, and exits with 4 for those that do not', async () => {
      const node = await start(tableRoute({ name: 'first' }));
      const { code, stdout, stderr } = await shiplog(['status', node.url, `http://127.0.0.1:${await freePort()}`]);
      expect(code).to.equal(4);
      expect(stdout).to.include('first\tprimary').and.to.include('no answer');
      expect(stderr).to.include('ECONNREFUSED');
    });
  });

  describe('verify', () => {
    it('says that nodes are equal', async () => {
      const nodes = [await start(tableRoute({ name: 'a' })), await start(tableRoute({ name: 'b' }))];
      const { code, stderr } = await shiplog(['verify', ...nodes.map((node) => node.url)]);
      expect(code).to.equal(0);
      expect(stderr).to.equal('✓ equal at 1.c04d-1\n');
    });

    it('exits with 5 where they differ', async () => {
      const nodes = [await start(tableRoute({ name: 'a' })), await start(tableRoute({ name: 'b', table: new Map([['k', 'v']]) }))];
      const { code, stdout, stderr } = await shiplog(['verify', ...nodes.map((node) => node.url)]);
      expect(code).to.equal(5);
      expect(stdout.split('\n')).to.have.lengthOf(4);
      expect(stderr).to.include('the nodes differ');
    });
  });

  it('saves a snapshot and says its position on standard error', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'shiplog-save-'));
    try {
      const content = Buffer.alloc(100_000, 'snapshot');
      const headers = {
        'etag': `"sha256-${createHash('sha256').update(content).digest('hex')}"`,
        'content-length': content.length,
        'shiplog-position': '1.c04d-42',
        'shiplog-cluster': '0'.repeat(32),
        'shiplog-epoch': `1.c04d${'0'.repeat(28)}`,
        'shiplog-chain': '0000abcd',
      };
      const table = tableRoute();
      const { url } = await start((request, response, body) => {
        if (request.url === '/snapshot') response.writeHead(200, headers).end(content);
        else table(request, response, body);
      });
      const file = join(directory, 'backup.shiplog');
      const { code, stdout, stderr } = await shiplog(['snapshot', 'save', url, file]);
      expect({ code, stdout }).to.deep.equal({ code: 0, stdout: '' });
      expect(stderr).to.include('97.7 KiB at 1.c04d-42');
      expect((await readFile(file)).equals(content)).to.equal(true);
      expect((await shiplog(['snapshot', 'save', url, file])).code).to.equal(1);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('does not wait for a snapshot of a node that is not there', async () => {
    const { code, stderr } = await shiplog(['snapshot', 'save', `http://127.0.0.1:${await freePort()}`, '/tmp/never-written']);
    expect(code).to.equal(4);
    expect(stderr).to.include('ECONNREFUSED');
  });

  describe('config check', () => {
    it('shows each value with its source', async () => {
      const { code, stdout } = await shiplog(['config', 'check', '--json', '--port', '5000'], { variables: { SHIPLOG_LOG_LEVEL: 'debug' } });
      expect(code).to.equal(0);
      const shown = JSON.parse(stdout) as Record<string, { value: unknown; source: string }>;
      expect(shown['port']).to.deep.equal({ value: 5000, source: 'flag' });
      expect(shown['logLevel']).to.deep.equal({ value: 'debug', source: 'environment' });
      expect(shown['host']).to.deep.equal({ value: '127.0.0.1', source: 'default' });
    });

    it('exits with 78 and one line for each mistake', async () => {
      const { code, stdout, stderr } = await shiplog(['config', 'check', '--port', 'x'], { variables: { SHIPLOG_HSOT: '1' } });
      expect({ code, stdout }).to.deep.equal({ code: 78, stdout: '' });
      expect(stderr.split('\n')).to.deep.equal([
        'shiplog: --port is "x", expected an integer from 0 to 65535',
        'shiplog: SHIPLOG_HSOT is no option; did you mean SHIPLOG_HOST?',
        '',
      ]);
    });
  });
});

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
