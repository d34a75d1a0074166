import { findFreePort } from './free-port.ts';
import { NodeProcess } from './node-process.ts';
import type { Row, RowContext, RowResult } from './row.ts';
import { type AnsweredWrite, Strace, checkSyncOrder, parseTrace } from './strace.ts';
import { WriteClient } from './write-client.ts';

const CONNECTIONS = 16;
const WRITES_PER_CONNECTION = 25;

/** No fault at all: it watches what the other rows can only conclude from. */
export const syncOrder: Row = {
  name: 'sync-order',
  summary: 'under strace, every 200 leaves after the sync that covers its write',
  requirements: ['strace', 'root'],
  rounds: { full: 10, short: 1 },
  run: async (context) => {
    const node = new NodeProcess({
      workbench: context.workbench,
      environment: context.nodeEnvironment,
      name: 'primary',
      dataDirectory: context.workbench.path('primary'),
      port: await findFreePort(context.random),
    });
    await node.ready();
    const result = await watch(context, node);
    await node.stop();
    return result;
  },
};

async function watch({ rounds, workbench, onRound }: RowContext, node: NodeProcess): Promise<RowResult> {
  let acknowledged = 0;
  let logSyncs = 0;
  for (let round = 1; round <= rounds; round += 1) {
    const strace = await Strace.attach(node.pid, workbench);
    const writes = await writeFromManyConnections(node.url, round);
    const order = checkSyncOrder(parseTrace(await strace.detach()), writes);
    acknowledged += writes.length;
    logSyncs += order.logSyncs;
    onRound({ round, acknowledged: writes.length, refused: 0, unknown: 0 });
    if (order.findings.length > 0) return { rounds: round, acknowledged, refused: 0, unknown: 0, findings: order.findings, notes: [] };
    // One sync for each write would be correct, but no group commit.
    if (order.logSyncs >= writes.length) throw new Error(`${order.logSyncs} syncs for ${writes.length} concurrent writes: expected fewer, several writes share one`);
  }
  const perSync = (acknowledged / logSyncs).toFixed(1);
  return { rounds, acknowledged, refused: 0, unknown: 0, findings: [], notes: [`${logSyncs} syncs for ${acknowledged} writes: ${perSync} writes per sync`] };
}

/** @throws Error when a write is not acknowledged, since nothing disturbs this node. */
async function writeFromManyConnections(url: string, round: number): Promise<readonly AnsweredWrite[]> {
  const writes: AnsweredWrite[] = [];
  const writeOn = async (connection: number): Promise<void> => {
    const client = new WriteClient(url, 1);
    for (let count = 0; count < WRITES_PER_CONNECTION; count += 1) {
      // A colon at the end: no key is the beginning of another one.
      const key = `sync-order-${round}-${connection}-${count}:`;
      const { outcome, position } = await client.write(key, `value of ${key}`);
      if (outcome !== 'acknowledged' || position === undefined) throw new Error(`the write of ${key} is ${outcome} at ${position}, expected a 200 with its position`);
      writes.push({ key, position });
    }
    client.close();
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, (_, connection) => writeOn(connection)));
  return writes;
}
