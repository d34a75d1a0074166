import { expect } from 'chai';

import { ShiplogError } from '../../lib/base/errors.ts';
import { KIB, LIMITS, MIB } from '../../lib/base/limits.ts';
import { formatPosition } from '../../lib/base/position.ts';
import { BodyBudget } from '../../lib/http/body-budget.ts';
import { TestServer, problemOf } from './test-server.ts';

describe('the batch route', () => {
  let server: TestServer;

  beforeEach(async () => {
    server = await TestServer.start();
  });

  afterEach(async () => {
    await server.expectAlive();
    await server.stop();
  });

  const batch = (operations: unknown, query = '', headers: Record<string, string> = {}): Promise<Response> =>
    server.post(`/batch${query}`, JSON.stringify({ operations }), { 'content-type': 'application/json', ...headers });

  it('writes all operations at once and says what became of each', async () => {
    const response = await batch([{ set: 'a', value: '1' }, { del: 'none' }, { set: 'b', value: '' }, { del: 'a' }]);
    expect(response.status).to.equal(200);
    expect(Object.fromEntries(response.headers)).to.include({ 'content-type': 'application/json', 'shiplog-position': '1.c04d-44', 'shiplog-ack': 'local', 'cache-control': 'no-cache, no-transform' });
    expect(await response.json()).to.deep.equal({
      position: '1.c04d-44',
      ack: 'local',
      results: [{ outcome: 'written', position: '1.c04d-42' }, { outcome: 'absent' }, { outcome: 'written', position: '1.c04d-43' }, { outcome: 'written', position: '1.c04d-44' }],
    });
    expect(server.node.batches).to.deep.equal([
      [
        { operation: { kind: 'put', key: 'a', value: '1' }, condition: {} },
        { operation: { kind: 'delete', key: 'none' }, condition: {} },
        { operation: { kind: 'put', key: 'b', value: '' }, condition: {} },
        { operation: { kind: 'delete', key: 'a' }, condition: {} },
      ],
    ]);
  });

  it('takes what curl sends without a header, and any key and value', async () => {
    const response = await server.post('/batch', JSON.stringify({ operations: [{ set: 'a/b\0 ..', value: '\0"😀\uFEFF' }, { set: '__proto__', value: 'p' }] }), { 'content-type': 'application/x-www-form-urlencoded' });
    expect(response.status).to.equal(200);
    expect(server.node.rows.get('a/b\0 ..')!.value).to.equal('\0"😀\uFEFF');
    expect(server.node.rows.get('__proto__')!.value).to.equal('p');
  });

  it('asks for a level, a time and a position as other writes do', async () => {
    const response = await batch([{ set: 'a', value: '1' }], '?ack=all&timeout=250ms');
    expect(response.headers.get('shiplog-ack')).to.equal('2');
    expect(server.node.askedDurability).to.deep.equal({ ack: 'all', timeoutMs: 250 });
    expect(await (await batch([{ set: 'a', value: '1' }, { del: 'x' }], '?ack=memory')).json()).to.deep.equal({ position: null, ack: 'memory', results: [{ outcome: 'written', position: null }, { outcome: 'absent' }] });
    const asked: unknown[] = [];
    server.node.whenMissing = (position, waitMs) => {
      asked.push([formatPosition(position), waitMs]);
      return Promise.reject(new ShiplogError('position-lost', 'gone'));
    };
    await problemOf(await batch([{ set: 'late', value: '1' }], '?min=1.c04d-999&wait=1s'), 410, 'position-lost');
    expect(asked).to.deep.equal([['1.c04d-999', 1_000]]);
    expect(server.node.rows.has('late')).to.equal(false);
    await problemOf(await batch([{ set: 'a', value: '1' }], '?skip=1'), 400, 'unknown-parameter');
  });

  it('holds to conditions, all or nothing, and names the one that failed', async () => {
    await server.post('/set/k', 'first');
    const operations = [{ set: 'new', value: 'x', ifAbsent: true }, { set: 'k', value: 'y', ifMatch: '1.c04d-41' }, { del: 'k', ifMatch: '*' }];
    const response = await batch(operations);
    expect(response.headers.get('shiplog-position')).to.equal('1.c04d-42');
    const problem = await problemOf(response, 412, 'precondition-failed');
    expect(problem).to.include({ operation: 1, key: 'k', position: '1.c04d-42' });
    expect(server.node.rows.has('new')).to.equal(false);
    operations[1]!.ifMatch = '1.c04d-42';
    expect((await batch(operations)).status).to.equal(200);
    expect(server.node.batches.at(-1)!.map(({ condition }) => condition)).to.deep.equal([
      { ifNoneMatch: '*' },
      { ifMatch: [{ epochNumber: 1, epochTag: 'c04d', lsn: 42 }] },
      { ifMatch: '*' },
    ]);
  });

  it('refuses what is no batch, saying where it is wrong, and writes nothing', async () => {
    const wrong: readonly (readonly [body: string, code: string, detail: RegExp])[] = [
      ['', 'bad-json', /not JSON/],
      ['[]', 'bad-json', /the body is an array/],
      ['"x"', 'bad-json', /a string/],
      ['null', 'bad-json', /null/],
      ['{"operations":[}', 'bad-json', /not JSON: .*token/i],
      ['{}', 'bad-request', /operations is missing, expected \{"operations"/],
      ['{"operations":{}}', 'bad-request', /operations is an object/],
      ['{"operations":[]}', 'bad-request', /operations is empty/],
      ['{"operations":[{"set":"a","value":"1"}],"ack":1}', 'bad-request', /the body has the field "ack"/],
      ['{"operations":[{"set":"a","value":"1"},null]}', 'bad-request', /operations\[1\] is null/],
      ['{"operations":[{"set":"a"}]}', 'bad-request', /operations\[0\]\.value is missing/],
      ['{"operations":[{"set":"a","value":1}]}', 'bad-request', /operations\[0\]\.value is a number/],
      ['{"operations":[{"set":1,"value":"1"}]}', 'bad-key', /operations\[0\]\.set is a number/],
      ['{"operations":[{"set":"","value":"1"}]}', 'bad-key', /operations\[0\]\.set is empty/],
      [`{"operations":[{"set":"${'ü'.repeat(513)}","value":"1"}]}`, 'bad-key', /1026 bytes/],
      ['{"operations":[{"del":"\\ud800"}]}', 'bad-key', /lone surrogate/],
      ['{"operations":[{"set":"a","value":"\\udc00"}]}', 'bad-utf8', /operations\[0\]\.value holds a lone surrogate/],
      ['{"operations":[{"set":"a","value":"1","del":"a"}]}', 'bad-request', /both set and del/],
      ['{"operations":[{"put":"a"}]}', 'bad-request', /neither set nor del/],
      ['{"operations":[{"del":"a","value":"1"}]}', 'bad-request', /the field "value"/],
      ['{"operations":[{"set":"a","value":"1","__proto__":"x"}]}', 'bad-request', /the field "__proto__"/],
      ['{"operations":[{"del":"a","ifAbsent":false}]}', 'bad-request', /ifAbsent is false/],
      ['{"operations":[{"del":"a","ifMatch":"42"}]}', 'bad-request', /ifMatch is "42", expected the position/],
      ['{"operations":[{"del":"a","ifMatch":["1.c04d-42"]}]}', 'bad-json', /deeper than 3/],
      ['{"operations":[{"del":"a","x":{}}]}', 'bad-json', /deeper than 3/],
    ];
    for (const [body, code, detail] of wrong) {
      const problem = await problemOf(await server.post('/batch', body), 400, code);
      expect(problem['detail'], body).to.match(detail);
    }
    const invalid = await problemOf(await server.post('/batch', Buffer.from('{"operations":[{"set":"a","value":"\xff"}]}', 'latin1')), 400, 'bad-utf8');
    expect(invalid['detail']).to.match(/byte 0xff at position 35/);
    for (const headers of [{ 'content-type': 'multipart/form-data' }, { 'content-type': 'application/json; charset=latin1' }, { 'content-encoding': 'gzip' }]) {
      await problemOf(await batch([{ set: 'a', value: '1' }], '', headers), 415, 'unsupported-media-type');
    }
    expect(server.node.batches).to.have.length(0);
  });

  it('does not repeat in its complaints what it could not read', async () => {
    const problem = await problemOf(await server.post('/batch', '{"operations":[{"set":"password","value":"hunter2"} oops'), 400, 'bad-json');
    expect(problem['detail']).not.to.contain('hunter2');
  });

  it('takes megabytes of brackets without making objects of them', async () => {
    const before = process.memoryUsage().heapUsed;
    for (const bracket of ['[', '{"a":']) {
      await problemOf(await server.post('/batch', bracket.repeat(Math.floor((4 * MIB) / bracket.length))), 400, 'bad-json');
    }
    expect(process.memoryUsage().heapUsed - before).to.be.below(100 * MIB);
    // Brackets and quotes within strings are none.
    expect((await batch([{ set: 'a', value: '[[[[\\"{{{{"]]' }])).status).to.equal(200);
  });

  it('refuses more operations or bytes than fit', async () => {
    const many = Array.from({ length: LIMITS.batchOperationsMax + 1 }, (_, index) => ({ del: `${index}` }));
    expect((await problemOf(await batch(many), 413, 'batch-too-large'))['detail']).to.match(/4097 entries, expected at most 4096/);
    expect((await batch(many.slice(1))).status).to.equal(200);
    await problemOf(await server.post('/batch', 'x'.repeat(LIMITS.batchBodyBytesMax + 1)), 413, 'batch-too-large');
    expect(server.node.batches).to.have.length(1);
  });

  it('is guarded, and counted against the memory for bodies', async () => {
    await problemOf(await batch([{ set: 'a', value: '1' }], '', { origin: 'http://evil.example' }), 403, 'foreign-origin');
    await problemOf(await server.fetch('/batch'), 405, 'method-not-allowed');
    const small = await TestServer.start({ app: { requestBodies: new BodyBudget(16 * KIB) } });
    await problemOf(await small.post('/batch', 'x'.repeat(17 * KIB)), 503, 'overloaded');
    await small.stop();
  });

  it('passes on what the node says, with the position', async () => {
    for (const [error, status] of [[new ShiplogError('overloaded', 'full'), 503], [new ShiplogError('batch-too-large', 'large'), 413], [new ShiplogError('ack-timeout', 'late', { extra: { position: '1.c04d-9' } }), 504]] as const) {
      server.node.beforeWrite = () => Promise.reject(error);
      const response = await batch([{ set: 'a', value: '1' }]);
      expect(response.headers.get('shiplog-position')).to.equal('1.c04d-41');
      await problemOf(response, status, error.code);
    }
    server.node.beforeWrite = () => Promise.resolve();
  });

  describe('on a replica', () => {
    it('is forwarded once, whole, with its parameters', async () => {
      server.node.route = { kind: 'forward', primaryUrl: 'http://primary' };
      server.node.forwardAnswer = () => Promise.resolve({ status: 200, headers: { 'content-type': 'application/json', 'shiplog-position': '1.c04d-50', 'shiplog-ack': '1' }, body: Buffer.from('{"position":"1.c04d-50"}\n') });
      const response = await batch([{ set: 'a', value: '1' }], '?ack=1&timeout=1s');
      expect(await response.text()).to.equal('{"position":"1.c04d-50"}\n');
      expect(Object.fromEntries(response.headers)).to.include({ 'shiplog-position': '1.c04d-50', 'shiplog-ack': '1', 'content-type': 'application/json' });
      const [{ primaryUrl, request, durability } = expect.fail()] = server.node.forwarded;
      expect([primaryUrl, request.method, request.target, durability]).to.deep.equal(['http://primary', 'POST', '/batch?ack=1&timeout=1s', { ack: 1, timeoutMs: 1_000 }]);
      expect(Buffer.from(request.body as Uint8Array).toString()).to.equal('{"operations":[{"set":"a","value":"1"}]}');
      // What is wrong is said here: it need not travel.
      await problemOf(await batch([]), 400, 'bad-request');
      await problemOf(await batch([{ set: 'a', value: '1' }], '', { 'shiplog-forwarded': 'x' }), 503, 'not-primary');
      expect(server.node.forwarded).to.have.length(1);
      server.node.route = { kind: 'local' };
    });

    it('is redirected where the configuration says so', async () => {
      server.node.route = { kind: 'redirect', primaryUrl: 'http://primary/' };
      const response = await batch([{ set: 'a', value: '1' }], '?ack=1');
      expect([response.status, response.headers.get('location')]).to.deep.equal([307, 'http://primary/batch?ack=1']);
      server.node.route = { kind: 'local' };
    });
  });
});

describe('the mget route', () => {
  let server: TestServer;

  beforeEach(async () => {
    server = await TestServer.start();
  });

  afterEach(async () => {
    await server.expectAlive();
    await server.stop();
  });

  const mget = (keys: unknown, query = ''): Promise<Response> => server.post(`/mget${query}`, JSON.stringify({ keys }), { 'content-type': 'application/json' });

  it('answers the values of all keys in their order, with positions, and null where there is none', async () => {
    await server.post('/set/a', '1');
    await server.post('/set/b', '');
    const response = await mget(['b', 'none', 'a', 'a']);
    expect(response.headers.get('shiplog-position')).to.equal('1.c04d-43');
    expect(await response.json()).to.deep.equal({
      position: '1.c04d-43',
      values: [{ key: 'b', value: '', position: '1.c04d-43' }, { key: 'none', value: null }, { key: 'a', value: '1', position: '1.c04d-42' }, { key: 'a', value: '1', position: '1.c04d-42' }],
    });
  });

  it('waits for a position, and asks no node that is not ready', async () => {
    server.node.whenMissing = () => {
      server.node.lsn = 99;
      server.node.rows.set('a', { value: 'new', position: server.node.visiblePosition() });
      return Promise.resolve();
    };
    expect(await (await mget(['a'], '?min=1.c04d-99')).json()).to.deep.equal({ position: '1.c04d-99', values: [{ key: 'a', value: 'new', position: '1.c04d-99' }] });
    await problemOf(await mget(['a'], '?ack=1'), 400, 'unknown-parameter');
    server.node.ready = false;
    await problemOf(await mget(['a']), 503, 'not-ready');
    server.node.ready = true;
  });

  it('reads here also on a replica', async () => {
    server.node.route = { kind: 'redirect', primaryUrl: 'http://primary' };
    expect((await mget(['a'])).status).to.equal(200);
    server.node.route = { kind: 'local' };
  });

  it('refuses what is no list of keys', async () => {
    for (const [body, code, detail] of [
      ['{"keys":"a"}', 'bad-request', /keys is a string, expected \{"keys"/],
      ['{"keys":[]}', 'bad-request', /empty/],
      ['{"keys":["a",""]}', 'bad-key', /keys\[1\] is empty/],
      ['{"keys":["a",["b"]]}', 'bad-json', /deeper than 2/],
      ['{"keys":["a"],"min":"1.c04d-1"}', 'bad-request', /the field "min"/],
      ['{"keys":["\\ud83d"]}', 'bad-key', /lone surrogate/],
    ] as const) {
      expect((await problemOf(await server.post('/mget', body), 400, code))['detail'], body).to.match(detail);
    }
    await problemOf(await mget(Array.from({ length: LIMITS.readKeysMax + 1 }, String)), 413, 'batch-too-large');
  });

  it('says how many keys fit where their values are too large for one answer, and sends the largest that fits', async () => {
    const value = 'ü'.repeat(3 * MIB);
    for (const key of ['a', 'b', 'c']) await server.post(`/set/${key}`, value);
    const problem = await problemOf(await mget(['a', 'b', 'c']), 413, 'answer-too-large');
    expect(problem['fits']).to.equal(2);
    const { values } = (await (await mget(['a', 'b'])).json()) as { values: { value: string }[] };
    expect(values.map((each) => each.value === value)).to.deep.equal([true, true]);
    await server.post('/set/one', '\0'.repeat(16 * MIB));
    const one = (await (await mget(['one'])).json()) as { values: { value: string }[] };
    expect(one.values[0]!.value).to.have.length(16 * MIB);
  });

  it('counts large answers against the memory for them', async () => {
    const small = await TestServer.start({ app: { largeAnswers: new BodyBudget(100 * KIB) } });
    await small.post('/set/k', 'x'.repeat(101 * KIB));
    await problemOf(await small.post('/mget', '{"keys":["k"]}'), 503, 'overloaded');
    await small.stop();
  });
});
