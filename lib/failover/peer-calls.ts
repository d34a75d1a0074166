/**
 * Requests between nodes that carry one JSON document each way, with a checksum over it: a digit
 * that flipped on the way must not become a promise or an opened epoch.
 */
import { crc32 } from 'node:zlib';
import { ShiplogError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { errorFromProblem } from '../base/problem.ts';
import type { Clock } from '../env/clock.ts';
import { type Transport, type TransportRequest, type TransportResponse, readBody } from '../env/transport.ts';

const CHECKSUM_HEADER = 'shiplog-crc32';

export class PeerCalls {
  readonly #transport: Transport;
  readonly #clock: Clock;

  constructor(env: { readonly transport: Transport; readonly clock: Clock }) {
    this.#transport = env.transport;
    this.#clock = env.clock;
  }

  /** @throws TransportError where the peer can't be reached, ShiplogError where it refuses. */
  async ask(url: string, target: string, content: unknown, timeoutMs: number): Promise<unknown> {
    const deadline = new AbortController();
    const timer = this.#clock.setTimer(timeoutMs, () => deadline.abort(new Error(`no answer within ${timeoutMs} ms`)));
    const body = Buffer.from(JSON.stringify(content));
    try {
      const response = await this.#transport.request(url, {
        method: 'POST',
        target,
        headers: { 'content-type': 'application/json', 'content-length': String(body.length), [CHECKSUM_HEADER]: checksumOf(body) },
        body,
        signal: deadline.signal,
      });
      const answer = await readBody(response.body, LIMITS.controlPayloadBytesMax);
      if (response.status !== 200) throw errorFromProblem(response.status, answer);
      return checked(answer, response.headers);
    } finally {
      timer.cancel();
    }
  }
}

/** Reads what a peer asks. @throws ShiplogError `bad-request`, `peer-protocol`. */
export async function readPeerCall(request: TransportRequest): Promise<unknown> {
  const { body } = request;
  if (request.method !== 'POST' || body === undefined) throw new ShiplogError('bad-request', 'nodes ask with POST and a JSON body');
  const bytes = body instanceof Uint8Array ? Buffer.from(body) : await readBody(body, LIMITS.controlPayloadBytesMax);
  return checked(bytes, request.headers);
}

export function peerAnswer(content: unknown): TransportResponse {
  const body = Buffer.from(JSON.stringify(content));
  return { status: 200, headers: { 'content-type': 'application/json', 'cache-control': 'no-store', [CHECKSUM_HEADER]: checksumOf(body) }, body: once(body) };
}

function checked(bytes: Buffer, headers: Readonly<Record<string, string>>): unknown {
  const expected = headers[CHECKSUM_HEADER];
  if (expected !== checksumOf(bytes)) throw new ShiplogError('peer-protocol', `the peer's document has checksum ${checksumOf(bytes)}, its head says ${String(expected)}`);
  try {
    return JSON.parse(bytes.toString('utf8')) as unknown;
  } catch (error) {
    throw new ShiplogError('peer-protocol', 'the peer sent a document that is not JSON', { cause: error });
  }
}

function checksumOf(bytes: Uint8Array): string {
  return crc32(bytes).toString(16).padStart(8, '0');
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
