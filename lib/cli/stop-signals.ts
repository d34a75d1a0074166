/**
 * SIGINT and SIGTERM as two events: the wish to stop, and the wish to stop at once.
 *
 * One Ctrl-C arrives more than once: the terminal signals the whole process group, and npm sends the
 * same signal to its child again. So what follows the first signal closely is its echo.
 */
import type { EventEmitter } from 'node:events';
import type { Clock } from '../env/clock.ts';

export interface StopSignals {
  /** Resolves with the name of the first signal. */
  readonly stop: Promise<NodeJS.Signals>;
  /** Resolves when somebody insists. */
  readonly stopNow: Promise<NodeJS.Signals>;
}

const ECHO_MS = 1_000;

export function takeStopSignals(process: Pick<EventEmitter, 'on'>, clock: Clock): StopSignals {
  const stop = Promise.withResolvers<NodeJS.Signals>();
  const stopNow = Promise.withResolvers<NodeJS.Signals>();
  let firstAtMs: number | undefined;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (firstAtMs === undefined) {
      firstAtMs = clock.monotonicMs();
      stop.resolve(signal);
    } else if (clock.monotonicMs() - firstAtMs >= ECHO_MS) {
      stopNow.resolve(signal);
    }
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return { stop: stop.promise, stopNow: stopNow.promise };
}
