import { once } from 'node:events';
import { type Socket, connect } from 'node:net';
import { expect } from 'chai';
import { type NodeProcess, TestCluster, eventually, pause } from '../support/cluster.ts';

const MIB = 1024 * 1024;
const VALUE = 'v'.repeat(32 * 1024);
/** Of 32 KiB values: 70 MB a run, so 210 MB with the followers and as much without. */
const WRITES = 2_200;
const PAIRS_OF_RUNS = 3;

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
    const replicas = await Promise.all([1, 2, 3].map((index) => cluster.start(`frozen-${index}`, { follow: primary.url })));
    // The runtime first grows to the size that such a load takes, snapshots for the replicas included.
    for (let round = 0; round < 3; round += 1) await writeMuch(primary, WRITES);
    for (const replica of replicas) await replica.stop();

    // In turn: the runtime's own size drifts, and a difference between two phases would be that of the drift.
    const without: Run[] = [];
    const withThem: Run[] = [];
    for (let pair = 0; pair < PAIRS_OF_RUNS; pair += 1) {
      without.push(await writeMuch(primary, WRITES));
      for (const replica of replicas) await replica.restart();
      await Promise.all(replicas.map((replica) => replica.caughtUpWith(primary, 60_000)));
      for (const replica of replicas) replica.signal('SIGSTOP');
      for (let index = 0; index < 5; index += 1) sockets.push(await neverRead(primary));
      withThem.push(await writeMuch(primary, WRITES));
      for (const socket of sockets.splice(0)) socket.destroy();
      for (const replica of replicas) {
        replica.signal('SIGCONT');
        await replica.stop();
      }
    }
    expect((await primary.status()).followers.length, 'they were known').to.equal(3);

    const grownBytes = median(withThem.map((run, index) => run.residentBytes - without[index]!.residentBytes));
    // By then the runtime has its size: what two equal runs still differ by is nobody's doing.
    const noiseBytes = Math.abs(without.at(-1)!.residentBytes - without.at(-2)!.residentBytes);
    const slowdown = median(withThem.map((run, index) => run.ms / without[index]!.ms));
    console.log(
      `        resident: ${without.map((run) => mib(run.residentBytes)).join(', ')} without, ${withThem.map((run) => mib(run.residentBytes)).join(', ')} with eight, in the median ${mib(grownBytes)} more; ` +
        `the last two without differ by ${mib(noiseBytes)}; writes took ${slowdown.toFixed(2)} times as long`,
    );
    expect(grownBytes).to.be.lessThan(8 * MIB + noiseBytes);
    // Nothing tight: they must not stop a primary.
    expect(slowdown).to.be.lessThan(5);
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

interface Run {
  readonly residentBytes: number;
  readonly ms: number;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

/** Resident and external memory: the median over the second half of the writes. */
async function writeMuch(node: NodeProcess, count: number): Promise<Run> {
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
  return { residentBytes: median(samples.slice(samples.length >> 1)), ms };
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
