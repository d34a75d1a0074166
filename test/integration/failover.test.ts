import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { type NodeProcess, TestCluster, eventually } from '../support/cluster.ts';

const PROMOTE = join(import.meta.dirname, '../../bin/promote');

describe('failover between processes', function () {
  this.timeout(90_000);
  let cluster: TestCluster;

  beforeEach(async () => {
    cluster = await TestCluster.create();
  });
  afterEach(() => cluster.dispose());

  async function threeNodes(): Promise<readonly [NodeProcess, NodeProcess, NodeProcess]> {
    const a = await cluster.start('a');
    await a.set('first', 'x');
    const b = await cluster.start('b', { follow: a.url });
    const c = await cluster.start('c', { follow: a.url });
    await eventually(async () => (await Promise.all([a, b, c].map((node) => node.status()))).every((status) => status.members.length === 3));
    await b.caughtUpWith(a);
    await c.caughtUpWith(a);
    return [a, b, c];
  }

  async function promote(node: NodeProcess): Promise<string> {
    return (await promisify(execFile)(PROMOTE, [node.url, '--yes', '--json'], { timeout: 30_000 })).stdout;
  }

  it('switches over under load without losing an acknowledged write', async () => {
    const [a, b, c] = await threeNodes();
    const acknowledged = new Map<string, string>();
    let isOver = false;
    const writer = async (name: number): Promise<void> => {
      for (let count = 0; !isOver; count += 1) {
        const key = `writer-${name}-${count}`;
        const { status } = await a.request('POST', `/set/${key}`, { headers: { 'content-type': 'text/plain' }, body: `value ${count}` });
        if (status === 200) acknowledged.set(key, `value ${count}`);
        else expect(status).to.be.oneOf([503, 504]);
      }
    };
    const writers = Array.from({ length: 8 }, (_, index) => writer(index));
    await eventually(() => acknowledged.size > 200);
    expect(await promote(b)).to.contain('"promoted"');
    const before = acknowledged.size;
    await eventually(() => acknowledged.size > before + 200);
    isOver = true;
    await Promise.all(writers);
    expect((await a.status()).role).to.equal('replica');
    expect((await b.status()).role).to.equal('primary');
    await a.caughtUpWith(b);
    await c.caughtUpWith(b);
    expect((await c.status()).upstream!.url).to.equal(b.url);
    for (const node of [a, b, c]) for (const [key, value] of acknowledged) expect(await node.get(key), key).to.equal(value);
  });

  it('promotes when the primary was killed, and the old one comes back with its old flags and follows', async () => {
    const [a, b, c] = await threeNodes();
    await a.fill(200);
    await b.caughtUpWith(a);
    await c.caughtUpWith(a);
    await a.kill();
    await eventually(async () => {
      try {
        return (await promote(b)).includes('"promoted"');
      } catch (error) {
        // Until its silence is noticed, a replica says that the primary's stream is alive.
        expect((error as { code: number }).code).to.equal(7);
        return false;
      }
    }, 20_000);
    await b.set('after', 'failover');
    await a.restart();
    await eventually(async () => (await a.get('after').catch(() => undefined)) === 'failover');
    expect((await a.status()).role).to.equal('replica');
    const stored = await readFile(join(a.dataDirectory, 'node.json'), 'utf8');
    expect(stored).to.contain(`"upstreamUrl": "${b.url}"`);
    await c.caughtUpWith(b);
    for (const node of [a, b, c]) expect(await node.get('key199')).to.not.equal(undefined);
  });
});
