import { runCampaign } from './campaign.ts';
import { plainDirectories } from './kill-primary.ts';
import type { Row } from './row.ts';

export const killReplica: Row = {
  name: 'kill-replica',
  summary: 'kill -9 of the replica under load, restart while writes go on',
  requirements: [],
  rounds: { full: 100, short: 6 },
  run: (context) =>
    runCampaign(context, {
      makeDirectories: plainDirectories(context.workbench),
      writersGoOn: true,
      strike: async ({ replica }) => {
        await replica.kill();
        return 'replica';
      },
      repair: (cluster) => cluster.spawnReplica().ready(),
    }),
};
