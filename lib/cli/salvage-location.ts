/** Which salvage files somebody means: those of one or more data directories, or one of them by its name. */
import type { Command } from 'commander';
import { ShiplogError } from '../base/errors.ts';
import { loadConfig } from '../config/load.ts';
import { type ListedSalvage, listSalvage } from '../failover/salvage-directory.ts';
import type { CommandContext } from './command-context.ts';
import { configInput } from './config-flags.ts';

export interface SalvagePlaces {
  readonly dataDir?: readonly string[];
  readonly config?: readonly string[];
}

export type LocatedSalvage = ListedSalvage & { readonly dataDirectory: string };

export function addPlaceOptions(command: Command): Command {
  return command
    .option('--data-dir <directory>', 'data directory of the node that set them aside; may be given again (default: that of `shiplog serve`)', collect)
    .option('--config <file>', 'configuration file that names the data directory; may be given again', collect);
}

/** For commander: an option that may be given again. */
export function collect(value: string, previous: readonly string[] | undefined): readonly string[] {
  return [...(previous ?? []), value];
}

/**
 * All files that wait. Nothing is locked: the node may run.
 * @throws ShiplogError `bad-config`; `bad-request` where a directory is not there: no files must not pass for none set aside.
 */
export async function locateSalvage(context: CommandContext, places: SalvagePlaces): Promise<readonly LocatedSalvage[]> {
  const { disk } = context.environment;
  const located: LocatedSalvage[] = [];
  for (const dataDirectory of await dataDirectoriesOf(context, places)) {
    if (!(await disk.exists(dataDirectory))) {
      throw new ShiplogError('bad-request', `there is no data directory ${dataDirectory}: name that of the node with --data-dir; \`shiplog status\` says which nodes keep salvage files, and where`);
    }
    for (const file of await listSalvage(disk, dataDirectory)) located.push({ ...file, dataDirectory });
  }
  return located;
}

/** Only what is really meant may be written back: undefined where nothing waits. @throws ShiplogError `not-found`, `bad-request`. */
export function chooseSalvage(files: readonly LocatedSalvage[], name: string | undefined): LocatedSalvage | undefined {
  if (name === undefined) {
    if (files.length <= 1) return files[0];
    throw new ShiplogError('bad-request', `there are ${files.length} salvage files, name one of them: ${files.map((file) => file.name).join(', ')}`);
  }
  const found = files.filter((file) => file.name === name || file.name === `${name}.ndjson` || file.path === name);
  if (found.length === 0) {
    throw new ShiplogError('not-found', `no salvage file ${name} waits${files.length === 0 ? '' : `, but ${files.map((file) => file.name).join(', ')}`}`);
  }
  if (found.length > 1) throw new ShiplogError('bad-request', `${name} is in more than one data directory; name the file: ${found.map((file) => file.path).join(', ')}`);
  return found[0];
}

async function dataDirectoriesOf({ environment, variables }: CommandContext, { dataDir, config }: SalvagePlaces): Promise<readonly string[]> {
  const directories = new Set((dataDir ?? []).map(withoutSlash));
  const configFiles = config ?? (directories.size === 0 ? [undefined] : []);
  for (const file of configFiles) {
    const { values } = await loadConfig(environment.disk, configInput(file === undefined ? {} : { config: file }, variables));
    directories.add(withoutSlash(values.dataDir));
  }
  return [...directories];
}

function withoutSlash(path: string): string {
  return path.length > 1 ? path.replace(/\/+$/, '') : path;
}
