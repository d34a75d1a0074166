/**
 * lag-probe.ts PRIMARY REPLICA WRITES_PER_S SECONDS KEYS VALUE_BYTES
 *
 * Writes to the primary at a fixed rate, and beside that measures how far the replica is behind.
 */
import { HttpProtocol } from '../../lib/bench/http-protocol.ts';
import { LagProbe } from '../../lib/bench/lag-probe.ts';
import { LoadGenerator } from '../../lib/bench/load-generator.ts';
import { mixedWorkload } from '../../lib/bench/workload.ts';
import { RealClock } from '../../lib/env/real-clock.ts';
import { RealRandom } from '../../lib/env/real-random.ts';
import { realRawConnect } from '../../lib/env/real-raw-connection.ts';

const CONNECTIONS = 32;

const [url, replicaUrl, ...numbers] = process.argv.slice(2) as [string, string, ...string[]];
const [writesPerS, seconds, keys, valueBytes] = numbers.map(Number) as [number, number, number, number];
const clock = new RealClock();
const connect = realRawConnect(clock);

const lagsMs: number[] = [];
const loadEnded = new AbortController();
const probe = new LagProbe({ clock, connect, url, replicaUrl, index: 0, onLag: (lagMs) => lagsMs.push(lagMs) }).run(loadEnded.signal);
const generator = new LoadGenerator({
  clock,
  connect,
  url,
  protocol: new HttpProtocol({ url, valueBytes }),
  workload: mixedWorkload(new RealRandom(), 0, keys),
  plan: { connections: CONNECTIONS, pipeline: 1, durationMs: seconds * 1_000, requestsPerS: writesPerS },
  // The replica shares this core, and latencies are not asked for.
  spinMs: 0,
});
const { requestsPerS, failed, gaveUp, errors } = await generator.run();
loadEnded.abort();
const { error } = await probe;
if (failed > 0 || gaveUp !== null || error !== null) throw new Error(`the lag can't be measured: ${error ?? JSON.stringify(errors)}`);
console.log(`RESULT ${JSON.stringify({ lagsMs, writesPerS: requestsPerS })}`);
