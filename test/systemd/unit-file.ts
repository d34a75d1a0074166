/** `config/systemd/shiplog@.service`, read the way systemd reads it: `Name=value`, comments, sections. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export const UNIT_PATH = join(import.meta.dirname, '../../config/systemd/shiplog@.service');

/** All values of a setting, in their order. */
export function settingsNamed(name: string): readonly string[] {
  return readFileSync(UNIT_PATH, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith(`${name}=`))
    .map((line) => line.slice(name.length + 1));
}

/** @throws Error unless the unit has exactly one. */
export function settingNamed(name: string): string {
  const [value, ...others] = settingsNamed(name);
  if (value === undefined || others.length > 0) throw new Error(`${UNIT_PATH} has ${value === undefined ? 'no' : 'more than one'} ${name}=`);
  return value;
}

/** `30s`, `10min` → milliseconds. */
export function durationMsOf(name: string): number {
  const [, count, unit] = /^(\d+)(s|min)$/.exec(settingNamed(name)) ?? [];
  if (count === undefined) throw new Error(`${name}=${settingNamed(name)} is no duration in s or min`);
  return Number(count) * (unit === 's' ? 1_000 : 60_000);
}
