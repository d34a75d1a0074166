import { expect } from 'chai';
import { LIMITS } from '../../lib/base/limits.ts';
import type { TransportRequest, TransportResponse } from '../../lib/env/transport.ts';
import { LogSender, encodeConfirmation } from '../../lib/replication/log-sender.ts';
import { MemberList } from '../../lib/replication/member-list.ts';
import { StreamDecoder, type StreamRecord } from '../../lib/replication/stream-protocol.ts';
import { SILENT_LOGGER } from '../../lib/observe/logger.ts';
import { rejectionOf } from '../env/rejection.ts';
import { CommitUnderTest, EPOCH } from '../commit/commit-under-test.ts';
import { noMetrics } from '../support/no-metrics.ts';
import { SeededRandom } from '../support/seeded-random.ts';

const CLUSTER_ID = 'c1'.repeat(16);
const nodeId = (index: number): string => index.toString(16).padStart(32, '0');

async function senderUnderTest() {
  const test = await CommitUnderTest.create();
  const { clock, disk, wal } = test;
  await disk.makeDirectory('/node');
  const members = await MemberList.load(disk, '/node');
  let confirmations = 0;
  const sender = new LogSender({
    wal,
    disk,
    clock,
    random: new SeededRandom(1),
    logger: SILENT_LOGGER,
    metrics: noMetrics(),
    clusterId: CLUSTER_ID,
    nodeId: nodeId(0xffff),
    nodeName: 'primary',
    members,
    keepsMembers: () => true,
    onConfirmed: () => {
      confirmations += 1;
    },
    heartbeat: () => ({ kind: 'heartbeat', lsn: wal.end.lsn, epoch: EPOCH, wallMs: clock.wallMs(), path: [nodeId(0xffff)] }),
  });
  const serve = (query: string, more: Partial<TransportRequest> = {}): Promise<TransportResponse> => clock.until(sender.serve({ method: 'GET', target: `/wal?${query}`, headers: {}, ...more }));
  return { test, clock, disk, wal, members, sender, serve, confirmationCount: () => confirmations };
}

/** Reads a stream's records until `enough` says so; the stream stays open. */
function reader(response: TransportResponse): { next: () => Promise<StreamRecord[] | undefined>; leave: () => Promise<void> } {
  const decoder = new StreamDecoder();
  const chunks = response.body[Symbol.asyncIterator]();
  return {
    next: async () => {
      const { done, value } = await chunks.next();
      return done === true ? undefined : [...decoder.push(Buffer.from(value))];
    },
    leave: async () => {
      await chunks.return?.();
    },
  };
}

async function kindsUntil(stream: ReturnType<typeof reader>, clock: { until: <Value>(promise: Promise<Value>) => Promise<Value> }, enough: (kinds: readonly string[]) => boolean): Promise<string[]> {
  const kinds: string[] = [];
  while (!enough(kinds)) {
    const records = await clock.until(stream.next());
    if (records === undefined) break;
    for (const record of records) kinds.push(record.type === 'frame' ? `frame ${record.header.firstLsn}` : record.control.kind);
  }
  return kinds;
}

describe('LogSender', () => {
  it('says who it is, then the salt, then every frame, and a heartbeat each second when there is nothing more', async () => {
    const { test, clock, serve } = await senderUnderTest();
    await clock.until(test.put('a', '1'));
    const stream = reader(await serve('after=0'));
    expect(await kindsUntil(stream, clock, (kinds) => kinds.length >= 7)).to.deep.equal(['hello', 'salt', 'frame 1', 'frame 2', 'heartbeat', 'heartbeat', 'heartbeat']);
    const [startedMs, kinds] = [clock.monotonicMs(), await kindsUntil(stream, clock, (kinds) => kinds.length >= 10)];
    expect(kinds.every((kind) => kind === 'heartbeat')).to.be.true;
    expect(clock.monotonicMs() - startedMs).to.be.within(9_000, 11_000);
    await stream.leave();
  });

  it('sends what becomes durable at once, without waiting for the next heartbeat', async () => {
    const { test, clock, serve } = await senderUnderTest();
    const stream = reader(await serve('after=1'));
    await kindsUntil(stream, clock, (kinds) => kinds.includes('heartbeat'));
    const next = stream.next();
    await clock.settle();
    const nowMs = clock.monotonicMs();
    await clock.until(test.put('a', '1'));
    await clock.until(next);
    expect(clock.monotonicMs()).to.equal(nowMs);
    await stream.leave();
  });

  it('streams nothing that is not durable', async () => {
    const { test, clock, serve, wal } = await senderUnderTest();
    const stream = reader(await serve(`after=0&node=${nodeId(1)}`));
    for (let index = 0; index < 30; index += 1) {
      const write = test.put(`k${index}`, 'v');
      const records = await clock.until(stream.next());
      for (const record of records ?? []) if (record.type === 'frame') expect(record.header.firstLsn).to.be.at.most(wal.durable.lsn);
      await clock.until(write);
    }
    await stream.leave();
  });

  it('ends its streams with an end frame that says why', async () => {
    const { clock, sender, serve } = await senderUnderTest();
    const stream = reader(await serve('after=1'));
    await kindsUntil(stream, clock, (kinds) => kinds.includes('heartbeat'));
    sender.close('the node is stopping');
    const nowMs = clock.monotonicMs();
    expect(await kindsUntil(stream, clock, () => false)).to.deep.equal(['end']);
    expect(clock.monotonicMs(), 'at once').to.equal(nowMs);
    expect(await rejectionOf(serve('after=1'))).to.include({ code: 'stopping' });
    expect(clock.timerCount).to.equal(0);
  });

  const bad: readonly (readonly [string, string, string])[] = [
    ['an LSN that is none', 'after=-1', 'bad-request'],
    ['an unknown parameter', 'after=1&from=2', 'unknown-parameter'],
    ['a node id that is none', 'after=1&node=me', 'bad-request'],
    ['another cluster', `after=1&cluster=${'d'.repeat(32)}`, 'other-cluster'],
    ['an epoch it never had', `after=1&epoch=${'d'.repeat(32)}`, 'history-diverged'],
    ['another chain at the same LSN', `after=1&epoch=${EPOCH.id}&chain=00000000`, 'chain-mismatch'],
    ['one who is ahead', `after=2&epoch=${EPOCH.id}`, 'follower-ahead'],
  ];
  for (const [title, query, code] of bad) {
    it(`refuses ${title}`, async () => {
      const { disk, serve, sender } = await senderUnderTest();
      const open = [...disk.openFiles];
      expect(await rejectionOf(serve(`${query}${query.includes('node') ? '' : `&node=${nodeId(1)}`}`))).to.include({ code });
      expect(sender.followers).to.deep.equal([]);
      expect(disk.openFiles).to.deep.equal(open);
    });
  }

  it('says nothing in the middle of a frame, not even that it ends', async () => {
    const { test, clock, sender, serve } = await senderUnderTest();
    // Three chunks, the last one smaller than an end frame: its bytes would be taken for the value's.
    await clock.until(test.put('large', 'x'.repeat(2 * LIMITS.streamChunkBytes - 60)));
    const chunks = (await serve('after=1')).body[Symbol.asyncIterator]();
    const sent: Buffer[] = [];
    for (;;) {
      const { done, value } = await clock.until(chunks.next());
      if (done === true) break;
      sent.push(Buffer.from(value));
      // Hello, salt, and the first part of the frame are out.
      if (sent.length === 4) sender.close('the node is stopping');
    }
    expect(sent.length).to.equal(4);
    expect(sent.at(-1)!.includes('the node is stopping')).to.equal(false);
  });

  it('keeps nothing of a HEAD, of a peer that left before it read, or of one that left later', async () => {
    const { test, clock, disk, serve, sender } = await senderUnderTest();
    for (let index = 0; index < 20; index += 1) await clock.until(test.put(`k${index}`, 'v'));
    const open = [...disk.openFiles];
    for (const leave of [
      async () => void (await serve('after=7', { method: 'HEAD' })),
      async () => reader(await serve(`after=7&node=${nodeId(1)}`)).leave(),
      async () => {
        const stream = reader(await serve(`after=7&node=${nodeId(1)}`));
        await clock.until(stream.next());
        await clock.until(stream.next());
        await clock.until(stream.leave());
      },
    ]) {
      await leave();
      expect(sender.neededAfterLsn(), 'nobody reads').to.equal(null);
      expect(sender.followers.every((follower) => follower.streamId === null)).to.be.true;
      expect(disk.openFiles).to.deep.equal(open);
    }
  });

  it('remembers no more followers than there may be members, however many ids it is told', async () => {
    const { clock, serve, sender } = await senderUnderTest();
    const stays = reader(await serve(`after=1&node=${nodeId(0)}`));
    await clock.until(stays.next());
    for (let index = 1; index <= LIMITS.membersMax + 50; index += 1) await reader(await serve(`after=1&node=${nodeId(index)}`)).leave();
    expect(sender.followers).to.have.length(LIMITS.membersMax);
    expect(sender.followers[0], 'one that is connected is not forgotten').to.include({ nodeId: nodeId(0) });
    await stays.leave();
  });

  it('lets a second stream of one node id in only when the first no longer confirms', async () => {
    const { clock, serve, sender } = await senderUnderTest();
    const first = reader(await serve(`after=1&node=${nodeId(1)}`));
    await clock.until(first.next());
    expect(await rejectionOf(serve(`after=1&node=${nodeId(1)}`))).to.include({ code: 'duplicate-node', status: 409 });
    await clock.advance(2 * LIMITS.heartbeatIntervalMs);
    const second = reader(await serve(`after=1&node=${nodeId(1)}`));
    expect(sender.followers).to.have.length(1);
    expect(await kindsUntil(first, clock, () => false), 'the first is dropped').to.not.include('end');
    await clock.until(second.next());
    await second.leave();
  });

  it('drops a follower that confirms nothing for too long, with its confirmations', async () => {
    const { clock, serve, sender } = await senderUnderTest();
    const response = await serve(`after=1&node=${nodeId(1)}&name=frozen`);
    const confirming = sender.takeConfirmations({ method: 'POST', target: `/peer/confirm?stream=${response.headers['shiplog-stream']}`, headers: {}, body: neverEnding() });
    let isDropped = false;
    response.abort?.addEventListener('abort', () => {
      isDropped = true;
    });
    await clock.advance(LIMITS.peerSilentMs - 1_000);
    expect(isDropped).to.be.false;
    await clock.advance(3_000);
    expect(isDropped).to.be.true;
    expect(sender.followers[0]).to.include({ name: 'frozen', streamId: null });
    expect((await clock.until(confirming)).status, 'a half-open link says no end itself').to.equal(204);
  });

  it('believes confirmations up to what it sent, and drops who sends something else', async () => {
    const { test, clock, serve, sender } = await senderUnderTest();
    await clock.until(test.put('a', '1'));
    const response = await serve(`after=0&node=${nodeId(1)}`);
    const stream = reader(response);
    await kindsUntil(stream, clock, (kinds) => kinds.includes('frame 2'));
    const lines = [encodeConfirmation({ epochId: EPOCH.id, durableLsn: 999, appliedLsn: 999, isReady: true, membersDigest: '' }), Buffer.from('{"epoch":1}\n')];
    const confirming = sender.takeConfirmations({ method: 'POST', target: `/peer/confirm?stream=${response.headers['shiplog-stream']}`, headers: {}, body: inPieces(lines) });
    expect(await rejectionOf(clock.until(confirming))).to.include({ code: 'bad-request' });
    expect(sender.followers[0]).to.include({ durableLsn: 2, appliedLsn: 2 });
    expect(response.abort?.aborted).to.be.true;
    await stream.leave();
  });

  it('goes on counting a node that came back while somebody was having it forgotten', async () => {
    const { clock, members, sender, serve, confirmationCount } = await senderUnderTest();
    const known = `after=0&node=${nodeId(1)}&name=r&advertise=${encodeURIComponent('http://r')}`;
    const stream = reader(await serve(known));
    await kindsUntil(stream, clock, (kinds) => kinds.includes('heartbeat'));
    // The order to forget it was given before it came, and comes to its end now.
    sender.forget(nodeId(1));
    expect(members.all.map((member) => member.nodeId)).to.include(nodeId(1));
    const streamId = sender.followers.find((follower) => follower.nodeId === nodeId(1))?.streamId;
    expect(streamId, 'its live stream').to.be.a('string');
    const line = encodeConfirmation({ epochId: EPOCH.id, durableLsn: 0, appliedLsn: 0, isReady: true, membersDigest: '' });
    await clock.until(sender.takeConfirmations({ method: 'POST', target: `/peer/confirm?stream=${streamId}`, headers: {}, body: (async function* () { yield line; })() }));
    expect(confirmationCount()).to.equal(1);
    await stream.leave();
    sender.forget(nodeId(1));
    expect(sender.followers).to.deep.equal([]);
  });

  it('believes no confirmation of which a bit has flipped', async () => {
    const { test, clock, serve, sender, confirmationCount } = await senderUnderTest();
    for (let index = 0; index < 5; index += 1) await clock.until(test.put(`k${index}`, 'v'));
    const response = await serve(`after=0&node=${nodeId(1)}`);
    const stream = reader(response);
    await kindsUntil(stream, clock, (kinds) => kinds.includes('frame 6'));
    const line = encodeConfirmation({ epochId: EPOCH.id, durableLsn: 2, appliedLsn: 2, isReady: true, membersDigest: '' });
    line[line.indexOf('"durable":2') + '"durable":'.length]! ^= 4;
    expect(line.toString()).to.include('"durable":6');
    const confirming = sender.takeConfirmations({ method: 'POST', target: `/peer/confirm?stream=${response.headers['shiplog-stream']}`, headers: {}, body: inPieces([line]) });
    expect(await rejectionOf(clock.until(confirming))).to.include({ code: 'bad-request' });
    expect(sender.followers[0]).to.include({ durableLsn: 0 });
    expect(confirmationCount()).to.equal(0);
    await stream.leave();
  });

  it('says what of the log is still needed: by streams, and by members that it has not heard yet', async () => {
    const { test, clock, serve, sender, wal, members } = await senderUnderTest();
    for (let index = 0; index < 5; index += 1) await clock.until(test.put(`k${index}`, 'v'));
    expect(sender.neededAfterLsn()).to.equal(null);
    const stream = reader(await serve('after=3'));
    expect(sender.neededAfterLsn()).to.equal(3);
    await clock.until(members.add({ nodeId: nodeId(7), name: 'away', url: 'http://away' }));
    expect(sender.neededAfterLsn()).to.equal(wal.start.lsn);
    await stream.leave();
  });
});

async function* inPieces(lines: readonly Buffer[]): AsyncGenerator<Uint8Array> {
  for (const line of lines) for (const byte of line) yield Buffer.of(byte);
}

async function* neverEnding(): AsyncGenerator<Uint8Array> {
  yield Buffer.from('');
  await new Promise(() => {});
}
