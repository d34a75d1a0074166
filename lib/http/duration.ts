import { ShiplogError } from '../base/errors.ts';

/** `500ms`, `5s`, `2m` in milliseconds. @throws ShiplogError `bad-request` for anything else. */
export function parseDurationMs(name: string, text: string): number {
  const match = /^(\d{1,9})(ms|s|m)$/.exec(text);
  if (match === null) throw new ShiplogError('bad-request', `${name} is ${JSON.stringify(text)}, expected a duration like 500ms, 5s or 2m`);
  return Number(match[1]) * MS_PER_UNIT[match[2] as Unit];
}

type Unit = 'ms' | 's' | 'm';
const MS_PER_UNIT: Readonly<Record<Unit, number>> = { ms: 1, s: 1_000, m: 60_000 };
