import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { isShiplogError } from '../../lib/base/errors.ts';
import { DiskFullError } from '../../lib/env/disk.ts';
import type { TransportHandler, TransportRequest, TransportResponse } from '../../lib/env/transport.ts';
import { readBody } from '../../lib/env/transport.ts';
import { SILENT_LOGGER } from '../../lib/observe/logger.ts';
import { verifySnapshot } from '../../lib/snapshot/install.ts';
import { SnapshotDownload, type SnapshotDownloadOptions } from '../../lib/snapshot/snapshot-download.ts';
import type { SnapshotDescription } from '../../lib/snapshot/snapshot-headers.ts';
import { testEpoch } from '../support/log-writer.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { rejection, TEST_CLUSTER_ID } from '../store/store-suite.ts';
import { type Fault, FaultyTransport, pieces } from './faulty-transport.ts';
import { SnapshotFixture } from './snapshot-fixture.ts';

describe('SnapshotDownload', () => {
  let fixture: SnapshotFixture;
  let path: string;
  let begun: SnapshotDescription[];

  beforeEach(async () => {
    fixture = await SnapshotFixture.create();
    path = join(fixture.directory, 'downloaded.sqlite');
    begun = [];
  });

  afterEach(() => fixture.dispose());

  function download(transport: FaultyTransport, options: Partial<SnapshotDownloadOptions> = {}): SnapshotDownload {
    return new SnapshotDownload({
      transport,
      disk: fixture.disk,
      clock: fixture.clock,
      random: new SeededRandom(1),
      logger: SILENT_LOGGER,
      baseUrl: 'http://peer',
      path,
      onBegin: (description) => void begun.push(description),
      ...options,
    });
  }

  function faulty(faultOf?: (requestIndex: number) => Fault): FaultyTransport {
    return new FaultyTransport((request) => fixture.service.serve(request), faultOf);
  }

  /** Has the peer make the file before it is asked for, so that the first answer is no 202. */
  async function makeFile(): Promise<void> {
    await fixture.service.serve({ method: 'HEAD', target: '/snapshot', headers: {} });
  }

  /** A peer that offers one small content, always the same. */
  function peerOf(content: Buffer, headers: Readonly<Record<string, string>> = {}): TransportHandler {
    return (request: TransportRequest): Promise<TransportResponse> => {
      const from = Number(/^bytes=(\d+)-$/.exec(request.headers['range'] ?? '')?.[1] ?? '0');
      const rest = content.subarray(from);
      const range = from === 0 ? {} : { 'content-range': `bytes ${from}-${content.length - 1}/${content.length}` };
      return Promise.resolve({
        status: from === 0 ? 200 : 206,
        headers: {
          'content-length': String(rest.length),
          'etag': `"sha256-${createHash('sha256').update(content).digest('hex')}"`,
          'shiplog-position': '1.0001-42',
          'shiplog-cluster': TEST_CLUSTER_ID,
          'shiplog-epoch': `1.${testEpoch(1).id}`,
          'shiplog-chain': '0000beef',
          ...range,
          ...headers,
        },
        body: pieces(rest.length === 0 ? [] : [rest]),
      });
    };
  }

  it('ends with a file that is what was announced', async () => {
    const running = download(faulty());
    const description = await fixture.clock.advanceUntil(running.run());
    expect(description).to.deep.include({ lsn: 1001, chain: fixture.log.chain, clusterId: TEST_CLUSTER_ID, epoch: testEpoch(1) });
    expect(begun).to.deep.equal([description]);
    const content = readFileSync(path);
    expect(content).to.have.length(description.sizeBytes);
    expect(createHash('sha256').update(content).digest('hex')).to.equal(description.sha256);
    expect(existsSync(`${path}.part`)).to.equal(false);
    expect(running.progress).to.include({ doneBytes: content.length, totalBytes: content.length });
    expect((await verifySnapshot(path, description)).lsn).to.equal(1001);
  });

  it('goes on after cuts at any offset with exactly the bytes that are missing', async () => {
    await makeFile();
    const chance = new SeededRandom(7);
    const transport = faulty((index) => {
      if (index >= 12) return {};
      return index % 5 === 3 ? { refuse: true } : { cutAfterBytes: chance.below(50_000) };
    });
    await fixture.clock.advanceUntil(download(transport).run());
    expect(transport.requests.length).to.be.greaterThan(5);
    const ranged = transport.requests.filter(({ headers }) => headers['range'] !== undefined);
    for (const { headers } of ranged) expect(headers['if-range']).to.equal(`"sha256-${begun[0]!.sha256}"`);
    const statuses = new Set(transport.responses.slice(1).map(({ status }) => status));
    expect([...statuses]).to.deep.equal([206]);
    expect(begun).to.have.length(1);
    expect(createHash('sha256').update(readFileSync(path)).digest('hex')).to.equal(begun[0]!.sha256);
  });

  it('goes on after a cut at every single offset of a small file', async () => {
    const content = Buffer.from('a file of forty bytes, give or take some');
    for (let offset = 0; offset <= content.length; offset += 1) {
      const transport = new FaultyTransport(peerOf(content), (index) => (index === 0 ? { cutAfterBytes: offset } : {}));
      await fixture.clock.advanceUntil(download(transport).run());
      expect(readFileSync(path).equals(content), `cut after ${offset}`).to.equal(true);
    }
  });

  it('starts over, and says so, when the peer has another file by then', async () => {
    await makeFile();
    const transport = new FaultyTransport(
      async (request) => {
        if (transport.requests.length === 2) {
          // The first file goes, as it would after ten idle minutes.
          fixture.clock.advance(11 * 60_000);
          await fixture.write(10);
          await makeFile();
        }
        return await fixture.service.serve(request);
      },
      (index) => (index === 0 ? { cutAfterBytes: 100_000 } : {}),
    );
    const description = await fixture.clock.advanceUntil(download(transport).run());
    expect(transport.requests[1]!.headers['range']).to.match(/^bytes=\d+-$/);
    expect(begun.map(({ lsn }) => lsn)).to.deep.equal([1001, 1011]);
    expect(description).to.equal(begun[1]);
    expect((await verifySnapshot(path, description)).lsn).to.equal(1011);
  });

  it('starts over without a new beginning when a peer that knows no ranges sends the same file again', async () => {
    const content = Buffer.from('the same again');
    const whole = peerOf(content);
    const transport = new FaultyTransport(
      (request) => whole({ ...request, headers: {} }),
      (index) => (index === 0 ? { cutAfterBytes: 4 } : {}),
    );
    await fixture.clock.advanceUntil(download(transport).run());
    expect(readFileSync(path).equals(content)).to.equal(true);
    expect(begun).to.have.length(1);
  });

  it('takes ten silent seconds for a cut', async () => {
    await makeFile();
    const transport = faulty((index) => (index === 0 ? { silentAfterBytes: 80_000 } : {}));
    const startedMs = fixture.clock.monotonicMs();
    await fixture.clock.advanceUntil(download(transport).run(), 500);
    expect(fixture.clock.monotonicMs() - startedMs).to.be.at.least(10_000);
    expect(transport.requests).to.have.length(2);
    expect(transport.requests[1]!.headers['range']).to.match(/^bytes=\d+-$/);
  });

  it('waits as long as it takes for a peer that is still making the file', async () => {
    const serve = peerOf(Buffer.from('at last'));
    const transport = new FaultyTransport((request) =>
      transport.requests.length <= 30
        ? Promise.resolve({ status: 202, headers: { 'content-length': '0' }, body: pieces([]) })
        : serve(request),
    );
    await fixture.clock.advanceUntil(download(transport).run());
    expect(transport.requests).to.have.length(31);
    expect(transport.requests[0]!.headers['prefer']).to.equal('wait=5');
  });

  it('refuses a file with a damaged byte and leaves nothing behind', async () => {
    for (const flipByte of [0, 100, 65_536, 150_000]) {
      const error = await fixture.clock.advanceUntil(download(faulty(() => ({ flipByte }))).run().catch((reason: unknown) => reason));
      expect(isShiplogError(error, 'peer-protocol'), `flipped ${flipByte}`).to.equal(true);
      expect((error as Error).message).to.match(/arrived damaged: its SHA-256 is [0-9a-f]{64}, announced [0-9a-f]{64}/);
      expect(existsSync(path)).to.equal(false);
      expect(existsSync(`${path}.part`)).to.equal(false);
    }
  });

  it('gives up after the agreed number of attempts that bring nothing', async () => {
    const transport = faulty(() => ({ refuse: true }));
    const message = await fixture.clock.advanceUntil(rejection(download(transport, { attemptsWithoutProgressMax: 4 }).run()));
    expect(message).to.match(/4 attempts in a row brought nothing, the last: connection refused/);
    expect(transport.requests).to.have.length(4);
  });

  it('tries again while the peer is not ready, and hands its other refusals on', async () => {
    let ready = false;
    const service = fixture.newService({ store: () => (ready ? fixture.store : undefined) });
    const transport = new FaultyTransport((request) => service.serve(request));
    const running = download(transport).run();
    await new Promise((resolve) => setTimeout(resolve, 20));
    ready = true;
    await fixture.clock.advanceUntil(running);
    expect(transport.responses[0]!.status).to.equal(503);

    const full = { freeBytes: () => Promise.resolve(0) };
    const refusing = fixture.newService({ disk: Object.setPrototypeOf(full, fixture.disk) as typeof fixture.disk });
    fixture.clock.advance(10_000);
    await fixture.write(1);
    const error = await fixture.clock.advanceUntil(
      download(new FaultyTransport((request) => refusing.serve(request))).run().catch((reason: unknown) => reason),
    );
    expect(isShiplogError(error, 'disk-full')).to.equal(true);
    await service.close();
  });

  it('refuses headers that do not describe a snapshot', async () => {
    const content = Buffer.from('something');
    for (const [name, value] of [['etag', '"abc"'], ['shiplog-cluster', 'x'], ['shiplog-epoch', '1'], ['shiplog-chain', '-1'], ['content-length', 'many']] as const) {
      const message = await fixture.clock.advanceUntil(rejection(download(new FaultyTransport(peerOf(content, { [name]: value }))).run()));
      expect(message).to.contain(`the snapshot's ${name} header is ${value}, expected`);
    }
  });

  it('refuses more bytes than were announced', async () => {
    const transport = new FaultyTransport(peerOf(Buffer.from('too much'), { 'content-length': '4' }));
    expect(await fixture.clock.advanceUntil(rejection(download(transport).run()))).to.equal('the peer sends more than the 4 bytes it announced');
  });

  it('ends with the error of a caller that refuses the file', async () => {
    const refuse = (): never => {
      throw new Error('of another cluster');
    };
    expect(await fixture.clock.advanceUntil(rejection(download(faulty(), { onBegin: refuse }).run()))).to.equal('of another cluster');
    expect(existsSync(`${path}.part`)).to.equal(false);
  });

  it('ends when the caller aborts it, whatever the peer does', async () => {
    const stopping = new AbortController();
    const running = download(faulty(() => ({ silentAfterBytes: 10 })), { signal: stopping.signal }).run();
    await new Promise((resolve) => setTimeout(resolve, 50));
    stopping.abort(new Error('stopping'));
    expect(await rejection(running)).to.equal('stopping');
    expect(existsSync(`${path}.part`)).to.equal(false);
  });

  it('hands a full disk on', async () => {
    const disk = Object.setPrototypeOf(
      {
        open: async (...args: Parameters<typeof fixture.disk.open>) =>
          Object.assign(await fixture.disk.open(...args), { writeAt: () => Promise.reject(new DiskFullError('full')) }),
      },
      fixture.disk,
    ) as typeof fixture.disk;
    const error = await fixture.clock.advanceUntil(download(faulty(), { disk }).run().catch((reason: unknown) => reason));
    expect(error).to.be.instanceOf(DiskFullError);
  });

  it('serves two downloads at once from one file', async () => {
    const other = join(fixture.directory, 'other.sqlite');
    const cuts = (index: number): Fault => (index < 3 ? { cutAfterBytes: 60_000 } : {});
    const both = Promise.all([download(faulty(cuts)).run(), download(faulty(), { path: other }).run()]);
    const [first, second] = await fixture.clock.advanceUntil(both);
    expect(first.sha256).to.equal(second.sha256);
    expect(readFileSync(path).equals(readFileSync(other))).to.equal(true);
  });

  it('asks only for /snapshot, with the headers it was given', async () => {
    const transport = faulty();
    await fixture.clock.advanceUntil(download(transport, { headers: { 'x-extra': '1' } }).run());
    expect(transport.requests[0]).to.deep.include({ method: 'GET', target: '/snapshot' });
    expect(transport.requests[0]!.headers).to.deep.equal({ 'x-extra': '1', 'prefer': 'wait=5' });
    const response = await fixture.service.serve({ method: 'GET', target: '/snapshot', headers: {} });
    expect(await readBody(response.body, 1e8)).to.have.length(begun[0]!.sizeBytes);
  });
});
