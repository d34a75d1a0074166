/**
 * Values too large to be left to the socket's buffer. A client that asks for many of them and never
 * reads would fill the memory otherwise: they are counted against a budget, leave in slices, and a
 * client that takes none for a while is dropped.
 */
import { ShiplogError } from '../base/errors.ts';
import { KIB } from '../base/limits.ts';
import type { Clock } from '../env/clock.ts';
import type { BodyBudget } from './body-budget.ts';
import type { HttpContext } from './http-context.ts';
import { ResponseWriter } from './response-writer.ts';

/** From this many UTF-16 units on. */
export const LARGE_ANSWER_LENGTH = 64 * KIB;

interface LargeAnswerOptions {
  readonly budget: BodyBudget;
  readonly clock: Clock;
  /** A slice that was not taken for this long drops the connection. */
  readonly stallMs: number;
}

/** Status and headers are those that `ctx` has. @throws ShiplogError `overloaded` before anything is sent. */
export async function sendLargeAnswer(ctx: HttpContext, text: string, { budget, clock, stallMs }: LargeAnswerOptions): Promise<void> {
  const { res } = ctx;
  const length = Buffer.byteLength(text);
  const reservation = budget.open();
  if (!reservation.growTo(length)) {
    throw new ShiplogError('overloaded', 'answers that their clients do not read fill the memory that is set aside for them; try again shortly', { retryAfterS: 1 });
  }
  res.once('close', () => reservation.release());

  ctx.respond = false;
  res.setHeader('Content-Length', length);
  const bytes = Buffer.from(text);
  const writer = new ResponseWriter(res);
  for (let offset = 0; offset < bytes.length; offset += SLICE_BYTES) {
    const timer = clock.setTimer(stallMs, () => res.destroy());
    const open = await writer.write(bytes.subarray(offset, offset + SLICE_BYTES));
    timer.cancel();
    if (!open) return;
  }
  res.end();
}

const SLICE_BYTES = 256 * KIB;
