/** What failover needs of the node around it: facts, and the few acts that change its role. */
import type { EpochRef, LogPoint } from '../base/epoch-history.ts';
import type { EpochBeginKind, EpochEndOperation } from '../base/operation.ts';
import type { Environment } from '../env/environment.ts';
import type { Logger } from '../observe/logger.ts';
import type { MemberList } from '../replication/member-list.ts';
import type { RoleState } from '../role/role-machine.ts';
import type { PeerState } from './peer-state.ts';

export type FenceKind = 'superseded' | 'conflict' | 'lost-data';

export interface FailoverHost {
  readonly environment: Environment;
  readonly logger: Logger;
  readonly nodeId: string;
  readonly members: MemberList;
  readonly state: RoleState;
  /** Other nodes, as the configuration names them. */
  readonly peerUrls: readonly string[];
  readonly upstreamUrl: string | null;
  /** The upstream was the primary: it is left when it is not any more. Else it is a replica that was given. */
  readonly followsPrimary: boolean;
  /** It follows the primary, and its upstream has become a replica. */
  readonly isLeftBehind: boolean;
  /** The epoch-end record with which the log ends, if it does. */
  readonly ended: EpochEndOperation | undefined;
  /** Id of the last epoch in which this node was the primary. */
  readonly reignEpochId: string | null;
  /** Why it does not take part, where it is fenced or diverged. */
  readonly fenceReason: string | null;
  /** Its content differs from the primary's where their histories agree. */
  readonly isDamaged: boolean;
  /** An operator has said that operations beyond the fork may be set aside, whoever wrote them. */
  readonly isRejoinAllowed: boolean;
  readonly failed: Promise<Error>;
  peerState(): PeerState;
  /** Is a stream to this follower alive? */
  isStreamingTo(nodeId: string): boolean;
  /** How long nothing new has come of the primary through the upstream; for ever where that refused. */
  upstreamSilentMs(): number;
  /** Durable position that a follower confirmed last. */
  confirmedLsn(nodeId: string): number | null;

  /** At once: acknowledges nothing more and drops its followers. */
  fence(kind: FenceKind, reason: string): void;
  /** Stops following, and waits for an operator. */
  diverge(reason: string): Promise<void>;
  /** Follows the primary at `url`, durably; serves reads. What it holds must be contained there. */
  follow(url: string): Promise<void>;
  /** Follows its upstream again after the receiver has ended by itself. */
  followAgain(): void;
  /** Resolves when nothing of the upstream is taken or confirmed any more. */
  pauseFollowing(): Promise<void>;
  /** The promotion that this node was promised to came to nothing: it does what it did before. */
  resumeFollowing(): void;
  /**
   * Writes operations after `forkLsn` to a salvage file, then replaces the data with a snapshot of `url`.
   * `openedEpoch`: the one that survives from there on, where it is known.
   */
  setAside(forkLsn: number, url: string, openedEpoch: EpochRef | undefined): Promise<void>;
  /** Keeps the data aside and replaces it with a snapshot of `url`, which holds all of its history. */
  replaceDamaged(url: string): Promise<void>;
  /** Finishes the writes that were taken and ends the epoch. @throws ShiplogError where nothing was ended. */
  endEpoch(targetNodeId: string, nextEpoch: EpochRef): Promise<LogPoint>;
  /** Resolves when the log ends with a record that hands over to `epochId`. Rejects with the signal's reason. */
  untilEnded(epochId: string, signal: AbortSignal): Promise<void>;
  /** Opens an epoch at the end of the log; from then on this node is the primary. */
  openEpoch(begin: EpochBeginKind, epoch: EpochRef, acceptedLoss: number | null): Promise<LogPoint>;
}
