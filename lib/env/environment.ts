import type { Clock } from './clock.ts';
import type { Disk } from './disk.ts';
import type { Random } from './random.ts';
import type { Transport } from './transport.ts';

/** The outside world of one node. Replace these four and a cluster runs from one seed. */
export interface Environment {
  readonly clock: Clock;
  readonly disk: Disk;
  readonly transport: Transport;
  readonly random: Random;
}
