/** Worlds that reach what a seed's own plan would rarely bring about; no mutation in any of them. */
import type { SimulationPlan } from '../plan.ts';

/** Machines lose what they had not synced, again and again, in the middle of much work. */
export const POWER_CUTS = {
  clientCount: 12,
  thinkMs: 100,
  valueBytes: 2_000,
  segmentBytes: 1 << 20,
  diskMs: 10,
  faultMs: 400,
  faults: [['power-cut', 3], ['crash-at-disk-call', 3]],
  actions: [['promote-when-dead', 1]],
} as const satisfies Partial<SimulationPlan>;

/** Some are cut off from some others, primaries are promoted all the while, and writes ask for confirmations. */
export const SPLITS = {
  nodeCount: 3,
  acks: [[1, 3], ['local', 1]],
  thinkMs: 300,
  faultMs: 500,
  actionMs: 700,
} as const satisfies Partial<SimulationPlan>;

/** Segments are small, and kept only as long as the rules demand. */
export const TIGHT_LOG = { segmentBytes: 1024, retention: { bytesMin: 1024, msMin: 0, bytesMax: 1024, msMax: 3_600_000 } } as const satisfies Partial<SimulationPlan>;

/** Bits flip on the way, and nothing else happens. */
export const FLIPPED_BITS = {
  faults: [['bad-network', 2], ['cut', 1]],
  flippedLogs: 0.9,
  faultMs: 300,
  operations: 1_200,
  thinkMs: 80,
  actions: [['promote-when-dead', 1]],
} as const satisfies Partial<SimulationPlan>;
