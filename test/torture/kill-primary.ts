import { type Fault, runCampaign } from './campaign.ts';
import type { Row } from './row.ts';
import type { Workbench } from './workbench.ts';

/** Data directories on the disk of the workbench. */
export function plainDirectories(workbench: Workbench): Fault['makeDirectories'] {
  return async () => ({ primary: workbench.path('primary'), replica: workbench.path('replica') });
}

export const killPrimary: Row = {
  name: 'kill-primary',
  summary: 'kill -9 of the primary under load, restart',
  requirements: [],
  rounds: { full: 200, short: 12 },
  run: (context) =>
    runCampaign(context, {
      makeDirectories: plainDirectories(context.workbench),
      writersGoOn: false,
      strike: async ({ primary }) => {
        await primary.kill();
        return 'primary';
      },
      repair: (cluster) => cluster.spawnPrimary().ready(),
    }),
};
