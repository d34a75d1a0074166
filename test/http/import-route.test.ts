import { expect } from 'chai';
import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';

import { ShiplogError } from '../../lib/base/errors.ts';
import { KIB, LIMITS, MIB } from '../../lib/base/limits.ts';
import { formatPosition } from '../../lib/base/position.ts';
import { BodyBudget } from '../../lib/http/body-budget.ts';
import { ManualClock } from './test-clock.ts';
import { TestServer, type TestServerOptions, problemOf } from './test-server.ts';

type Document = Record<string, unknown>;

/** Lines of which each is to be seen in the table: no two of the same effect. */
function sampleLines(count: number): string[] {
  return Array.from({ length: count }, (_, index) => (index % 10 === 9 ? JSON.stringify({ del: `k${index - 5}` }) : JSON.stringify({ key: `k${index}`, value: `v${index} é😀 ${'x'.repeat(index % 50)}` })));
}

/** What the first lines make of an empty table. */
function tableOf(lines: readonly string[]): Map<string, string> {
  const table = new Map<string, string>();
  for (const line of lines) {
    const { key, value, del } = JSON.parse(line) as { key?: string; value?: string; del?: string };
    if (key !== undefined) table.set(key, value!);
    else table.delete(del!);
  }
  return table;
}

describe('the import route', () => {
  let server: TestServer;

  async function start(options: TestServerOptions = {}): Promise<void> {
    server = await TestServer.start(options);
  }

  afterEach(async () => {
    await server.stop();
  });

  const table = (): Map<string, string> => new Map([...server.node.rows].map(([key, { value }]) => [key, value]));
  const post = (body: string | Uint8Array<ArrayBuffer>, query = ''): Promise<Response> => server.post(`/import${query}`, body, { 'content-type': 'application/x-ndjson' });
  const documents = async (response: Response): Promise<Document[]> => (await response.text()).trimEnd().split('\n').map((line) => JSON.parse(line) as Document);

  /** A body that is sent piece by piece, and an answer that is read as it comes. */
  async function upload(query = ''): Promise<{ sent: ClientRequest; answered: Promise<IncomingMessage>; said: Document[]; ended: Promise<void> }> {
    const sent = request(`${server.url}/import${query}`, { method: 'POST' });
    sent.on('error', () => {});
    sent.flushHeaders();
    await once(sent, 'socket');
    const said: Document[] = [];
    const answered = new Promise<IncomingMessage>((resolve) => sent.once('response', resolve));
    const ended = answered.then(
      (response) =>
        new Promise<void>((resolve) => {
          let text = '';
          response.setEncoding('utf8').on('data', (piece: string) => {
            text += piece;
            const lines = text.split('\n');
            text = lines.pop()!;
            said.push(...lines.map((line) => JSON.parse(line) as Document));
          });
          response.once('close', resolve);
          response.once('error', () => {});
        }),
    );
    return { sent, answered, said, ended };
  }

  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
  };

  it('takes all lines in their order, in batches, and says how many there were', async () => {
    await start();
    const lines = sampleLines(3_456);
    const response = await post(lines.join('\n'));
    expect(Object.fromEntries(response.headers)).to.include({ 'content-type': 'application/x-ndjson', 'cache-control': 'no-cache, no-transform' });
    expect(response.status).to.equal(200);
    expect(await documents(response)).to.deep.equal([{ type: 'done', lines: 3_456, position: formatPosition(server.node.visiblePosition()) }]);
    expect(table()).to.deep.equal(tableOf(lines));
    const sizes = server.node.batches.map((batch) => batch.length);
    expect(Math.max(...sizes)).to.be.at.most(LIMITS.importBatchOperations);
    expect(sizes.length).to.be.below(40);
    await server.expectAlive();
  });

  it('takes lines that end in CR and LF, a last line without an end, any text, and nothing at all', async () => {
    await start();
    expect(await documents(await post('{"key":"a","value":"\\u0000\\ud83d\\ude00\\n"}\r\n{"key":"__proto__","value":""}'))).to.deep.include({ type: 'done', lines: 2, position: '1.c04d-43' });
    expect(table()).to.deep.equal(new Map([['a', '\0😀\n'], ['__proto__', '']]));
    expect(await documents(await post(''))).to.deep.equal([{ type: 'done', lines: 0, position: '1.c04d-43' }]);
  });

  it('commits by bytes, too, and a large value alone', async () => {
    await start();
    const lines = [...Array.from({ length: 40 }, (_, index) => JSON.stringify({ key: `k${index}`, value: 'x'.repeat(100 * KIB) })), JSON.stringify({ key: 'large', value: 'ü'.repeat(8 * MIB) }), JSON.stringify({ key: 'last', value: 'v' })];
    expect((await documents(await post(lines.join('\n')))).at(-1)).to.include({ type: 'done', lines: 42 });
    expect(table()).to.deep.equal(tableOf(lines));
    const bytes = server.node.batches.map((batch) => batch.reduce((sum, { operation }) => sum + (operation.kind === 'put' ? Buffer.byteLength(operation.value) : 0), 0));
    expect(bytes.filter((each) => each > LIMITS.importBatchBytes)).to.deep.equal([16 * MIB]);
    expect(bytes.length).to.be.greaterThan(4);
  });

  it('takes the largest value with every byte escaped', async function () {
    this.timeout(30_000);
    await start();
    expect(await documents(await post(`{"key":"${'\\u0001'.repeat(1024)}","value":"${'\\u0000'.repeat(16 * MIB)}"}`)).then((said) => said.at(-1))).to.include({ type: 'done', lines: 1 });
    expect(server.node.rows.get('\u0001'.repeat(1024))!.value).to.have.length(16 * MIB);
  });

  it('asks for the level, and for nothing less than a sync', async () => {
    await start();
    await post('{"key":"a","value":"1"}', '?ack=2&timeout=1s');
    expect(server.node.askedDurability).to.deep.equal({ ack: 2, timeoutMs: 1_000 });
    expect(server.node.askedSync).to.equal(true);
    await problemOf(await post('{"key":"a","value":"1"}', '?ack=memory'), 400, 'bad-request');
    await problemOf(await post('{"key":"a","value":"1"}', '?min=1.c04d-999&wait=1ms'), 503, 'position-not-reached');
    await problemOf(await post('', '?skip=-1'), 400, 'bad-request');
    await problemOf(await post('', '?id=a b'), 400, 'bad-request');
    await problemOf(await post('', '?foo=1'), 400, 'unknown-parameter');
    expect((await server.fetch('/import', { method: 'POST', headers: { origin: 'http://evil.example' }, body: '' })).status).to.equal(403);
  });

  it('is sent to the primary by a replica', async () => {
    await start();
    for (const kind of ['forward', 'redirect'] as const) {
      server.node.route = { kind, primaryUrl: 'http://primary:1' };
      const response = await post('{"key":"a","value":"1"}', '?skip=0');
      expect([response.status, response.headers.get('location')]).to.deep.equal([307, 'http://primary:1/import?skip=0']);
    }
    expect(server.node.forwarded).to.have.length(0);
  });

  it('stops at a line that is wrong, takes all before it, and says which it was and why', async () => {
    await start();
    const good = sampleLines(1_500);
    const wrong: readonly (readonly [line: string | Buffer, code: string, detail: RegExp])[] = [
      ['', 'bad-json', /not JSON/],
      ['{"key":"a","value":"1"', 'bad-json', /not JSON/],
      ['["a","1"]', 'bad-json', /an array/],
      ['{"key":"a"}', 'bad-request', /value is missing/],
      ['{"key":"","value":"1"}', 'bad-key', /empty/],
      ['{"key":"a","value":null}', 'bad-request', /value is null/],
      ['{"key":"a","value":"\\ud800"}', 'bad-utf8', /lone surrogate/],
      ['{"key":"a","value":"1","ttl":1}', 'bad-request', /the field "ttl"/],
      ['{"key":"a","del":"a"}', 'bad-request', /both/],
      ['{"set":"a","value":"1"}', 'bad-request', /neither key nor del/],
      ['{"type":"other"}', 'bad-request', /type is "other"/],
      ['{"type":"header","format":1}', 'bad-request', /first line only/],
      ['{"type":"footer","count":1500}', 'bad-request', /no header/],
      [Buffer.from('{"key":"a","value":"\xff"}', 'latin1'), 'bad-utf8', /byte 0xff at position 20/],
      ['['.repeat(MIB), 'bad-json', /deeper than 1/],
      [`{"key":"${'k'.repeat(1025)}","value":""}`, 'bad-key', /1025 bytes/],
      [`{"key":"k","value":"${'x'.repeat(16 * MIB + 1)}"}`, 'value-too-large', /16777217 bytes/],
    ];
    for (const [line, code, detail] of wrong) {
      server.node.rows.clear();
      const response = await post(Buffer.concat([Buffer.from(`${good.join('\n')}\n`), Buffer.from(line), Buffer.from('\n{"key":"after","value":"1"}\n')]));
      const problem = await problemOf(response, code === 'value-too-large' ? 413 : 400, code);
      expect(problem, String(line).slice(0, 80)).to.include({ line: 1_501, lines: 1_500, position: formatPosition(server.node.visiblePosition()) });
      expect(problem['detail']).to.match(/^line 1501: /).and.to.match(detail);
      expect(table()).to.deep.equal(tableOf(good));
    }
    await server.expectAlive();
  });

  it('refuses a line without end before it fills the memory', async function () {
    this.timeout(20_000);
    await start({ app: { requestBodies: new BodyBudget(8 * MIB) } });
    const { sent, ended, answered } = await upload();
    sent.write('{"key":"a","value":"1"}\n');
    await until(() => server.node.rows.size === 1);
    const piece = Buffer.alloc(MIB, 'x');
    for (let count = 0; count < 20; count += 1) sent.write(piece);
    const response = await answered;
    expect(response.statusCode).to.equal(503);
    sent.destroy();
    await ended;
    expect(table()).to.deep.equal(new Map([['a', '1']]));
  });

  describe('of an export', () => {
    const header = '{"type":"header","format":1,"clusterId":"c","position":"1.c04d-9","keys":2,"prefix":"x"}';
    const rows = ['{"key":"a","value":"1"}', '{"key":"b","value":"2"}'];
    const footer = '{"type":"footer","count":2,"position":"1.c04d-9"}';

    it('counts its header and its footer as lines', async () => {
      await start();
      expect(await documents(await post([header, ...rows, footer].join('\n')))).to.deep.equal([{ type: 'done', lines: 4, position: '1.c04d-43' }]);
      expect(await documents(await post([header, footer.replace('2', '0')].join('\n')))).to.deep.equal([{ type: 'done', lines: 2, position: '1.c04d-43' }]);
      expect(server.node.batches.flat()).to.have.length(2);
    });

    it('goes on behind the lines that it is told to skip, and knows the header all the same', async () => {
      await start();
      for (const skip of [0, 1, 2, 3, 4]) {
        server.node.rows.clear();
        expect(await documents(await post([header, ...rows, footer].join('\n'), `?skip=${skip}`))).to.deep.include({ type: 'done', lines: 4, position: formatPosition(server.node.visiblePosition()) });
        expect(table()).to.deep.equal(tableOf(rows.slice(Math.max(0, skip - 1))));
      }
      expect((await problemOf(await post([header, ...rows, footer].join('\n'), '?skip=5'), 400, 'bad-request'))['detail']).to.match(/has 4 lines, 5 were to be skipped/);
      expect(await problemOf(await post([header, ...rows].join('\n'), '?skip=2'), 400, 'export-incomplete')).to.include({ lines: 3 });
    });

    it('notices that it was cut, that it has other lines than it should, or that it broke off', async () => {
      await start();
      for (const [lines, count, detail] of [
        [[header, ...rows], 3, /no footer/],
        [[header, rows[0]!, footer], 2, /counts 2 keys, here are 1/],
        [[header, ...rows, rows[0]!, footer], 4, /counts 2 keys, here are 3/],
        [[header, ...rows, '{"type":"failed","code":"stopping","message":"the node stops"}'], 3, /broke off .*the node stops/],
      ] as const) {
        const problem = await problemOf(await post(lines.join('\n')), 400, 'export-incomplete');
        expect(problem).to.include({ lines: count });
        expect(problem['detail']).to.match(detail);
      }
      await problemOf(await post([header, ...rows, footer, rows[0]!].join('\n')), 400, 'bad-request');
      await problemOf(await post([header.replace('1', '2'), ...rows, footer].join('\n')), 400, 'bad-request');
    });
  });

  describe('that is cut', () => {
    const lines = sampleLines(60);
    const bytes = Buffer.from(`${lines.join('\n')}\n`);

    it('by a body that ends too early has taken exactly the whole lines before, at every byte', async function () {
      this.timeout(30_000);
      await start();
      for (let cut = 1; cut < bytes.length; cut += 7) {
        server.node.rows.clear();
        const whole = bytes.subarray(0, cut).toString('latin1').split('\n').length - 1;
        const isComplete = bytes[cut] === 0x0a || bytes[cut - 1] === 0x0a;
        const response = await post(Buffer.from(bytes.subarray(0, cut)));
        if (isComplete) {
          expect((await documents(response)).at(-1)).to.include({ type: 'done', lines: bytes[cut] === 0x0a ? whole + 1 : whole });
          continue;
        }
        const problem = (await response.json()) as Document;
        expect(problem).to.include({ lines: whole, line: whole + 1 });
        expect(problem['code']).to.be.oneOf(['bad-json', 'bad-utf8']);
        expect(table(), `cut at ${cut}`).to.deep.equal(tableOf(lines.slice(0, whole)));
      }
    });

    it('by its connection says afterwards how many lines are there, at every byte, and goes on from there', async function () {
      this.timeout(60_000);
      await start();
      const counts = new Set<unknown>();
      for (let cut = 0; cut < bytes.length; cut += 61) {
        server.node.rows.clear();
        // What was begun shall be in every state when the connection breaks.
        server.node.beforeWrite = () => new Promise((resolve) => setTimeout(resolve, cut % 3));
        const { sent } = await upload(`?id=cut-${cut}`);
        while ((await server.fetch(`/import?id=cut-${cut}`)).status === 404) await new Promise((resolve) => setTimeout(resolve, 2));
        const middle = Math.floor(cut / 2);
        sent.write(bytes.subarray(0, middle));
        if (cut % 2 === 0) await new Promise((resolve) => setTimeout(resolve, cut % 5));
        await new Promise<void>((resolve) => sent.write(bytes.subarray(middle, cut), () => resolve()));
        if (cut % 3 !== 0) await new Promise((resolve) => setTimeout(resolve, 4));
        sent.destroy();

        let account: Document = {};
        do {
          account = (await (await server.fetch(`/import?id=cut-${cut}`)).json()) as Document;
        } while (account['state'] === 'running');
        expect(account['state']).to.equal('failed');
        expect(table(), `cut at ${cut}`).to.deep.equal(tableOf(lines.slice(0, account['lines'] as number)));
        counts.add(account['lines']);
        const rest = await post(bytes, `?skip=${String(account['lines'])}&id=cut-${cut}`);
        expect((await documents(rest)).at(-1)).to.include({ type: 'done', lines: 60 });
        expect(table()).to.deep.equal(tableOf(lines));
        expect(await (await server.fetch(`/import?id=cut-${cut}`)).json()).to.include({ state: 'done', lines: 60 });
      }
      expect(counts.size, 'different counts').to.be.greaterThan(5);
      await problemOf(await server.fetch('/import?id=other'), 404, 'not-found');
      await problemOf(await server.fetch('/import'), 400, 'bad-request');
    });

    it('and begun again under its name ends first: nothing of it comes later', async () => {
      await start();
      const gate = Promise.withResolvers<void>();
      server.node.beforeWrite = () => gate.promise;
      const first = await upload('?id=same');
      first.sent.write(`${lines.slice(0, 20).join('\n')}\n`);
      await until(() => server.node.batches.length === 1);
      first.sent.write(`${lines.slice(20, 40).join('\n')}\n`);
      await new Promise((resolve) => setTimeout(resolve, 20));
      const second = post(bytes, '?id=same');
      await new Promise((resolve) => setTimeout(resolve, 30));
      expect(server.node.batches.length, 'the second waits').to.equal(1);
      gate.resolve();
      expect((await documents(await second)).at(-1)).to.include({ type: 'done', lines: 60 });
      expect((await first.answered).statusCode).to.equal(503);
      expect(server.node.batches.flat().slice(server.node.batches[0]!.length).length, 'of the first only what was on its way').to.equal(60);
    });
  });

  it('says how far it is at most every second, and the end at last', async () => {
    const clock = new ManualClock();
    await start({ clock });
    const { sent, said, ended } = await upload('?id=p');
    for (let count = 1, lines = 0; count <= 10; count += 1) {
      sent.write(`{"key":"k${count}","value":"v"}\n`);
      while (lines !== count) ({ lines = 0 } = (await (await server.fetch('/import?id=p')).json()) as { lines?: number });
      clock.advance(400);
    }
    await until(() => said.length === 3);
    expect(said.map(({ type, lines }) => [type, lines])).to.deep.equal([['progress', 4], ['progress', 7], ['progress', 10]]);
    sent.end('oops\n');
    await ended;
    expect(said.at(-1)).to.deep.include({ type: 'failed', code: 'bad-json', lines: 10, line: 11, position: '1.c04d-51' });
    expect(said).to.have.length(4);
  });

  it('says after its first progress, too, that the node stops, and takes nothing more', async () => {
    const clock = new ManualClock();
    await start({ clock });
    const { sent, said, ended } = await upload();
    sent.write('{"key":"a","value":"1"}\n');
    await until(() => server.node.rows.size === 1);
    clock.advance(1_000);
    sent.write('{"key":"b","value":"1"}\n');
    await until(() => said.length === 1);
    const stopped = server.listener.close({ graceMs: 5_000 });
    await ended;
    sent.destroy();
    expect(said[1]).to.include({ type: 'failed', code: 'stopping', lines: 2 });
    clock.advance(10_000);
    await stopped;
  });

  it('keeps its client waiting while the disk is slow, in little memory', async () => {
    const requestBodies = new BodyBudget(64 * MIB);
    await start({ app: { requestBodies } });
    const gate = Promise.withResolvers<void>();
    server.node.beforeWrite = () => gate.promise;
    const client = await server.open();
    await client.send('POST /import HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n');
    const lines = Array.from({ length: 1_000 }, (_, index) => `{"key":"k${index}","value":"${'x'.repeat(1_000)}"}\n`).join('');
    const piece = `${lines.length.toString(16)}\r\n${lines}\r\n`;
    let taken = 0;
    const sending = (async () => {
      for (let count = 0; count < 64; count += 1) {
        await client.send(piece);
        taken += 1;
      }
      await client.send('0\r\n\r\n');
    })();
    let before = -1;
    while (taken !== before) {
      before = taken;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    expect(taken, 'of 64, what the kernel holds and two batches').to.be.within(1, 20);
    expect(requestBodies.usedBytes).to.be.within(MIB, 3 * MIB);
    gate.resolve();
    await sending;
    await until(() => requestBodies.usedBytes === 0);
    expect(await client.answer()).to.include({ status: 200 });
    client.close();
    expect(server.node.batches.flat()).to.have.length(64_000);
  });

  it('holds no memory while its client pauses between lines, and gives it up after a while', async () => {
    const requestBodies = new BodyBudget(64 * MIB);
    const clock = new ManualClock();
    await start({ clock, app: { requestBodies, bodyIdleMs: 5_000 } });
    const { sent, answered, said, ended } = await upload();
    sent.write('{"key":"a","value":"1"}\n');
    await until(() => server.node.rows.size === 1);
    await until(() => requestBodies.usedBytes === 0);
    clock.advance(4_900);
    expect(said).to.deep.equal([]);
    clock.advance(200);
    expect((await answered).statusCode).to.equal(408);
    clock.advance(10_000);
    await ended;
    expect(said[0]).to.include({ code: 'body-timeout', lines: 1 });
  });

  it('gives up a client that dribbles, and not one that is slow', async () => {
    const clock = new ManualClock();
    await start({ clock, app: { bodyIdleMs: 5_000 } });
    const { sent, said, ended } = await upload('?id=dribble');
    const bring = async (text: string, lines: number): Promise<void> => {
      sent.write(text);
      let account: { lines?: number } = {};
      while (account.lines !== lines) account = (await (await server.fetch('/import?id=dribble')).json()) as { lines?: number };
      clock.advance(2_000);
    };
    for (let lines = 1; lines <= 5; lines += 1) await bring(`{"key":"k","value":"${'x'.repeat(KIB)}"}\n`, lines);
    for (let lines = 6; lines <= 7; lines += 1) await bring('{"del":"k"}\n', lines);
    await ended;
    expect(said.at(-1)).to.include({ type: 'failed', code: 'body-timeout', lines: 7 });
    sent.destroy();
  });

  it('waits where the node has too much to do, and says what it can not wait for', async () => {
    await start();
    let refusals = 3;
    server.node.beforeWrite = () => ((refusals -= 1) >= 0 ? Promise.reject(new ShiplogError('overloaded', 'full')) : Promise.resolve());
    expect(await documents(await post('{"key":"a","value":"1"}'))).to.deep.equal([{ type: 'done', lines: 1, position: '1.c04d-42' }]);
    for (const [error, uncertain] of [
      [new ShiplogError('disk-full', 'no space'), false],
      [new ShiplogError('not-primary', 'not any more'), false],
      [new ShiplogError('ack-timeout', 'late'), true],
      [new ShiplogError('outcome-unknown', 'who knows'), true],
    ] as const) {
      let writes = 0;
      server.node.beforeWrite = () => ((writes += 1) === 2 ? Promise.reject(error) : Promise.resolve());
      const lines = sampleLines(5_000);
      const before = server.node.batches.length;
      const problem = await problemOf(await post(lines.join('\n')), error.status, error.code);
      const [first, second] = server.node.batches.slice(before);
      expect(problem['lines']).to.equal(first!.length);
      expect(problem['uncertainThroughLine']).to.equal(uncertain ? first!.length + second!.length : undefined);
      expect(server.node.batches.length - before, 'nothing behind what failed').to.equal(2);
    }
  });
});
