/**
 * lag-probe.ts PRIMARY REPLICA WRITES_PER_S SECONDS KEYS VALUE_BYTES
 *
 * Writes to the primary at a fixed rate, and beside that, every few milliseconds: writes a value that
 * never was before, and from the moment of the primary's 200 on asks the replica for it, again and
 * again, until it answers with it. The lag is the time in between. It includes the round trip of the
 * read that sees the value, so what is printed is rather too long than too short.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { RawConnection } from './raw-connection.ts';

const PROBE_INTERVAL_MS = 10;
const PROBE_GIVE_UP_MS = 10_000;
const CONNECTIONS = 32;

const [primaryUrl, replicaUrl, ...numbers] = process.argv.slice(2) as [string, string, ...string[]];
const [writesPerS, seconds, keys, valueBytes] = numbers.map(Number) as [number, number, number, number];
const endMs = performance.now() + seconds * 1_000;

const [writes, lagsMs] = await Promise.all([writeAtRate(), probe()]);
console.log(`RESULT ${JSON.stringify({ lagsMs, writesPerS: writes / seconds })}`);

/** Open loop as far as the connections reach: a late answer does not make the next write late. @returns writes answered. */
async function writeAtRate(): Promise<number> {
  const idle = await Promise.all(Array.from({ length: CONNECTIONS }, () => RawConnection.open(primaryUrl)));
  const value = 'v'.repeat(valueBytes);
  const startMs = performance.now();
  const answers: Promise<void>[] = [];
  while (performance.now() < endMs) {
    const due = Math.floor(((performance.now() - startMs) / 1_000) * writesPerS);
    while (answers.length < due && idle.length > 0) {
      const connection = idle.pop()!;
      const key = `key${String(Math.floor(Math.random() * keys)).padStart(8, '0')}`;
      // A failed write ends the process: nobody waits for it yet.
      answers.push(connection.set(key, value).then(() => void idle.push(connection)));
    }
    await wait(1);
  }
  await Promise.all(answers);
  for (const connection of idle) connection.close();
  return answers.length;
}

async function probe(): Promise<readonly number[]> {
  const [primary, replica] = await Promise.all([RawConnection.open(primaryUrl), RawConnection.open(replicaUrl)]);
  const lagsMs: number[] = [];
  for (let count = 0; performance.now() < endMs; count++) {
    const key = `probe${count % 100}`;
    const value = `${process.pid}-${count}`;
    await primary.set(key, value);
    const writtenMs = performance.now();
    while ((await replica.get(`/get/${key}`)).body !== value) {
      if (performance.now() - writtenMs > PROBE_GIVE_UP_MS) throw new Error(`the replica did not show ${key} within ${PROBE_GIVE_UP_MS} ms`);
    }
    lagsMs.push(performance.now() - writtenMs);
    await wait(PROBE_INTERVAL_MS);
  }
  primary.close();
  replica.close();
  return lagsMs;
}
