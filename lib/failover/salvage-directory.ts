/** The salvage files of a data directory: those that wait for somebody, and those that are decided. */
import { ShiplogError, isShiplogError } from '../base/errors.ts';
import type { Disk } from '../env/disk.ts';
import { DONE_DIRECTORY, SALVAGE_DIRECTORY, type SalvageHeader, isSalvageName } from './salvage-file.ts';
import { readSalvageEnds } from './salvage-reader.ts';

export type ListedSalvage =
  | {
      readonly state: 'whole';
      readonly name: string;
      readonly path: string;
      readonly header: SalvageHeader;
      readonly operationCount: number;
      readonly sizeBytes: number;
    }
  | { readonly state: 'damaged'; readonly name: string; readonly path: string; readonly error: ShiplogError };

export async function salvageNames(disk: Disk, dataDirectory: string): Promise<readonly string[]> {
  return (await disk.list(`${dataDirectory}/${SALVAGE_DIRECTORY}`)).filter(isSalvageName);
}

/**
 * The files that wait, by header and footer: whether the lines between are whole, only SalvageReader tells.
 * A damaged one is listed as that.
 */
export async function listSalvage(disk: Disk, dataDirectory: string): Promise<readonly ListedSalvage[]> {
  const listed: ListedSalvage[] = [];
  for (const name of await salvageNames(disk, dataDirectory)) {
    const path = salvagePath(dataDirectory, name);
    try {
      const { header, footer, sizeBytes } = await readSalvageEnds(disk, path);
      listed.push({ state: 'whole', name, path, header, operationCount: footer.operations, sizeBytes });
    } catch (error) {
      if (!isShiplogError(error, 'data-directory-invalid')) throw error;
      listed.push({ state: 'damaged', name, path, error });
    }
  }
  return listed;
}

export function salvagePath(dataDirectory: string, name: string): string {
  return `${dataDirectory}/${SALVAGE_DIRECTORY}/${name}`;
}

/** Moves a file to those that are decided. @returns its new path. @throws ShiplogError `not-found`. */
export async function markSalvageDone(disk: Disk, dataDirectory: string, name: string): Promise<string> {
  const from = salvagePath(dataDirectory, name);
  if (!isSalvageName(name) || !(await disk.exists(from))) throw new ShiplogError('not-found', `there is no salvage file ${from}`);
  const directory = `${dataDirectory}/${SALVAGE_DIRECTORY}`;
  const done = `${directory}/${DONE_DIRECTORY}`;
  await disk.makeDirectory(done);
  await disk.syncDirectory(directory);
  await disk.rename(from, `${done}/${name}`);
  // The new name first: a crash may leave the file under both, never under none.
  await disk.syncDirectory(done);
  await disk.syncDirectory(directory);
  return `${done}/${name}`;
}
