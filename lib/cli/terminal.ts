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
import { StepBar } from './step-bar.ts';

export interface TerminalOptions {
  /** `rows` is 0 where a terminal does not tell. */
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly rows?: number };
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
  /** True where results can be painted over. */
  readonly canRepaint: boolean;
  /** Resolves when nobody takes results any more: `shiplog status --watch | head`. */
  readonly outputClosed: Promise<void>;
  /** For what goes to standard error. */
  readonly colors: Colors;
  readonly #resultColors: Colors;
  readonly #options: TerminalOptions;

  constructor(options: TerminalOptions) {
    const wantsColors = (options.environment['NO_COLOR'] ?? '') === '' && options.environment['TERM'] !== 'dumb';
    this.#options = options;
    this.isInteractive = options.stdout.isTTY === true;
    this.canRepaint = this.isInteractive && options.environment['TERM'] !== 'dumb';
    this.outputClosed = new Promise((resolve) => options.stdout.once('error', () => resolve()));
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
    this.write(this.tableText(heading, rows));
  }

  tableText(heading: readonly string[], rows: readonly (readonly string[])[]): string {
    const plainRows = rows.map((row) => row.map(printable));
    if (!this.isInteractive) return [heading, ...plainRows].map((row) => `${row.join('\t')}\n`).join('');
    const table = new Table({
      head: heading.map((title) => this.#resultColors.bold(title)),
      // Its own colours don't know about NO_COLOR.
      style: { head: [], border: [], compact: true },
    });
    table.push(...plainRows.map((row) => [...row]));
    return `${table.toString()}\n`;
  }

  /** Begins a picture that is painted over and over, until it ends. */
  screen(): Screen {
    return new Screen(this.#options.stdout);
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

  /** A bar for work in steps that have names; lines where nobody looks. */
  steps(label: string): StepBar {
    return new StepBar(label, this.#options.stderr);
  }

  /** A bar for work that is counted, in bytes or as `sizeOf` says; nothing where nobody looks, or where it is over soon. */
  progress(label: string, sizeOf: (total: number) => string = readableBytes): ProgressBar {
    return new ProgressBar(label, sizeOf, this.#options.stderr, this.#options.clock);
  }
}

export class ProgressBar {
  readonly #label: string;
  readonly #sizeOf: (total: number) => string;
  readonly #stream: TerminalOptions['stderr'];
  readonly #clock: Clock;
  readonly #beganMs: number;
  #bar: SingleBar | undefined;

  constructor(label: string, sizeOf: (total: number) => string, stream: TerminalOptions['stderr'], clock: Clock) {
    this.#label = label;
    this.#sizeOf = sizeOf;
    this.#stream = stream;
    this.#clock = clock;
    this.#beganMs = clock.monotonicMs();
  }

  show(done: number, total: number): void {
    if (this.#stream.isTTY !== true || this.#clock.monotonicMs() - this.#beganMs < BAR_AFTER_MS) return;
    if (this.#bar === undefined) {
      this.#bar = new SingleBar({
        stream: this.#stream,
        format: `${this.#label} {bar} {percentage}% of {size}, {eta_formatted} to go`,
        hideCursor: true,
        clearOnComplete: true,
      });
      this.#bar.start(total, done, { size: this.#sizeOf(total) });
    }
    this.#bar.update(done);
  }

  stop(): void {
    this.#bar?.stop();
  }
}

const CLEAR_SCREEN = '\u001b[2J';
const HOME = '\u001b[H';
const CLEAR_LINE_END = '\u001b[K';
const CLEAR_BELOW = '\u001b[J';
const HIDE_CURSOR = '\u001b[?25l';
const SHOW_CURSOR = '\u001b[?25h';
/** A line that is too long is cut: wrapped, it would take the place of others. */
const NO_WRAP = '\u001b[?7l';
const WRAP = '\u001b[?7h';
const ROWS_DEFAULT = 24;

/** A picture that is painted over in place, without flicker: nothing is cleared before its line is written. */
export class Screen {
  readonly #stream: TerminalOptions['stdout'];
  #hasPainted = false;

  constructor(stream: TerminalOptions['stdout']) {
    this.#stream = stream;
  }

  paint(text: string): void {
    const lines = text.trimEnd().split('\n');
    // One row is for the cursor; a picture that scrolls could not be painted over.
    const rowsMax = Math.max(2, (this.#stream.rows || ROWS_DEFAULT) - 1);
    const shown = lines.length <= rowsMax ? lines : [...lines.slice(0, rowsMax - 1), `… and ${lines.length - rowsMax + 1} more lines`];
    const start = this.#hasPainted ? HOME : HIDE_CURSOR + NO_WRAP + CLEAR_SCREEN + HOME;
    this.#hasPainted = true;
    this.#stream.write(`${start}${shown.map((line) => `${line}${CLEAR_LINE_END}\n`).join('')}${CLEAR_BELOW}`);
  }

  /** Leaves the last picture where it is. */
  end(): void {
    if (this.#hasPainted) this.#stream.write(WRAP + SHOW_CURSOR);
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
