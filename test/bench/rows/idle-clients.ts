/**
 * idle-clients.ts URL COUNT KEYS
 *
 * So many clients with a connection each, which all read a key once in a second. Says `ready` when
 * each of them has had an answer; ends with SIGTERM. Any other answer than 200 fails.
 */
import { setMaxListeners } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { HttpConnection } from '../../../lib/bench/http-connection.ts';
import { keyAt } from '../../../lib/bench/protocol.ts';
import { RealClock } from '../../../lib/env/real-clock.ts';
import { realRawConnect } from '../../../lib/env/real-raw-connection.ts';

const THINK_MS = 1_000;

const [url, countText, keysText] = process.argv.slice(2) as [string, string, string];
const [count, keys] = [Number(countText), Number(keysText)];
const connect = realRawConnect(new RealClock());
const end = new AbortController();
// Everybody here waits for it.
setMaxListeners(0, end.signal);
process.once('SIGTERM', () => end.abort());

const connections: HttpConnection[] = [];
for (let index = 0; index < count; index += 1) connections.push(await HttpConnection.open(connect, url));
const answered = connections.map(() => 0);
await Promise.all(connections.map((_connection, index) => readOne(index)));
console.log(`ready at ${url}`);
await Promise.all(connections.map((_connection, index) => readNowAndThen(index)));
for (const connection of connections) connection.close();
console.log(`RESULT ${JSON.stringify({ answered })}`);

async function readNowAndThen(index: number): Promise<void> {
  // Not all in the same moment.
  await pause((index / count) * THINK_MS);
  while (!end.signal.aborted) {
    await readOne(index);
    await pause(THINK_MS);
  }
}

async function readOne(index: number): Promise<void> {
  const key = keyAt(Math.floor(Math.random() * keys));
  const { status } = await connections[index]!.get(`/get/${key}`);
  if (status !== 200) throw new Error(`GET /get/${key} answered ${status}`);
  answered[index]! += 1;
}

/** Until then, or the end. */
async function pause(delayMs: number): Promise<void> {
  await wait(delayMs, undefined, { signal: end.signal }).catch(() => {});
}
