/** When several nodes have come to rest, and whether they then hold the same. */
import { readBody } from '../../lib/env/transport.ts';
import type { Machine } from './memory-cluster.ts';

/** One primary, nobody promised, and everybody shows the same position. */
export function areAllEqual(machines: readonly Machine[]): boolean {
  if (!machines.every(({ isRunning }) => isRunning)) return false;
  const statuses = machines.map(({ node }) => node.status());
  const isQuiet = statuses.every(({ state, promise }) => (state === 'primary' || state === 'following') && promise === null);
  return isQuiet && new Set(statuses.map(({ positions }) => positions.visible)).size === 1 && statuses.filter(({ state }) => state === 'primary').length === 1;
}

/** Of log and table, as `shiplog verify URL URL` compares them. */
export async function digestOf({ node }: Machine): Promise<string> {
  const { lsn } = node.visiblePosition();
  const response = await node.servePeer({ method: 'GET', target: `/peer/digest?at=${lsn}`, headers: {} });
  return (await readBody(response.body, 10_000)).toString('utf8').trim();
}
