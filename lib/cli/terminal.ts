/**
 * Where commands speak. Results go to standard output: tables for eyes, tab-separated lines or JSON
 * for programs. Everything about them (success, progress, errors) goes to standard error.
 */
import type { Writable } from 'node:stream';
import { SingleBar } from 'cli-progress';
import Table from 'cli-table3';
import pc from 'picocolors';
import type { Clock } from '../env/clock.ts';
import { printable } from '../observe/printable.ts';

export interface TerminalOptions {
  readonly stdout: Writable & { readonly isTTY?: boolean };
  readonly stderr: Writable & { readonly isTTY?: boolean };
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
}

type Colors = ReturnType<typeof pc.createColors>;

/** What is done sooner needs no bar. */
const BAR_AFTER_MS = 1_000;

export class Terminal {
  /** True where a person reads the results. */
  readonly isInteractive: boolean;
  /** For what goes to standard error. */
  readonly colors: Colors;
  readonly #resultColors: Colors;
  readonly #options: TerminalOptions;

  constructor(options: TerminalOptions) {
    const wantsColors = (options.environment['NO_COLOR'] ?? '') === '' && options.environment['TERM'] !== 'dumb';
    this.#options = options;
    this.isInteractive = options.stdout.isTTY === true;
    this.colors = pc.createColors(wantsColors && options.stderr.isTTY === true);
    this.#resultColors = pc.createColors(wantsColors && this.isInteractive);
  }

  /** A result, as it is. */
  write(text: string): void {
    this.#options.stdout.write(text);
  }

  /** A result for programs: one JSON document and a newline. */
  json(value: unknown): void {
    this.write(`${JSON.stringify(value, null, this.isInteractive ? 2 : 0)}\n`);
  }

  /** A result for both: a table on a terminal, else a line with tabs for the heading and for each row. */
  table(heading: readonly string[], rows: readonly (readonly string[])[]): void {
    const plainRows = rows.map((row) => row.map(printable));
    if (!this.isInteractive) {
      this.write([heading, ...plainRows].map((row) => `${row.join('\t')}\n`).join(''));
      return;
    }
    const table = new Table({
      head: heading.map((title) => this.#resultColors.bold(title)),
      // Its own colours don't know about NO_COLOR.
      style: { head: [], border: [], compact: true },
    });
    table.push(...plainRows.map((row) => [...row]));
    this.write(`${table.toString()}\n`);
  }

  success(text: string): void {
    this.note(`${this.colors.green('✓')} ${printable(text)}`);
  }

  warn(text: string): void {
    this.note(this.colors.yellow(printable(text)));
  }

  /** Each line of the message is one line, whatever it quotes. */
  fail(message: string): void {
    for (const line of message.split('\n')) this.note(`${this.colors.red('shiplog:')} ${printable(line)}`);
  }

  /** About the results, for people. */
  note(text: string): void {
    this.#options.stderr.write(`${text}\n`);
  }

  /** A bar for work that is counted in bytes; nothing where nobody looks, or where it is over soon. */
  progress(label: string): ProgressBar {
    return new ProgressBar(label, this.#options.stderr, this.#options.clock);
  }
}

export class ProgressBar {
  readonly #label: string;
  readonly #stream: TerminalOptions['stderr'];
  readonly #clock: Clock;
  readonly #beganMs: number;
  #bar: SingleBar | undefined;

  constructor(label: string, stream: TerminalOptions['stderr'], clock: Clock) {
    this.#label = label;
    this.#stream = stream;
    this.#clock = clock;
    this.#beganMs = clock.monotonicMs();
  }

  show(doneBytes: number, totalBytes: number): void {
    if (this.#stream.isTTY !== true || this.#clock.monotonicMs() - this.#beganMs < BAR_AFTER_MS) return;
    if (this.#bar === undefined) {
      this.#bar = new SingleBar({
        stream: this.#stream,
        format: `${this.#label} {bar} {percentage}% of {size}, {eta_formatted} to go`,
        hideCursor: true,
        clearOnComplete: true,
      });
      this.#bar.start(totalBytes, doneBytes, { size: readableBytes(totalBytes) });
    }
    this.#bar.update(doneBytes);
  }

  stop(): void {
    this.#bar?.stop();
  }
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** For people: three digits are enough. */
export function readableBytes(bytes: number): string {
  const step = Math.min(UNITS.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  const value = bytes / 1024 ** step;
  return `${step === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[step]}`;
}

export function readableDuration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  const seconds = Math.floor(ms / 1_000);
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ] as const;
  const first = parts.findIndex(([count]) => count > 0);
  return parts
    .slice(first, first + 2)
    .map(([count, unit]) => `${count}${unit}`)
    .join(' ');
}
