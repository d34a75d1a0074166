/** Figures as Markdown that also reads well on a terminal. */
import { median } from './statistics.ts';

export type Row = readonly string[];

export function table(head: Row, rows: readonly Row[]): readonly string[] {
  const widths = head.map((title, column) => Math.max(3, title.length, ...rows.map((row) => row[column]!.length)));
  const line = (cells: Row): string => `| ${cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join(' | ')} |`;
  const rule = `| ${widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`;
  return [line(head), rule, ...rows.map(line)];
}

/** The median. */
export function ratio(values: readonly number[]): string {
  return median(values).toFixed(2);
}

/** The median, in brackets the lowest and the highest. */
export function withRange(values: readonly number[]): string {
  return `${ratio(values)} [${Math.min(...values).toFixed(2)}–${Math.max(...values).toFixed(2)}]`;
}

export function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

export function ms(value: number): string {
  return `${value.toFixed(2)} ms`;
}

/** What stands under a heading of the second level, undefined where there is none. */
export function sectionOf(document: string, heading: string): string | undefined {
  const start = document.indexOf(`## ${heading}\n`);
  if (start < 0) return undefined;
  const next = document.indexOf('\n## ', start);
  return document.slice(document.indexOf('\n', start), next < 0 ? document.length : next).trim();
}

/** The document with what stands under a heading of the second level replaced, or added at the end. */
export function withSection(document: string, heading: string, body: string): string {
  const section = `## ${heading}\n\n${body.trim()}\n`;
  const start = document.indexOf(`## ${heading}\n`);
  if (start < 0) return `${document.trimEnd()}\n\n${section}`;
  const next = document.indexOf('\n## ', start);
  return next < 0 ? `${document.slice(0, start)}${section}` : `${document.slice(0, start)}${section}${document.slice(next)}`;
}
