/**
 * A mutant: the product with one safeguard taken away. Either the world does wrong (a disk that lies), or
 * the text of modules is changed as they are loaded (load-mutant.ts); the product itself has no switch.
 * What has to notice is a verdict of the simulation's judges, which know nothing of any mutant.
 */
import type { SimulationMutation } from '../mutation.ts';
import type { ProfileName, SimulationPlan } from '../plan.ts';

/** Bugs that really happened in systems like this, and that a simulation of this one can show. */
export const BUGS = {
  B1: 'acknowledged before it is durable',
  B3: 'a tail that is only in the cache is trusted at a start',
  B4: 'what is not durable is sent to followers',
  B5: 'what is appended reaches the disk in another order, or in part',
  B6: 'a directory is not synced',
  B7: 'a torn tail and damage are taken for one another',
  B8: 'a length is believed before its checksum',
  B9: 'rows and applied position are not one transaction',
  B10: 'the log is removed before the table is durable',
  B12: 'a replica that lags is promoted',
  B13: 'an old primary goes on writing during a failover',
  B14: 'a divergent suffix survives a rejoin',
  B15: 'one epoch is minted twice',
  B16: 'a log is cut at a watermark',
  B17: 'an empty primary takes its replicas with it',
  B20: 'retention overtakes a reader',
  B21: 'something is applied twice after a reconnect',
  B26: 'what waits for confirmation is taken for confirmed',
  B29: 'what belongs together is carried out in part',
} as const;

export type Bug = keyof typeof BUGS;

/** One text of one module gives way to another. */
export interface Edit {
  /** Below lib/. */
  readonly file: string;
  /** Occurs exactly once. */
  readonly from: string;
  readonly to: string;
}

export interface Mutant {
  readonly name: string;
  readonly bug: Bug;
  /** What the cluster does wrong then. */
  readonly story: string;
  readonly edits?: readonly Edit[];
  readonly environment?: Omit<SimulationMutation, 'name'>;
  readonly profile?: ProfileName;
  /** What the seed's own plan would rarely bring about. */
  readonly plan?: Partial<SimulationPlan>;
  /** The safeguard is there so that the cluster goes on: one that never comes to rest is a verdict too. */
  readonly mayNeverRest?: boolean;
  /** A seed that catches it: where CI begins to look. */
  readonly caughtAt: number;
}
