/** Numbers over time as one line of blocks, oldest first. */

const BLOCKS = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'] as const;
const GAP = '·';

/**
 * `ceiling` is what fills a block where no sample is higher, so that small numbers look small.
 * Null = not known then.
 */
export function sparkline(samples: readonly (number | null)[], ceiling: number): string {
  const top = Math.max(ceiling, ...samples.map((sample) => sample ?? 0));
  return samples.map((sample) => (sample === null ? GAP : BLOCKS[Math.min(BLOCKS.length - 1, Math.round((sample / top) * (BLOCKS.length - 1)))])).join('');
}
