import { rename } from 'node:fs/promises';
import { expect } from 'chai';
import { RawClient } from '../http/raw-client.ts';
import { type Answer, type NodeProcess, TestCluster } from '../support/cluster.ts';

describe('the main job', function () {
  this.timeout(40_000);
  let cluster: TestCluster;
  let primary: NodeProcess;
  let replica: NodeProcess;
  let replica2: NodeProcess;

  before(async () => {
    cluster = await TestCluster.create();
    primary = await cluster.start('primary');
    [replica, replica2] = await Promise.all([cluster.start('replica', { follow: primary.url }), cluster.start('replica-2', { follow: primary.url })]);
  });
  after(() => cluster.dispose());

  const jsonGet = (node: NodeProcess): Promise<Answer> => node.request('GET', '/get/key', { headers: { accept: 'application/json' } });

  it('answers its four calls byte for byte, whichever node they are made on', async () => {
    const set = await primary.request('POST', '/set/key', { headers: { 'content-type': 'application/json' }, body: '"value"' });
    expect([set.status, set.body]).to.deep.equal([200, 'OK']);
    await Promise.all([replica.caughtUpWith(primary), replica2.caughtUpWith(primary)]);
    for (const node of [primary, replica, replica2]) {
      const get = await jsonGet(node);
      expect([get.status, get.body], node.name).to.deep.equal([200, '"value"']);
    }
    const form = { headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'value=val1' };
    for (const [index, node] of [primary, replica, replica2].entries()) {
      const answer = await node.request('POST', `/set/key${index}`, form);
      expect([answer.status, answer.body], node.name).to.deep.equal([200, 'OK']);
      expect(await node.get(`key${index}`), 'what was written through a node is read there').to.equal('val1');
    }
    await Promise.all([replica.caughtUpWith(primary), replica2.caughtUpWith(primary)]);
    for (const node of [primary, replica, replica2]) {
      for (const index of [0, 1, 2]) {
        const answer = await node.request('GET', `/get/key${index}`, { headers: { accept: '*/*' } });
        expect([answer.status, answer.body], node.name).to.deep.equal([200, 'val1']);
      }
    }
  });

  it('takes plain reads and writes on the fast path, as its metrics show', async () => {
    const counted = async (): Promise<number> => Number(/^shiplog_http_requests_total\{path="fast"\} (\d+)$/m.exec(await (await fetch(`${primary.url}/metrics`)).text())?.[1]);
    const before = await counted();
    const client = await RawClient.open(Number(new URL(primary.url).port));
    await client.send('POST /set/fast HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nyes');
    expect((await client.answer())!.body).to.equal('OK');
    await client.send('GET /get/fast HTTP/1.1\r\nHost: localhost\r\n\r\n');
    expect((await client.answer())!.body).to.equal('yes');
    client.close();
    expect(await counted()).to.equal(before + 2);
  });

  it('shows every write on the node through which it was made, always', async () => {
    let checked = 0;
    await Promise.all(
      [replica, replica2, primary].flatMap((node, n) =>
        Array.from({ length: 8 }, async (_, writer) => {
          for (let round = 0; round < 40; round += 1) {
            const [key, value] = [`hammer-${n}-${writer}-${round % 5}`, `${n}/${writer}/${round}`];
            if (round % 10 === 9) {
              const deleted = await node.request('DELETE', `/del/${key}`);
              expect([deleted.status, deleted.body]).to.deep.equal([200, 'OK']);
              expect(await node.get(key), `${key} after its delete through ${node.name}`).to.equal(undefined);
            } else {
              await node.set(key, value);
              expect(await node.get(key), `${key} through ${node.name}`).to.equal(value);
            }
            checked += 1;
          }
        }),
      ),
    );
    expect(checked).to.equal(3 * 8 * 40);
  });

  it('goes on being read on every replica with the primary killed and its data directory moved away', async () => {
    await primary.kill();
    await rename(primary.dataDirectory, `${primary.dataDirectory}.gone`);
    for (const node of [replica, replica2]) {
      const get = await jsonGet(node);
      expect([get.status, get.body], node.name).to.deep.equal([200, '"value"']);
      for (const index of [0, 1, 2]) expect(await node.get(`key${index}`)).to.equal('val1');
      const write = await node.request('POST', '/set/other', { headers: { 'content-type': 'text/plain' }, body: 'x' });
      expect(write.status, 'a write has nobody to take it').to.equal(503);
      expect(write.headers['retry-after']).to.match(/^\d+$/);
      expect(JSON.parse(write.body)).to.include({ code: 'no-primary' });
    }
    expect([await replica.stop(), await replica2.stop()]).to.deep.equal([0, 0]);
  });
});
