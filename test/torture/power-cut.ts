import { runCampaign } from './campaign.ts';
import type { TortureCluster } from './cluster.ts';
import { POWER_REQUIREMENTS, PowerDisk } from './power.ts';
import type { Row } from './row.ts';

type Victims = 'primary' | 'both' | 'replica';

/** In turn. A power cut of both is the hardest: no node is left that could know better. */
const VICTIMS_IN_TURN: readonly Victims[] = ['primary', 'both', 'primary', 'replica', 'primary'];

export const powerCut: Row = {
  name: 'power-cut',
  summary: 'power cut of the primary, of both nodes, or of the replica under load, restart',
  requirements: POWER_REQUIREMENTS,
  rounds: { full: 100, short: 7 },
  run: async (context) => {
    const primaryDisk = await PowerDisk.make(context.workbench, 'primary-disk');
    const replicaDisk = await PowerDisk.make(context.workbench, 'replica-disk');
    const cuts: Record<Victims, number> = { primary: 0, both: 0, replica: 0 };
    let victims: Victims = 'primary';

    return runCampaign(context, {
      makeDirectories: async () => ({ primary: `${primaryDisk.mountPoint}/data`, replica: `${replicaDisk.mountPoint}/data` }),
      writersGoOn: false,
      strike: async ({ primary, replica }, round) => {
        victims = VICTIMS_IN_TURN[(round - 1) % VICTIMS_IN_TURN.length]!;
        cuts[victims] += 1;
        const isHit = { primary: victims !== 'replica', replica: victims !== 'primary' };
        await PowerDisk.cut([...(isHit.primary ? [primaryDisk] : []), ...(isHit.replica ? [replicaDisk] : [])]);
        // The machine would be off. A process that is not may stop by itself: its disk answers EIO.
        await Promise.all([...(isHit.primary ? [primary.killIfRunning()] : []), ...(isHit.replica ? [replica.killIfRunning()] : [])]);
        return isHit.primary ? 'primary' : 'replica';
      },
      repair: async (cluster: TortureCluster) => {
        const starts: Promise<void>[] = [];
        if (victims !== 'replica') {
          await primaryDisk.restore();
          starts.push(cluster.spawnPrimary().ready());
        }
        if (victims !== 'primary') {
          await replicaDisk.restore();
          starts.push(cluster.spawnReplica().ready());
        }
        await Promise.all(starts);
      },
      notes: () => [`power cuts of the primary alone: ${cuts.primary}, of both nodes: ${cuts.both}, of the replica alone: ${cuts.replica}`],
    });
  },
};
