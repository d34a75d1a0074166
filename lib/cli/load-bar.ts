/** How a load goes on, as a bar on a terminal; nothing where nobody looks. */
import type { Writable } from 'node:stream';
import { SingleBar } from 'cli-progress';
import type { LoadProgress } from '../bench/load-generator.ts';
import { wholeNumber } from './bench-report.ts';

const INTERVAL_MS = 200;
/** The bar counts in these: what a load counts in, seconds or requests, does not matter to it. */
const STEPS = 1_000;

export class LoadBar {
  readonly #label: string;
  readonly #stream: Writable & { readonly isTTY?: boolean };
  #bar: SingleBar | undefined;
  #timer: NodeJS.Timeout | undefined;
  #before: LoadProgress | undefined;

  constructor(label: string, stream: Writable & { readonly isTTY?: boolean }) {
    this.#label = label;
    this.#stream = stream;
  }

  start(read: () => LoadProgress): void {
    if (this.#stream.isTTY !== true) return;
    this.#bar = new SingleBar({ stream: this.#stream, format: `${this.#label} {bar} {percentage}%  {rate}/s{failed}`, hideCursor: true, clearOnComplete: true });
    this.#bar.start(STEPS, 0, { rate: 0, failed: '' });
    this.#timer = setInterval(() => this.#show(read()), INTERVAL_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#bar?.stop();
  }

  #show(now: LoadProgress): void {
    const { answered, elapsedMs } = this.#before ?? { answered: 0, elapsedMs: 0 };
    this.#before = now;
    const passedMs = now.elapsedMs - elapsedMs;
    const rate = passedMs > 0 ? (1_000 * (now.answered - answered)) / passedMs : 0;
    this.#bar!.update(Math.floor(now.fraction * STEPS), { rate: wholeNumber(rate), failed: now.failed === 0 ? '' : `, ${wholeNumber(now.failed)} failed` });
  }
}
