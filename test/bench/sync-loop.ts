/**
 * sync-loop.ts FILE BYTES SECONDS grown|overwritten
 *
 * What the disk alone takes for one write of BYTES and its fdatasync, one after the other: at the end
 * of a growing file, or over blocks that the file has already, as the log writes.
 */
import { closeSync, fdatasyncSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { percentile } from './statistics.ts';

const [path, bytesText, secondsText, kind] = process.argv.slice(2) as [string, string, string, string];
const block = Buffer.alloc(Number(bytesText), 'w');
const OVERWRITTEN_BYTES = 8 * 1024 * 1024;

const descriptor = openSync(path, 'w');
if (kind === 'overwritten') writeSync(descriptor, Buffer.alloc(OVERWRITTEN_BYTES, 'x'));
fsyncSync(descriptor);

const tookMs: number[] = [];
let offset = 0;
const endMs = performance.now() + Number(secondsText) * 1_000;
while (performance.now() < endMs) {
  const startMs = performance.now();
  writeSync(descriptor, block, 0, block.length, offset);
  fdatasyncSync(descriptor);
  tookMs.push(performance.now() - startMs);
  offset += block.length;
  if (kind === 'overwritten' && offset + block.length > OVERWRITTEN_BYTES) offset = 0;
}
closeSync(descriptor);
console.log(`RESULT ${JSON.stringify({ requestsPerS: (tookMs.length / Number(secondsText)), p50Ms: percentile(tookMs, 50), p99Ms: percentile(tookMs, 99) })}`);
