/**
 * Made test/fixtures/format-1 once, and refuses to do it again: golden files are never rewritten. A
 * new format version gets a folder of its own. Run with `node test/wal/golden/make-golden-files.ts`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MemoryDisk } from '../../support/memory-disk.ts';
import { DIRECTORY } from '../wal-under-test.ts';
import { GOLDEN_DIRECTORY, writeGoldenLog } from './golden-log.ts';

const disk = new MemoryDisk({ seed: 1 });
await writeGoldenLog(disk, DIRECTORY);
mkdirSync(GOLDEN_DIRECTORY, { recursive: true });
for (const [name, content] of disk.contents(DIRECTORY)) {
  if (name.endsWith('.wal')) writeFileSync(join(GOLDEN_DIRECTORY, name), content, { flag: 'wx' });
}
