/**
 * Puts the values of all options together: flags before `SHIPLOG_*` variables before the file before
 * the defaults. What is wrong anywhere is an error, also where a stronger source hides it.
 */
import { ShiplogError, messageOf } from '../base/errors.ts';
import { type Disk, readWhole } from '../env/disk.ts';
import { type Config, OPTIONS, OPTION_NAMES, type OptionName, contradictions, flagOf, layerSchema, variableOf } from './schema.ts';

export interface ConfigInput {
  /** Path of the JSON file; without it there is none. */
  readonly file?: string | undefined;
  /** The process's environment; only names that begin with `SHIPLOG_` are looked at. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Values by option name, as the command line gave them. */
  readonly flags: Readonly<Record<string, unknown>>;
}

export type ConfigSource = 'flag' | 'environment' | 'file' | 'default';

export interface LoadedConfig {
  readonly values: Config;
  readonly sources: Readonly<Record<OptionName, ConfigSource>>;
}

/** Variables that begin like options but belong to the command line: the file's path, and the client's node. */
const OTHER_VARIABLES: readonly string[] = ['SHIPLOG_CONFIG', 'SHIPLOG_URL'];

/** @throws ShiplogError `bad-config` with one line for each thing that is wrong. */
export async function loadConfig(disk: Disk, input: ConfigInput): Promise<LoadedConfig> {
  return composeConfig(input, input.file === undefined ? undefined : await readConfigFile(disk, input.file));
}

/** @throws ShiplogError `bad-config` where the file can't be read. */
export async function readConfigFile(disk: Disk, path: string): Promise<string> {
  try {
    return (await readWhole(disk, path)).toString('utf8');
  } catch (error) {
    throw new ShiplogError('bad-config', `${path} can't be read: ${messageOf(error)}`, { cause: error });
  }
}

/** As `loadConfig`, with the file's content at hand. */
export function composeConfig(input: ConfigInput, fileText: string | undefined): LoadedConfig {
  const fileName = input.file ?? 'configuration';
  const layers: readonly Layer[] = [
    readLayer('flag', input.flags, (name) => flagOf(name as OptionName), (name) => `--${name} is no option`),
    readEnvironment(input.environment),
    fileText === undefined
      ? { source: 'file', values: {}, problems: [] }
      : readFile(fileName, fileText),
  ];

  const values: Partial<Record<OptionName, unknown>> = {};
  const sources: Partial<Record<OptionName, ConfigSource>> = {};
  for (const name of OPTION_NAMES) {
    const layer = layers.find((each) => each.values[name] !== undefined);
    values[name] = layer === undefined ? OPTIONS[name].fallback : layer.values[name];
    sources[name] = layer?.source ?? 'default';
  }
  const config = values as Config;

  const problems = layers.flatMap((layer) => layer.problems);
  // Whether values fit each other can only be said of values that are right by themselves.
  if (problems.length === 0) {
    for (const [name, complaint] of contradictions(config)) {
      problems.push(`${whereOf(name, sources[name]!, fileName)}: ${complaint}`);
    }
  }
  if (problems.length > 0) throw new ShiplogError('bad-config', problems.join('\n'));
  return { values: config, sources: sources as Record<OptionName, ConfigSource> };
}

interface Layer {
  readonly source: ConfigSource;
  readonly values: Partial<Record<OptionName, unknown>>;
  readonly problems: readonly string[];
}

function readFile(path: string, text: string): Layer {
  let content: unknown;
  try {
    content = JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch (error) {
    return { source: 'file', values: {}, problems: [`${path} is not JSON: ${messageOf(error)}`] };
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    return { source: 'file', values: {}, problems: [`${path} is ${shown(content)}, expected a JSON object of options`] };
  }
  return readLayer('file', content as Record<string, unknown>, (name) => `${path}: ${name}`, (name) => `${path}: ${name} is no option`);
}

function readEnvironment(environment: ConfigInput['environment']): Layer {
  const optionOf = new Map<string, string>(OPTION_NAMES.map((name) => [variableOf(name), name]));
  const values: Record<string, unknown> = {};
  const problems: string[] = [];
  for (const [variable, value] of Object.entries(environment)) {
    if (!variable.startsWith('SHIPLOG_') || OTHER_VARIABLES.includes(variable)) continue;
    const name = optionOf.get(variable);
    if (name === undefined) problems.push(`${variable} is no option${didYouMean(variable, [...optionOf.keys()])}`);
    // An empty variable is how service managers say that it is not set.
    else if (value !== '') values[name] = value;
  }
  const layer = readLayer('environment', values, (name) => variableOf(name as OptionName), (name) => name);
  return { ...layer, problems: [...problems, ...layer.problems] };
}

/** Holds one source against the schema. `where` names a place in it, `unknown` complains of an option that there isn't. */
function readLayer(
  source: ConfigSource,
  raw: Readonly<Record<string, unknown>>,
  where: (name: string) => string,
  unknown: (name: string) => string,
): Layer {
  const result = layerSchema.safeParse(raw, { reportInput: true });
  if (result.success) return { source, values: result.data, problems: [] };

  const problems = result.error.issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => `${unknown(key)}${didYouMean(key, OPTION_NAMES)}`);
    const [name, ...rest] = issue.path;
    const place = `${where(String(name))}${rest.map((part) => `[${String(part)}]`).join('')}`;
    return [`${place} is ${shown(issue.input)}, expected ${issue.message}`];
  });
  return { source, values: {}, problems };
}

function whereOf(name: OptionName, source: ConfigSource, file: string): string {
  if (source === 'flag') return flagOf(name);
  if (source === 'environment') return variableOf(name);
  return source === 'file' ? `${file}: ${name}` : name;
}

/** What was got, in one short line. */
function shown(value: unknown): string {
  const json = JSON.stringify(value) ?? String(value);
  return json.length > 80 ? `${json.slice(0, 77)}...` : json;
}

function didYouMean(given: string, known: readonly string[]): string {
  const plain = (name: string): string => name.toLowerCase().replaceAll(/[-_]/g, '');
  const [nearest] = known
    .map((name) => ({ name, distance: editDistance(plain(given), plain(name)) }))
    .toSorted((left, right) => left.distance - right.distance);
  const isNear = nearest !== undefined && nearest.distance <= Math.max(1, Math.floor(plain(given).length / 3));
  return isNear ? `; did you mean ${nearest.name}?` : '';
}

/** Insertions, deletions, replacements and swaps of neighbours that make one text of the other. */
function editDistance(from: string, to: string): number {
  const rows: number[][] = [Array.from({ length: to.length + 1 }, (_, column) => column)];
  for (let row = 1; row <= from.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= to.length; column += 1) {
      const replaced = rows[row - 1]![column - 1]! + (from[row - 1] === to[column - 1] ? 0 : 1);
      const isSwap = row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1];
      const swapped = isSwap ? rows[row - 2]![column - 2]! + 1 : Infinity;
      current.push(Math.min(replaced, swapped, rows[row - 1]![column]! + 1, current[column - 1]! + 1));
    }
    rows.push(current);
  }
  return rows[from.length]![to.length]!;
}
