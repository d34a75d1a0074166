import { failoverAck1 } from './failover-ack-1.ts';
import { failoverAckLocal } from './failover-ack-local.ts';
import { killPrimary } from './kill-primary.ts';
import { killRecovery } from './kill-recovery.ts';
import { killReplica } from './kill-replica.ts';
import { longAbsence } from './long-absence.ts';
import { powerCut } from './power-cut.ts';
import type { Row } from './row.ts';
import { switchoverStorm } from './switchover-storm.ts';
import { syncOrder } from './sync-order.ts';

/** Every fault that the rig knows. A new one is added here, and runs with `npm run torture` and in CI. */
export const ROWS: readonly Row[] = [killPrimary, killReplica, killRecovery, powerCut, syncOrder, longAbsence, failoverAck1, failoverAckLocal, switchoverStorm];
