/** How fast a new replica takes a snapshot, against what the disk writes in order. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { keyAt } from '../../../lib/bench/protocol.ts';
import { GENERATOR_CORE } from '../bench-process.ts';
import { table, whole, withRange } from '../markdown.ts';
import { median } from '../statistics.ts';
import { type Rig, untilReady } from './rig.ts';
import type { Row, RowReport, RowsOptions } from './row.ts';

/** Of `keys`. */
const TABLE = 20;
const BOUND_MB_PER_S = 100;
const BOUND_OF_DISK = 0.5;
const POLL_MS = 10;
/** A snapshot that is younger than five seconds is handed out again: each round has to have its own made. */
const SNAPSHOT_OLD_MS = 5_500;
const MB = 1_000_000;

export interface BootstrapRound {
  readonly snapshotBytes: number;
  readonly bootstrapMs: number;
  readonly diskMs: number;
}

export const bootstrap: Row = {
  name: 'bootstrap',
  run: async (rig) => renderBootstrap(await measureBootstrap(rig), rig.options),
};

export async function measureBootstrap(rig: Rig): Promise<readonly BootstrapRound[]> {
  const primary = await rig.serve({ dataDirectory: await rig.table(TABLE * rig.options.keys) });
  const tags = new Set<string>();
  return await rig.rounds(async (_count, onStep) => {
    if (tags.size > 0) await wait(SNAPSHOT_OLD_MS);
    await writeOne(primary.url);
    onStep('a new replica');
    const bootstrapMs = await bootstrapReplica(rig, primary.url);
    const { tag, bytes } = await newestSnapshot(primary.url);
    if (tags.has(tag)) throw new Error(`snapshot ${tag} was there already: what was measured did not include making it`);
    tags.add(tag);
    onStep(`write + fdatasync of ${bytes} bytes`);
    return { snapshotBytes: bytes, bootstrapMs, diskMs: await writeInOrder(rig, bytes) };
  });
}

/** Another position is another snapshot. */
async function writeOne(url: string): Promise<void> {
  const response = await fetch(`${url}/set/${keyAt(0)}`, { method: 'POST', body: 'v' });
  if (response.status !== 200) throw new Error(`POST /set/${keyAt(0)} answered ${response.status}: ${await response.text()}`);
}

async function bootstrapReplica(rig: Rig, primaryUrl: string): Promise<number> {
  const dataDirectory = rig.newPath('replica');
  const startMs = performance.now();
  const replica = await rig.startNode({ dataDirectory, core: GENERATOR_CORE, flags: ['--follow', primaryUrl] });
  await untilReady(replica.url, POLL_MS);
  const tookMs = performance.now() - startMs;
  await rig.stop(replica);
  rig.remove(dataDirectory);
  return tookMs;
}

/** The one that the replica has just taken. */
async function newestSnapshot(url: string): Promise<{ readonly tag: string; readonly bytes: number }> {
  const { headers } = await fetch(`${url}/snapshot`, { method: 'HEAD' });
  const [tag, bytes] = [headers.get('etag'), Number(headers.get('content-length'))];
  if (tag === null || !(bytes > 0)) throw new Error(`HEAD ${url}/snapshot does not say which and how large`);
  return { tag, bytes };
}

async function writeInOrder(rig: Rig, bytes: number): Promise<number> {
  const path = rig.newPath('written');
  const { tookMs } = await rig.start([process.execPath, join(import.meta.dirname, 'disk-write.ts'), path, String(bytes)], GENERATOR_CORE).result<{ tookMs: number }>();
  if (statSync(path).size !== bytes) throw new Error(`${path} holds ${statSync(path).size} bytes, expected ${bytes}`);
  rig.remove(path);
  return tookMs;
}

export function renderBootstrap(rounds: readonly BootstrapRound[], { keys }: RowsOptions): RowReport {
  const bootstrapRates = rounds.map(({ snapshotBytes, bootstrapMs }) => mbPerS(snapshotBytes, bootstrapMs));
  const diskRates = rounds.map(({ snapshotBytes, diskMs }) => mbPerS(snapshotBytes, diskMs));
  const bound = Math.min(BOUND_MB_PER_S, BOUND_OF_DISK * median(diskRates));
  const method = [
    `A table of ${whole(TABLE * keys)} keys, a snapshot of ${(median(rounds.map(({ snapshotBytes }) => snapshotBytes)) / MB).toFixed(1)} MB. From the start of the replica's process until its /readyz is 200, so that making the snapshot and checking it count, too. The primary has core 0, the replica core 1.`,
    `The bound is ${BOUND_MB_PER_S} MB/s or half of what the disk writes in order (a file of the same size with one fdatasync at its end), whichever is less.`,
  ];
  const rows = [
    ['bootstrap', bootstrapRates, rounds.map(({ bootstrapMs }) => bootstrapMs)],
    ['disk', diskRates, rounds.map(({ diskMs }) => diskMs)],
  ] as const;
  return {
    findings: [
      {
        what: 'a new replica takes a snapshot until it serves',
        measured: `${withRange(bootstrapRates)} MB/s`,
        atLeast: { text: `${bound.toFixed(0)} MB/s`, isReached: median(bootstrapRates) >= bound },
        aim: null,
      },
    ],
    text: [...method, '', ...table(['', 'MB/s', 'took'], rows.map(([name, rates, tookMs]) => [name, withRange(rates), `${(median(tookMs) / 1_000).toFixed(2)} s`]))].join('\n'),
  };
}

function mbPerS(bytes: number, tookMs: number): number {
  return bytes / MB / (tookMs / 1_000);
}
