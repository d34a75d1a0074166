import { expect } from 'chai';
import { request } from 'node:http';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';

import { ShiplogError } from '../../lib/base/errors.ts';
import { KIB, MIB } from '../../lib/base/limits.ts';
import { ManualClock } from './test-clock.ts';
import { TestServer, problemOf } from './test-server.ts';

describe('the export route', () => {
  let server: TestServer;

  async function start(options: Parameters<typeof TestServer.start>[0] = {}): Promise<void> {
    server = await TestServer.start(options);
  }

  afterEach(async () => {
    expect(server.node.openExports, 'exports that were not closed').to.equal(0);
    await server.stop();
  });

  function fill(count: number, value = 'v'): void {
    for (let index = 0; index < count; index += 1) server.node.rows.set(`k${index}`, { value: `${value}${index}`, position: server.node.visiblePosition() });
  }

  const linesOf = (text: string): unknown[] => {
    expect(text.endsWith('\n')).to.equal(true);
    return text.trimEnd().split('\n').map((line) => JSON.parse(line) as unknown);
  };

  it('answers a header, a line for each key, and a footer with their count', async () => {
    await start();
    server.node.rows.set('a\0"\n', { value: '\u2028é\uFEFF', position: server.node.visiblePosition() });
    fill(2);
    const response = await server.fetch('/export');
    expect(Object.fromEntries(response.headers)).to.include({ 'content-type': 'application/x-ndjson', 'shiplog-position': '1.c04d-41', 'cache-control': 'no-cache, no-transform' });
    expect(linesOf(await response.text())).to.deep.equal([
      { type: 'header', format: 1, clusterId: 'c'.repeat(32), position: '1.c04d-41', keys: 3 },
      { key: 'a\0"\n', value: '\u2028é\uFEFF' },
      { key: 'k0', value: 'v0' },
      { key: 'k1', value: 'v1' },
      { type: 'footer', count: 3, position: '1.c04d-41' },
    ]);
    server.node.rows.clear();
    expect(linesOf(await (await server.fetch('/export')).text())).to.have.length(2);
  });

  it('gives only the keys with a prefix, and says so', async () => {
    await start();
    fill(12);
    const lines = linesOf(await (await server.fetch('/export?prefix=k1')).text());
    expect(lines).to.have.length(5);
    expect(lines[0]).to.include({ prefix: 'k1', keys: 12 });
    expect(lines.at(-1)).to.include({ type: 'footer', count: 3 });
    await problemOf(await server.fetch('/export?prefix=%zz'), 400, 'bad-request');
    await problemOf(await server.fetch('/export?before=x'), 400, 'unknown-parameter');
  });

  it('waits for a position, and says what a node that has no table says', async () => {
    await start();
    const late = await server.fetch('/export?min=1.c04d-99&wait=1ms');
    expect(late.headers.get('shiplog-position')).to.equal('1.c04d-41');
    await problemOf(late, 503, 'position-not-reached');
    server.node.ready = false;
    await problemOf(await server.fetch('/export'), 503, 'not-ready');
    server.node.ready = true;
    const head = await server.fetch('/export', { method: 'HEAD' });
    expect([head.status, head.headers.get('content-type')]).to.deep.equal([200, 'application/x-ndjson']);
    await problemOf(await server.post('/export', ''), 405, 'method-not-allowed');
  });

  it('ends with a line that says so where the node fails in the middle, and with no footer', async () => {
    await start();
    fill(5);
    for (const [error, code] of [[new ShiplogError('store-failed', 'secret path'), 'internal'], [new ShiplogError('overloaded', 'too much'), 'overloaded']] as const) {
      let rows = 0;
      server.node.beforeRow = () => ((rows += 1) === 4 ? Promise.reject(error) : Promise.resolve());
      const lines = linesOf(await (await server.fetch('/export')).text());
      expect(lines).to.have.length(5);
      expect(lines.at(-1)).to.include({ type: 'failed', code });
      expect(JSON.stringify(lines.at(-1))).not.to.contain('secret');
    }
  });

  async function open(path: string): Promise<{ response: IncomingMessage; leave: () => void }> {
    const sent = request(`${server.url}${path}`).end();
    sent.on('error', () => {});
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    response.on('error', () => {});
    return { response, leave: () => void sent.destroy() };
  }

  it('reads on only as its client does, and no more once the client has left', async () => {
    await start();
    fill(4_000, 'x'.repeat(16 * KIB));
    let rows = 0;
    server.node.beforeRow = () => {
      rows += 1;
      return Promise.resolve();
    };
    const { response, leave } = await open('/export');
    let before = -1;
    while (rows === 0 || rows !== before) {
      before = rows;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(rows, 'what the kernel and one chunk hold').to.be.below(1_500);
    response.once('readable', () => response.read());
    leave();
    while (server.node.openExports > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(rows).to.be.below(1_600);
  });

  it('drops a client that takes nothing for a while', async () => {
    const clock = new ManualClock();
    await start({ clock, app: { bodyIdleMs: 1_000 } });
    fill(64, 'x'.repeat(MIB));
    const { response } = await open('/export');
    const closed = new Promise((resolve) => response.once('close', resolve));
    while (server.node.openExports > 0) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      clock.advance(600);
    }
    response.resume();
    await closed;
    expect(response.complete).to.equal(false);
  });

  it('ends at once, and says that it is not all, where the node stops', async () => {
    await start();
    fill(10);
    const gate = Promise.withResolvers<void>();
    let rows = 0;
    server.node.beforeRow = () => ((rows += 1) < 5 ? Promise.resolve() : gate.promise);
    const answer = server.fetch('/export').then((response) => response.text());
    while (rows < 5) await new Promise((resolve) => setTimeout(resolve, 5));
    const stopped = server.listener.close({ graceMs: 5_000, endStreams: () => gate.resolve() });
    const lines = linesOf(await answer);
    expect(lines.at(-1)).to.include({ type: 'failed', code: 'stopping' });
    expect(lines).to.have.length.below(10);
    await stopped;
  });
});
