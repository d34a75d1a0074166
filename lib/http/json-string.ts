import { ShiplogError } from '../base/errors.ts';

/**
 * Reads a body that must be exactly one JSON string.
 * @throws ShiplogError `bad-json` saying what stands where; `bad-utf8` for a lone surrogate.
 */
export function parseJsonString(text: string): string {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new ShiplogError('bad-json', diagnose(text));
  }
  if (typeof parsed !== 'string') {
    throw new ShiplogError('bad-json', `the body is ${kindOf(parsed)}, expected one string like ${EXAMPLE}`);
  }
  if (!parsed.isWellFormed()) {
    const index = loneSurrogateIndex(parsed);
    const escape = `\\u${parsed.charCodeAt(index).toString(16)}`;
    throw new ShiplogError('bad-utf8', `the string holds the lone surrogate ${escape} as character ${index}, which no UTF-8 text can hold`);
  }
  return parsed;
}

const EXAMPLE = '"value"';
const TYPOGRAPHIC_QUOTES = '“”„‟«»';
const SINGLE_QUOTES = '\'‘’`';

/** For messages. */
export function kindOf(parsed: unknown): string {
  if (parsed === undefined) return 'missing';
  if (parsed === null) return 'null';
  if (Array.isArray(parsed)) return 'an array';
  return typeof parsed === 'object' ? 'an object' : `a ${typeof parsed}`;
}

/**
 * Finds what is wrong with something that should have been a JSON string. JSON.parse words its
 * complaints for programmers and often leaves out where.
 */
function diagnose(text: string): string {
  const start = skipSpace(text, 0);
  if (start === text.length) return `the body is empty, expected one string like ${EXAMPLE}`;

  const first = text[start]!;
  if (TYPOGRAPHIC_QUOTES.includes(first)) {
    return `the body begins with the typographic quote ${first} at position ${start}, expected a straight one ("): type the command again instead of pasting it`;
  }
  if (SINGLE_QUOTES.includes(first)) return `the body begins with ${first} at position ${start}, expected a double quote (")`;
  if (first === '\ufeff') return `the body begins with a byte order mark, expected one string like ${EXAMPLE}`;
  if (first !== '"') {
    return `the body has ${shown(first)} at position ${start}, expected one string like ${EXAMPLE} (a shell takes the quotes away: write -d '${EXAMPLE}')`;
  }

  const end = endOfString(text, start);
  if (typeof end === 'string') return end;
  const rest = skipSpace(text, end);
  return `the string ends at position ${end - 1}, but ${shown(text.slice(rest, rest + 1))} follows at position ${rest}, expected nothing more`;
}

/** Index after the closing quote, or what is wrong inside. */
function endOfString(text: string, start: number): number | string {
  for (let index = start + 1; index < text.length; index += 1) {
    const char = text[index]!;
    if (char === '"') return index + 1;
    if (char < ' ') return `the string has the control character ${shown(char)} at position ${index}, expected an escape like \\n`;
    if (char !== '\\') continue;
    const escape = /^\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/.exec(text.slice(index, index + 6));
    if (escape === null) return `the string has the bad escape ${shown(text.slice(index, index + 2))} at position ${index}`;
    index += escape[0].length - 1;
  }
  return `the string that begins at position ${start} has no closing quote`;
}

function skipSpace(text: string, from: number): number {
  let index = from;
  while (index < text.length && ' \t\r\n'.includes(text[index]!)) index += 1;
  return index;
}

function shown(text: string): string {
  return JSON.stringify(text);
}

function loneSurrogateIndex(text: string): number {
  return text.search(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/);
}
