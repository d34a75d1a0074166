import { runFailoverCampaign } from './failover-campaign.ts';
import type { Row } from './row.ts';

export const failoverAck1: Row = {
  name: 'failover-ack-1',
  summary: 'kill -9 of the primary under load at ack=1, promote a replica, the old one comes back',
  requirements: [],
  rounds: { full: 100, short: 5 },
  run: (context) =>
    runFailoverCampaign(context, {
      ack: '1',
      mayBeSetAside: false,
      // In every other round it is also left with writes that nobody confirms.
      isCutOff: (round) => round % 2 === 1,
    }),
};
