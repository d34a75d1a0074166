/** What a run shows: a bar on a terminal, a line per round elsewhere, a table at the end. */
import { Presets, SingleBar } from 'cli-progress';
import Table from 'cli-table3';

import { type RoundProgress, type RowResult, lostOf, phantomOf } from './row.ts';

const FINDINGS_SHOWN = 20;

/** One row of the table: what it found, or why it could not tell. */
export type RowReport = { readonly name: string; readonly elapsedMs: number } & (
  | { readonly result: RowResult }
  | { readonly failure: Error }
);

export interface Progress {
  readonly onRound: (progress: RoundProgress) => void;
  readonly end: () => void;
}

export function showProgress(name: string, rounds: number, output: NodeJS.WriteStream): Progress {
  if (output.isTTY) {
    const format = `${name.padEnd(18)} {bar} {value}/{total}  acknowledged {acknowledged}, refused {refused}, unknown {unknown}  {eta_formatted} left`;
    const bar = new SingleBar({ format, stream: output, hideCursor: true }, Presets.shades_classic);
    bar.start(rounds, 0, { acknowledged: 0, refused: 0, unknown: 0 });
    return { onRound: ({ round, ...counts }) => bar.update(round, counts), end: () => bar.stop() };
  }
  return {
    onRound: ({ round, acknowledged, refused, unknown }) =>
      void output.write(`${name} ${round}/${rounds}: acknowledged ${acknowledged}, refused ${refused}, unknown ${unknown}\n`),
    end: () => {},
  };
}

export function isClean(report: RowReport): boolean {
  return 'result' in report && report.result.findings.length === 0 && report.result.acknowledged > 0;
}

export function renderTable(reports: readonly RowReport[]): string {
  const table = new Table({
    head: ['row', 'rounds', 'acknowledged', 'refused', 'unknown', 'lost', 'phantom', 'time', 'result'],
    style: { head: [], border: [] },
    colAligns: ['left', 'right', 'right', 'right', 'right', 'right', 'right', 'right', 'left'],
  });
  for (const report of reports) table.push(cellsOf(report));
  return table.toString();
}

/** What was found, and what the rows have to say beside their figures. */
export function renderDetails(reports: readonly RowReport[]): string {
  const lines = reports.flatMap((report) => {
    if ('failure' in report) return [`${report.name}: ${report.failure.message}`];
    const { findings, notes } = report.result;
    const shown = findings.slice(0, FINDINGS_SHOWN).map(({ kind, key, detail }) => `${report.name}: ${kind} ${key}: ${detail}`);
    const more = findings.length > FINDINGS_SHOWN ? [`${report.name}: and ${findings.length - FINDINGS_SHOWN} more`] : [];
    return [...notes.map((note) => `${report.name}: ${note}`), ...shown, ...more];
  });
  return lines.join('\n');
}

function cellsOf(report: RowReport): string[] {
  const elapsed = `${Math.round(report.elapsedMs / 1000)} s`;
  if ('failure' in report) return [report.name, '', '', '', '', '', '', elapsed, 'could not tell'];
  const { rounds, acknowledged, refused, unknown, findings } = report.result;
  const counts = [rounds, acknowledged, refused, unknown, lostOf(findings), phantomOf(findings)].map(String);
  return [report.name, ...counts, elapsed, isClean(report) ? 'ok' : 'FAILED'];
}
