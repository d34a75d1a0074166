import type { Environment } from './environment.ts';
import { RealClock } from './real-clock.ts';
import { RealDisk } from './real-disk.ts';
import { RealRandom } from './real-random.ts';
import { RealTransport } from './real-transport.ts';

/** A peer in the same data centre answers a SYN within milliseconds; this leaves room for two lost ones. */
const CONNECT_TIMEOUT_MS = 3_000;

export interface RealEnvironmentOptions {
  readonly connectTimeoutMs?: number;
}

/** The machine this process runs on. Whoever makes it closes its transport. */
export function createRealEnvironment(options: RealEnvironmentOptions = {}): Environment {
  const clock = new RealClock();
  return {
    clock,
    disk: new RealDisk(),
    random: new RealRandom(),
    transport: new RealTransport({ clock, connectTimeoutMs: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS }),
  };
}
