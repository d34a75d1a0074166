import { createHash } from 'node:crypto';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { isShiplogError } from '../../lib/base/errors.ts';
import { readBody, type TransportResponse } from '../../lib/env/transport.ts';
import { verifySnapshot } from '../../lib/snapshot/install.ts';
import { SqliteStore } from '../../lib/store/sqlite-store.ts';
import { testEpoch } from '../support/log-writer.ts';
import { digestOf } from '../support/memory-store.ts';
import { rejection, TEST_CLUSTER_ID } from '../store/store-suite.ts';
import { SnapshotFixture } from './snapshot-fixture.ts';

const BYTES_MAX = 64 * 1024 * 1024;

describe('SnapshotService', () => {
  let fixture: SnapshotFixture;

  beforeEach(async () => {
    fixture = await SnapshotFixture.create();
  });

  afterEach(() => fixture.dispose());

  function get(headers: Readonly<Record<string, string>> = {}, signal?: AbortSignal): Promise<TransportResponse> {
    return fixture.service.serve({ method: 'GET', target: '/snapshot', headers, ...(signal === undefined ? {} : { signal }) });
  }

  it('serves a plain SQLite file with its size, its digest and its position', async () => {
    const response = await get();
    const body = await readBody(response.body, BYTES_MAX);
    expect(response.status).to.equal(200);
    expect(body.subarray(0, 15).toString()).to.equal('SQLite format 3');
    expect(response.headers).to.deep.equal({
      'content-type': 'application/vnd.sqlite3',
      'content-disposition': 'attachment; filename="shiplog-1.0001-1001.sqlite"',
      'content-length': String(body.length),
      'cache-control': 'no-cache, no-transform',
      'accept-ranges': 'bytes',
      'etag': `"sha256-${createHash('sha256').update(body).digest('hex')}"`,
      'shiplog-position': '1.0001-1001',
      'shiplog-cluster': TEST_CLUSTER_ID,
      'shiplog-epoch': `1.${testEpoch(1).id}`,
      'shiplog-chain': fixture.log.chain.toString(16).padStart(8, '0'),
    });
    expect(fixture.served).to.equal(1);
  });

  it('serves a file that equals its position while batches are applied', async () => {
    const progress = { done: false };
    const serving = get().then(async (response) => {
      const body = await readBody(response.body, BYTES_MAX);
      progress.done = true;
      return { response, body };
    });
    while (!progress.done) await fixture.write(100);
    const { response, body } = await serving;
    const path = join(fixture.directory, 'fetched.sqlite');
    writeFileSync(path, body);
    const state = await verifySnapshot(path);
    expect(response.headers['shiplog-position']).to.equal(`1.0001-${state.lsn}`);
    const copy = await SqliteStore.open({ path });
    try {
      expect((await copy.beginDigest().digest).sha256).to.equal(digestOf(fixture.log.fold(state.lsn)).sha256);
    } finally {
      await copy.close();
    }
  });

  it('gives all who ask at once, and those who ask right after, one and the same file', async () => {
    const responses = await Promise.all([get(), get(), get()]);
    await fixture.write(1);
    fixture.clock.advance(4_000);
    responses.push(await get());
    expect(new Set(responses.map(({ headers }) => headers['etag'])).size).to.equal(1);
    expect(readdirSync(fixture.snapshotDirectory)).to.have.length(1);
    const bodies = await Promise.all(responses.map(({ body }) => readBody(body, BYTES_MAX)));
    for (const body of bodies) expect(body.equals(bodies[0]!)).to.equal(true);
  });

  it('makes a new file when the last one is old and something was written since', async () => {
    const first = await get();
    fixture.clock.advance(6_000);
    const unchanged = await get();
    expect(unchanged.headers['etag']).to.equal(first.headers['etag']);
    await fixture.write(1);
    const second = await get();
    expect(second.headers['shiplog-position']).to.equal('1.0001-1002');
    for (const { body } of [first, unchanged, second]) await readBody(body, BYTES_MAX);
  });

  it('keeps at most two files, and those that are being read', async () => {
    const first = await get();
    fixture.clock.advance(6_000);
    await fixture.write(1);
    const second = await get();
    fixture.clock.advance(6_000);
    await fixture.write(1);
    const third = await get();
    expect(third.headers['etag'], 'both are being read: the newest has to do').to.equal(second.headers['etag']);
    expect(readdirSync(fixture.snapshotDirectory)).to.have.length(2);
    await readBody(first.body, BYTES_MAX);
    const fourth = await get();
    expect(fourth.headers['shiplog-position']).to.equal('1.0001-1003');
    expect(readdirSync(fixture.snapshotDirectory)).to.have.length(2);
    for (const { body } of [second, third, fourth]) await readBody(body, BYTES_MAX);
  });

  it('cuts a reader that stalls when its room is needed', async () => {
    const stalled = await get();
    fixture.clock.advance(6_000);
    await fixture.write(1);
    const second = await get();
    fixture.clock.advance(61_000);
    await fixture.write(1);
    const reading = second.body[Symbol.asyncIterator]();
    await reading.next();
    const third = await get();
    expect(third.headers['shiplog-position']).to.equal('1.0001-1003');
    expect(await rejection(readBody(stalled.body, BYTES_MAX))).to.equal('the snapshot was removed');
    await reading.return?.();
    await readBody(third.body, BYTES_MAX);
  });

  it('answers a range of a file that is named by If-Range or If-Match', async () => {
    const whole = await get();
    const content = await readBody(whole.body, BYTES_MAX);
    const etag = whole.headers['etag']!;
    fixture.clock.advance(20_000);
    await fixture.write(1);
    for (const condition of ['if-range', 'if-match']) {
      for (const [range, from, end] of [['bytes=0-0', 0, 1], ['bytes=70000-', 70_000, content.length], ['bytes=5-100000', 5, 100_001], ['bytes=-10', content.length - 10, content.length]] as const) {
        const response = await get({ range, [condition]: etag });
        expect(response.status, range).to.equal(206);
        expect(response.headers['content-range']).to.equal(`bytes ${from}-${end - 1}/${content.length}`);
        expect(response.headers['content-length']).to.equal(String(end - from));
        expect((await readBody(response.body, BYTES_MAX)).equals(content.subarray(from, end)), range).to.equal(true);
      }
    }
  });

  it('answers a range of a file that is gone with a whole new one, and If-Match with 412', async () => {
    const other = `"sha256-${'0'.repeat(64)}"`;
    const response = await get({ 'range': 'bytes=100-', 'if-range': other });
    expect(response.status).to.equal(200);
    expect((await readBody(response.body, BYTES_MAX)).length).to.equal(Number(response.headers['content-length']));
    const error = await get({ 'range': 'bytes=100-', 'if-match': other }).catch((reason: unknown) => reason);
    expect(isShiplogError(error, 'precondition-failed')).to.equal(true);
  });

  it('answers a range that does not say of which file with the whole file', async () => {
    const response = await get({ range: 'bytes=100-' });
    expect(response.status).to.equal(200);
    await readBody(response.body, BYTES_MAX);
  });

  it('answers a range outside the file with 416 and the size', async () => {
    const whole = await get();
    const size = (await readBody(whole.body, BYTES_MAX)).length;
    const response = await get({ 'range': `bytes=${size}-`, 'if-range': whole.headers['etag']! });
    expect(response.status).to.equal(416);
    expect(response.headers['content-range']).to.equal(`bytes */${size}`);
    expect(JSON.parse((await readBody(response.body, BYTES_MAX)).toString())).to.include({ code: 'range-not-satisfiable', status: 416 });
  });

  it('answers HEAD with the headers alone', async () => {
    const response = await fixture.service.serve({ method: 'HEAD', target: '/snapshot', headers: {} });
    expect(Number(response.headers['content-length'])).to.be.greaterThan(100_000);
    expect(await readBody(response.body, BYTES_MAX)).to.have.length(0);
  });

  it('answers 202 to one that does not want to wait longer, and goes on with the export', async () => {
    const waiting = get({ prefer: 'wait=5' });
    fixture.clock.advance(5_000);
    expect((await waiting).status).to.equal(202);
    const response = await get({ prefer: 'wait=5' });
    expect(response.status).to.equal(200);
    expect(readdirSync(fixture.snapshotDirectory)).to.have.length(1);
    await readBody(response.body, BYTES_MAX);
  });

  it('lets one who waits leave without ending the export for the others', async () => {
    const leaving = new AbortController();
    const left = get({}, leaving.signal);
    const stayed = get();
    leaving.abort(new Error('gone'));
    expect(await rejection(left)).to.equal('gone');
    const response = await stayed;
    expect(response.status).to.equal(200);
    await readBody(response.body, BYTES_MAX);
  });

  it('ends a body early and closes its file when the peer is gone', async () => {
    const leaving = new AbortController();
    const response = await get({}, leaving.signal);
    const pieces = response.body[Symbol.asyncIterator]();
    expect((await pieces.next()).value).to.have.length(64 * 1024);
    expect(fixture.service.tasks.map(({ name, doneBytes }) => [name, doneBytes])).to.deep.equal([['send snapshot', 64 * 1024]]);
    leaving.abort(new Error('gone'));
    expect((await pieces.next()).done).to.equal(true);
    expect(fixture.service.tasks).to.deep.equal([]);
    expect(fixture.served).to.equal(0);
  });

  it('shows an export that is under way', async () => {
    const waiting = get();
    const [task] = fixture.service.tasks;
    expect(task).to.include({ name: 'make snapshot', doneBytes: 0 });
    expect(task!.totalBytes).to.be.greaterThan(100_000);
    await readBody((await waiting).body, BYTES_MAX);
  });

  it('removes files that nobody asked for in ten minutes', async () => {
    await readBody((await get()).body, BYTES_MAX);
    fixture.clock.advance(9 * 60_000);
    expect(readdirSync(fixture.snapshotDirectory)).to.have.length(1);
    fixture.clock.advance(2 * 60_000);
    await fixture.clock.advanceUntil(
      (async () => {
        while (readdirSync(fixture.snapshotDirectory).length > 0) await new Promise((resolve) => setTimeout(resolve, 1));
      })(),
    );
  });

  it('removes at its start what an earlier process left', async () => {
    writeFileSync(join(fixture.snapshotDirectory, 'snapshot-7.sqlite'), 'half a file');
    await fixture.newService({}).start();
    expect(readdirSync(fixture.snapshotDirectory)).to.deep.equal([]);
  });

  it('refuses with disk-full while there is too little space', async () => {
    const disk = Object.assign(Object.create(fixture.disk) as typeof fixture.disk, { freeBytes: () => Promise.resolve(1_000_000) });
    const error = await fixture.newService({ disk }).serve({ method: 'GET', target: '/snapshot', headers: {} }).catch((reason: unknown) => reason);
    expect(isShiplogError(error, 'disk-full')).to.equal(true);
    expect((error as Error).message).to.match(/needs \d+ free bytes in .*, there are 1000000/);
  });

  it('refuses with not-ready while there is no store', async () => {
    const error = await fixture.newService({ store: () => undefined }).serve({ method: 'GET', target: '/snapshot', headers: {} }).catch((reason: unknown) => reason);
    expect(isShiplogError(error, 'not-ready')).to.equal(true);
  });

  it('never reuses a file of a store that was replaced', async () => {
    const first = await get();
    await readBody(first.body, BYTES_MAX);
    const path = join(fixture.directory, 'other.sqlite');
    await fixture.store.exportSnapshot(path);
    const other = await SqliteStore.open({ path });
    let current: SqliteStore = fixture.store;
    const service = fixture.newService({ store: () => current, directory: join(fixture.directory, 'others') });
    await service.start();
    const before = await service.serve({ method: 'GET', target: '/snapshot', headers: {} });
    await readBody(before.body, BYTES_MAX);
    current = other;
    await other.apply([fixture.log.beginEpoch(2)]);
    const after = await service.serve({ method: 'GET', target: '/snapshot', headers: { 'range': 'bytes=9-', 'if-range': before.headers['etag']! } });
    expect(after.status).to.equal(200);
    expect(after.headers['shiplog-epoch']).to.equal(`2.${testEpoch(2).id}`);
    await readBody(after.body, BYTES_MAX);
    await service.close();
    await other.close();
  });
});
