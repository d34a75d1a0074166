/** The logger of one node: lines for eyes or lines of JSON, on standard error unless told otherwise. */
import { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import pc from 'picocolors';
import winston from 'winston';
import type { LogFields, Logger } from './logger.ts';
import { printable } from './printable.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type LogFormat = 'human' | 'json';

export interface LoggerOptions {
  /** Lines below it are dropped. */
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Name of the node, on every line. */
  readonly name: string;
  /** Where the lines go; it is never closed. Default: standard error, as standard output is for results. */
  readonly destination?: Writable;
}

export interface NodeLogger {
  readonly logger: Logger;
  setLevel(level: LogLevel): void;
  /**
   * Resolves when the destination has taken every line. Wait for it before the process ends: winston
   * hands lines on later, and an exit loses those under way. Lines logged after it are dropped.
   */
  close(): Promise<void>;
}

export function createLogger(options: LoggerOptions): NodeLogger {
  const destination = options.destination ?? process.stderr;
  const format = options.format === 'json' ? jsonLine() : humanLine(wantsColor(destination));
  const sink = sinkInto(destination);
  const transport = new winston.transports.Stream({ stream: sink, eol: '\n' });
  const backend = winston.createLogger({
    level: options.level,
    levels: winston.config.npm.levels,
    format: winston.format.combine(winston.format.timestamp(), format),
    transports: [transport],
  });

  let closing: Promise<void> | undefined;
  const log = (level: LogLevel, message: string, fields: LogFields = {}): void => {
    // Asked first, so that a debug line nobody wants costs next to nothing.
    if (closing !== undefined || !backend.isLevelEnabled(level)) return;
    backend.log({ level, message, node: options.name, fields });
  };

  return {
    logger: {
      debug: (message, fields) => log('debug', message, fields),
      info: (message, fields) => log('info', message, fields),
      warn: (message, fields) => log('warn', message, fields),
      error: (message, fields) => log('error', message, fields),
    },
    setLevel: (level) => {
      backend.level = level;
    },
    close: () => {
      closing ??= (async () => {
        // The logger feeds the transport, the transport the sink: each is ended when the one before is empty.
        transport.once('finish', () => sink.end());
        backend.end();
        await finished(sink);
      })();
      return closing;
    },
  };
}

/** What winston carries from `log` to the formats. */
interface LogEntry {
  readonly level: LogLevel;
  readonly message: string;
  readonly timestamp: string;
  readonly node: string;
  readonly fields: LogFields;
}

/** Hands lines on to `destination` at once, and finishes when the last one has been taken. */
function sinkInto(destination: Writable): Writable {
  // A reader that went away (`shiplog serve 2>&1 | head`) must not end the node, and there is no other
  // place to complain: from then on its lines go nowhere.
  const onError = (): void => {};
  destination.on('error', onError);
  return new Writable({
    decodeStrings: false,
    write: (line: string, _encoding, next) => {
      // Without waiting for the line before it: standard error takes a line at once on Linux, so the
      // last words before a crash get out.
      destination.write(line);
      next();
    },
    final: (done) => {
      // Streams call back in order: when this nothing is taken, so is all before it.
      destination.write('', () => {
        destination.off('error', onError);
        done();
      });
    },
  });
}

const COLORS = { debug: 'gray', info: 'green', warn: 'yellow', error: 'red' } as const;

/** `2026-05-01T12:00:00.000Z info  primary  the stream is open follower=replica lagMs=12` */
function humanLine(withColor: boolean): winston.Logform.Format {
  const colors = pc.createColors(withColor);
  return winston.format.printf((info) => {
    const { level, message, timestamp, node, fields } = info as unknown as LogEntry;
    const head = [colors.dim(timestamp), colors[COLORS[level]](level.padEnd(5)), printable(node)].join(' ');
    const tail = presentFields(fields).map(([name, value]) => ` ${colors.dim(`${printable(name)}=`)}${readableValue(value)}`);
    return `${head}  ${printable(message)}${tail.join('')}`;
  });
}

/** Quoted where it would otherwise be unclear where the value ends. */
function readableValue(value: string | number | boolean | null): string {
  const text = String(value);
  return printable(typeof value === 'string' && !/^[^\s"=\\]+$/.test(text) ? JSON.stringify(text) : text);
}

function jsonLine(): winston.Logform.Format {
  return winston.format.printf((info) => {
    const { level, message, timestamp, node, fields } = info as unknown as LogEntry;
    const line: Record<string, unknown> = { time: timestamp, level, node, message };
    for (const [name, value] of presentFields(fields)) {
      // A field must not stand in for the time or the level of its line.
      line[Object.hasOwn(line, name) ? `fields.${name}` : name] = value;
    }
    // JSON leaves C1 controls and line separators as they are; terminals and line readers don't.
    return printable(JSON.stringify(line));
  });
}

function presentFields(fields: LogFields): [string, string | number | boolean | null][] {
  return Object.entries(fields).filter((entry): entry is [string, string | number | boolean | null] => entry[1] !== undefined);
}

/** Colours are for terminals, and for people who want them (no-color.org). */
function wantsColor(destination: Writable): boolean {
  return (destination as { isTTY?: boolean }).isTTY === true && (process.env['NO_COLOR'] ?? '') === '';
}
