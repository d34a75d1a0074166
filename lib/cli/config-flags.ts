/** The flags of a node, from the table of options. */
import { type Command, Option } from 'commander';
import { formatDuration, formatSize } from '../config/option-types.ts';
import { type Config, OPTIONS, OPTION_NAMES, type OptionGroup, type OptionName, flagOf } from '../config/schema.ts';
import type { ConfigInput } from '../config/load.ts';

const HEADINGS: Readonly<Record<OptionGroup, string>> = {
  node: 'Options:',
  log: 'Log and database:',
  limits: 'Limits:',
};

const PLACEHOLDERS: Partial<Record<OptionName, string>> = {
  name: 'name',
  dataDir: 'directory',
  host: 'host',
  port: 'port',
  advertise: 'url',
  follow: 'url',
  peers: 'url,url',
  allowedHosts: 'host,host',
  replicaWrites: 'what',
  logLevel: 'level',
  logFormat: 'format',
};

/** Their values stay text: the schema judges them together with file and environment. */
export function addConfigFlags(command: Command): Command {
  command.option('--config <file>', 'configuration file, JSON (default: SHIPLOG_CONFIG)');
  for (const name of OPTION_NAMES) {
    const { description, fallback, group } = OPTIONS[name];
    const isSwitch = fallback === false;
    const ending = fallback === undefined || isSwitch || Array.isArray(fallback) ? '' : ` (default: ${shownValue(name, fallback)})`;
    const flags = isSwitch ? flagOf(name) : `${flagOf(name)} <${PLACEHOLDERS[name] ?? placeholderOf(name)}>`;
    command.addOption(new Option(flags, description + ending).helpGroup(HEADINGS[group]));
  }
  return command;
}

/** Where the values of a node come from, given what commander parsed. */
export function configInput(options: Readonly<Record<string, unknown>>, variables: ConfigInput['environment']): ConfigInput {
  const named = (options['config'] as string | undefined) ?? variables['SHIPLOG_CONFIG'] ?? '';
  const flags = Object.fromEntries(OPTION_NAMES.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]])));
  return { file: named === '' ? undefined : named, environment: variables, flags };
}

/** As one would write it. */
export function shownValue(name: OptionName, value: Config[OptionName]): string {
  if (value === undefined) return '-';
  if (typeof value === 'object') return value.length === 0 ? '-' : value.join(',');
  if (typeof value === 'number' && /Bytes(Min|Max)?$/.test(name)) return formatSize(value);
  if (typeof value === 'number' && /Ms(Min|Max)?$/.test(name)) return formatDuration(value);
  return String(value);
}

function placeholderOf(name: OptionName): string {
  if (/Bytes(Min|Max)?$/.test(name)) return 'size';
  return /Ms(Min|Max)?$/.test(name) ? 'duration' : 'count';
}
