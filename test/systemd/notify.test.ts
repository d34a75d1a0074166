/**
 * What a node tells systemd, and when: a program named systemd-notify stands on PATH and writes down
 * what it is asked to send, with what /healthz answered at that moment.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'chai';
import { EXIT_CODES } from '../../lib/cli/exit-codes.ts';
import { spawnShiplog } from '../cli/shiplog-process.ts';

interface Message {
  readonly assignments: readonly string[];
  /** Status of /healthz, 0 where nothing listened. */
  readonly health: number;
}

const FAKE_NOTIFY = `#!${process.execPath}
const { appendFileSync } = require('node:fs');
const { get } = require('node:http');
const write = (health) => appendFileSync(process.env.NOTIFY_SOCKET, JSON.stringify({ assignments: process.argv.slice(2), health }) + '\\n');
get(process.env.NOTIFY_HEALTH_URL, (response) => { response.resume(); write(response.statusCode); }).on('error', () => write(0));
`;
const WATCHDOG_MS = 600;

describe('a node under systemd', () => {
  let directory: string;
  let port: number;
  let child: ChildProcess | undefined;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'shiplog-notify-'));
    const program = join(directory, 'systemd-notify');
    writeFileSync(program, FAKE_NOTIFY);
    chmodSync(program, 0o755);
    port = await freePort();
  });
  afterEach(async () => {
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    child = undefined;
    rmSync(directory, { recursive: true, force: true });
  });

  it('says READY=1 when /healthz answers 200, then feeds the watchdog, says STOPPING=1 and exits with 0', async () => {
    start();
    await until(() => sent('WATCHDOG=1').length >= 3);
    const exited = stop();
    await until(() => sent('STOPPING=1').length > 0);
    expect(await exited).to.equal(EXIT_CODES.ok.code);

    const messages = received();
    expect(messages[0]).to.deep.equal({ assignments: ['READY=1', `STATUS=primary at http://127.0.0.1:${port}`], health: 200 });
    expect(messages.at(-1)!.assignments).to.deep.equal(['STOPPING=1']);
    expect(sent('READY=1')).to.have.length(1);
    expect(sent('STOPPING=1')).to.have.length(1);
    for (const { health } of sent('WATCHDOG=1')) expect(health).to.equal(200);
  });

  it('is ready again after a kill only when recovery is over', async () => {
    start();
    await until(() => sent('READY=1').length === 1);
    const answer = await fetch(`http://127.0.0.1:${port}/set/key`, { method: 'POST', body: 'value', headers: { 'content-type': 'text/plain' } });
    expect(await answer.text()).to.equal('OK');
    child!.kill('SIGKILL');
    await once(child!, 'exit');

    start();
    await until(() => sent('READY=1').length === 2);
    expect(sent('READY=1')[1]!.health).to.equal(200);
    expect(await (await fetch(`http://127.0.0.1:${port}/get/key`)).text()).to.equal('value');
    expect(await stop()).to.equal(EXIT_CODES.ok.code);
  });

  it('never says READY=1 when it can not start', async () => {
    start({ SHIPLOG_SEGMENT_BYTES: 'many' });
    const [code] = (await once(child!, 'exit')) as [number];
    expect(code).to.equal(EXIT_CODES.badConfig.code);
    expect(received()).to.deep.equal([]);
  });

  it('leaves the watchdog alone when it is meant for another process', async () => {
    start();
    await until(() => sent('READY=1').length === 1);
    await stop();
    rmSync(join(directory, 'messages'));

    start({ WATCHDOG_PID: '1' });
    await until(() => sent('READY=1').length === 1);
    await wait(2 * WATCHDOG_MS);
    expect(sent('WATCHDOG=1')).to.deep.equal([]);
    expect(await stop()).to.equal(EXIT_CODES.ok.code);
  });

  it('goes on without systemd-notify, and says that its messages do not get through', async () => {
    rmSync(join(directory, 'systemd-notify'));
    start({ PATH: emptyOfNotify() });
    let said = '';
    child!.stderr!.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await until(() => said.includes('systemd-notify READY=1'));
    expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).to.equal(200);
    expect(await stop()).to.equal(EXIT_CODES.ok.code);
  });

  function start(variables: Readonly<Record<string, string>> = {}): void {
    child = spawnShiplog(['serve', '--data-dir', join(directory, 'data'), '--port', String(port)], {
      PATH: `${directory}${delimiter}${process.env['PATH'] ?? ''}`,
      NOTIFY_SOCKET: join(directory, 'messages'),
      NOTIFY_HEALTH_URL: `http://127.0.0.1:${port}/healthz`,
      WATCHDOG_USEC: String(WATCHDOG_MS * 1_000),
      ...variables,
    });
    child.stdout!.resume();
    child.stderr!.resume();
  }

  async function stop(): Promise<number | null> {
    const exited = once(child!, 'exit') as Promise<[number | null]>;
    child!.kill('SIGTERM');
    const [code] = await exited;
    return code;
  }

  function received(): readonly Message[] {
    const file = join(directory, 'messages');
    if (!existsSync(file)) return [];
    return readFileSync(file, 'utf8').split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Message);
  }

  function sent(assignment: string): readonly Message[] {
    return received().filter(({ assignments }) => assignments.includes(assignment));
  }

  /** What the launcher needs, and no systemd-notify: a directory with links to the few programs. */
  function emptyOfNotify(): string {
    for (const name of ['dirname', 'readlink', 'sh']) {
      writeFileSync(join(directory, name), `#!/bin/sh\nexec ${['/usr/bin', '/bin'].map((folder) => join(folder, name)).find((path) => existsSync(path))} "$@"\n`);
      chmodSync(join(directory, name), 0o755);
    }
    return directory;
  }
});

/** Waits for something that has no event; mocha's own time-out is the bound. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await wait(20);
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
