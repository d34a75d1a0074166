/**
 * `GET /peer/digest?at=<lsn>`: a digest of the table at the first end of a batch at or after `at`.
 * Batches end at the same LSNs everywhere, so two nodes asked for the same future LSN answer for
 * the same position without stopping writes.
 */
import { ShiplogError } from '../base/errors.ts';
import { formatPosition } from '../base/position.ts';
import { type Clock, sleep } from '../env/clock.ts';
import type { TransportRequest, TransportResponse } from '../env/transport.ts';
import type { Engine } from './engine.ts';

const WAIT_MS_MAX = 5_000;

/** @throws ShiplogError `timeout` where that position did not come: nothing is written at the moment. */
export async function serveDigest(request: TransportRequest, engine: Engine, clock: Clock): Promise<TransportResponse> {
  const at = new URLSearchParams(request.target.split('?')[1] ?? '').get('at') ?? '0';
  if (!/^\d{1,15}$/.test(at)) throw new ShiplogError('bad-request', `at must be an LSN, got ${JSON.stringify(at)}`);
  const waiting = new AbortController();
  const digest = await Promise.race([
    engine.table.digestAt(Number(at), waiting.signal),
    sleep(clock, WAIT_MS_MAX, waiting.signal).then(() => {
      throw new ShiplogError('timeout', `this node did not reach LSN ${at} within ${WAIT_MS_MAX} ms`);
    }),
  ]).finally(() => waiting.abort(new Error('the digest is there')));
  const { lsn, chain, rowCount, sha256 } = digest;
  const position = formatPosition(engine.history.positionOf(lsn));
  const body = Buffer.from(`${JSON.stringify({ position, lsn, chain, rowCount, sha256 })}\n`);
  return { status: 200, headers: { 'content-type': 'application/json' }, body: once(body) };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
