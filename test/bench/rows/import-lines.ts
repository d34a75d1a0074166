/** Tables as lines of JSON, as `shiplog export` writes them: keys in their order. */
import { keyAt } from '../../../lib/bench/protocol.ts';
import { ImportUpload } from '../../../lib/client/import-upload.ts';
import { randomId } from '../../../lib/env/random.ts';
import { createRealEnvironment } from '../../../lib/env/real-environment.ts';

const LINES_PER_PIECE = 2_000;

export async function* importLines(keys: number, valueBytes: number): AsyncGenerator<Buffer> {
  const value = 'v'.repeat(valueBytes);
  for (let first = 0; first < keys; first += LINES_PER_PIECE) {
    let piece = '';
    for (let index = first; index < Math.min(keys, first + LINES_PER_PIECE); index += 1) piece += `{"key":"${keyAt(index)}","value":"${value}"}\n`;
    yield Buffer.from(piece, 'latin1');
  }
}

/** @throws Error unless all of them are in the cluster. */
export async function importKeys(url: string, keys: number, valueBytes: number): Promise<void> {
  const { transport, clock, random } = createRealEnvironment();
  try {
    const { account, error } = await new ImportUpload({ transport, clock, url, id: randomId(random), skip: 0, lines: importLines(keys, valueBytes) }).run();
    if (error !== undefined) throw error;
    if (account.lines !== keys) throw new Error(`${account.lines} of ${keys} keys were imported`);
  } finally {
    await transport.close();
  }
}
