/** Asks peers for the cluster that a node without data can join. */
import { ShiplogError, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { Clock } from '../env/clock.ts';
import { type Transport, readBody } from '../env/transport.ts';
import type { Logger } from '../observe/logger.ts';

const ANSWER_TIMEOUT_MS = 3_000;

/**
 * URL to follow: the primary where one of the peers is it or knows it, else a peer.
 * @throws ShiplogError `no-primary` where no peer belongs to a cluster: an unmounted disk must not
 * found a second one.
 */
export async function findUpstream(peers: readonly string[], env: { transport: Transport; clock: Clock; logger: Logger }): Promise<string> {
  const answers = (await Promise.all(peers.map((url) => askPeer(url, env)))).filter((answer) => answer !== undefined);
  const primary = answers.find(({ isPrimary }) => isPrimary);
  if (primary !== undefined) return primary.url;
  // A replica's word may be old: its upstream may be gone, or be the very node that asks.
  const told = [...new Set(answers.flatMap(({ upstreamUrl }) => (upstreamUrl === null ? [] : [upstreamUrl])))];
  const upstreams = (await Promise.all(told.map((url) => askPeer(url, env)))).filter((answer) => answer !== undefined);
  const found = upstreams.find(({ isPrimary }) => isPrimary) ?? upstreams[0] ?? answers[0];
  if (found !== undefined) return found.url;
  throw new ShiplogError('no-primary', `none of the peers (${peers.join(', ')}) belongs to a cluster; start one of them first, or found a new cluster with --new-cluster`);
}

interface PeerAnswer {
  readonly url: string;
  readonly isPrimary: boolean;
  /** Null on a primary. */
  readonly upstreamUrl: string | null;
}

async function askPeer(url: string, env: { transport: Transport; clock: Clock; logger: Logger }): Promise<PeerAnswer | undefined> {
  const deadline = new AbortController();
  const timer = env.clock.setTimer(ANSWER_TIMEOUT_MS, () => deadline.abort(new Error(`no answer within ${ANSWER_TIMEOUT_MS} ms`)));
  try {
    const response = await env.transport.request(url, { method: 'GET', target: '/status', headers: {}, signal: deadline.signal });
    const status = JSON.parse((await readBody(response.body, LIMITS.controlPayloadBytesMax)).toString('utf8')) as Record<string, unknown>;
    if (typeof status['clusterId'] !== 'string') return undefined;
    const upstream = status['upstream'] as { url?: unknown } | null | undefined;
    const isPrimary = status['role'] === 'primary';
    return { url, isPrimary, upstreamUrl: isPrimary || typeof upstream?.url !== 'string' ? null : upstream.url };
  } catch (error) {
    env.logger.warn('a peer does not answer', { peer: url, reason: messageOf(error) });
    return undefined;
  } finally {
    timer.cancel();
  }
}
