import { once } from 'node:events';
import { type Socket, connect } from 'node:net';
import { expect } from 'chai';
import { type NodeProcess, TestCluster, eventually, pause } from '../support/cluster.ts';

const MIB = 1024 * 1024;
const VALUE = 'v'.repeat(32 * 1024);
/** Of 32 KiB values: 100 MB, in each of the two runs that count. */
const WRITES = 3_200;

describe('followers that do not read', function () {
  this.timeout(120_000);
  let cluster: TestCluster;
  const sockets: Socket[] = [];

  before(async () => {
    cluster = await TestCluster.create();
  });
  after(async () => {
    for (const socket of sockets) socket.destroy();
    await cluster.dispose();
  });

  it('eight of them, frozen or never reading, cost the primary less than 8 MiB and no speed during 200 MB of writes (slow)', async () => {
    const primary = await cluster.start('primary', { 'checkpoint-operations': 2_000 });
    // V8, SQLite and malloc first grow to the size that such a load takes.
    for (let round = 0; round < 3; round += 1) await writeMuch(primary, WRITES);
    const [before, without] = [await writeMuch(primary, WRITES), await writeMuch(primary, WRITES)];

    const frozen = await Promise.all([1, 2, 3].map((index) => cluster.start(`frozen-${index}`, { follow: primary.url })));
    for (const node of frozen) node.signal('SIGSTOP');
    for (let index = 0; index < 5; index += 1) sockets.push(await neverRead(primary));
    const withThem = [await writeMuch(primary, WRITES), await writeMuch(primary, WRITES)];
    expect((await primary.status()).followers.length, 'they were known').to.equal(3);

    // What two equal runs differ by says how much of the difference is the runtime's own.
    const noiseBytes = Math.abs(without.residentBytes - before.residentBytes);
    const grownBytes = Math.min(...withThem.map((run) => run.residentBytes)) - without.residentBytes;
    const slowdown = Math.min(...withThem.map((run) => run.ms)) / Math.min(before.ms, without.ms);
    console.log(
      `        resident: ${mib(without.residentBytes)} without, ${withThem.map((run) => mib(run.residentBytes)).join(' and ')} with eight, that is ${mib(grownBytes)} more; ` +
        `two runs without differ by ${mib(noiseBytes)}; writes took ${slowdown.toFixed(2)} times as long`,
    );
    expect(grownBytes).to.be.lessThan(8 * MIB + noiseBytes);
    // Nothing tight: they must not stop a primary.
    expect(slowdown).to.be.lessThan(5);

    for (const node of frozen) node.signal('SIGCONT');
    await Promise.all(frozen.map((node) => node.caughtUpWith(primary, 60_000)));
  });

  it('are dropped after the time of silence when frozen, and come back when they thaw (slow)', async () => {
    const primary = await cluster.start('primary-2');
    const replica = await cluster.start('replica-2', { follow: primary.url });
    const follower = async () => (await primary.status()).followers.find((each) => each.name === 'replica-2');
    await eventually(async () => (await follower())?.connected === true);
    replica.signal('SIGSTOP');
    await primary.fill(100);
    await eventually(async () => (await follower())?.connected === false, 50_000);
    expect((await follower())!.lagOperations).to.be.at.least(100);
    expect((await follower())!.lagMs).to.be.greaterThan(5_000);
    replica.signal('SIGCONT');
    await replica.caughtUpWith(primary);
    await eventually(async () => (await follower())?.connected === true && (await follower())?.lagOperations === 0);
  });
});

/** Resident and external memory: the median over the second half of the writes. */
async function writeMuch(node: NodeProcess, count: number): Promise<{ residentBytes: number; ms: number }> {
  const samples: number[] = [];
  const startedMs = performance.now();
  const progress = { isOver: false };
  // The same keys over and over: the table stays small.
  const writing = node.fill(count, { prefix: 'k', value: (index) => `${index}${VALUE}` }).then(() => {
    progress.isOver = true;
  });
  while (!progress.isOver) {
    samples.push(await node.residentBytes());
    await pause(20);
  }
  await writing;
  const ms = performance.now() - startedMs;
  const settled = samples.slice(samples.length >> 1).sort((a, b) => a - b);
  return { residentBytes: settled[settled.length >> 1]!, ms };
}

/** Asks for the whole log and never reads a byte of it. */
async function neverRead(node: NodeProcess): Promise<Socket> {
  const socket = connect(node.port, '127.0.0.1');
  await once(socket, 'connect');
  socket.pause();
  socket.on('error', () => {});
  socket.write(`GET /wal?after=${Math.max(0, (await node.visibleLsn()) - 1)} HTTP/1.1\r\nHost: 127.0.0.1:${node.port}\r\n\r\n`);
  return socket;
}

function mib(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}
