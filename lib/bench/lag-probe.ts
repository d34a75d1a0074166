/**
 * How far a replica is behind, as a client sees it: writes a marker, and from the moment of the 200 on
 * waits until the replica answers for that position. The lag includes the way to the replica and back.
 */
import { messageOf } from '../base/errors.ts';
import { type Clock, sleep } from '../env/clock.ts';
import type { RawConnect } from '../env/raw-connection.ts';
import { HttpConnection, headerOf } from './http-connection.ts';
import { type LatencyFigures, LatencyHistogram } from './latency-histogram.ts';
import { KEY_PREFIX } from './protocol.ts';

export interface LagProbeOptions {
  readonly clock: Clock;
  readonly connect: RawConnect;
  /** Where markers are written. */
  readonly url: string;
  readonly replicaUrl: string;
  /** Each probe of a run has a key of its own. */
  readonly index: number;
  /** Told each lag. */
  readonly onLag?: (lagMs: number) => void;
}

export interface LagFigures {
  readonly replica: string;
  readonly samples: number;
  /** Milliseconds; null without samples. */
  readonly lagMs: LatencyFigures | null;
  /** Why it ended early, else null. */
  readonly error: string | null;
}

const PROBE_INTERVAL_MS = 10;
/** The replica is asked again after so long without the position, so that an end is heard of. */
const WAIT_MS = 1_000;
const GIVE_UP_MS = 30_000;

export function markerKey(index: number): string {
  return `${KEY_PREFIX}lag:${index}`;
}

export class LagProbe {
  readonly #options: LagProbeOptions;
  readonly #histogram = new LatencyHistogram();

  constructor(options: LagProbeOptions) {
    this.#options = options;
  }

  /** Goes on until the signal; never rejects. A replica that goes away ends it, with the figures so far. */
  async run(signal: AbortSignal): Promise<LagFigures> {
    const { clock, connect, url, replicaUrl } = this.#options;
    const connections: HttpConnection[] = [];
    let error: string | null = null;
    try {
      connections.push(await HttpConnection.open(connect, url), await HttpConnection.open(connect, replicaUrl));
      const [primary, replica] = connections as [HttpConnection, HttpConnection];
      for (let count = 0; !signal.aborted; count += 1) {
        await this.#probe(primary, replica, String(count), signal);
        await sleep(clock, PROBE_INTERVAL_MS, signal).catch(() => {});
      }
    } catch (reason) {
      error = messageOf(reason);
    } finally {
      for (const connection of connections) connection.close();
    }
    return { replica: replicaUrl, samples: this.#histogram.count, lagMs: this.#histogram.figures, error };
  }

  async #probe(primary: HttpConnection, replica: HttpConnection, value: string, signal: AbortSignal): Promise<void> {
    const { clock, index, replicaUrl, onLag } = this.#options;
    const key = markerKey(index);
    const written = await primary.set(key, value);
    const writtenMs = clock.monotonicMs();
    const position = headerOf(written, 'shiplog-position');
    if (position === undefined) throw new Error('the answer names no position, expected the headers of a Shiplog node');
    for (;;) {
      const { status, body } = await replica.get(`/get/${key}?min=${position}&wait=${WAIT_MS}ms`);
      if (status === 200) break;
      const waitedMs = clock.monotonicMs() - writtenMs;
      if (status !== 503 || waitedMs > GIVE_UP_MS) throw new Error(`${replicaUrl} answered ${status} for position ${position} after ${Math.round(waitedMs)} ms: ${body}`);
      // It is longer than this, which must show.
      if (signal.aborted) break;
    }
    const lagMs = clock.monotonicMs() - writtenMs;
    this.#histogram.record(lagMs);
    onLag?.(lagMs);
  }
}
