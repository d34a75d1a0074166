/** What a seed decides before anything happens: how large the cluster is, how it is configured, and what befalls it. */
import type { AckLevel } from '../../lib/base/ack-level.ts';
import type { SeededRandom } from '../support/seeded-random.ts';

export const FAULTS = [
  'kill',
  'power-cut',
  'crash-at-disk-call',
  'long-outage',
  'clean-restart',
  'isolate',
  'partition',
  'one-way',
  'cut',
  'slow-network',
  'bad-network',
  'freeze',
  'wall-jump',
  'disk-full',
  'write-error',
  'sync-error',
  'slow-disk',
  'unmounted-disk',
  'rolled-back-disk',
  'bit-rot',
] as const;

export type FaultName = (typeof FAULTS)[number];

export const ACTIONS = ['promote', 'promote-two', 'promote-when-dead', 'force', 'forget', 'rejoin'] as const;

export type ActionName = (typeof ACTIONS)[number];

export interface SimulationPlan {
  readonly nodeCount: number;
  readonly clientCount: number;
  /** Client operations while faults happen. */
  readonly operations: number;
  /** Client operations before the first fault. */
  readonly calmOperations: number;
  /** Mean time that a client takes between two operations. */
  readonly thinkMs: number;
  readonly keyCount: number;
  readonly valueBytes: number;
  /** Of all operations. Writes are half of them, reads the rest. */
  readonly deleteShare: number;
  /** Of writes and deletes: so many are the first operation of a batch. Drawn from a stream of its own: at 0 all else is as if there were no batches. */
  readonly batchShare: number;
  readonly acks: readonly (readonly [AckLevel, number])[];
  readonly segmentBytes: number;
  readonly checkpointOperations: number;
  readonly checkpointIntervalMs: number;
  readonly retention: { readonly bytesMin: number; readonly msMin: number; readonly bytesMax: number; readonly msMax: number };
  readonly networkMs: number;
  readonly diskMs: number;
  readonly shortWrites: number;
  /** From the third node on they follow the second one, which feeds them. */
  readonly hasCascade: boolean;
  /** Probability that a bit of a log flips on its way while the network is bad, beside all else that happens then. */
  readonly flippedLogs: number;
  /** Mean time between two faults. */
  readonly faultMs: number;
  /** At least so many faults, however soon the clients are done. */
  readonly faultsMin: number;
  readonly faults: readonly (readonly [FaultName, number])[];
  /** Mean time between two things that operators do. */
  readonly actionMs: number;
  readonly actions: readonly (readonly [ActionName, number])[];
}

export type ProfileName = 'default' | 'swarm' | 'calm';

const FAULT_WEIGHTS: Readonly<Record<FaultName, number>> = {
  'kill': 8,
  'power-cut': 8,
  'crash-at-disk-call': 12,
  'long-outage': 6,
  'clean-restart': 3,
  'isolate': 6,
  'partition': 5,
  'one-way': 4,
  'cut': 5,
  'slow-network': 3,
  'bad-network': 5,
  'freeze': 6,
  'wall-jump': 2,
  'disk-full': 3,
  'write-error': 2,
  'sync-error': 2,
  'slow-disk': 3,
  'unmounted-disk': 1,
  'rolled-back-disk': 1,
  'bit-rot': 1,
};

const ACTION_WEIGHTS: Readonly<Record<ActionName, number>> = {
  'promote': 6,
  'promote-two': 2,
  'promote-when-dead': 8,
  'force': 2,
  'forget': 1,
  'rejoin': 3,
};

export function drawPlan(random: SeededRandom, profile: ProfileName, operations: number): SimulationPlan {
  const isTight = random.chance(0.4);
  const plan: SimulationPlan = {
    nodeCount: pickWeighted(random, [[2, 3], [3, 5], [4, 1]]),
    clientCount: 4 + random.below(5),
    operations,
    calmOperations: 20,
    thinkMs: 20 + random.below(80),
    keyCount: 3 + random.below(20),
    valueBytes: random.pick([8, 40, 300]),
    deleteShare: 0.1,
    batchShare: 0.2,
    acks: [['local', 10], [1, 4], ['all', 3], ['memory', 1], [2, 1]],
    segmentBytes: random.pick([1024, 2048, 4096, 1 << 20]),
    checkpointOperations: 5 + random.below(60),
    checkpointIntervalMs: 200 + random.below(3000),
    retention: isTight ? { bytesMin: 1024, msMin: 0, bytesMax: 2048 + random.below(8192), msMax: 3_600_000 } : { bytesMin: 1 << 24, msMin: 0, bytesMax: 1 << 30, msMax: 3_600_000 },
    networkMs: random.pick([0.2, 1, 5]),
    diskMs: random.pick([0.1, 1, 4]),
    shortWrites: random.pick([0, 0, 0.1]),
    hasCascade: random.chance(0.1),
    flippedLogs: 0,
    faultMs: 300 + random.below(1500),
    faultsMin: 10,
    faults: Object.entries(FAULT_WEIGHTS) as [FaultName, number][],
    actionMs: 500 + random.below(2500),
    actions: Object.entries(ACTION_WEIGHTS) as [ActionName, number][],
  };
  switch (profile) {
    case 'default':
      return plan;
    case 'swarm':
      return swarmed(plan, random);
    case 'calm':
      return { ...plan, faults: [], faultsMin: 0, actions: [['promote', 1]] };
  }
}

/** Bugs hide where some faults are missing and others abound: each seed takes a subset, with rates of its own. */
function swarmed(plan: SimulationPlan, random: SeededRandom): SimulationPlan {
  const some = <Name extends string>(weights: readonly (readonly [Name, number])[]): (readonly [Name, number])[] => {
    const chosen = weights.filter(() => random.chance(0.4)).map(([name, weight]) => [name, weight * random.pick([0.3, 1, 5])] as const);
    return chosen.length > 0 ? chosen : [random.pick(weights)];
  };
  return { ...plan, faults: some(plan.faults), actions: some(plan.actions), faultMs: plan.faultMs * random.pick([0.3, 1, 2]), actionMs: plan.actionMs * random.pick([0.3, 1, 2]) };
}

export function pickWeighted<Choice>(random: SeededRandom, choices: readonly (readonly [Choice, number])[]): Choice {
  let rest = random.uniform() * choices.reduce((sum, [, weight]) => sum + weight, 0);
  for (const [choice, weight] of choices) {
    rest -= weight;
    if (rest < 0) return choice;
  }
  return choices.at(-1)![0];
}
