/** All rows, in the order in which they are measured and stand in the report. */
import { loadavg } from 'node:os';
import { type Machine, assertRealDisk, describeMachine } from '../machine.ts';
import { bootstrap } from './bootstrap.ts';
import { catchUp } from './catch-up.ts';
import { followerCost } from './follower-cost.ts';
import { getHugeTable } from './get-10m.ts';
import { getUncached } from './get-uncached.ts';
import { importRow } from './import.ts';
import { memory } from './memory.ts';
import { replicaGet } from './replica-get.ts';
import { Rig } from './rig.ts';
import type { Row, RowReport, RowsOptions } from './row.ts';
import { start } from './start.ts';

export const ROWS: readonly Row[] = [getUncached, replicaGet, getHugeTable, importRow, catchUp, bootstrap, followerCost, memory, start];

/** Every step has its own bound; this one is for those that nobody thought of. */
const ROW_MS_MAX = 20 * 60_000;

export interface MeasuredRow {
  readonly name: string;
  readonly report: RowReport;
  readonly options: RowsOptions;
  readonly machine: Machine;
  readonly loadAverageAtEnd: number;
}

/** @param list names with commas between them; all rows where it is missing. @throws Error naming what there is. */
export function rowsNamed(list: string | undefined): readonly Row[] {
  if (list === undefined) return ROWS;
  const names = new Set(list.split(','));
  for (const name of names) {
    if (!ROWS.some((row) => row.name === name)) throw new Error(`there is no row '${name}', expected some of ${ROWS.map((row) => row.name).join(',')}`);
  }
  return ROWS.filter((row) => names.has(row.name));
}

/** @param onMeasured is told each row as soon as it is there: a later one that fails takes nothing back. */
export async function runRows(rows: readonly Row[], options: RowsOptions, onMeasured: (measured: MeasuredRow) => void): Promise<void> {
  assertRealDisk(options.directory);
  const rig = new Rig(options);
  try {
    for (const row of rows) {
      options.onStep(row.name);
      const machine = describeMachine(options.directory);
      const report = await withinBound(row.name, row.run(rig));
      await rig.stopAll();
      onMeasured({ name: row.name, report, options, machine, loadAverageAtEnd: loadavg()[0]! });
    }
  } finally {
    await rig.close();
  }
}

async function withinBound<Result>(name: string, measuring: Promise<Result>): Promise<Result> {
  const bound = Promise.withResolvers<never>();
  const timer = setTimeout(() => bound.reject(new Error(`${name} took more than ${ROW_MS_MAX / 60_000} minutes`)), ROW_MS_MAX);
  try {
    return await Promise.race([measuring, bound.promise]);
  } finally {
    clearTimeout(timer);
  }
}
