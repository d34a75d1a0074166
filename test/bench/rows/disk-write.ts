/**
 * disk-write.ts FILE BYTES
 *
 * What the disk takes for a new file, written from its beginning to its end and synced once.
 */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';

const [path, bytesText] = process.argv.slice(2) as [string, string];
const bytes = Number(bytesText);
const block = Buffer.alloc(1024 * 1024, 'w');

const descriptor = openSync(path, 'w');
const startMs = performance.now();
for (let offset = 0; offset < bytes; ) offset += writeSync(descriptor, block, 0, Math.min(block.length, bytes - offset), offset);
fdatasyncSync(descriptor);
const tookMs = performance.now() - startMs;
closeSync(descriptor);
console.log(`RESULT ${JSON.stringify({ tookMs })}`);
