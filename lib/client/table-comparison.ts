/**
 * Compares the tables of nodes that go on taking writes: all have to be looked at at the same LSN.
 * A node gives the digest of an LSN that it reaches while it is asked; one that has passed it answers
 * for where it is. So aim at where the furthest node is, and when writes are faster than that, aim
 * further ahead.
 */
import { ShiplogError, isShiplogError } from '../base/errors.ts';
import { parsePosition } from '../base/position.ts';
import { type Clock, sleep } from '../env/clock.ts';
import type { DigestDocument, ShiplogClient } from './shiplog-client.ts';

export interface TableComparison {
  readonly isEqual: boolean;
  /** In the order of the clients. */
  readonly digests: readonly (DigestDocument & { readonly url: string })[];
}

const ATTEMPTS_MAX = 12;
const RETRY_DELAY_MS = 500;

/**
 * @throws ShiplogError `timeout` when the nodes could not be met at one LSN; `bad-request` when two
 * clients ask the same node; `other-cluster` when they ask nodes of two; the errors of the client.
 */
export async function compareTables(clients: readonly ShiplogClient[], clock: Clock): Promise<TableComparison> {
  let aheadLsns = 0;
  let lastFurthestLsn: number | undefined;
  let obstacle = 'try again when there are fewer writes';
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
    const furthestLsn = await furthestVisibleLsn(clients);
    const targetLsn = furthestLsn + aheadLsns;
    const results = await Promise.allSettled(clients.map((client) => client.digest(targetLsn)));
    const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as Error] : []));
    const digests = results.flatMap((result, index) => (result.status === 'fulfilled' ? [{ ...result.value, url: clients[index]!.url }] : []));
    const isSameLsn = digests.every((digest) => digest.lsn === digests[0]!.lsn);
    if (failures.length === 0 && isSameLsn) return comparisonOf(digests);

    const unexpected = failures.find((failure) => !isPassed(failure) && !isNotReached(failure));
    if (unexpected !== undefined) throw unexpected;
    if (!isSameLsn || failures.some(isPassed)) {
      const grownLsns = furthestLsn - (lastFurthestLsn ?? furthestLsn);
      aheadLsns = Math.max(100, aheadLsns * 2, grownLsns);
    } else {
      // Not reached in time: the writes have stopped, or a node is far behind.
      aheadLsns = 0;
      obstacle = failures[0]!.message;
    }
    lastFurthestLsn = furthestLsn;
    await sleep(clock, RETRY_DELAY_MS);
  }
  throw new ShiplogError('timeout', `the nodes could not be compared at one position in ${ATTEMPTS_MAX} attempts: ${obstacle}`);
}

function comparisonOf(digests: TableComparison['digests']): TableComparison {
  const [first, ...others] = digests;
  const isEqual = others.every(
    (other) =>
      other.position === first!.position && other.chain === first!.chain && other.rowCount === first!.rowCount && other.sha256 === first!.sha256,
  );
  return { isEqual, digests };
}

async function furthestVisibleLsn(clients: readonly ShiplogClient[]): Promise<number> {
  const statuses = await Promise.all(clients.map((client) => client.status()));
  // A node compared with itself would always be equal.
  if (new Set(statuses.map((status) => status.nodeId)).size < statuses.length) {
    throw new ShiplogError('bad-request', `two of these URLs lead to the same node: ${clients.map((client) => client.url).join(', ')}`);
  }
  // A node without data has no cluster yet.
  const clusterIds = new Set(statuses.map((status) => status.clusterId).filter((id) => id !== null));
  if (clusterIds.size > 1) {
    throw new ShiplogError('other-cluster', `these nodes belong to different clusters, so that their positions can't be compared: ${statuses.map((status, index) => `${clients[index]!.url} to ${status.clusterId}`).join(', ')}`);
  }
  return Math.max(...statuses.map((status) => parsePosition(status.positions.visible)?.lsn ?? 0));
}

function isPassed(failure: unknown): boolean {
  return isShiplogError(failure) && (failure.status === 409 || failure.status === 410);
}

function isNotReached(failure: unknown): boolean {
  return isShiplogError(failure) && (failure.status === 503 || failure.code === 'timeout');
}
