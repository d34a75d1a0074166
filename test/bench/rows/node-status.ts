/** What a node says about itself. */
import { parsePosition } from '../../../lib/base/position.ts';
import type { StatusDocument } from '../../../lib/client/status-document.ts';

/** @throws Error where there is no answer, or another than 200. */
export async function statusOf(url: string): Promise<StatusDocument> {
  const response = await fetch(`${url}/status`);
  if (response.status !== 200) throw new Error(`${url}/status answered ${response.status}: ${await response.text()}`);
  return (await response.json()) as StatusDocument;
}

/** The LSN of a position in its text form. */
export function lsnOf(position: string): number {
  const parsed = parsePosition(position);
  if (parsed === undefined) throw new Error(`${JSON.stringify(position)} is no position`);
  return parsed.lsn;
}

export async function durableLsn(url: string): Promise<number> {
  return lsnOf((await statusOf(url)).positions.durable);
}

export async function visibleLsn(url: string): Promise<number> {
  return lsnOf((await statusOf(url)).positions.visible);
}
