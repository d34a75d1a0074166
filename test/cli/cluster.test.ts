import { expect } from 'chai';
import { Command } from 'commander';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stub } from 'sinon';
import { ShiplogError } from '../../lib/base/errors.ts';
import { type FoundData, curlLines, orderStart, planCluster, serveFlags, serveVariables } from '../../lib/cli/cluster-plan.ts';
import { addClusterCommand } from '../../lib/cli/cluster.ts';
import { writeDurableJson } from '../../lib/env/durable-file.ts';
import { RealDisk } from '../../lib/env/real-disk.ts';
import { startFakeNode, tableRoute } from '../client/fake-node.ts';
import { shiplog } from './shiplog-process.ts';
import { type TestContext, createTestContext, until } from './test-context.ts';

describe('cluster', () => {
  describe('plan', () => {
    it('names nodes, ports and places', () => {
      const nodes = planCluster({ replicas: 3, port: 4455, dataDirectory: '/d' });
      expect(nodes.map(({ name, port }) => [name, port])).to.deep.equal([
        ['primary', 4455],
        ['replica-1', 4466],
        ['replica-2', 4477],
        ['replica-3', 4488],
      ]);
      expect(nodes[0]).to.include({ follow: undefined, dataDirectory: '/d/primary' });
      expect(nodes[3]).to.include({ follow: 'http://127.0.0.1:4455', url: 'http://127.0.0.1:4488' });
      expect(serveFlags(nodes[0]).join(' ')).to.not.include('--follow');
      expect(serveFlags(nodes[1]!).join(' ')).to.include('--follow http://127.0.0.1:4455');
    });

    it('shows three calls that fit the nodes there are', () => {
      const linesOf = (replicas: number) => curlLines(planCluster({ replicas, port: 4455, dataDirectory: '/d' })).map((line) => /127[^/]*/.exec(line)![0]);
      expect(linesOf(0)).to.deep.equal(['127.0.0.1:4455', '127.0.0.1:4455', '127.0.0.1:4455']);
      expect(linesOf(2)).to.deep.equal(['127.0.0.1:4455', '127.0.0.1:4466', '127.0.0.1:4477']);
    });

    it('hands settings for all nodes on, and keeps those that would make them one', () => {
      const variables = { SHIPLOG_PORT: '1', SHIPLOG_CONFIG: 'x', NOTIFY_SOCKET: '/run/x', SHIPLOG_LOG_LEVEL: 'debug', PATH: '/bin' };
      expect(serveVariables(variables)).to.deep.equal({ SHIPLOG_LOG_LEVEL: 'debug', PATH: '/bin' });
    });
  });

  describe('order of the start', () => {
    const nodes = planCluster({ replicas: 2, port: 4455, dataDirectory: '/d' });
    const order = (...found: readonly [FoundData['role'], number][]): readonly string[] => {
      const { first, others } = orderStart(nodes, (node) => {
        const [role, promisedNumberMax] = found[nodes.indexOf(node)]!;
        return { role, promisedNumberMax };
      });
      return [first, ...others].map(({ name, follow }) => `${name}${follow === undefined ? '' : ` > ${follow.slice('http://127.0.0.1:'.length)}`}`);
    };

    it('is that of the names where there is no data', () => {
      expect(order(['none', 0], ['none', 0], ['none', 0])).to.deep.equal(['primary', 'replica-1 > 4455', 'replica-2 > 4455']);
    });

    it('begins with the node that was promoted, and the others follow it', () => {
      expect(order(['replica', 0], ['primary', 2], ['none', 0])).to.deep.equal(['replica-1', 'primary > 4466', 'replica-2 > 4466']);
    });

    it('begins with the later of two primaries, and leaves the other to find out', () => {
      expect(order(['primary', 0], ['replica', 0], ['primary', 4])).to.deep.equal(['replica-2', 'primary', 'replica-1 > 4477']);
    });

    it('has a fenced node start by what it knows itself', () => {
      expect(order(['fenced', 7], ['primary', 2], ['replica', 2])).to.deep.equal(['replica-1', 'primary', 'replica-2 > 4466']);
    });

    it('leaves all nodes what they know where none was the primary', () => {
      expect(order(['replica', 1], ['replica', 2], ['none', 0])).to.deep.equal(['primary', 'replica-1', 'replica-2 > 4455']);
    });

    it('refuses to found a second cluster', () => {
      expect(() => order(['none', 0], ['none', 0], ['replica', 0])).to.throw(ShiplogError, /d\/primary holds no data, but \/d\/replica-2 does/);
    });
  });

  describe('port check', () => {
    let directory: string;
    beforeEach(async () => {
      directory = await mkdtemp(join(tmpdir(), 'shiplog-ports-'));
    });
    afterEach(() => rm(directory, { recursive: true }));

    it('names a port that another node has, and starts nothing', async () => {
      const node = await startFakeNode(tableRoute({ name: 'elder' }));
      const { code, stdout, stderr } = await shiplog(['cluster', '--port', String(node.port), '--data-dir', join(directory, 'data')]);
      await node.close();
      expect({ code, stdout }).to.deep.equal({ code: 69, stdout: '' });
      expect(stderr).to.equal(
        `shiplog: port ${node.port}, meant for primary, is taken by another Shiplog node (elder, data in /somewhere/data): stop that, or choose other ports with --port\n`,
      );
      expect(await readdir(directory)).to.deep.equal([]);
    });

    it("names a replica's port that a silent program has", async () => {
      const server = createServer();
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const { code, stderr } = await shiplog(['cluster', '--port', String(port - 11), '--data-dir', join(directory, 'data')]);
      server.close();
      expect(code).to.equal(69);
      expect(stderr).to.match(new RegExp(`^shiplog: port ${port}, meant for replica-1, is taken by another program: .*--port\n$`));
    });
  });

  describe('of processes', () => {
    let directory: string;
    let context: TestContext;
    let port: number;
    beforeEach(async () => {
      directory = await mkdtemp(join(tmpdir(), 'shiplog-cluster-'));
      port = await freePorts();
    });
    afterEach(() => rm(directory, { recursive: true }));

    function run(variables: Readonly<Record<string, string>> = {}): Promise<unknown> {
      context = createTestContext({ PATH: process.env['PATH'] ?? '', ...variables });
      return runIn(context);
    }

    function runIn(context: TestContext): Promise<unknown> {
      const program = new Command().exitOverride();
      addClusterCommand(program, context, {
        self: [process.execPath, join(import.meta.dirname, 'fake-serve.ts')],
        defaultDataDirectory: join(directory, 'data'),
        workingDirectory: directory,
      });
      return program.parseAsync(['cluster', '--port', String(port), '--replicas', '2'], { from: 'user' });
    }

    const areReady = (): boolean => context.said.stderr.includes('all 3 nodes are ready');

    it('starts all nodes, shows them, and ends them when asked to', async () => {
      const running = run();
      await until(areReady);
      expect(context.said.stdout).to.include(`primary\tprimary\thttp://127.0.0.1:${port}\tdata/primary\n`);
      expect(context.said.stdout).to.include(`replica-2\treplica\thttp://127.0.0.1:${port + 22}\tdata/replica-2\n`);
      expect(context.said.stderr.match(/curl /g)).to.have.lengthOf(3);
      context.signal();
      await running;
      expect(context.exitCode).to.equal(undefined);
      expect(await isAnswering(port)).to.equal(false);
      expect(await isAnswering(port + 22)).to.equal(false);
      const log = await readFile(join(directory, 'data/replica-2.log'), 'utf8');
      expect(log.trimEnd().split('\n')).to.have.lengthOf(2);
      expect(log).to.include(`"follow":"http://127.0.0.1:${port}"`).and.to.include('"message":"stopped"');
    });

    it('shows warnings with the name of the node, but not the rest', async () => {
      const running = run();
      await until(areReady);
      await fetch(`http://127.0.0.1:${port + 11}/warn`);
      await until(() => context.said.stderr.includes('replica-1  something is odd count=3\n'));
      expect(context.said.stderr).to.not.include('starting');
      context.signal();
      await running;
    });

    it('ends all nodes when one can not start, with its words and its exit code', async () => {
      await run({ FAKE_FAIL: 'replica-1' });
      expect(context.said.stderr).to.include('shiplog: replica-1 ended (exit code 66): the log is damaged at byte 4096\n');
      expect(context.said.stderr).to.not.include('ready');
      expect(context.exitCode).to.equal(66);
      expect(await isAnswering(port)).to.equal(false);
    });

    it('ends with 77 where a log file can not be opened for want of permission', async () => {
      await mkdir(join(directory, 'data'));
      context = createTestContext();
      const { disk } = context.environment;
      const denied = Object.assign(new Error('permission denied'), { code: 'EACCES' });
      stub(disk, 'open').rejects(denied);
      await runIn(context);
      expect(context.said.stderr).to.equal('shiplog: permission denied\n');
      expect(context.exitCode).to.equal(77);
    });

    it('founds no second cluster where only a replica has its data', async () => {
      await writeData('replica-2', 'replica');
      const failure = await failureOf(run());
      expect(failure).to.be.instanceOf(ShiplogError).with.property('code', 'data-directory-invalid');
      expect((failure as Error).message).to.match(/data\/primary holds no data, but .*data\/replica-2 does: put the first directory back/);
      expect(await readdir(join(directory, 'data'))).to.deep.equal(['replica-2']);
    });

    it('starts the node that was promoted first, and shows who is what', async () => {
      await writeData('primary', 'replica');
      await writeData('replica-1', 'primary');
      const running = run();
      await until(areReady);
      expect(context.said.stdout).to.include(`primary\treplica\thttp://127.0.0.1:${port}\tdata/primary\n`);
      expect(context.said.stdout).to.include(`replica-1\tprimary\thttp://127.0.0.1:${port + 11}\tdata/replica-1\n`);
      const logs = await Promise.all(['primary', 'replica-1', 'replica-2'].map((name) => readFile(join(directory, `data/${name}.log`), 'utf8')));
      expect(logs.map((log) => /"follow":("[^"]*"|null)/.exec(log)![1])).to.deep.equal([`"http://127.0.0.1:${port + 11}"`, 'null', `"http://127.0.0.1:${port + 11}"`]);
      context.signal();
      await running;
    });

    it('starts nothing where the promoted node would not be started', async () => {
      await writeData('primary', 'replica');
      await writeData('replica-4', 'primary');
      const failure = await failureOf(run());
      expect((failure as Error).message).to.match(/data\/replica-4 is the primary's, and it would not be started: add --replicas 4/);
      expect((await readdir(join(directory, 'data'))).toSorted()).to.deep.equal(['primary', 'replica-4']);
    });

    it('says that none of the nodes is the primary', async function () {
      this.timeout(30_000);
      await writeData('primary', 'replica');
      const running = run();
      await until(areReady);
      expect(context.said.stderr).to.include('none of these nodes is the primary').and.to.include('bin/promote');
      context.signal();
      await running;
    });

    async function writeData(name: string, role: string): Promise<void> {
      const path = join(directory, 'data', name);
      const disk = new RealDisk();
      await mkdir(path, { recursive: true });
      await writeDurableJson(disk, path, 'node.json', { format: 1, nodeId: name, role, upstreamUrl: 'http://127.0.0.1:1' });
      await writeDurableJson(disk, path, 'CURRENT', { format: 1, generation: 'gen-000001', clusterId: 'c', lsn: 0, chain: 0, history: [] });
    }

    it('starts no replica when the primary can not start', async () => {
      await run({ FAKE_FAIL: 'primary' });
      expect(context.exitCode).to.equal(66);
      expect(await readdir(join(directory, 'data'))).to.deep.equal(['primary.log']);
    });

    it('goes on without a node that is killed later, and says so in the end', async () => {
      const running = run();
      await until(areReady);
      await fetch(`http://127.0.0.1:${port}/crash`).catch(() => {});
      await until(() => context.said.stderr.includes('primary ended (SIGKILL)'));
      expect(await isAnswering(port + 11)).to.equal(true);
      context.signal();
      await running;
      expect(context.exitCode).to.equal(1);
      expect(await isAnswering(port + 11)).to.equal(false);
    });
  });
});

async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  );
}

async function isAnswering(port: number): Promise<boolean> {
  return fetch(`http://127.0.0.1:${port}/healthz`).then(
    (response) => response.ok,
    () => false,
  );
}

/** The first of three free ports that lie 11 apart. */
async function freePorts(): Promise<number> {
  for (;;) {
    const first = await holdPort(0);
    const others = await Promise.all([11, 22].map((step) => holdPort(first.port + step).catch(() => undefined)));
    for (const held of [first, ...others]) await held?.release();
    if (others.every((held) => held !== undefined)) return first.port;
  }
}

async function holdPort(wanted: number): Promise<{ port: number; release: () => Promise<unknown> }> {
  const server = createServer();
  server.listen(wanted, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    release: () => {
      server.close();
      return once(server, 'close');
    },
  };
}
