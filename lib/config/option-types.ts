/**
 * What an option's value may look like. Each type takes what a JSON file says (numbers, booleans,
 * lists) as well as what flags and environment variables can say (text), so that one schema judges
 * all three. A type says in words what it expects, for the error message.
 */
import { z } from 'zod';
import { ACK_LEVEL_EXPECTED, type AckLevel, parseAckLevel } from '../base/ack-level.ts';
import { GIB, KIB, MIB } from '../base/limits.ts';

/** What a parser returns for a value that it does not take. */
const REFUSED = Symbol('refused');

type Parser<Value> = (raw: unknown) => Value | typeof REFUSED;

export function integer(from: number, through: number): z.ZodType<number> {
  return optionType(`an integer from ${from} to ${through}`, (raw) =>
    within(typeof raw === 'string' && /^\d+$/.test(raw) ? Number(raw) : raw, from, through),
  );
}

const SIZE_UNITS: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['B', 1],
  ['KiB', KIB],
  ['MiB', MIB],
  ['GiB', GIB],
]);

/** A number of bytes: `67108864` or `"64MiB"`. */
export function size(from: number, through: number): z.ZodType<number> {
  return optionType(`bytes, e.g. "64MiB", from ${formatSize(from)} to ${formatSize(through)}`, (raw) =>
    within(withUnit(raw, SIZE_UNITS), from, through),
  );
}

const DURATION_UNITS: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

/** A number of milliseconds: `5000` or `"5s"`. */
export function duration(from: number, through: number): z.ZodType<number> {
  return optionType(`a duration, e.g. "500ms" or "10m", from ${formatDuration(from)} to ${formatDuration(through)}`, (raw) =>
    within(withUnit(raw, DURATION_UNITS), from, through),
  );
}

export function flag(): z.ZodType<boolean> {
  return optionType('true or false', (raw) => {
    if (raw === true || raw === 'true' || raw === '1') return true;
    if (raw === false || raw === 'false' || raw === '0') return false;
    return REFUSED;
  });
}

export function oneOf<const Choice extends string>(...choices: readonly Choice[]): z.ZodType<Choice> {
  return optionType(`one of ${choices.join(', ')}`, (raw) => choices.find((choice) => choice === raw) ?? REFUSED);
}

export function text(expected: string, pattern: RegExp): z.ZodType<string> {
  return optionType(expected, (raw) => (typeof raw === 'string' && pattern.test(raw) ? raw : REFUSED));
}

/** `local`, `all`, `1` … */
export function ackLevel(): z.ZodType<AckLevel> {
  return optionType(ACK_LEVEL_EXPECTED, (raw) => (typeof raw === 'string' || typeof raw === 'number' ? (parseAckLevel(String(raw)) ?? REFUSED) : REFUSED));
}

/** The address of a node, without a trailing slash. */
export function nodeUrl(): z.ZodType<string> {
  return optionType('a URL like "http://10.0.0.5:4455"', (raw) => {
    if (typeof raw !== 'string' || !URL.canParse(raw)) return REFUSED;
    const url = new URL(raw);
    const isPlain = url.pathname === '/' && url.search === '' && url.hash === '' && url.username === '' && url.password === '';
    return url.protocol === 'http:' && isPlain ? url.origin : REFUSED;
  });
}

/** A JSON list, or text with commas between the items. */
export function listOf<Item>(item: z.ZodType<Item>): z.ZodType<readonly Item[]> {
  const split = (raw: unknown): unknown => (typeof raw === 'string' ? raw.split(',').filter((part) => part !== '') : raw);
  return z.preprocess(split, z.array(item, { error: 'a list' }));
}

/** The largest unit that divides the size without a rest, e.g. `64MiB`. */
export function formatSize(bytes: number): string {
  return withLargestUnit(bytes, SIZE_UNITS, 'B');
}

/** The largest unit that divides the duration without a rest, e.g. `10m`. */
export function formatDuration(ms: number): string {
  return withLargestUnit(ms, DURATION_UNITS, 'ms');
}

function optionType<Value>(expected: string, parse: Parser<Value>): z.ZodType<Value> {
  return z.unknown().transform((raw, context) => {
    const value = parse(raw);
    if (value !== REFUSED) return value;
    context.issues.push({ code: 'custom', message: expected, input: raw });
    return z.NEVER;
  });
}

function withUnit(raw: unknown, units: ReadonlyMap<string, number>): unknown {
  if (typeof raw !== 'string') return raw;
  const match = /^(\d+(?:\.\d+)?) ?([A-Za-z]*)$/.exec(raw);
  const factor = match === null ? undefined : units.get(match[2]!);
  return factor === undefined ? REFUSED : Number(match![1]) * factor;
}

function within(value: unknown, from: number, through: number): number | typeof REFUSED {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= from && value <= through ? value : REFUSED;
}

function withLargestUnit(value: number, units: ReadonlyMap<string, number>, smallest: string): string {
  const [name, factor] = [...units].findLast(([, factor]) => value % factor === 0)!;
  return value === 0 || factor === 1 ? `${value}${smallest}` : `${value / factor}${name}`;
}
