/** Asks for a promotion as an operator does, and takes down what was said. */
import { execFile } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const PROMOTE = fileURLToPath(new URL('../../bin/promote', import.meta.url));
const PROMOTE_TIMEOUT_MS = 60_000;
/** In all: replicas need a moment to notice that their stream has ended. */
const PROMOTED_TIMEOUT_MS = 30_000;
const RETRY_MS = 100;

/** The last line of what a promotion says. */
export type PromotionEnd =
  | { readonly type: 'promoted'; readonly kind: string; readonly epoch: { readonly number: number; readonly id: string }; readonly url: string; readonly lost: unknown }
  | { readonly type: 'refused'; readonly code: string; readonly message: string; readonly betterUrl: string | null };

export interface Promoted {
  readonly end: PromotionEnd & { readonly type: 'promoted' };
  /** Those that came before it. */
  readonly refusals: readonly (PromotionEnd & { readonly type: 'refused' })[];
}

/** @throws Error where there is no end in it, or something else after it. */
export function readPromotion(lines: string): PromotionEnd {
  const events = lines
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as { readonly type: string });
  const end = events.at(-1);
  const ends = events.filter(({ type }) => type === 'promoted' || type === 'refused');
  if (ends.length !== 1 || ends[0] !== end) throw new Error(`expected one event promoted or refused, as the last one, got ${JSON.stringify(lines)}`);
  return end as PromotionEnd;
}

/** `bin/promote URL --yes --json`. @throws Error where it does not say how it ended. */
export function runPromote(url: string, environment: NodeJS.ProcessEnv): Promise<PromotionEnd> {
  return new Promise((resolve, reject) => {
    execFile(PROMOTE, [url, '--yes', '--json'], { timeout: PROMOTE_TIMEOUT_MS, env: environment }, (error, stdout, stderr) => {
      try {
        const end = readPromotion(stdout);
        // What a script would see has to agree with what is said.
        if ((error === null) !== (end.type === 'promoted')) throw new Error(`it ended with ${error === null ? 'exit code 0' : error.message}`);
        resolve(end);
      } catch (cause) {
        reject(new Error(`bin/promote ${url} did not say how it ended: ${stdout}${stderr}`, { cause }));
      }
    });
  });
}

/** `POST /promote`: the same without the time that a process needs to start. */
export async function postPromote(url: string): Promise<PromotionEnd> {
  const response = await fetch(`${url}/promote`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`POST ${url}/promote answered ${response.status} ${text}, expected 200`);
  return readPromotion(text);
}

/**
 * Tries one, and goes where a refusal says that it should, until one is promoted.
 * @throws Error after half a minute, with the last refusal.
 */
export async function promoteFurthest(firstUrl: string, environment: NodeJS.ProcessEnv): Promise<Promoted> {
  const deadlineMs = performance.now() + PROMOTED_TIMEOUT_MS;
  const refusals: (PromotionEnd & { readonly type: 'refused' })[] = [];
  let url = firstUrl;
  for (;;) {
    const end = await runPromote(url, environment);
    if (end.type === 'promoted') return { end, refusals };
    refusals.push(end);
    if (performance.now() > deadlineMs) throw new Error(`no promotion within ${PROMOTED_TIMEOUT_MS} ms; ${url} said last: ${end.code}: ${end.message}`);
    url = end.betterUrl ?? url;
    await sleep(RETRY_MS);
  }
}
