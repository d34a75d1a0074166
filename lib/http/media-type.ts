/** `type/subtype` in lower case, and the charset where one is given. */
export interface MediaType {
  readonly essence: string;
  readonly charset: string | undefined;
}

/** Lenient where a wrong guess does no harm: what can't be parsed has an essence that nobody knows. */
export function parseMediaType(header: string): MediaType {
  const semicolon = header.indexOf(';');
  if (semicolon === -1) return { essence: header.trim().toLowerCase(), charset: undefined };

  const charset = /;\s*charset\s*=\s*(?:"([^"]*)"|([^\s;"]*))/i.exec(header);
  return {
    essence: header.slice(0, semicolon).trim().toLowerCase(),
    charset: (charset?.[1] ?? charset?.[2])?.toLowerCase(),
  };
}

export type ValueFormat = 'text' | 'json';

/**
 * Chooses how a value is shown. JSON only where the client prefers it; text in every other case, also
 * where the client accepts neither: a plain value is more use than a 406. Between equal weights the
 * more specific range wins, then the one named first.
 */
export function negotiateFormat(accept: string | undefined): ValueFormat {
  if (accept === undefined || accept === '*/*') return 'text';
  if (accept === 'application/json') return 'json';

  const ranges = accept.split(',').map(parseRange);
  const json = bestMatch(ranges, 'application/json', 'application/*');
  const text = bestMatch(ranges, 'text/plain', 'text/*');
  if (json.weight !== text.weight) return json.weight > text.weight ? 'json' : 'text';
  if (json.weight === 0) return 'text';
  if (json.specificity !== text.specificity) return json.specificity > text.specificity ? 'json' : 'text';
  return json.order < text.order ? 'json' : 'text';
}

interface AcceptRange {
  readonly range: string;
  /** The q value, 0 to 1. */
  readonly weight: number;
  readonly order: number;
}

interface Match {
  readonly weight: number;
  readonly specificity: number;
  readonly order: number;
}

function parseRange(text: string, order: number): AcceptRange {
  const [range, ...parameters] = text.split(';');
  let weight = 1;
  for (const parameter of parameters) {
    const q = /^\s*q\s*=\s*([01](?:\.\d*)?)\s*$/i.exec(parameter);
    if (q !== null) weight = Math.min(1, Number(q[1]));
  }
  return { range: range!.trim().toLowerCase(), weight, order };
}

/** The most specific range decides about a type, whatever weight others give it (RFC 9110, 12.5.1). */
function bestMatch(ranges: readonly AcceptRange[], exact: string, family: string): Match {
  let best: Match = { weight: 0, specificity: -1, order: ranges.length };
  for (const { range, weight, order } of ranges) {
    const specificity = range === exact ? 2 : range === family ? 1 : range === '*/*' ? 0 : -1;
    if (specificity > best.specificity) best = { weight, specificity, order };
  }
  return best;
}
