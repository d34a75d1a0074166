import { once } from 'node:events';
import { createServer } from 'node:net';

import type { SeededRandom } from '../support/seeded-random.ts';

/** Below the range that the system takes the ports of outgoing connections from: nobody takes it between two lives of a node. */
const PORT_MIN = 15_000;
const PORT_COUNT = 15_000;
const ATTEMPTS_MAX = 100;

/** A port of loopback that nobody listens on, for a node that is started on it again and again. */
export async function findFreePort(random: SeededRandom): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
    const port = PORT_MIN + random.below(PORT_COUNT);
    const server = createServer().listen(port, '127.0.0.1');
    const isFree = await once(server, 'listening').then(
      () => true,
      () => false,
    );
    if (!isFree) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
  throw new Error(`no free port found in ${ATTEMPTS_MAX} attempts from ${PORT_MIN} to ${PORT_MIN + PORT_COUNT}`);
}
