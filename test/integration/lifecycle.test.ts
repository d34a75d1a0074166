import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import http from 'node:http';
import { expect } from 'chai';
import { LIMITS } from '../../lib/base/limits.ts';
import { StreamDecoder } from '../../lib/replication/stream-protocol.ts';
import { MARK_BYTES, decodeMark } from '../../lib/wal/mark.ts';
import { SEGMENT_HEADER_BYTES, decodeSegmentHeader } from '../../lib/wal/segment-header.ts';
import { saltSeed } from '../../lib/wal/frame.ts';
import { type NodeProcess, TestCluster, eventually, freePort, pause } from '../support/cluster.ts';

const PROGRAM = join(import.meta.dirname, '../../bin/shiplog');

describe('a node process', function () {
  this.timeout(40_000);
  let cluster: TestCluster;

  beforeEach(async () => {
    cluster = await TestCluster.create();
  });
  afterEach(() => cluster.dispose());

  it('stops cleanly: writes in flight are answered, streams end with an end frame, the log with its mark, exit code 0', async () => {
    const node = await cluster.start('primary');
    await node.fill(20);
    const streamed = readStream(node);
    await streamed.begun;
    const outcomes = Promise.allSettled(Array.from({ length: 200 }, (_, index) => node.set(`late${index}`, 'x')));
    await pause(5);
    const startedMs = performance.now();
    expect(await node.stop()).to.equal(0);
    expect(performance.now() - startedMs).to.be.lessThan(LIMITS.cleanStopMs);
    expect((await streamed.kinds).at(-1)).to.equal('end');
    expect(await endsWithCleanStop(node)).to.be.true;
    const answers = await outcomes;
    await node.restart();
    for (const [index, answer] of answers.entries()) {
      if (answer.status === 'fulfilled') expect(await node.get(`late${index}`), `late${index} was acknowledged`).to.equal('x');
    }
    expect(node.stderr).to.not.contain('torn');
    expect(await node.stop()).to.equal(0);
  });

  it('stops cleanly within its time with a client that never reads', async () => {
    const node = await cluster.start('primary');
    await node.fill(200, { value: () => 'v'.repeat(30_000) });
    const request = http.get(`${node.url}/wal?after=0`, (response) => response.pause());
    request.on('error', () => {});
    await once(request, 'response');
    expect(await node.stop()).to.equal(0);
    request.destroy();
  });

  const refusals: readonly (readonly [string, number, RegExp, (node: NodeProcess) => Promise<() => Promise<void>>])[] = [
    [
      'a taken port',
      69,
      /port \d+ of 127\.0\.0\.1 is taken/,
      async (node) => {
        const server = createServer().listen(node.port, '127.0.0.1');
        await once(server, 'listening');
        return async () => {
          server.close();
          await once(server, 'close');
        };
      },
    ],
    [
      'a data directory that another process uses',
      68,
      /another process holds .*lock/,
      async (node) => {
        const holder = await cluster.spawn('holder', { 'data-dir': node.dataDirectory });
        await holder.healthy();
        return async () => {
          await holder.kill();
        };
      },
    ],
    [
      'a damaged log',
      66,
      /\.wal, offset \d+: .*restore this node from a snapshot/,
      async (node) => {
        const path = await firstSegment(node);
        const content = await readFile(path);
        const damaged = Buffer.from(content);
        damaged[200]! ^= 1;
        await writeFile(path, damaged);
        return () => writeFile(path, content);
      },
    ],
    [
      'a damaged CURRENT',
      70,
      /CURRENT is damaged/,
      async (node) => {
        const path = join(node.dataDirectory, 'CURRENT');
        const content = await readFile(path);
        await writeFile(path, content.subarray(0, 40));
        return () => writeFile(path, content);
      },
    ],
  ];
  for (const [title, code, message, damage] of refusals) {
    it(`does not start with ${title}: one clear line and exit code ${code}, and starts when that is gone`, async () => {
      const node = await cluster.start('primary', { 'checkpoint-operations': 1_000_000 });
      await node.fill(300);
      // Killed, so that the log beyond the last checkpoint is read at the next start.
      await node.kill();
      const repair = await damage(node);
      node.launch();
      expect(await node.exited).to.equal(code);
      const errors = node.stderr.split('\n').filter((line) => line.includes('"level":"error"'));
      expect(errors, node.stderr).to.have.length(1);
      expect(errors[0]).to.match(message);
      expect(node.stderr).to.not.match(/\n\s+at /);
      await repair();
      await node.restart();
      expect(await node.get('key299')).to.equal('299');
      expect(await node.stop()).to.equal(0);
    });
  }

  it('that is killed and restarted again and again under load loses nothing that it acknowledged (slow)', async () => {
    const node = await cluster.start('primary', { 'segment-bytes': '64KiB', 'checkpoint-operations': 500 });
    const acknowledged = new Set<string>();
    for (let round = 0; round < 3; round += 1) {
      const writers = Array.from({ length: 8 }, async (_, writer) => {
        for (let index = 0; ; index += 1) {
          const key = `r${round}-${writer}-${index}`;
          try {
            await node.set(key, key);
          } catch {
            return;
          }
          acknowledged.add(key);
        }
      });
      const before = acknowledged.size;
      await eventually(() => acknowledged.size >= before + 200);
      await node.kill();
      await Promise.all(writers);
      await node.restart();
    }
    const keys = [...acknowledged];
    while (keys.length > 0) {
      const some = keys.splice(0, 64);
      expect(await Promise.all(some.map((key) => node.get(key)))).to.deep.equal(some);
    }
    expect(acknowledged.size).to.be.at.least(600);
  });
});

describe('bin/shiplog cluster', function () {
  this.timeout(40_000);
  let directory: string;
  let port: number;
  let parent: ChildProcess;
  let output: string;
  let exited: Promise<[number | null, NodeJS.Signals | null]>;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'shiplog-npm-start-'));
    // The replica's port is the primary's and 11.
    port = await freePort([0, 11]);
    output = '';
    // In a group of its own, as a shell starts it.
    parent = spawn(PROGRAM, ['cluster', '--port', String(port), '--data-dir', directory], { detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [parent.stdout!, parent.stderr!]) stream.setEncoding('utf8').on('data', (text: string) => (output += text));
    exited = once(parent, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
    await eventually(() => {
      if (parent.exitCode !== null) throw new Error(output);
      return output.includes('all 2 nodes are ready');
    }, 20_000);
  });
  afterEach(async () => {
    if (parent.exitCode === null && parent.signalCode === null) parent.kill('SIGTERM');
    await exited;
    await eventually(async () => (await lockHolders()).length === 0, 15_000);
    await rm(directory, { recursive: true, force: true });
  });

  /** Pids of the nodes, found by their data directory. */
  async function lockHolders(): Promise<number[]> {
    const pids: number[] = [];
    for (const name of await readdir('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      const command = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
      if (command.includes('\0serve\0') && command.includes(directory)) pids.push(Number(name));
    }
    return pids;
  }

  const get = (path: string, on = port): Promise<string> =>
    new Promise((resolve, reject) => {
      http
        .get(`http://127.0.0.1:${on}${path}`, { agent: false }, (response) => {
          response.setEncoding('utf8');
          let body = '';
          response.on('data', (text: string) => (body += text)).on('end', () => resolve(body));
        })
        .on('error', reject);
    });

  it('brings up two nodes, shows where they are, and all end with one Ctrl-C', async () => {
    expect(await lockHolders()).to.have.length(2);
    for (const line of [`http://127.0.0.1:${port}`, `http://127.0.0.1:${port + 11}`, 'curl -XPOST']) expect(output).to.contain(line);
    expect((JSON.parse(await get('/status')) as { role: string }).role).to.equal('primary');
    expect((JSON.parse(await get('/status', port + 11)) as { role: string }).role).to.equal('replica');
    process.kill(-parent.pid!, 'SIGINT');
    expect(await exited).to.deep.equal([0, null]);
    expect(await lockHolders()).to.deep.equal([]);
  });

  it('ends its nodes cleanly when it alone gets SIGTERM', async () => {
    parent.kill('SIGTERM');
    expect(await exited).to.deep.equal([0, null]);
    expect(await lockHolders()).to.deep.equal([]);
  });

  it('leaves no node behind when it is killed', async () => {
    parent.kill('SIGKILL');
    await exited;
    await eventually(async () => (await lockHolders()).length === 0, 50_000);
  });

  it('says which node was lost, and the others go on', async () => {
    const pids = await lockHolders();
    const commands = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8')));
    const replicaPid = pids[commands.findIndex((command) => command.includes('replica'))]!;
    process.kill(replicaPid, 'SIGKILL');
    await eventually(() => output.includes('replica-1 ended (SIGKILL)'));
    expect(await get('/healthz')).to.contain('primary');
    expect(parent.exitCode).to.equal(null);
  });
});

async function firstSegment(node: NodeProcess): Promise<string> {
  const directory = join(node.dataDirectory, 'gen-000001', 'wal');
  const names = (await readdir(directory)).filter((name) => name.endsWith('.wal')).sort();
  return join(directory, names[0]!);
}

async function endsWithCleanStop(node: NodeProcess): Promise<boolean> {
  const path = await firstSegment(node);
  const content = await readFile(path);
  const header = decodeSegmentHeader(content.subarray(0, SEGMENT_HEADER_BYTES), path);
  const offset = content.length - MARK_BYTES;
  return decodeMark(content, offset, offset, saltSeed(header.markSalt))?.kind === 'clean-stop';
}

function readStream(node: NodeProcess): { begun: Promise<void>; kinds: Promise<string[]> } {
  const begun = Promise.withResolvers<void>();
  const kinds = new Promise<string[]>((resolve, reject) => {
    const seen: string[] = [];
    http
      .get(`${node.url}/wal?after=0`, { agent: false }, (response) => {
        const decoder = new StreamDecoder();
        response.on('data', (chunk: Buffer) => {
          for (const record of decoder.push(chunk)) seen.push(record.type === 'frame' ? 'frame' : record.control.kind);
          begun.resolve();
        });
        response.on('end', () => resolve(seen));
        response.on('error', reject);
      })
      .on('error', reject);
  });
  return { begun: begun.promise, kinds };
}
