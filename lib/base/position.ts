/**
 * A position names one point of one history: `<epoch number>.<first 4 hex of its id>-<lsn>`,
 * for example `1.c04d-42`. Headers, ETags, the command line and logs all carry this one form;
 * to clients it is opaque.
 */
export interface Position {
  readonly epochNumber: number;
  /** First four hex digits of the epoch's 128-bit id. */
  readonly epochTag: string;
  readonly lsn: number;
}

/** The position before the first operation of any history, e.g. of a node that has no data yet. */
export const POSITION_ZERO: Position = { epochNumber: 0, epochTag: '0000', lsn: 0 };

const POSITION_PATTERN = /^(0|[1-9]\d{0,14})\.([0-9a-f]{4})-(0|[1-9]\d{0,14})$/;

export function formatPosition(position: Position): string {
  return `${position.epochNumber}.${position.epochTag}-${position.lsn}`;
}

/** Returns undefined where the text is not a position: the caller knows how to complain. */
export function parsePosition(text: string): Position | undefined {
  const match = POSITION_PATTERN.exec(text);
  if (match === null) return undefined;
  return { epochNumber: Number(match[1]), epochTag: match[2]!, lsn: Number(match[3]) };
}

export function epochTagOf(epochId: string): string {
  return epochId.slice(0, 4);
}
