/** Latencies, three digits exact, at a cost that does not grow with their number. */
import { type RecordableHistogram, createHistogram } from 'node:perf_hooks';

export interface LatencyFigures {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

const NS_PER_MS = 1_000_000;
const NS_MAX = 3_600 * 1_000 * NS_PER_MS;

export class LatencyHistogram {
  readonly #histogram: RecordableHistogram = createHistogram({ lowest: 1, highest: NS_MAX, figures: 3 });
  /** The histogram itself knows the longest only to three digits. */
  #maxNs = 0;

  get count(): number {
    return this.#histogram.count;
  }

  record(latencyMs: number): void {
    const latencyNs = Math.min(NS_MAX, Math.max(1, Math.round(latencyMs * NS_PER_MS)));
    if (latencyNs > this.#maxNs) this.#maxNs = latencyNs;
    this.#histogram.record(latencyNs);
  }

  add(other: LatencyHistogram): void {
    this.#histogram.add(other.#histogram);
    this.#maxNs = Math.max(this.#maxNs, other.#maxNs);
  }

  /** In milliseconds; null where nothing was recorded: there is no figure then. */
  get figures(): LatencyFigures | null {
    if (this.count === 0) return null;
    const at = (percent: number): number => Math.min(this.#maxNs, this.#histogram.percentile(percent)) / NS_PER_MS;
    return { p50: at(50), p90: at(90), p99: at(99), p999: at(99.9), max: this.#maxNs / NS_PER_MS };
  }
}
