/** A question with the answers yes and no, to whoever sits at the terminal. */
import { createInterface } from 'node:readline';
import { printable } from '../observe/printable.ts';
import type { CommandContext } from './command-context.ts';

/** Is there somebody who sees a question and can answer it? Not in cron, not in a pipe. */
export function canAsk({ stdin, stderr }: CommandContext): boolean {
  return isTerminal(stdin) && isTerminal(stderr);
}

/** Anything but y or yes is no, and so is the end of input. */
export async function isConfirmed({ stdin, stderr }: CommandContext, question: string): Promise<boolean> {
  stderr.write(`${printable(question)} [y/N] `);
  const lines = createInterface({ input: stdin, terminal: false });
  const answer = await new Promise<string | undefined>((resolve) => {
    lines.once('line', resolve);
    lines.once('close', () => resolve(undefined));
  });
  lines.close();
  // The cursor is still behind the question.
  if (answer === undefined) stderr.write('\n');
  return /^\s*y(es)?\s*$/i.test(answer ?? '');
}

function isTerminal(stream: unknown): boolean {
  return (stream as { readonly isTTY?: boolean }).isTTY === true;
}
