/** Where the log is that somebody means who names a directory. */
import type { LogPoint } from '../base/epoch-history.ts';
import { ShiplogError } from '../base/errors.ts';
import type { Disk } from '../env/disk.ts';
import { readCurrent } from '../node/data-directory.ts';
import { firstLsnOfFileName } from '../wal/segment-header.ts';

export interface LogLocation {
  readonly directory: string;
  /** Only a data directory tells these. */
  readonly clusterId?: string;
  readonly base?: LogPoint;
}

/**
 * Takes a data directory or a directory of segments.
 * @throws ShiplogError `data-directory-invalid` where it is neither: no log must not pass for a sound one.
 */
export async function locateLog(disk: Disk, directory: string): Promise<LogLocation> {
  const current = await readCurrent(disk, directory);
  if (current !== undefined) {
    return { directory: current.generation.walDirectory, clusterId: current.clusterId, base: current.base };
  }
  const names = await disk.list(directory);
  if (names.some((name) => firstLsnOfFileName(name) !== undefined)) return { directory };
  throw new ShiplogError(
    'data-directory-invalid',
    `${directory} is neither a data directory (there is no CURRENT file in it) nor a log (there are no files like 00000000000000000001.wal)`,
  );
}
