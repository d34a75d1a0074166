import { expect } from 'chai';
import { EpochHistory, type LogPoint } from '../../lib/base/epoch-history.ts';
import { createRealEnvironment } from '../../lib/env/real-environment.ts';
import type { TransportRequest, TransportResponse } from '../../lib/env/transport.ts';
import { SILENT_LOGGER } from '../../lib/observe/logger.ts';
import { LogReceiver } from '../../lib/replication/log-receiver.ts';
import { encodeControl } from '../../lib/replication/stream-protocol.ts';
import { FRAME_HEADER_BYTES, encodeFrame, saltSeed } from '../../lib/wal/frame.ts';
import type { FrameSource } from '../../lib/wal/wal.ts';
import { noMetrics } from '../support/no-metrics.ts';

const SALT = Buffer.alloc(8, 7);
const ID = 'ab'.repeat(16);
const FRAMES = 144;

/**
 * A frame that arrives in the very moment in which the group before it has been committed must not
 * wait for the next bytes of the stream: that was up to a second, until the next heartbeat.
 */
describe('a receiver whose frames arrive just as a group is done', () => {
  it('commits every one of them without waiting for more bytes', async () => {
    const environment = createRealEnvironment();
    const never = new Promise<never>(() => {});
    let chain = 0;
    let committed = 0;
    let onCommitted: () => void = () => {};

    async function* body(signal: AbortSignal): AsyncGenerator<Buffer> {
      const cut = new Promise<never>((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
      cut.catch(() => {});
      yield Buffer.concat([
        encodeControl({ kind: 'hello', streamId: ID, clusterId: ID, nodeId: ID, nodeName: 'upstream', members: [] }),
        encodeControl({ kind: 'salt', salt: SALT.toString('hex') }),
      ]);
      for (let lsn = 1; lsn <= FRAMES; lsn += 1) {
        const done = new Promise<void>((resolve) => {
          onCommitted = resolve;
        });
        yield frame(lsn);
        await Promise.race([done, cut]);
        // Each time a few microtasks later: one of them hits the end of the commit loop.
        for (let turn = 0; turn < lsn % 12; turn += 1) await Promise.resolve();
      }
      await cut;
    }

    function frame(lsn: number): Buffer {
      const bytes = Buffer.alloc(FRAME_HEADER_BYTES + 8 + 1 + 1);
      const encoded = encodeFrame({ firstLsn: lsn, epochNumber: 1, wallMs: 1, operations: [{ kind: 'put', key: 'k', value: 'v' }] }, bytes, 0, { chain, seed: saltSeed(SALT) });
      chain = encoded.chain;
      return bytes;
    }

    const end: { point: LogPoint } = { point: { lsn: 0, chain: 0 } };
    const receiver = new LogReceiver({
      ...environment,
      logger: SILENT_LOGGER,
      metrics: noMetrics(),
      transport: {
        request: async (_url: string, request: TransportRequest): Promise<TransportResponse> =>
          request.method === 'GET' ? { status: 200, headers: {}, body: body(request.signal!) } : never,
        close: async () => {},
      },
      upstreamUrl: 'http://upstream',
      sink: {
        get end() {
          return end.point;
        },
        history: EpochHistory.EMPTY,
        get visibleLsn() {
          return end.point.lsn;
        },
        isReady: true,
        commit: async (sources: readonly FrameSource[]) => {
          committed += sources.length;
          end.point = { lsn: committed, chain: 0 };
          onCommitted();
          for (let turn = 0; turn < committed / 12; turn += 1) await Promise.resolve();
        },
      },
      clusterId: ID,
      nodeId: 'cd'.repeat(16),
      nodeName: 'receiver',
      advertiseUrl: 'http://receiver',
      onMembers: () => {},
      onRefused: () => {},
      onSinkFailed: () => {},
    });
    receiver.start();
    // The stream itself waits for each commit: a frame that is forgotten stops it for good.
    for (let waits = 0; waits < 100 && committed < FRAMES; waits += 1) await new Promise((wake) => setTimeout(wake, 10));
    await receiver.stop();
    await environment.transport.close();
    expect(committed).to.equal(FRAMES);
  });
});
