/**
 * A safeguard taken away through the environment: what a mutant of the product would do, done by the
 * world around it. Loader hooks change the product's modules instead, and need none of this.
 */
import type { Disk } from '../../lib/env/disk.ts';
import type { Transport } from '../../lib/env/transport.ts';
import type { NodeOptions } from '../../lib/node/node-options.ts';
import type { Store } from '../../lib/store/store.ts';
import type { DiskCall, DiskFault } from '../support/memory-disk.ts';
import type { MemoryStore } from '../support/memory-store.ts';

export interface SimulationMutation {
  readonly name: string;
  /** Asked before each disk call, e.g. to let a sync lie. */
  readonly diskFault?: (call: DiskCall, machine: string) => DiskFault | undefined;
  readonly wrapDisk?: (disk: Disk, machine: string) => Disk;
  readonly wrapTransport?: (transport: Transport, machine: string) => Transport;
  readonly wrapStore?: (store: MemoryStore, machine: string) => Store;
  readonly nodeOptions?: (options: NodeOptions) => NodeOptions;
}

export const NO_MUTATION: SimulationMutation = { name: 'none' };
