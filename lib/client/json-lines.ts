/** A body of JSON documents, one a line, as they arrive. */
import { ShiplogError } from '../base/errors.ts';

const LINE_BYTES_MAX = 4 * 1024 * 1024;
const NEWLINE = 0x0a;

/** @throws ShiplogError `peer-protocol` for a line that is no JSON, is too long, or has no end. */
export async function* jsonLines(body: AsyncIterable<Uint8Array>): AsyncGenerator<unknown, void> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of body) {
    rest = Buffer.concat([rest, chunk]);
    for (let end = rest.indexOf(NEWLINE); end !== -1; end = rest.indexOf(NEWLINE)) {
      const line = rest.toString('utf8', 0, end).trim();
      rest = rest.subarray(end + 1);
      if (line !== '') yield parse(line);
    }
    if (rest.length > LINE_BYTES_MAX) throw new ShiplogError('peer-protocol', `got a line of more than ${LINE_BYTES_MAX} bytes, expected JSON documents, one a line`);
  }
  if (rest.length > 0) throw new ShiplogError('peer-protocol', 'the answer ends in the middle of a line');
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (error) {
    throw new ShiplogError('peer-protocol', `got ${JSON.stringify(line.slice(0, 80))}, expected JSON`, { cause: error });
  }
}
