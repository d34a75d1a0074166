/**
 * `shiplog status --watch`: the same picture again and again, until somebody stops it. On a terminal it
 * is painted over, with the lag of each replica over time; elsewhere lines are added, each with its time.
 */
import { sleep } from '../env/clock.ts';
import { printable } from '../observe/printable.ts';
import type { CommandContext } from './command-context.ts';
import { sparkline } from './sparkline.ts';
import type { NodeAnswer, StatusSurvey } from './status-survey.ts';
import { STATUS_HEADING, remarksOn, statusRow } from './status-table.ts';
import { readableDuration } from './terminal.ts';

export interface StatusWatchOptions {
  readonly survey: StatusSurvey;
  readonly intervalMs: number;
  readonly isWhole: boolean;
  readonly asJson: boolean;
}

/** Samples of lag that are kept for each node. */
const SAMPLES_MAX = 30;
/** A lag that fills a block, where none is longer: heartbeats come once a second. */
const LAG_CEILING_MS = 1_000;
const LAG_COLUMN = STATUS_HEADING.indexOf('lag');

export class StatusWatch {
  readonly #context: CommandContext;
  readonly #options: StatusWatchOptions;
  /** By URL; only of nodes that are in the picture. */
  #lagsMs = new Map<string, readonly (number | null)[]>();
  #lastRemarks = '';
  #hasHeading = false;

  constructor(context: CommandContext, options: StatusWatchOptions) {
    this.#context = context;
    this.#options = options;
  }

  /** Resolves at Ctrl-C, or when nobody reads any more. */
  async run(): Promise<void> {
    const { terminal, environment } = this.#context;
    const end = new AbortController();
    const ended = Promise.race([this.#context.takeSignals().stop, terminal.outputClosed]).then(() => end.abort());
    const screen = terminal.canRepaint && !this.#options.asJson ? terminal.screen() : undefined;
    for (;;) {
      const answers = await Promise.race([this.#options.survey.ask(), ended]);
      if (answers === undefined || end.signal.aborted) break;
      this.#remember(answers);
      if (this.#options.asJson) this.#printJson(answers);
      else if (screen === undefined) this.#printLines(answers);
      else screen.paint(this.#picture(answers));
      await sleep(environment.clock, this.#options.intervalMs, end.signal).catch(() => {});
      if (end.signal.aborted) break;
    }
    screen?.end();
  }

  #remember(answers: readonly NodeAnswer[]): void {
    this.#lagsMs = new Map(
      answers.map(({ url, status }) => {
        const lagMs = status?.upstream?.connected === true ? status.upstream.lagMs : null;
        return [url, [...(this.#lagsMs.get(url) ?? []), lagMs].slice(-SAMPLES_MAX)] as const;
      }),
    );
  }

  #picture(answers: readonly NodeAnswer[]): string {
    const { terminal } = this.#context;
    const table = terminal.tableText(
      STATUS_HEADING.toSpliced(LAG_COLUMN + 1, 0, 'lag over time'),
      answers.map((answer) => statusRow(answer, answers).toSpliced(LAG_COLUMN + 1, 0, this.#lagOverTime(answer))),
    );
    const remarks = remarksOn(answers, this.#options.isWhole).map((remark) => printable(remark));
    return [`${this.#time()}, every ${readableDuration(this.#options.intervalMs)}; Ctrl-C ends`, table.trimEnd(), ...remarks].join('\n');
  }

  #lagOverTime({ url, status }: NodeAnswer): string {
    const lagsMs = this.#lagsMs.get(url) ?? [];
    const known = lagsMs.filter((lag) => lag !== null);
    // A primary lags behind nobody, unless it was a replica a moment ago.
    if (known.length === 0 && status !== null && status.upstream === null) return '';
    const worst = known.length === 0 ? '' : ` max ${readableDuration(Math.max(...known))}`;
    return `${sparkline(lagsMs, LAG_CEILING_MS)}${worst}`;
  }

  #printLines(answers: readonly NodeAnswer[]): void {
    const { terminal } = this.#context;
    const time = this.#time();
    // Written as lines also on a terminal that can't be painted over.
    const lines = answers.map((answer) => [time, ...statusRow(answer, answers)]);
    const heading = this.#hasHeading ? [] : [['time', ...STATUS_HEADING]];
    this.#hasHeading = true;
    terminal.write([...heading, ...lines].map((row) => `${row.map(printable).join('\t')}\n`).join(''));
    const remarks = remarksOn(answers, this.#options.isWhole);
    // Said again only when it changes.
    if (remarks.join('\n') !== this.#lastRemarks) for (const remark of remarks) terminal.warn(remark);
    this.#lastRemarks = remarks.join('\n');
  }

  #printJson(nodes: readonly NodeAnswer[]): void {
    this.#context.terminal.write(`${JSON.stringify({ time: this.#time(), nodes })}\n`);
  }

  #time(): string {
    return new Date(this.#context.environment.clock.wallMs()).toISOString();
  }
}
