import { setTimeout as sleep } from 'node:timers/promises';

import type { SeededRandom } from '../support/seeded-random.ts';
import { runCampaign } from './campaign.ts';
import type { TortureCluster } from './cluster.ts';
import { plainDirectories } from './kill-primary.ts';
import type { NodeProcess } from './node-process.ts';
import type { Row } from './row.ts';

/** Moments after the start that are tried at random, whatever the node does then. */
const BLIND_DELAY_MS_MAX = 300;
const BLIND_SHARE = 0.25;
/** In some rounds the second recovery is killed, too. */
const TWICE_SHARE = 0.3;
/** What a start that was not killed took from taking the data directory to being ready, until it has been measured. */
const RECOVERY_MS_GUESS = 100;
const STARTS_MAX = 30;
const POLL_INTERVAL_MS = 1;

export const killRecovery: Row = {
  name: 'kill-recovery',
  summary: 'kill -9 of the primary under load, and again while it recovers',
  requirements: [],
  rounds: { full: 50, short: 4 },
  run: (context) => {
    const recovery = new InterruptedRecovery(context.random);
    return runCampaign(context, {
      makeDirectories: plainDirectories(context.workbench),
      writersGoOn: false,
      strike: async ({ primary }) => {
        await primary.kill();
        return 'primary';
      },
      repair: (cluster) => recovery.run(cluster),
      notes: () => recovery.notes(),
    });
  },
};

/** Starts of which some are killed on the way, at least one of them during recovery, and the last one is not. */
class InterruptedRecovery {
  readonly #random: SeededRandom;
  #recoveryMs = RECOVERY_MS_GUESS;
  #beforeRecovery = 0;
  #duringRecovery = 0;
  #afterRecovery = 0;

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  async run(cluster: TortureCluster): Promise<void> {
    const wanted = this.#duringRecovery + (this.#random.chance(TWICE_SHARE) ? 2 : 1);
    for (let starts = 0; this.#duringRecovery < wanted; starts += 1) {
      if (starts === STARTS_MAX) throw new Error(`none of ${STARTS_MAX} kills fell into a recovery of about ${this.#recoveryMs} ms`);
      await this.#interrupt(cluster.spawnPrimary());
    }
    const node = cluster.spawnPrimary();
    await hasBegun(node);
    const begunMs = performance.now();
    await node.ready();
    this.#recoveryMs = performance.now() - begunMs;
  }

  notes(): readonly string[] {
    return [`kills before recovery had begun: ${this.#beforeRecovery}, during it: ${this.#duringRecovery}, after it: ${this.#afterRecovery}`];
  }

  async #interrupt(node: NodeProcess): Promise<void> {
    if (this.#random.chance(BLIND_SHARE)) {
      await sleep(this.#random.uniform() * BLIND_DELAY_MS_MAX);
    } else {
      await hasBegun(node);
      await sleep(this.#random.uniform() * this.#recoveryMs);
    }
    if (!holdsData(node)) this.#beforeRecovery += 1;
    else if (await node.isHealthy()) this.#afterRecovery += 1;
    else this.#duringRecovery += 1;
    await node.kill();
  }
}

/** Resolves when the node has taken its data directory: before that it has only loaded its program. */
async function hasBegun(node: NodeProcess): Promise<void> {
  while (node.isRunning && !holdsData(node)) await sleep(POLL_INTERVAL_MS);
}

function holdsData(node: NodeProcess): boolean {
  return node.hasOpen('lock');
}
