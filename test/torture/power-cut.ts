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
        const hit = [
          ...(victims === 'replica' ? [] : [{ node: primary, disk: primaryDisk }]),
          ...(victims === 'primary' ? [] : [{ node: replica, disk: replicaDisk }]),
        ];
        // Without power, nobody answers. A process that went on could: a sync that runs at the moment of the
        // ioctl may return 0, although what it synced is forgotten.
        await Promise.all(hit.map(({ node }) => node.freeze()));
        await PowerDisk.cut(hit.map(({ disk }) => disk));
        await Promise.all(hit.map(({ node }) => node.kill()));
        return victims === 'replica' ? 'replica' : 'primary';
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
