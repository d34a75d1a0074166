/**
 * stream-readers.ts URL COUNT
 *
 * Reads the stream of a node so many times at once, from where its log ends now, and does nothing with
 * it but find its frames. Says `ready` when all of them are told who the node is; ends with SIGTERM.
 */
import { setMaxListeners } from 'node:events';
import { createRealEnvironment } from '../../../lib/env/real-environment.ts';
import { StreamDecoder } from '../../../lib/replication/stream-protocol.ts';
import { durableLsn } from './node-status.ts';
import type { StreamFigures } from './followers.ts';

const [url, count] = process.argv.slice(2) as [string, string];
const { transport } = createRealEnvironment();
const end = new AbortController();
// Everybody here waits for it.
setMaxListeners(0, end.signal);
process.once('SIGTERM', () => end.abort(new Error('the end')));

const afterLsn = await durableLsn(url);
const readers = Array.from({ length: Number(count) }, () => readStream(afterLsn));
await Promise.all(readers.map(({ greeted }) => greeted));
console.log(`ready at ${url}`);
const streams = await Promise.all(readers.map(({ figures }) => figures));
console.log(`RESULT ${JSON.stringify(streams)}`);
await transport.close();

/** A stream that ends before SIGTERM fails, and this process with it. */
function readStream(afterLsn: number): { readonly greeted: Promise<void>; readonly figures: Promise<StreamFigures> } {
  const greeted = Promise.withResolvers<void>();
  const figures = { frames: 0, operations: 0 };
  const read = async (): Promise<StreamFigures> => {
    const { status, body } = await transport.request(url, { method: 'GET', target: `/wal?after=${afterLsn}`, headers: {}, signal: end.signal });
    if (status !== 200) throw new Error(`GET /wal?after=${afterLsn} answered ${status}`);
    const decoder = new StreamDecoder();
    for await (const chunk of body) {
      for (const record of decoder.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length))) {
        if (record.type === 'frame') {
          figures.frames += 1;
          figures.operations += record.header.operationCount;
        } else if (record.control.kind === 'hello') greeted.resolve();
      }
    }
    throw new Error('the stream ended by itself');
  };
  const reading = read().catch((error: unknown) => {
    if (!end.signal.aborted) throw error;
    return figures;
  });
  reading.catch((error: unknown) => greeted.reject(error));
  return { greeted: greeted.promise, figures: reading };
}
