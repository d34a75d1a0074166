/**
 * Time, as the rest of the program may see it. Time-outs use the monotonic side only; wall-clock
 * time is data (it is written down and shown, nothing is decided by it within a node).
 */
export interface Clock {
  /** Milliseconds, fractional, since some fixed moment; never goes back. */
  monotonicMs(): number;
  /** Unix time in whole milliseconds; may jump. */
  wallMs(): number;
  /** Calls back once, not before `delayMs` have passed. A timer never keeps a process alive. */
  setTimer(delayMs: number, callback: () => void): Timer;
  /** Calls back after the I/O that is ready now: the way to give up the event loop for one turn. */
  defer(callback: () => void): void;
}

export interface Timer {
  cancel(): void;
}

/** Resolves after `delayMs`; rejects with the signal's reason when aborted first. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason as Error);
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      reject(signal!.reason as Error);
    };
    const timer = clock.setTimer(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** Resolves in the next turn of the event loop. */
export function nextTurn(clock: Clock): Promise<void> {
  return new Promise((resolve) => clock.defer(resolve));
}
