import { expect } from 'chai';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ShiplogClient } from '../../lib/client/shiplog-client.ts';
import { type DownloadedSnapshot, type SnapshotProgress, downloadSnapshot } from '../../lib/client/snapshot-download.ts';
import type { Environment } from '../../lib/env/environment.ts';
import { createRealEnvironment } from '../../lib/env/real-environment.ts';
import { type FakeNode, answerProblem, startFakeNode } from './fake-node.ts';

const CONTENT = randomBytes(3_000_000);

describe('downloadSnapshot', () => {
  let environment: Environment;
  let directory: string;
  let file: string;
  let node: FakeNode;
  /** The Range header of each request, or `all`. */
  let ranges: string[];
  let progress: SnapshotProgress[];

  beforeEach(async () => {
    environment = createRealEnvironment();
    directory = await mkdtemp(join(tmpdir(), 'shiplog-download-'));
    file = join(directory, 'backup.shiplog');
    ranges = [];
    progress = [];
  });
  afterEach(async () => {
    await environment.transport.close();
    await node.close();
    await rm(directory, { recursive: true });
  });

  /** Each answer is the work of the next of these; the last one stays. */
  async function serve(...answers: readonly ((request: IncomingMessage, response: ServerResponse) => void)[]): Promise<void> {
    node = await startFakeNode((request, response) => {
      ranges.push(request.headers.range ?? 'all');
      (answers[ranges.length - 1] ?? answers.at(-1)!)(request, response);
    });
  }

  function download(): Promise<DownloadedSnapshot> {
    const { transport, clock, disk } = environment;
    return downloadSnapshot({
      client: new ShiplogClient({ transport, clock, url: node.url }),
      clock,
      disk,
      file,
      onProgress: (each) => progress.push(each),
    });
  }

  it('brings the whole file, and nothing but the file', async () => {
    await serve(whole(CONTENT));
    expect(await download()).to.deep.equal({ file, sizeBytes: CONTENT.length, sha256: sha256Of(CONTENT), position: '1.c04d-42' });
    expect((await readFile(file)).equals(CONTENT)).to.equal(true);
    expect(await readdir(directory)).to.deep.equal(['backup.shiplog']);
    expect(progress.at(-1)).to.deep.equal({ doneBytes: CONTENT.length, totalBytes: CONTENT.length });
  });

  it('goes on where a transfer was cut', async () => {
    await serve(cutAfter(CONTENT, 1_000_000), cutAfter(CONTENT, 500_000), whole(CONTENT));
    await download();
    expect((await readFile(file)).equals(CONTENT)).to.equal(true);
    expect(ranges[0]).to.equal('all');
    expect(ranges.length).to.equal(3);
    expect(ranges[1]).to.match(/^bytes=[1-9]\d*-$/);
  });

  it('goes on in a later run', async () => {
    await serve(cutAfter(CONTENT, 1_000_000), (_request, response) => answerProblem(response, 403, 'foreign-host'), whole(CONTENT));
    expect(await failureOf(download())).to.have.property('code', 'foreign-host');
    expect(await readdir(directory)).to.deep.equal(['backup.shiplog.partial', 'backup.shiplog.partial-etag']);
    await download();
    expect(ranges.at(-1)).to.match(/^bytes=[1-9]\d*-$/);
    expect((await readFile(file)).equals(CONTENT)).to.equal(true);
  });

  it('starts over when the node has another snapshot meanwhile', async () => {
    const other = randomBytes(2_000_000);
    await serve(cutAfter(CONTENT, 1_000_000), whole(other));
    await download();
    expect((await readFile(file)).equals(other)).to.equal(true);
  });

  it('starts over when the other snapshot ends before what is here', async () => {
    const other = randomBytes(1_000);
    await serve(cutAfter(CONTENT, 1_000_000), (_request, response) => response.writeHead(416, { 'content-range': 'bytes */1000' }).end(), whole(other));
    await download();
    expect((await readFile(file)).equals(other)).to.equal(true);
  });

  it('needs no byte more when only the last step was missing', async () => {
    await serve(whole(CONTENT));
    await writeFile(`${file}.partial`, CONTENT);
    await writeFile(`${file}.partial-etag`, etagOf(CONTENT));
    await download();
    expect((await readFile(file)).equals(CONTENT)).to.equal(true);
  });

  it('refuses content that does not have its digest, and does not build on it', async () => {
    const damaged = Buffer.from(CONTENT);
    damaged[1_234_567]! ^= 1;
    await serve(whole(damaged, etagOf(CONTENT)), whole(CONTENT));
    expect(await failureOf(download())).to.have.property('code', 'peer-protocol');
    expect(await readdir(directory)).to.not.include('backup.shiplog');
    await download();
    expect(ranges).to.deep.equal(['all', 'all']);
  });

  it('does not replace a file', async () => {
    await serve(whole(CONTENT));
    await writeFile(file, 'precious');
    expect(await failureOf(download())).to.have.property('message').that.includes('exists already');
    expect(await readFile(file, 'utf8')).to.equal('precious');
    expect(ranges).to.deep.equal([]);
  });

  it('waits while the node asks it to', async () => {
    await serve((_request, response) => answerProblem(response, 503, 'not-ready'), whole(CONTENT));
    await download();
    expect(ranges).to.deep.equal(['all', 'all']);
  });

  it('names what an answer lacks', async () => {
    await serve((_request, response) => response.writeHead(200, { 'content-length': '3' }).end('abc'));
    expect(await failureOf(download())).to.have.property('code', 'peer-protocol');
  });
});

function sha256Of(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}

function etagOf(content: Buffer): string {
  return `"${sha256Of(content)}"`;
}

/** Answers as a node does, ranges included. */
function whole(content: Buffer, etag = etagOf(content)) {
  return (request: IncomingMessage, response: ServerResponse): void => {
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const isPart = request.headers.range !== undefined && request.headers['if-range'] === etag;
    const common = { etag, 'shiplog-position': '1.c04d-42' };
    if (isPart && from >= content.length) {
      response.writeHead(416, { ...common, 'content-range': `bytes */${content.length}` }).end();
    } else if (isPart) {
      response.writeHead(206, { ...common, 'content-length': content.length - from, 'content-range': `bytes ${from}-${content.length - 1}/${content.length}` });
      response.end(content.subarray(from));
    } else {
      response.writeHead(200, { ...common, 'content-length': content.length }).end(content);
    }
  };
}

/** Answers in the same way, and breaks off after so many bytes of the body. */
function cutAfter(content: Buffer, bytes: number) {
  return (request: IncomingMessage, response: ServerResponse): void => {
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const common = { etag: etagOf(content), 'shiplog-position': '1.c04d-42', 'content-length': content.length - from };
    if (from === 0) response.writeHead(200, common);
    else response.writeHead(206, { ...common, 'content-range': `bytes ${from}-${content.length - 1}/${content.length}` });
    response.write(content.subarray(from, from + bytes), () => setTimeout(() => response.destroy(), 50));
  };
}

async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => expect.fail(`expected an error, got ${JSON.stringify(value)}`),
    (error: unknown) => error,
  );
}
