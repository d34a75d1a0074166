/**
 * Progress of work that has few steps with names: a bar on a terminal, gone when the work is done;
 * elsewhere a line for each step.
 */
import type { Writable } from 'node:stream';
import { SingleBar } from 'cli-progress';
import { printable } from '../observe/printable.ts';

export class StepBar {
  readonly #label: string;
  readonly #stream: Writable & { readonly isTTY?: boolean };
  #bar: SingleBar | undefined;

  constructor(label: string, stream: Writable & { readonly isTTY?: boolean }) {
    this.#label = label;
    this.#stream = stream;
  }

  /** The step that begins now, the first being 1. */
  show(step: number, stepCount: number, message: string): void {
    const text = printable(message);
    if (this.#stream.isTTY !== true) {
      this.#stream.write(`${step} of ${stepCount}: ${text}\n`);
      return;
    }
    // Shown done is what is behind: the last step may be the one that takes long.
    const done = Math.min(step - 1, stepCount);
    if (this.#bar === undefined) {
      this.#bar = new SingleBar({ stream: this.#stream, format: `${this.#label} {bar} {value} of {total}  {text}`, hideCursor: true, clearOnComplete: true });
      this.#bar.start(stepCount, done, { text });
    }
    this.#bar.update(done, { text });
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}
