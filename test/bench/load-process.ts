/** Shiplog's own load generator as a process of the bench: load-process.ts JSON, see GeneratedLoad. */
import { HttpProtocol } from '../../lib/bench/http-protocol.ts';
import { LoadGenerator } from '../../lib/bench/load-generator.ts';
import { eachKeyOnce, mixedWorkload } from '../../lib/bench/workload.ts';
import { RealClock } from '../../lib/env/real-clock.ts';
import { RealRandom } from '../../lib/env/real-random.ts';
import { realRawConnect } from '../../lib/env/real-raw-connection.ts';
import type { GeneratedLoad, GeneratedFigures } from './generated-load.ts';
import { RespProtocol } from './resp-protocol.ts';

const READ_PERCENT = { get: 100, mixed: 50, set: 0 } as const;

const { url, protocol, keys, valueBytes, what, plan, spinMs } = JSON.parse(process.argv[2]!) as GeneratedLoad;
const clock = new RealClock();
const cpuBefore = process.cpuUsage();
const load = await new LoadGenerator({
  clock,
  connect: realRawConnect(clock),
  url,
  protocol: protocol === 'http' ? new HttpProtocol({ url, valueBytes }) : new RespProtocol(valueBytes),
  workload: what === 'fill' ? eachKeyOnce('set') : mixedWorkload(new RealRandom(), READ_PERCENT[what], keys),
  plan: what === 'fill' ? { ...plan, requestsMax: keys } : plan,
  ...(spinMs !== undefined && { spinMs }),
}).run();
const cpu = process.cpuUsage(cpuBefore);
const figures: GeneratedFigures = { load, cpuShare: (cpu.user + cpu.system) / 1_000 / load.elapsedMs };
console.log(`RESULT ${JSON.stringify(figures)}`);
