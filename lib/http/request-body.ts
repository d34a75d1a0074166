/**
 * Reads a whole request body into memory that was reserved before. The bytes go into one growing
 * buffer: kept as the chunks they came in, sixteen million one-byte chunks would take gigabytes.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';

import { ShiplogError } from '../base/errors.ts';
import { KIB } from '../base/limits.ts';
import type { Clock } from '../env/clock.ts';
import type { BodyReservation } from './body-budget.ts';
import { valueTooLarge } from './value.ts';

export interface RequestBodyOptions {
  readonly reservation: BodyReservation;
  readonly bytesMax: number;
  /** Says that there is more than that; default: a value is too large. */
  readonly tooLarge?: (got: string) => ShiplogError;
  readonly clock: Clock;
  /** In each period of this length the body has to end or to bring at least `PROGRESS_BYTES_MIN`. */
  readonly idleMs: number;
}

/** Below this, a body does not arrive but dribbles, and holds its share of the budget for nothing. */
export const PROGRESS_BYTES_MIN = 1 * KIB;

/** Thrown where the client left before its body was here: there is nobody to answer. */
export class ClientGoneError extends Error {
  constructor() {
    super('the client closed the connection before its request was complete');
    this.name = 'ClientGoneError';
  }
}

/** True where the head announces a body, of whatever length but zero. */
export function announcesBody(req: IncomingMessage): boolean {
  const length = req.headers['content-length'];
  return (length !== undefined && length !== '0') || req.headers['transfer-encoding'] !== undefined;
}

/**
 * Resolves with the body. What is refused by its announced length is refused before `100 Continue`
 * and before a byte is read; after a rejection the rest of the body is still unread.
 * @throws ShiplogError `length-required`, `value-too-large`, `overloaded` or `body-timeout`; ClientGoneError.
 */
export async function readRequestBody(req: IncomingMessage, res: ServerResponse, options: RequestBodyOptions): Promise<Buffer> {
  const { reservation, bytesMax, tooLarge = valueTooLarge } = options;
  const announcedBytes = announcedLength(req);
  if (announcedBytes !== undefined) {
    if (announcedBytes > bytesMax) throw tooLarge(`${announcedBytes} bytes`);
    if (!reservation.growTo(announcedBytes)) throw outOfBudget();
  }
  if (awaitsContinue(req)) res.writeContinue();
  if (announcedBytes === 0) return Buffer.alloc(0);
  return await collect(req, announcedBytes, options);
}

/** Undefined where the body is chunked and its length is unknown. */
function announcedLength(req: IncomingMessage): number | undefined {
  const length = req.headers['content-length'];
  if (length !== undefined) return Number(length);
  if (req.headers['transfer-encoding'] !== undefined) return undefined;
  throw new ShiplogError('length-required', `the request has neither Content-Length nor a chunked body, expected the value as its body (with curl: -d value, or -d '' for an empty one)`);
}

function awaitsContinue(req: IncomingMessage): boolean {
  return req.headers.expect !== undefined && req.httpVersionMinor === 1;
}

function outOfBudget(): ShiplogError {
  return new ShiplogError('overloaded', 'the bodies of other requests fill the memory that is set aside for them; try again shortly', { retryAfterS: 1 });
}

function collect(req: IncomingMessage, announcedBytes: number | undefined, options: RequestBodyOptions): Promise<Buffer> {
  const { reservation, bytesMax, tooLarge = valueTooLarge, clock, idleMs } = options;
  return new Promise((resolve, reject) => {
    let buffer: Buffer = EMPTY;
    let size = 0;
    let sizeAtLastCheck = 0;

    const onData = (chunk: Buffer): void => {
      const newSize = size + chunk.length;
      if (newSize > bytesMax) {
        fail(tooLarge(`more than ${bytesMax} bytes`));
        return;
      }
      if (newSize > buffer.length) {
        if (size === 0 && newSize === announcedBytes) {
          // The usual case: all of it in one piece, which is taken as it is.
          buffer = chunk;
          size = newSize;
          return;
        }
        const capacity = announcedBytes ?? Math.min(bytesMax, Math.max(newSize, 2 * buffer.length, 4 * KIB));
        if (!reservation.growTo(capacity)) {
          fail(outOfBudget());
          return;
        }
        const grown = Buffer.allocUnsafeSlow(capacity);
        buffer.copy(grown, 0, 0, size);
        buffer = grown;
      }
      chunk.copy(buffer, size);
      size = newSize;
    };
    const onEnd = (): void => {
      settle();
      resolve(buffer.length === size ? buffer : buffer.subarray(0, size));
    };
    const onClose = (): void => fail(new ClientGoneError());
    const onIdleCheck = (): void => {
      if (size - sizeAtLastCheck < PROGRESS_BYTES_MIN) {
        fail(new ShiplogError('body-timeout', `the body brought ${size - sizeAtLastCheck} bytes within ${idleMs} ms, expected at least ${PROGRESS_BYTES_MIN} or its end; ${size} bytes had arrived`));
        return;
      }
      sizeAtLastCheck = size;
      timer = clock.setTimer(idleMs, onIdleCheck);
    };
    const fail = (error: Error): void => {
      settle();
      req.pause();
      reject(error);
    };
    const settle = (): void => {
      timer.cancel();
      req.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose);
    };

    let timer = clock.setTimer(idleMs, onIdleCheck);
    req.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose);
  });
}

const EMPTY = Buffer.alloc(0);
