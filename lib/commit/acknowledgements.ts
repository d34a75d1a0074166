/**
 * Writes that are durable here and wait until enough replicas have them too. Nothing is polled: every
 * confirmation, and every change of the members, says who holds how much, and answers all whose turn
 * it is. Waiters of one level stand in the order of their LSNs, so that a confirmation looks at those
 * it answers and at one more.
 */
import { type AckLevel, strongerAck } from '../base/ack-level.ts';
import { ShiplogError } from '../base/errors.ts';
import type { Clock, Timer } from '../env/clock.ts';

/** A member beside this node, and how much of this log it is known to have on its disk. */
export interface ConfirmedMember {
  readonly nodeId: string;
  /** Null while it counts for nothing: away, without a consistent state, or not known to all others yet. */
  readonly durableLsn: number | null;
}

export interface AcknowledgementsOptions {
  readonly clock: Clock;
  /** All members but this node. */
  readonly others: () => readonly ConfirmedMember[];
}

interface Waiter {
  readonly lsn: number;
  readonly timer: Timer;
  readonly resolve: (replicas: number) => void;
  readonly reject: (error: unknown) => void;
}

/** Replicas that a level asks for. */
export type ReplicaLevel = Exclude<AckLevel, 'memory' | 'local'>;

export class Acknowledgements {
  readonly #options: AcknowledgementsOptions;
  /** By level, in the order of LSNs. */
  readonly #waiting = new Map<ReplicaLevel, Waiter[]>();

  constructor(options: AcknowledgementsOptions) {
    this.#options = options;
  }

  get waiterCount(): number {
    return [...this.#waiting.values()].reduce((count, waiters) => count + waiters.length, 0);
  }

  /**
   * Before anything is stored: the level that a write gets. A minimum that can't be reached now refuses
   * it, so that a primary which is cut off from its replicas collects nothing that they lack.
   * @throws ShiplogError `too-few-members` (asked for more than there are), `too-few-replicas`.
   */
  admit(asked: AckLevel | undefined, server: { readonly ackDefault: AckLevel; readonly ackMinimum: AckLevel }): AckLevel {
    const level = strongerAck(asked ?? server.ackDefault, server.ackMinimum);
    if (level === 'memory' || level === 'local') return level;
    const others = this.#options.others();
    if (typeof asked === 'number' && asked > others.length) throw new ShiplogError('too-few-members', `ack=${asked} asks for ${asked} replicas, the cluster has ${others.length}`);
    const counting = others.filter(({ durableLsn }) => durableLsn !== null).length;
    const needed = replicasOf(server.ackMinimum, others.length);
    if (counting < needed) throw new ShiplogError('too-few-replicas', `${needed} replicas have to confirm every write here, ${counting} can at the moment`);
    if (typeof level === 'number' && level > others.length) throw new ShiplogError('too-few-replicas', `${level} replicas have to confirm a write by default, the cluster has ${others.length}`);
    return level;
  }

  /**
   * Resolves with the number of replicas that hold everything up to `lsn`, once there are as many as
   * the level asks for. @throws `late()` after `timeoutMs`, or what `release` was called with.
   */
  reached(lsn: number, level: ReplicaLevel, timeoutMs: number, late: () => ShiplogError): Promise<number> {
    const standing = this.#standing();
    if (lsn <= this.#reachedLsn(level, standing)) return Promise.resolve(holdersOf(lsn, standing));
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        lsn,
        resolve,
        reject,
        timer: this.#options.clock.setTimer(timeoutMs, () => {
          const waiters = this.#waiting.get(level) ?? [];
          const at = waiters.indexOf(waiter);
          if (at !== -1) waiters.splice(at, 1);
          reject(late());
        }),
      };
      this.#insert(level, waiter);
    });
  }

  #insert(level: ReplicaLevel, waiter: Waiter): void {
    let waiters = this.#waiting.get(level);
    if (waiters === undefined) this.#waiting.set(level, (waiters = []));
    // Nearly always at the end: answers of one group come in the order of its LSNs.
    let at = waiters.length;
    while (at > 0 && waiters[at - 1]!.lsn > waiter.lsn) at -= 1;
    waiters.splice(at, 0, waiter);
  }

  /** Somebody has confirmed more, or counts now, or does not any more. */
  noteChange(): void {
    if (this.#waiting.size === 0) return;
    const standing = this.#standing();
    for (const [level, waiters] of this.#waiting) {
      const reachedLsn = this.#reachedLsn(level, standing);
      let count = 0;
      while (count < waiters.length && waiters[count]!.lsn <= reachedLsn) count += 1;
      for (const waiter of waiters.splice(0, count)) {
        waiter.timer.cancel();
        waiter.resolve(holdersOf(waiter.lsn, standing));
      }
    }
  }

  /**
   * Ends all waiting: this node can't say any more who has what, but that everything is held by
   * `heldBy` others, e.g. by the node to which it has handed over.
   */
  release(errorOf: (lsn: number) => ShiplogError, heldBy = 0): void {
    const others = this.#waiting.size === 0 ? 0 : this.#options.others().length;
    for (const [level, waiters] of this.#waiting) {
      for (const waiter of waiters.splice(0)) {
        waiter.timer.cancel();
        if (replicasOf(level, others) <= heldBy) waiter.resolve(heldBy);
        else waiter.reject(errorOf(waiter.lsn));
      }
    }
  }

  /** What the others have on their disks, most first. */
  #standing(): readonly number[] {
    return this.#options
      .others()
      .map(({ durableLsn }) => durableLsn ?? -1)
      .toSorted((one, other) => other - one);
  }

  /** Up to where a level is reached; with no other member, `all` asks for nobody. */
  #reachedLsn(level: ReplicaLevel, standing: readonly number[]): number {
    if (level === 'all') return standing.at(-1) ?? Number.POSITIVE_INFINITY;
    return standing[level - 1] ?? -1;
  }
}

function replicasOf(level: AckLevel, others: number): number {
  if (level === 'all') return others;
  return typeof level === 'number' ? level : 0;
}

function holdersOf(lsn: number, standing: readonly number[]): number {
  return standing.filter((durableLsn) => durableLsn >= lsn).length;
}
