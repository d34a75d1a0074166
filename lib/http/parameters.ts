/** What a data request asks for beside its key: how durable a write has to be, and how fresh the node. */
import type { IncomingHttpHeaders } from 'node:http';

import { ACK_LEVEL_EXPECTED, parseAckLevel } from '../base/ack-level.ts';
import { ShiplogError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { type Position, parsePosition } from '../base/position.ts';
import type { WriteDurability } from '../node/node-api.ts';
import { parseDurationMs } from './duration.ts';
import { parseQuery } from './request-target.ts';

export interface Freshness {
  /** The node has to show this position first. */
  readonly min: Position | undefined;
  readonly waitMs: number;
}

export interface DataParameters extends Freshness {
  readonly durability: WriteDurability;
}

const MIN_HEADER = 'shiplog-min-position';
const READ_PARAMETERS: ReadonlySet<string> = new Set(['min', 'wait']);
const WRITE_PARAMETERS: ReadonlySet<string> = new Set([...READ_PARAMETERS, 'ack', 'timeout']);
const NOTHING_ASKED: DataParameters = { min: undefined, waitMs: LIMITS.positionWaitMs, durability: {} };

/**
 * The same by query (`min`, `wait`, and for writes `ack`, `timeout`) and by header (`Shiplog-Min-Position`).
 * `others` are parameters that the route has beside these, and reads itself.
 * @throws ShiplogError `unknown-parameter`, `bad-request`.
 */
export function parametersOf(query: string, headers: IncomingHttpHeaders, kind: 'read' | 'write', others: readonly string[] = []): DataParameters {
  const minHeader = headers[MIN_HEADER];
  if (query === '' && minHeader === undefined) return NOTHING_ASKED;
  const parameters = parseQuery(query);
  const known = kind === 'read' ? READ_PARAMETERS : WRITE_PARAMETERS;
  for (const name of parameters.keys()) if (!known.has(name) && !others.includes(name)) throw unknownParameter(name);

  const min = parameters.get('min');
  if (min !== undefined && minHeader !== undefined) throw new ShiplogError('bad-request', 'min comes both in the query and as Shiplog-Min-Position, expected one of them');
  const wanted = min ?? (typeof minHeader === 'string' ? minHeader : undefined);
  const ack = parameters.get('ack');
  const timeoutMs = waitOf('timeout', parameters.get('timeout'));
  return {
    min: wanted === undefined ? undefined : positionOf(wanted),
    waitMs: waitOf('wait', parameters.get('wait')) ?? LIMITS.positionWaitMs,
    durability: { ...(ack !== undefined && { ack: levelOf(ack) }), ...(timeoutMs !== undefined && { timeoutMs }) },
  };
}

function unknownParameter(name: string): ShiplogError {
  if (WRITE_PARAMETERS.has(name)) return new ShiplogError('unknown-parameter', `the parameter ${name} is for writes; reads take min and wait`);
  return new ShiplogError('unknown-parameter', `there is no parameter ${JSON.stringify(name.slice(0, 100))}; a question mark inside a key is written %3F`);
}

function positionOf(text: string): Position {
  const position = parsePosition(text);
  if (position === undefined) throw new ShiplogError('bad-request', `min is ${JSON.stringify(text.slice(0, 100))}, expected a position as answers carry it, like 1.c04d-42`);
  return position;
}

function levelOf(text: string): NonNullable<WriteDurability['ack']> {
  const level = parseAckLevel(text);
  if (level === undefined) throw new ShiplogError('bad-request', `ack is ${JSON.stringify(text.slice(0, 100))}, expected ${ACK_LEVEL_EXPECTED}`);
  return level;
}

function waitOf(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = parseDurationMs(name, text);
  if (ms > LIMITS.requestWaitMsMax) throw new ShiplogError('bad-request', `${name} is ${text}, expected at most ${LIMITS.requestWaitMsMax / 1_000}s`);
  return ms;
}
