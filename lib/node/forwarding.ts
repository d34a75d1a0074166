/**
 * A client's write on its way from a replica to the primary. It is sent at most once, unless it is
 * certain that no byte of it left.
 */
import { ShiplogError, isShiplogError, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { type Position, parsePosition } from '../base/position.ts';
import type { Clock } from '../env/clock.ts';
import { type Transport, TransportError, type TransportRequest, readBody } from '../env/transport.ts';
import type { ForwardedResponse } from './node-api.ts';

export interface ForwardOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly nodeId: string;
  readonly primaryUrl: string;
  readonly timeoutMs: number;
  /** Resolves when reads on this node show the position. @throws ShiplogError `position-lost`. */
  readonly shown: (position: Position, signal: AbortSignal) => Promise<void>;
}

/** @throws ShiplogError `no-primary`: not sent. `outcome-unknown`: perhaps carried out. `not-shown-yet`, `position-lost`: carried out. */
export async function forwardWrite(request: TransportRequest, options: ForwardOptions): Promise<ForwardedResponse> {
  const { clock, primaryUrl, timeoutMs } = options;
  const deadline = new AbortController();
  const timer = clock.setTimer(timeoutMs, () => deadline.abort(new Error(`no answer within ${timeoutMs} ms`)));
  try {
    const response = await send(request, options, deadline.signal);
    // Also a refusal tells of the primary's state, which the client may then look for here.
    const position = parsePosition(response.headers['shiplog-position'] ?? '');
    if (response.status < 500 && position !== undefined) await options.shown(position, deadline.signal).catch((cause: unknown) => throwIfWritten(response, cause));
    return response;
  } catch (error) {
    if (!(error instanceof TransportError)) throw error;
    if (!error.mayHaveArrived) throw new ShiplogError('no-primary', `the primary ${primaryUrl} can't be reached: ${error.message}`, { cause: error, retryAfterS: 1 });
    throw new ShiplogError('outcome-unknown', `the write was sent to ${primaryUrl}, but the answer did not come: ${messageOf(error)}; read the key to see`, { cause: error });
  } finally {
    timer.cancel();
  }
}

/** What the primary said is true all the same; but of a write it is not all that the client asked for. */
function throwIfWritten({ status, headers }: ForwardedResponse, cause: unknown): void {
  if (status >= 300) return;
  // Of a write that has no position yet there is only what the primary showed when it took it.
  if (headers['shiplog-ack'] === 'memory') {
    if (isShiplogError(cause, 'position-lost')) throw new ShiplogError('position-lost', 'the primary took it, but the cluster has gone on without it', { cause });
    throw new ShiplogError('not-shown-yet', 'the primary took it, but this replica does not show yet what was there before it', { cause });
  }
  // A batch has no ETag: what was visible then is its last position, or later.
  const position = (headers['etag'] ?? '').replaceAll('"', '') || headers['shiplog-position'];
  const extra = { position };
  if (isShiplogError(cause, 'position-lost')) throw new ShiplogError('position-lost', `the primary wrote it by ${position}, but the cluster has gone on without it`, { cause, extra });
  throw new ShiplogError('not-shown-yet', `written by the primary by ${position}, but this replica does not show it yet`, { cause, extra });
}

async function send(request: TransportRequest, options: ForwardOptions, signal: AbortSignal): Promise<ForwardedResponse> {
  const response = await options.transport.request(options.primaryUrl, {
    ...request,
    headers: { ...request.headers, 'shiplog-forwarded': options.nodeId },
    signal,
  });
  return { status: response.status, headers: response.headers, body: await readBody(response.body, LIMITS.valueBytesMax) };
}
