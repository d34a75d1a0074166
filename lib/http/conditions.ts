/**
 * ETags and the conditions made of them. A key's ETag is the position of its last write; its JSON form
 * is another representation and therefore has another ETag, with a suffix. Clients may hand back
 * either: both name the same write. An ETag that isn't ours names no write and so never matches.
 */
import type { IncomingHttpHeaders } from 'node:http';

import { ShiplogError } from '../base/errors.ts';
import { type Position, formatPosition, parsePosition } from '../base/position.ts';
import type { WriteCondition } from '../node/node-api.ts';
import type { ValueFormat } from './media-type.ts';

export function formatETag(position: Position, format: ValueFormat): string {
  return `"${formatPosition(position)}${format === 'json' ? JSON_SUFFIX : ''}"`;
}

/** @throws ShiplogError `bad-request` where a header is not a list of ETags. */
export function writeConditionOf(headers: IncomingHttpHeaders): WriteCondition {
  const ifMatch = headers['if-match'];
  const ifNoneMatch = headers['if-none-match'];
  if (ifMatch === undefined && ifNoneMatch === undefined) return UNCONDITIONAL;
  return {
    ...(ifMatch === undefined ? {} : { ifMatch: positionsOf(parseETags('If-Match', ifMatch), 'strong') }),
    ...(ifNoneMatch === undefined ? {} : { ifNoneMatch: positionsOf(parseETags('If-None-Match', ifNoneMatch), 'weak') }),
  };
}

export type ReadVerdict = 'send' | 'not-modified' | 'precondition-failed';

/**
 * Judges a read of a key that exists. `If-None-Match` asks whether the client's copy is still good, so
 * there the ETag of the other form does not count: a copy in the other form is none of this one.
 * @throws ShiplogError `bad-request` where a header is not a list of ETags.
 */
export function judgeRead(headers: IncomingHttpHeaders, position: Position, format: ValueFormat): ReadVerdict {
  const ifMatch = headers['if-match'];
  if (ifMatch !== undefined) {
    const wanted = positionsOf(parseETags('If-Match', ifMatch), 'strong');
    if (wanted !== '*' && !wanted.some((each) => formatPosition(each) === formatPosition(position))) return 'precondition-failed';
  }
  const ifNoneMatch = headers['if-none-match'];
  if (ifNoneMatch !== undefined) {
    const held = parseETags('If-None-Match', ifNoneMatch);
    const current = formatETag(position, format);
    if (held === '*' || held.some((each) => `"${each.opaque}"` === current)) return 'not-modified';
  }
  return 'send';
}

const JSON_SUFFIX = '+json';
const UNCONDITIONAL: WriteCondition = {};

interface ETag {
  readonly weak: boolean;
  /** What stands between the quotes. */
  readonly opaque: string;
}

function parseETags(header: string, text: string): '*' | readonly ETag[] {
  if (text.trim() === '*') return '*';
  const tags: ETag[] = [];
  // One element or none, then a comma or the end. Sticky, so that whatever else stands there is noticed.
  const element = /[ \t]*(?:(W\/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*)?(?:,|$)/y;
  while (element.lastIndex < text.length) {
    const at = element.lastIndex;
    const match = element.exec(text);
    if (match === null) {
      throw new ShiplogError(
        'bad-request',
        `${header} has ${JSON.stringify(text.slice(at, at + 40))} at position ${at}, expected * or ETags in double quotes, like "1.c04d-42"`,
      );
    }
    if (match[2] !== undefined) tags.push({ weak: match[1] !== undefined, opaque: match[2] });
  }
  return tags;
}

function positionsOf(tags: '*' | readonly ETag[], comparison: 'strong' | 'weak'): '*' | readonly Position[] {
  if (tags === '*') return '*';
  const positions: Position[] = [];
  for (const { weak, opaque } of tags) {
    if (weak && comparison === 'strong') continue;
    const position = parsePosition(opaque.endsWith(JSON_SUFFIX) ? opaque.slice(0, -JSON_SUFFIX.length) : opaque);
    if (position !== undefined) positions.push(position);
  }
  return positions;
}
