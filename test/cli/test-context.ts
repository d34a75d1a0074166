/** What main.ts would hand to a command, with everything that leaves it caught. */
import { PassThrough } from 'node:stream';
import type { CommandContext } from '../../lib/cli/command-context.ts';
import { EXIT_CODES } from '../../lib/cli/exit-codes.ts';
import { Terminal } from '../../lib/cli/terminal.ts';
import { LIMITS } from '../../lib/base/limits.ts';
import type { Environment } from '../../lib/env/environment.ts';
import { createRealEnvironment } from '../../lib/env/real-environment.ts';

export interface TestContext extends CommandContext {
  readonly stdin: PassThrough;
  /** All that was said so far. */
  readonly said: { readonly stdout: string; readonly stderr: string };
  readonly exitCode: number | undefined;
  /** As by kill(1): the first asks, the second insists. */
  signal(): void;
}

export function createTestContext(variables: Readonly<Record<string, string>> = {}): TestContext {
  const environment = withoutForcedEnd(createRealEnvironment());
  const said = { stdout: '', stderr: '' };
  const stdout = new PassThrough().on('data', (chunk) => (said.stdout += String(chunk)));
  const stderr = new PassThrough().on('data', (chunk) => (said.stderr += String(chunk)));
  const stop = Promise.withResolvers<NodeJS.Signals>();
  const stopNow = Promise.withResolvers<NodeJS.Signals>();
  let signals = 0;
  let exitCode: number | undefined;
  return {
    terminal: new Terminal({ stdout, stderr, environment: variables, clock: environment.clock }),
    environment,
    stdin: new PassThrough(),
    stderr,
    variables,
    version: '0.0.0',
    pid: 1,
    said,
    get exitCode() {
      return exitCode;
    },
    exitWith: (reason) => {
      exitCode = typeof reason === 'number' ? reason : EXIT_CODES[reason].code;
    },
    exitNow: (reason) => {
      exitCode = EXIT_CODES[reason].code;
      throw new Error(`exited at once: ${reason}`);
    },
    takeSignals: () => ({ stop: stop.promise, stopNow: stopNow.promise }),
    signal: () => {
      signals += 1;
      (signals === 1 ? stop : stopNow).resolve('SIGTERM');
    },
  };
}

/** The timer that ends a process which does not end by itself would go off in some later test. */
function withoutForcedEnd(environment: Environment): Environment {
  const { clock } = environment;
  return {
    ...environment,
    clock: {
      monotonicMs: () => clock.monotonicMs(),
      wallMs: () => clock.wallMs(),
      setTimer: (delayMs, callback) => (delayMs === LIMITS.cleanStopMs ? { cancel: () => {} } : clock.setTimer(delayMs, callback)),
      defer: (callback) => clock.defer(callback),
    },
  };
}

/** Waits for something that comes by itself; the test's own time-out is the bound. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
