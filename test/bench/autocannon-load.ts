/** What wrk-load.lua does, with autocannon: autocannon-load.ts URL get|set KEYS VALUE_BYTES CONNECTIONS SECONDS */
import autocannon from 'autocannon';
import { keyAt } from '../../lib/bench/protocol.ts';

const [url, method, keys, valueBytes, connections, seconds] = process.argv.slice(2) as [string, string, string, string, string, string];
const value = 'v'.repeat(Number(valueBytes));
const isGet = method === 'get';

const result = await autocannon({
  url,
  connections: Number(connections),
  duration: Number(seconds),
  pipelining: 1,
  requests: [
    {
      method: isGet ? 'GET' : 'POST',
      ...(isGet ? {} : { body: value, headers: { 'content-type': 'text/plain' } }),
      setupRequest: (request) => {
        const key = keyAt(Math.floor(Math.random() * Number(keys)));
        return { ...request, path: `/${method}/${key}` };
      },
    },
  ],
});
const report = {
  requests: result.requests.total,
  seconds: result.duration,
  p50Ms: result.latency.p50,
  p99Ms: result.latency.p99,
  maxMs: result.latency.max,
  errors: result.errors + result.timeouts + result.non2xx,
};
console.log(`RESULT ${JSON.stringify(report)}`);
