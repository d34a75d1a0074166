/** What main.ts hands to every command: the only way for a command to reach the process. */
import type { Readable, Writable } from 'node:stream';
import { InvalidArgumentError } from 'commander';
import { ACK_LEVEL_EXPECTED, type AckLevel, parseAckLevel } from '../base/ack-level.ts';
import { ShiplogError } from '../base/errors.ts';
import { parsePosition } from '../base/position.ts';
import { ShiplogClient, type Written } from '../client/shiplog-client.ts';
import { nodeUrl } from '../config/option-types.ts';
import type { Environment } from '../env/environment.ts';
import type { ExitReason } from './exit-codes.ts';
import type { StopSignals } from './stop-signals.ts';
import type { Terminal } from './terminal.ts';

export interface CommandContext {
  readonly terminal: Terminal;
  readonly environment: Environment;
  readonly stdin: Readable;
  readonly stderr: Writable;
  /** Environment variables of the process. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  readonly pid: number;
  /** Says how the process is to end once nothing is left to do. */
  readonly exitWith: (reason: ExitReason | number) => void;
  /** Ends the process now, whatever is under way. For what can't be stopped in any other way. */
  readonly exitNow: (reason: ExitReason) => never;
  /** From the first call on, SIGINT and SIGTERM no longer end the process by themselves. */
  readonly takeSignals: () => StopSignals;
}

export const DEFAULT_URL = 'http://127.0.0.1:4455';

/** For commander: `host:port` will do. */
export function parseUrl(text: string): string {
  const result = nodeUrl().safeParse(text.includes('://') ? text : `http://${text}`);
  if (!result.success) throw new InvalidArgumentError('Expected a URL like http://127.0.0.1:4455.');
  return result.data;
}

/**
 * For commander: a key or value. Bytes that are no UTF-8 arrive here as U+FFFD, so that what was
 * meant is lost; better refused than stored.
 */
export function parseText(text: string): string {
  if (text.includes('\uFFFD')) throw new InvalidArgumentError('Expected UTF-8 text; encode other content first, e.g. with base64.');
  return text;
}

/** For commander: a position. */
export function parseMin(text: string): string {
  if (parsePosition(text) === undefined) throw new InvalidArgumentError('Expected a position like 1.c04d-42.');
  return text;
}

/** For commander. */
export function parseAck(text: string): AckLevel {
  const level = parseAckLevel(text);
  if (level === undefined) throw new InvalidArgumentError(`Expected ${ACK_LEVEL_EXPECTED}.`);
  return level;
}

/** `written at 1.c04d-42, also on 2 replicas` */
export function describeWritten(verb: string, { position, ack }: Written): string {
  if (position === null) return `${verb} in memory: not synced yet`;
  if (ack === 'memory' || ack === 'local' || ack === 0) return `${verb} at ${position}`;
  return `${verb} at ${position}, also on ${ack === 1 ? '1 replica' : `${ack} replicas`}`;
}

/** The node that a client command talks to: `--url`, else SHIPLOG_URL, else the primary of a local cluster. */
export function clientOf(context: CommandContext, url: string | undefined): ShiplogClient {
  const { transport, clock } = context.environment;
  return new ShiplogClient({ transport, clock, url: url ?? defaultUrl(context) });
}

/** @throws ShiplogError `bad-config` where SHIPLOG_URL is no URL. */
export function defaultUrl(context: CommandContext): string {
  const named = context.variables['SHIPLOG_URL'] ?? '';
  if (named === '') return DEFAULT_URL;
  try {
    return parseUrl(named);
  } catch (error) {
    throw new ShiplogError('bad-config', `SHIPLOG_URL is ${JSON.stringify(named)}, expected a URL like ${DEFAULT_URL}`, { cause: error });
  }
}

export const URL_OPTION = ['--url <url>', `the node to ask (default: SHIPLOG_URL, else ${DEFAULT_URL})`, parseUrl] as const;
export const ACK_OPTION = ['--ack <level>', `what the write has to reach first: ${ACK_LEVEL_EXPECTED} (default: as the server is configured)`, parseAck] as const;
export const JSON_OPTION = ['--json', 'print JSON'] as const;
