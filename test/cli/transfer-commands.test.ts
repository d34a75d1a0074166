import { expect } from 'chai';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type FakeRoute, answerProblem, startFakeNode } from '../client/fake-node.ts';
import { type NodeProcess, TestCluster, eventually, freePort, pause } from '../support/cluster.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { PROGRAM, shiplog, spawnShiplog } from './shiplog-process.ts';

describe('shiplog export and import', () => {
  let directory: string;
  let cluster: TestCluster;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'shiplog-transfer-'));
    cluster = await TestCluster.create();
  });

  after(async () => {
    await cluster.dispose();
    await rm(directory, { recursive: true, force: true });
  });

  const path = (name: string): string => join(directory, name);
  const rowsOf = async (node: NodeProcess): Promise<string[]> => (await node.request('GET', '/export')).body.trimEnd().split('\n').slice(1, -1);

  describe('with real nodes', () => {
    let source: NodeProcess;
    let target: NodeProcess;
    let replica: NodeProcess;

    before(async () => {
      source = await cluster.start('source');
      target = await cluster.start('target');
      replica = await cluster.start('replica', { follow: target.url });
      await source.fill(500, { value: (index) => `${index} é😀 \u2028 "${'x'.repeat(index)}"` });
    });

    it('carry all keys from one cluster into another, through a replica', async () => {
      const file = path('all.ndjson');
      const written = await shiplog(['export', file, '--url', source.url]);
      const { visible } = (await source.status()).positions;
      expect(written).to.include({ code: 0, stdout: '' });
      expect(written.stderr).to.match(new RegExp(`^✓ .*all.ndjson: 500 keys at ${visible}, [\\d.]+ KiB\n$`));
      expect(await readFile(file, 'utf8')).to.equal((await source.request('GET', '/export')).body);
      expect(await readdir(directory)).to.deep.equal(['all.ndjson']);

      const read = await shiplog(['import', file, '--url', replica.url, '--ack', 'all']);
      expect(read).to.deep.equal({ code: 0, stdout: '', stderr: `✓ 502 lines are in the cluster, at ${(await target.status()).positions.visible}\n` });
      expect(await rowsOf(target)).to.deep.equal(await rowsOf(source));
    });

    it('speak JSON', async () => {
      const file = path('json.ndjson');
      const written = JSON.parse((await shiplog(['export', file, '--prefix', 'key49', '--json', '--url', source.url])).stdout) as Record<string, unknown>;
      expect(written).to.include({ file, keys: 11, position: (await source.status()).positions.visible });
      expect(written['sizeBytes']).to.equal((await readFile(file)).length);
      const read = JSON.parse((await shiplog(['import', file, '--skip', '10', '--json', '--url', target.url])).stdout) as Record<string, unknown>;
      expect(read).to.deep.equal({ lines: 13, position: (await target.status()).positions.visible });
      const refused = await shiplog(['export', '--json', '--url', source.url]);
      expect(refused.code).to.equal(1);
    });

    it('meet in a pipe, and take part in others', async () => {
      await target.request('POST', '/import', { body: '{"del":"key7"}\n{"del":"key8"}\n' });
      const child = spawn('sh', ['-c', '"$0" export --url "$1" | "$0" import - --url "$2"', PROGRAM, source.url, target.url]);
      const exited = once(child, 'close') as Promise<[number | null]>;
      expect(await text(child.stderr)).to.match(/^✓ 502 lines are in the cluster/);
      expect((await exited)[0]).to.equal(0);
      expect(await rowsOf(target)).to.deep.equal(await rowsOf(source));

      const head = spawn('sh', ['-c', '"$0" export --url "$1" | head -n 2', PROGRAM, source.url]);
      expect((await text(head.stdout)).split('\n')).to.have.lengthOf(3);
      const typed = await shiplog(['import', '--url', target.url], { stdin: '{"key":"typed","value":"1"}' });
      expect(typed.code, typed.stderr).to.equal(0);
      expect(await target.get('typed')).to.equal('1');
    });

    it('write over no file, and leave none that is not complete', async () => {
      const file = path('mine.txt');
      await writeFile(file, 'mine');
      expect(await shiplog(['export', file, '--url', source.url])).to.include({ code: 1, stderr: `shiplog: ${file} exists already: name another file, or remove it first\n` });
      expect(await readFile(file, 'utf8')).to.equal('mine');
      expect((await shiplog(['export', path('lost'), '--url', `127.0.0.1:${await freePort()}`])).code).to.equal(4);
      expect((await shiplog(['export', path('lost'), '--min', '0.abcd-1', '--url', source.url])).code).to.equal(8);
      expect((await shiplog(['import', path('lost'), '--url', source.url])).stderr).to.match(/there is no file/);
      expect((await readdir(directory)).filter((name) => name.startsWith('lost'))).to.deep.equal([]);
    });

    it('stop at a line that is wrong, and name the command that goes on, which does', async () => {
      const file = path('it\'s mine.ndjson');
      const lines = Array.from({ length: 3_000 }, (_, index) => JSON.stringify({ key: `line ${String(index).padStart(4, '0')}`, value: String(index) }));
      await writeFile(file, lines.with(2_499, '{"key":"line"}').join('\n'));
      const broken = await shiplog(['import', file, '--url', replica.url, '--ack', '1']);
      expect(broken).to.include({ code: 1, stdout: '' });
      const [what, account, command] = broken.stderr.trimEnd().split('\n');
      expect(what).to.equal('shiplog: line 2500: value is missing, expected a string');
      expect(account).to.equal(`shiplog: the first 2499 lines are in the cluster, at ${(await target.status()).positions.visible}, and nothing behind them`);
      const go = /^shiplog: go on with: shiplog (import .* --skip 2499 --ack 1 --url .*)$/.exec(command!)![1]!;
      expect((await rowsOf(target)).filter((row) => row.includes('"line '))).to.deep.equal(lines.slice(0, 2_499));

      await writeFile(file, lines.join('\n'));
      const child = spawn('sh', ['-c', `exec "$0" ${go}`, PROGRAM]);
      const exited = once(child, 'close') as Promise<[number | null]>;
      expect(await text(child.stderr)).to.match(/^✓ 3000 lines/);
      expect((await exited)[0]).to.equal(0);
      expect((await rowsOf(target)).filter((row) => row.includes('"line '))).to.deep.equal(lines);
      const json = await shiplog(['import', '--json', '--url', target.url], { stdin: '{"del":"none"}\noops' });
      expect(JSON.parse(json.stdout)).to.include({ lines: 1, line: 2, isExact: true, code: 'bad-json' });
    });

    it('know how many lines are there though the connection broke', async () => {
      const proxy = await TcpProxy.to(target.port);
      const child = spawnShiplog(['import', '--url', proxy.url]);
      child.stdin.on('error', () => {});
      const exited = once(child, 'close') as Promise<[number | null]>;
      const said = text(child.stderr);
      const rows = Array.from({ length: 5 }, (_, index) => `{"key":"broken${index}","value":"1"}`);
      child.stdin.write(`${rows.join('\n')}\n{"key":"half`);
      await eventually(async () => (await target.get('broken4')) === '1');
      proxy.cutAll();
      expect((await exited)[0]).to.equal(75);
      expect(await said).to.match(/\nshiplog: the first 5 lines are in the cluster, at .*, and nothing behind them\nshiplog: go on with: shiplog import - --skip 5 --url http/);
      expect((await rowsOf(target)).filter((row) => row.includes('"broken'))).to.deep.equal(rows);
      await proxy.close();
    });

    it('say what is certain where the node is gone, too', async function () {
      this.timeout(40_000);
      const node = await cluster.start('mortal');
      const child = spawnShiplog(['import', '--url', node.url, '--json']);
      child.stdin.on('error', () => {});
      const exited = once(child, 'close') as Promise<[number | null]>;
      const [stdout, stderr] = [text(child.stdout), text(child.stderr)];
      let sent = 0;
      // Until the node has told of some: it does so once a second.
      const endMs = performance.now() + 2_500;
      while (performance.now() < endMs) {
        child.stdin.write(`{"key":"k${String(sent).padStart(6, '0')}","value":"1"}\n`);
        sent += 1;
        await pause(2);
      }
      await node.kill();
      expect((await exited)[0]).to.equal(6);
      const account = JSON.parse(await stdout) as { lines: number; isExact: boolean };
      expect(account.isExact).to.equal(false);
      expect(account.lines).to.be.greaterThan(100);
      expect(await stderr).to.match(new RegExp(`at least the first ${account.lines} lines are in the cluster, at .*; the node could not be asked`));
      await node.restart();
      expect((await rowsOf(node)).length).to.be.within(account.lines, sent);
    });
  });

  describe('with nodes that answer badly', () => {
    const header = '{"type":"header","format":1,"clusterId":"c","position":"1.c04d-9","keys":1}\n';
    const row = '{"key":"a","value":"1"}\n';
    const footer = '{"type":"footer","count":1,"position":"1.c04d-9"}\n';

    async function withNode(route: FakeRoute, use: (url: string) => Promise<void>): Promise<void> {
      const node = await startFakeNode(route);
      try {
        await use(node.url);
      } finally {
        await node.close();
      }
    }

    const wrong: readonly (readonly [title: string, content: string, message: RegExp])[] = [
      ['has no footer', header + row, /without its footer/],
      ['was cut within a line', header + row + footer.slice(0, -1), /without its footer/],
      ['lacks a line', header + footer, /counts 1 keys, 0 came/],
      ['broke off', `${header}{"type":"failed","code":"stopping","message":"it stops"}\n`, /broke off: it stops/],
      ['is none', '<html>\n', /does not begin with the header/],
      ['is of a later format', header.replace('1', '2'), /format 2, this version reads 1/],
      ['is empty', '', /without its footer/],
    ];
    for (const [title, content, message] of wrong) {
      it(`keep no export that ${title}`, async () => {
        await withNode((_request, response) => response.end(content), async (url) => {
          const { code, stderr } = await shiplog(['export', path('bad'), '--url', url]);
          expect(stderr).to.match(message);
          expect(code).to.equal(1);
          expect((await readdir(directory)).filter((name) => name.startsWith('bad'))).to.deep.equal([]);
        });
      });
    }

    it('keep an export whose pieces come one byte at a time', async () => {
      const send: FakeRoute = (_request, response) => {
        const bytes = Buffer.from(header + row + footer);
        let at = 0;
        const next = (): void => {
          if (at === bytes.length) response.end();
          else response.write(bytes.subarray(at, (at += 1)), next);
        };
        next();
      };
      await withNode(send, async (url) => {
        expect((await shiplog(['export', path('slow'), '--url', url])).stderr).to.match(/1 keys at 1\.c04d-9/);
        expect(await readFile(path('slow'), 'utf8')).to.equal(header + row + footer);
      });
    });

    it('import nothing where the node takes nothing, and do not read what is to be sent', async () => {
      await withNode((_request, response) => answerProblem(response, 503, 'no-primary'), async (url) => {
        expect(await shiplog(['import', '--url', url], { stdin: row })).to.include({ code: 75, stderr: 'shiplog: the detail of no-primary\n' });
      });
      await withNode((request, response) => response.writeHead(307, { location: `http://${request.headers.host}/import` }).end(), async (url) => {
        expect((await shiplog(['import', '--url', url], { stdin: row })).stderr).to.match(/in a circle/);
      });
    });

    it('say what may be there beyond what is certain', async () => {
      const documents = ['{"type":"progress","lines":1000,"position":"1.c04d-1001"}', '{"type":"failed","lines":2000,"position":"1.c04d-2001","code":"ack-timeout","message":"late","uncertainThroughLine":3000}'];
      await withNode((_request, response, body) => response.end(body === '' ? '{"type":"done","lines":0,"position":"1.c04d-1"}\n' : `${documents.join('\n')}\n`), async (url) => {
        const { code, stderr } = await shiplog(['import', '--url', url], { stdin: row });
        expect(code).to.equal(6);
        expect(stderr).to.equal(`shiplog: late\nshiplog: the first 2000 lines are in the cluster, at 1.c04d-2001; those up to line 3000 may be there, too, and may be written again\nshiplog: go on with: shiplog import - --skip 2000 --url ${url}\n`);
      });
    });

    for (const [args, message] of [
      [['import', '--ack', 'memory'], /Expected local, all, or a number of replicas/],
      [['import', '--skip', '-1'], /Expected a number of lines/],
      [['export', '--min', 'x'], /Expected a position/],
    ] as const) {
      it(`say what is wrong with "${args.join(' ')}"`, async () => {
        const { code, stderr } = await shiplog(args);
        expect(stderr).to.match(message);
        expect(code).to.equal(2);
      });
    }
  });
});
