/**
 * Small files that are replaced as a whole: made aside, synced, renamed, directory synced.
 * The last line is a checksum, so a damaged file is refused instead of believed.
 */
import { crc32 } from 'node:zlib';
import { ShiplogError } from '../base/errors.ts';
import { type Disk, readWhole, writeFully } from './disk.ts';

export async function writeDurableJson(disk: Disk, directory: string, name: string, value: unknown): Promise<void> {
  const text = `${JSON.stringify(value, null, 2)}\n`;
  const content = Buffer.from(`${text}crc32:${checksumOf(text)}\n`);
  const temporary = `${directory}/${name}.tmp`;
  await disk.remove(temporary);
  const file = await disk.open(temporary, { mode: 'create' });
  try {
    await writeFully(file, 0, content);
    await file.sync();
  } finally {
    await file.close();
  }
  await disk.rename(temporary, `${directory}/${name}`);
  await disk.syncDirectory(directory);
}

/** Returns undefined where there is no such file. @throws ShiplogError `data-directory-invalid` where it is damaged. */
export async function readDurableJson(disk: Disk, directory: string, name: string): Promise<unknown> {
  const path = `${directory}/${name}`;
  if (!(await disk.exists(path))) return undefined;
  const content = (await readWhole(disk, path)).toString('utf8');
  const match = /^([\s\S]*\n)crc32:([0-9a-f]{8})\n$/.exec(content);
  if (match === null || checksumOf(match[1]!) !== match[2]) {
    throw new ShiplogError('data-directory-invalid', `${path} is damaged: its checksum line does not fit its content; put back a copy of the file, or restore the node from a snapshot`);
  }
  return JSON.parse(match[1]!);
}

function checksumOf(text: string): string {
  return crc32(text).toString(16).padStart(8, '0');
}
