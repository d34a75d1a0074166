/**
 * What the answers of get and set say, in one place for both who write them: the routes behind Koa and
 * the fast path in front of it.
 */
import { ShiplogError } from '../base/errors.ts';
import type { Position } from '../base/position.ts';
import type { WriteResult } from '../node/node-api.ts';
import type { ValueFormat } from './media-type.ts';

/** Of every answer to a data request. */
export const DATA_HEADERS = {
  'Vary': 'Accept',
  'Cache-Control': 'no-cache, no-transform',
  'X-Content-Type-Options': 'nosniff',
} as const;

export const POSITION_HEADER = 'Shiplog-Position';
export const ETAG_HEADER = 'ETag';
export const ACK_HEADER = 'Shiplog-Ack';

export const CONTENT_TYPES: Readonly<Record<ValueFormat, string>> = { text: 'text/plain; charset=utf-8', json: 'application/json' };

/** Body of the answer to a write. */
export const WRITTEN_BODY = 'OK';

/** The position that the answer to a write names. */
export function positionAfterWrite(result: Extract<WriteResult, { outcome: 'written' }>, visible: Position): Position {
  // A node that reseeds by now shows nothing; whoever passed this on has to show the write.
  return result.position !== null && visible.lsn < result.position.lsn ? result.position : visible;
}

export function noSuchKey(key: string): ShiplogError {
  return new ShiplogError('not-found', `there is no key ${JSON.stringify(key.length > 100 ? `${key.slice(0, 100)}…` : key)}`);
}
