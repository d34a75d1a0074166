import { runFailoverCampaign } from './failover-campaign.ts';
import type { Row } from './row.ts';

export const failoverAckLocal: Row = {
  name: 'failover-ack-local',
  summary: 'the same at ack=local: what the old primary alone had is in its salvage file',
  requirements: [],
  rounds: { full: 100, short: 5 },
  run: (context) =>
    runFailoverCampaign(context, {
      ack: 'local',
      mayBeSetAside: true,
      isCutOff: (round) => round % 4 !== 0,
    }),
};
