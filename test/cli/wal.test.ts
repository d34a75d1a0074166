import { readFileSync, truncateSync } from 'node:fs';
import { cp, mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { expect } from 'chai';
import type { Operation } from '../../lib/base/operation.ts';
import { encodeControl } from '../../lib/replication/stream-protocol.ts';
import { encodeFrame, saltSeed } from '../../lib/wal/frame.ts';
import { NodeUnderTest, makeRoom } from '../verify/data-directory-under-test.ts';
import { GOLDEN_DIRECTORY } from '../wal/golden/golden-log.ts';
import { EPOCH, del, put } from '../wal/wal-under-test.ts';
import { shiplog, spawnShiplog } from './shiplog-process.ts';

const GOLDEN_FIRST = `${GOLDEN_DIRECTORY}00000000000000000001.wal`;
const SALT = 'a1b2c3d4e5f60718';

describe('shiplog wal', () => {
  let room: Awaited<ReturnType<typeof makeRoom>>;

  beforeEach(async () => {
    room = await makeRoom();
  });

  afterEach(() => room.remove());

  /** The golden log, to be damaged; its files in order. */
  async function copyGolden(): Promise<{ directory: string; files: string[] }> {
    const directory = `${room.path}/wal`;
    await cp(GOLDEN_DIRECTORY, directory, { recursive: true });
    const names = (await readdir(directory)).filter((name) => name.endsWith('.wal')).sort();
    return { directory, files: names.map((name) => `${directory}/${name}`) };
  }

  async function flipByte(path: string, offset: number): Promise<void> {
    const bytes = readFileSync(path);
    bytes[offset]! ^= 0xff;
    await writeFile(path, bytes);
  }

  describe('dump', () => {
    it('prints one line for each record of a file, without values', async () => {
      const { code, stdout, stderr } = await shiplog(['wal', 'dump', GOLDEN_FIRST]);
      expect(stderr).to.equal('');
      expect(code).to.equal(0);
      const lines = stdout.trimEnd().split('\n').map((line) => line.split('\t'));
      expect(lines.map(([position, kind]) => `${position} ${kind}`)).to.deep.equal([
        '- segment', '- mark', '1.e1e1-1 frame', '1.e1e1-1 epoch-begin', '- mark', '1.e1e1-2 frame', '1.e1e1-2 put', '1.e1e1-3 frame',
        '1.e1e1-3 put', '1.e1e1-4 put', '1.e1e1-5 put', '1.e1e1-6 put', '1.e1e1-7 delete', '1.e1e1-8 delete', '- mark',
      ]);
      expect(lines[6]).to.deep.equal(['1.e1e1-2', 'put', 'key', '5']);
      expect(lines.at(-1)![2]).to.match(/^seal: durable through LSN 8, chain [0-9a-f]{8}$/);
      expect(stdout).not.to.include('pires');
    });

    it('prints values on request, and lets neither key nor value steer the terminal', async () => {
      const { stdout } = await shiplog(['wal', 'dump', GOLDEN_FIRST, '--values']);
      expect(stdout).to.include('1.e1e1-2\tput\tkey\t5\tvalue\n').and.to.include('\tput\t\\u0000😀\t0\t\n').and.to.include('\tput\tbo\t5\t\\ufeffth\n');
    });

    it('prints a JSON document per line, with everything that the record says', async () => {
      const { stdout } = await shiplog(['wal', 'dump', GOLDEN_DIRECTORY, '--json', '--values']);
      const documents = stdout.trimEnd().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);
      expect(documents[6]).to.deep.equal({ position: '1.e1e1-2', lsn: 2, kind: 'put', key: 'key', valueBytes: 5, value: 'value' });
      expect(documents.filter(({ kind }) => kind === 'segment')).to.have.lengthOf(3);
      expect(documents.filter(({ kind }) => kind === 'frame').map(({ lastLsn }) => lastLsn)).to.deep.equal([1, 2, 8, 9, 10, 11, 12, 13]);
      expect(documents.find(({ key }) => key === 'bo')).to.include({ expiresAtMs: Number.MAX_SAFE_INTEGER, requestId: 'f'.repeat(32) });
      expect(documents.find(({ kind }) => kind === 'epoch-end')).to.deep.include({ position: '1.e1e1-9', nextEpoch: { number: 2, id: 'e2'.repeat(16) } });
    });

    it('takes a data directory, also while a node runs on it', async () => {
      const node = await NodeUnderTest.found(`${room.path}/node`);
      await node.write(put('a', 'b'));
      const { code, stdout } = await shiplog(['wal', 'dump', node.path]);
      await node.stop();
      expect(code).to.equal(0);
      expect(stdout).to.include('\tput\ta\t1\n');
    });

    it('prints what is left of a damaged log, and says what is not', async () => {
      const { directory, files } = await copyGolden();
      await flipByte(files[0]!, 420);
      await flipByte(files[1]!, 3);
      const { code, stdout, stderr } = await shiplog(['wal', 'dump', directory]);
      expect(code).to.equal(5);
      expect(stdout).to.include('1.e1e1-2\tput').and.to.include('3.e3e3-12\tput').and.not.to.include('1.e1e1-3');
      expect(stderr).to.include(`${files[0]}, offset 408: `).and.to.include(`${files[1]}: wrong magic`);
    });

    it('prints a stream from standard input, controls and frames', async () => {
      const { code, stdout, stderr } = await shiplog(['wal', 'dump', '-', '--values'], { stdin: stream(1) });
      expect(stderr).to.equal('');
      expect(code).to.equal(0);
      const lines = stdout.trimEnd().split('\n').map((line) => line.split('\t'));
      expect(lines.map(([position, kind]) => `${position} ${kind}`)).to.deep.equal([
        '- control', '- control', '1.1e1e-1 frame', '1.1e1e-1 epoch-begin', '1.1e1e-2 frame', '1.1e1e-2 put', '1.1e1e-3 delete', '- control', '- control',
      ]);
      expect(lines[5]).to.deep.equal(['1.1e1e-2', 'put', 'a\\nb', '6', '\\u001b[31m!'].map((text) => text.replace('\\n', '\\u000a')));
      expect(lines.at(-1)![2]).to.equal('end {"reason":"bye"}');
    });

    it('prints a stream that begins in the middle of an epoch without guessing its id', async () => {
      const { stdout } = await shiplog(['wal', 'dump', '-'], { stdin: stream(2) });
      expect(stdout).to.include('1.?-2\tput\t');
      const { stdout: json } = await shiplog(['wal', 'dump', '-', '--json'], { stdin: stream(2) });
      expect(json).to.include('{"position":null,"lsn":2,"kind":"put"');
    });

    it('refuses a frame of a stream whose payload was changed on the way', async () => {
      const bytes = stream(1);
      bytes[bytes.indexOf('a\nb')]! ^= 1;
      const { code, stdout, stderr } = await shiplog(['wal', 'dump', '-'], { stdin: bytes });
      expect(code).to.equal(66);
      expect(stdout).to.include('epoch-begin').and.not.to.include('put');
      expect(stderr).to.match(/^shiplog: the frame at LSN 2 does not follow/);
    });

    it('ends when nobody reads its lines any more, though the stream goes on', async () => {
      const child = spawnShiplog(['wal', 'dump', '-']);
      child.stdin.on('error', () => {});
      const heartbeat = encodeControl({ kind: 'heartbeat', lsn: 3, epoch: EPOCH, wallMs: 1, path: [] });
      const exited = once(child, 'close');
      child.stdin.write(stream(1));
      await once(child.stdout, 'data');
      child.stdout.destroy();
      const beating = setInterval(() => child.stdin.write(heartbeat), 20);
      try {
        await exited;
      } finally {
        clearInterval(beating);
        child.kill('SIGKILL');
      }
      expect(child.exitCode).to.equal(0);
    });

    const mistakes: readonly (readonly [string, string | Uint8Array, number, RegExp])[] = [
      ['the refusal of a node', '{"title":"You hold operations that I do not have","status":409}', 1, /did not answer with a stream: \{"title":"You hold/],
      ['a segment', readFileSync(GOLDEN_FIRST), 1, /that is a segment, not a stream: name the file/],
      ['anything else', 'abcdefgh', 1, /a record that begins with 0x64636261/],
    ];
    for (const [what, stdin, expected, message] of mistakes) {
      it(`says so when ${what} is piped in`, async () => {
        const { code, stderr } = await shiplog(['wal', 'dump', '-'], { stdin });
        expect(stderr).to.match(message);
        expect(code).to.equal(expected);
      });
    }

    it('says that there is no such file, or no log', async () => {
      expect(await shiplog(['wal', 'dump', `${room.path}/missing`])).to.deep.include({ code: 1, stdout: '', stderr: `shiplog: there is no ${room.path}/missing\n` });
      const { code, stderr } = await shiplog(['wal', 'dump', room.path]);
      expect(stderr).to.include('is neither a data directory');
      expect(code).to.equal(70);
    });
  });

  describe('verify', () => {
    it('finds a log sound, and says what is in it', async () => {
      const { code, stdout, stderr } = await shiplog(['wal', 'verify', GOLDEN_DIRECTORY]);
      expect(stderr).to.equal('✓ the log is sound\n');
      expect(stdout.split('\n')[1]!.split('\t').slice(0, 5)).to.deep.equal(['13', '1', '13', '8', '3']);
      expect(code).to.equal(0);
    });

    it('takes a data directory', async () => {
      const node = await NodeUnderTest.found(`${room.path}/node`);
      await node.write(put('a', 'b'));
      await node.stop();
      const { code, stdout } = await shiplog(['wal', 'verify', node.path, '--json']);
      expect(code).to.equal(0);
      expect(JSON.parse(stdout)).to.deep.include({ operationCount: 2, endState: { state: 'clean', isStopped: true } });
    });

    it('names file and offset of damage', async () => {
      const { directory, files } = await copyGolden();
      await flipByte(files[1]!, 300);
      const { code, stdout, stderr } = await shiplog(['wal', 'verify', directory]);
      expect(code).to.equal(5);
      expect(stdout).to.include('damaged');
      expect(stderr).to.match(/^shiplog: .*00000000000000000009\.wal, offset \d+: .*, and another segment follows$/m);
    });

    it('takes a torn end for what a killed node leaves', async () => {
      const { directory, files } = await copyGolden();
      const last = files.at(-1)!;
      const size = (await stat(last)).size;
      truncateSync(last, size - 60);
      const { code, stderr } = await shiplog(['wal', 'verify', directory]);
      expect(code).to.equal(0);
      expect(stderr).to.match(/the log is sound; \d+ bytes at its end .* belong to a write that was never finished/);
      expect((await stat(last)).size).to.equal(size - 60);
    });

    it('does not take a directory without a log for a sound one', async () => {
      await mkdir(`${room.path}/empty`);
      const { code, stderr } = await shiplog(['wal', 'verify', `${room.path}/empty`]);
      expect(stderr).to.include('is neither a data directory');
      expect(code).to.equal(70);
    });
  });

  for (const command of ['dump', 'verify']) {
    it(`${command} has a help with examples`, async () => {
      const { code, stdout } = await shiplog(['wal', command, '--help']);
      expect(code).to.equal(0);
      expect(stdout).to.include('Examples:\n  $ shiplog wal');
    });
  }
});

/** A stream as a node sends it, with the frames from `fromLsn` (1 or 2) on. */
function stream(fromLsn: 1 | 2): Buffer {
  const begin: Operation = { kind: 'epoch-begin', begin: 'first', epoch: EPOCH, parent: null, parentEnd: { lsn: 0, chain: 0 }, acceptedLoss: 0 };
  const first = frameBytes(1, [begin], 0);
  const second = frameBytes(2, [put('a\nb', '\u001b[31m!'), del('c')], first.chain);
  return Buffer.concat([
    encodeControl({ kind: 'hello', streamId: '1'.repeat(32), clusterId: '2'.repeat(32), nodeId: '3'.repeat(32), nodeName: 'n', members: [] }),
    encodeControl({ kind: 'salt', salt: SALT }),
    ...(fromLsn === 1 ? [first.bytes] : []),
    second.bytes,
    encodeControl({ kind: 'heartbeat', lsn: 3, epoch: EPOCH, wallMs: 1, path: [] }),
    encodeControl({ kind: 'end', reason: 'bye' }),
  ]);
}

function frameBytes(firstLsn: number, operations: readonly Operation[], chainBefore: number): { bytes: Buffer; chain: number } {
  const bytes = Buffer.alloc(4096);
  const { end, chain } = encodeFrame({ firstLsn, epochNumber: EPOCH.number, wallMs: 1, operations }, bytes, 0, { chain: chainBefore, seed: saltSeed(Buffer.from(SALT, 'hex')) });
  return { bytes: bytes.subarray(0, end), chain };
}
