/**
 * The section of BENCHMARKS.md about these rows: one table with all findings, then for each row where,
 * how and what exactly. Rows are measured one by one, so a report replaces those that it holds and
 * leaves the others as they are.
 */
import { CAN_PIN } from '../bench-process.ts';
import { table } from '../markdown.ts';
import type { Finding, Goal } from './row.ts';
import type { MeasuredRow } from './rows.ts';

export const ROWS_HEADING = 'The other rows';

const HEAD = ['row', 'what', 'measured', 'at least', 'aim', 'reached'] as const;
const RUNS_WANTED = 5;
const SECONDS_WANTED = 3;
const KEYS_WANTED = 100_000;

interface RowText {
  readonly findings: readonly (readonly string[])[];
  readonly text: string;
}

/** @param before the section as it stands, empty where there is none. @param order of all rows that there are. */
export function mergeRows(before: string, measured: readonly MeasuredRow[], order: readonly string[]): string {
  const rows = new Map([...readRows(before), ...measured.map((each) => [each.name, renderRow(each)] as const)]);
  const names = order.filter((name) => rows.has(name));
  return [
    ...table(HEAD, names.flatMap((name) => rows.get(name)!.findings)),
    ...names.flatMap((name) => ['', `### ${name}`, '', rows.get(name)!.text]),
  ].join('\n');
}

/** The rows of a section that `mergeRows` has written. */
function readRows(section: string): ReadonlyMap<string, RowText> {
  const [head = '', ...parts] = section.split(/^### /m);
  const findings = head.split('\n').filter((line) => line.startsWith('| ')).slice(2).map(cellsOf);
  return new Map(
    parts.map((part) => {
      const name = part.slice(0, part.indexOf('\n'));
      return [name, { findings: findings.filter(([row]) => row === name), text: part.slice(name.length).trim() }];
    }),
  );
}

function cellsOf(line: string): readonly string[] {
  return line.slice(1, line.lastIndexOf('|')).split('|').map((cell) => cell.trim());
}

function renderRow({ name, report, options, machine, loadAverageAtEnd }: MeasuredRow): RowText {
  const { runs, seconds, keys, valueBytes } = options;
  const text = [
    `Machine: ${machine.description}, ${loadAverageAtEnd.toFixed(1)} at the end. Commit: ${machine.commit}.`,
    `${report.isSingleRun === true ? 'One run' : `Medians of ${runs} interleaved rounds of ${seconds} s per load, after one to warm up; in brackets the lowest and the highest`}. Values of ${valueBytes} bytes${CAN_PIN ? '' : '; nothing was pinned to a core (no taskset, or one core)'}.`,
    ...(runs < RUNS_WANTED || seconds < SECONDS_WANTED || keys < KEYS_WANTED ? ['', '**This was a short run, to show the form; its figures say little.**', ''] : []),
    report.text,
  ].join('\n');
  return { findings: report.findings.map((finding) => [name, finding.what, finding.measured, textOf(finding.atLeast), textOf(finding.aim), verdictOf(finding)]), text };
}

function textOf(goal: Goal | null): string {
  return goal?.text ?? 'no bound';
}

function verdictOf({ atLeast, aim }: Finding): string {
  if (atLeast === null) return '';
  if (!atLeast.isReached) return 'no';
  return aim?.isReached === true ? 'aim' : 'at least';
}
