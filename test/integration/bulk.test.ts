/** Many keys at once, on real nodes: batches, exports and imports across crashes. */
import { expect } from 'chai';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { type NodeProcess, TestCluster, eventually, pause } from '../support/cluster.ts';

const JSON_HEADERS = { 'content-type': 'application/json' };

interface Upload {
  readonly said: Record<string, unknown>[];
  /** Resolves when the answer has ended, or its connection. */
  readonly ended: Promise<void>;
}

/** Sends `body` to `/import`, a piece each few milliseconds where `pauseMs` is given. */
function upload(node: NodeProcess, body: string, { query = '', pauseMs }: { query?: string; pauseMs?: number } = {}): Upload {
  const said: Record<string, unknown>[] = [];
  const sent = request(`${node.url}/import${query}`, { method: 'POST' });
  sent.on('error', () => {});
  const ended = new Promise<void>((resolve) => {
    sent.once('close', resolve);
    sent.once('response', (response) => {
      let text = '';
      response.on('error', () => {});
      response.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
        const lines = text.split('\n');
        text = lines.pop()!;
        said.push(...lines.map((line) => JSON.parse(line) as Record<string, unknown>));
      });
    });
  });
  const send = async (): Promise<void> => {
    const pieceLength = pauseMs === undefined ? body.length : 64 * 1024;
    for (let from = 0; from < body.length && !sent.destroyed; from += pieceLength) {
      if (!sent.write(body.slice(from, from + pieceLength))) await Promise.race([once(sent, 'drain'), ended]).catch(() => {});
      if (pauseMs !== undefined) await pause(pauseMs);
    }
    sent.end();
  };
  void send();
  return { said, ended };
}

async function exported(node: NodeProcess, query = ''): Promise<{ header: Record<string, unknown>; rows: string[]; footer: Record<string, unknown>; text: string }> {
  const { status, body: text } = await node.request('GET', `/export${query}`);
  expect(status, text).to.equal(200);
  const lines = text.trimEnd().split('\n');
  return { header: JSON.parse(lines[0]!) as Record<string, unknown>, rows: lines.slice(1, -1), footer: JSON.parse(lines.at(-1)!) as Record<string, unknown>, text };
}

describe('many keys at once', () => {
  let cluster: TestCluster;

  beforeEach(async () => {
    cluster = await TestCluster.create();
  });

  afterEach(async () => {
    await cluster.dispose();
  });

  it('are written through a replica together, and read there together', async () => {
    const primary = await cluster.start('a');
    const replica = await cluster.start('b', { follow: primary.url });
    await eventually(async () => (await primary.status()).members.every((member) => member.isSettled === true) && (await primary.status()).members.length === 2);
    const operations = [{ set: 'x', value: '1' }, { set: 'y', value: 'ü\0' }, { del: 'none' }];
    const written = await replica.request('POST', '/batch?ack=1', { headers: JSON_HEADERS, body: JSON.stringify({ operations }) });
    expect(written.status, written.body).to.equal(200);
    expect(written.headers['shiplog-ack']).to.equal('1');
    const { position, results } = JSON.parse(written.body) as { position: string; results: { outcome: string }[] };
    expect(results.map(({ outcome }) => outcome)).to.deep.equal(['written', 'written', 'absent']);
    const read = await replica.request('POST', '/mget', { headers: JSON_HEADERS, body: '{"keys":["y","x","none"]}' });
    expect((JSON.parse(read.body) as { values: object[] }).values.map((each) => 'value' in each && each.value)).to.deep.equal(['ü\0', '1', null]);

    const failing = JSON.stringify({ operations: [{ set: 'x', value: '2', ifMatch: position }, { set: 'new', value: '1', ifAbsent: true }] });
    const failed = await replica.request('POST', '/batch', { headers: JSON_HEADERS, body: failing });
    expect([failed.status, (JSON.parse(failed.body) as { operation: number }).operation]).to.deep.equal([412, 0]);
    expect(await primary.get('new')).to.equal(undefined);
  });

  it('go from one cluster into another and are the same there, at one position while writes go on', async function () {
    this.timeout(60_000);
    const source = await cluster.start('a');
    await source.fill(2_000, { value: (index) => `${index} "quoted" \u2028 é😀 ${'x'.repeat(index % 300)}` });
    let isWriting = true;
    const writing = (async () => {
      for (let value = 0; isWriting; value += 1) {
        const body = JSON.stringify({ operations: Array.from({ length: 5 }, (_, index) => ({ set: `moving ${index}`, value: String(value) })) });
        const { status } = await source.request('POST', '/batch', { headers: JSON_HEADERS, body });
        expect(status).to.equal(200);
      }
    })();
    const moved = new Set<string>();
    for (let count = 0; count < 5; count += 1) {
      const { rows } = await exported(source, '?prefix=moving');
      moved.add(rows.map((row) => (JSON.parse(row) as { value: string }).value).join());
      if (rows.length > 0) expect(new Set(rows.map((row) => (JSON.parse(row) as { value: string }).value)), 'one state').to.have.lengthOf(1);
    }
    expect(moved.size).to.be.greaterThan(1);
    isWriting = false;
    await writing;

    const { text, header, rows, footer } = await exported(source);
    expect(header).to.include({ type: 'header', format: 1, keys: 2_005, position: footer['position'] });
    expect(footer).to.include({ type: 'footer', count: 2_005, position: (await source.status()).positions.visible });
    const target = await cluster.start('b');
    const replica = await cluster.start('c', { follow: target.url });
    const { said, ended } = upload(target, text);
    await ended;
    expect(said.at(-1)).to.include({ type: 'done', lines: 2_007 });
    await replica.caughtUpWith(target);
    expect((await exported(target)).rows).to.deep.equal(rows);
    expect((await exported(replica)).rows).to.deep.equal(rows);
    const atLsn = await target.visibleLsn();
    expect(await replica.digest(atLsn)).to.equal(await target.digest(atLsn));
    expect(await readdir(join(source.dataDirectory, 'snapshots')), 'copies that were left behind').to.deep.equal([]);
  });

  it('are, after a kill of the primary in the middle of an import, exactly its first lines: no fewer than were told, and from there it goes on', async function () {
    this.timeout(90_000);
    const node = await cluster.start('a');
    const lines = Array.from({ length: 60_000 }, (_, index) => JSON.stringify({ key: `k${String(index).padStart(6, '0')}`, value: `v${index} ${'x'.repeat(100)}` }));
    const body = `${lines.join('\n')}\n`;
    const { said, ended } = upload(node, body, { pauseMs: 15 });
    await eventually(() => said.length > 0, 20_000);
    await node.kill();
    await ended;
    expect(said.at(-1)!['type']).to.equal('progress');
    await node.restart();
    const { rows } = await exported(node);
    expect(rows.length).to.be.within(said.at(-1)!['lines'] as number, lines.length - 1);
    expect(rows).to.deep.equal(lines.slice(0, rows.length));

    const again = upload(node, body, { query: `?skip=${String(said.at(-1)!['lines'])}` });
    await again.ended;
    expect(again.said.at(-1)).to.include({ type: 'done', lines: lines.length });
    expect((await exported(node)).rows).to.deep.equal(lines);
  });

  it('are all there that the answer counts where the node is stopped in the middle of an import', async function () {
    this.timeout(60_000);
    const node = await cluster.start('a');
    const lines = Array.from({ length: 40_000 }, (_, index) => JSON.stringify({ key: `k${String(index).padStart(6, '0')}`, value: 'x'.repeat(100) }));
    const { said, ended } = upload(node, lines.join('\n'), { pauseMs: 15 });
    await eventually(() => said.length > 0, 20_000);
    expect(await node.stop()).to.equal(0);
    await ended;
    expect(said.at(-1)).to.include({ type: 'failed', code: 'stopping' });
    await node.restart();
    expect((await exported(node)).rows).to.deep.equal(lines.slice(0, said.at(-1)!['lines'] as number));
  });
});
