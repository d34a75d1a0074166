import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { setKey } from '../../lib/bench/protocol.ts';
import { requires } from '../support/requires.ts';
import { renderPeers, runPeers } from './peers.ts';
import { RespAnswerParser, RespProtocol } from './resp-protocol.ts';

describe('the bench beside Redis', () => {
  it('makes requests that Redis takes, with the key written in', () => {
    const protocol = new RespProtocol(3);
    const { bytes, digitsAt } = protocol.template('set');
    setKey(bytes, digitsAt, 1_234);
    expect(bytes.toString()).to.equal('*3\r\n$3\r\nSET\r\n$14\r\nbench:00001234\r\n$3\r\nvvv\r\n');
    expect(protocol.template('get').bytes.toString()).to.equal('*2\r\n$3\r\nGET\r\n$14\r\nbench:00000000\r\n');
  });

  it('finds answers wherever they are cut', () => {
    const answers = Buffer.from('+OK\r\n$5\r\nab\r\ne\r\n$-1\r\n-ERR no\r\n$0\r\n\r\n:1\r\n:0\r\n');
    const expected = [200, 200, 404, 500, 200, 200, 404];
    const parse = (...pieces: readonly Buffer[]): number[] => {
      const statuses: number[] = [];
      const parser = new RespAnswerParser((status) => statuses.push(status));
      for (const piece of pieces) parser.push(piece);
      return statuses;
    };
    for (let at = 0; at <= answers.length; at += 1) expect(parse(answers.subarray(0, at), answers.subarray(at)), `cut at ${at}`).to.deep.equal(expected);
    expect(parse(...[...answers].map((byte) => Buffer.of(byte)))).to.deep.equal(expected);
    expect(() => parse(Buffer.from('HTTP/1.1 200 OK\r\n'))).to.throw('expected RESP');
  });

  it('says what to install where there is no redis-server, and exits with 2', () => {
    const { status, stderr, stdout } = spawnSync(process.execPath, [join(import.meta.dirname, 'main.ts'), '--peers'], { env: { PATH: '/nowhere' }, encoding: 'utf8' });
    expect(stderr).to.equal('npm run bench: --peers needs redis-server on the PATH: apt-get install -y --no-install-recommends redis-server\n');
    expect(stdout).to.equal('');
    expect(status).to.equal(2);
  });

  it('measures both, and leaves nothing behind', async function () {
    requires(this, 'redis-server');
    this.timeout(60_000);
    const directory = mkdtempSync(join(tmpdir(), 'shiplog-peers-'));
    try {
      const steps: string[] = [];
      const result = await runPeers({ runs: 2, warmUp: false, seconds: 1, connections: 4, keys: 100, valueBytes: 32, directory, onStep: (step) => steps.push(step) });
      expect(result.rounds).to.have.length(2);
      for (const { get, set, log } of result.rounds) {
        for (const { load } of [...Object.values(get), ...Object.values(set)]) expect(load).to.deep.include({ failed: 0, missing: 0 });
        expect(log.operations).to.equal(set.shiplog.load.answered);
        expect(log.syncs).to.be.above(0);
      }
      expect(steps.filter((step) => /^round \d of 2: get/.test(step))).to.deep.equal(['round 1 of 2: get on shiplog', 'round 1 of 2: get on redis', 'round 2 of 2: get on redis', 'round 2 of 2: get on shiplog']);
      const report = renderPeers(result);
      for (const part of [`Redis ${result.redisVersion}`, '`appendfsync always`', 'shiplog : redis = ', 'operations per batch', 'syncs', 'batches']) expect(report).to.contain(part);
      expect(report).to.not.match(/NaN|Infinity|undefined/);
      expect(readdirSync(directory)).to.deep.equal([]);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it('refuses a file system in memory', async function () {
    let shm: string;
    try {
      shm = mkdtempSync('/dev/shm/shiplog-peers-');
    } catch {
      this.skip();
    }
    try {
      const error: unknown = await runPeers({ runs: 1, warmUp: false, seconds: 1, connections: 1, keys: 1, valueBytes: 1, directory: shm, onStep: () => {} }).catch((reason: unknown) => reason);
      expect(String(error)).to.contain('is on tmpfs');
    } finally {
      rmSync(shm, { recursive: true, force: true });
    }
  });
});
