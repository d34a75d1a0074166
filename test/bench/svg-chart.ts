/**
 * A line chart as SVG: axes, labels, legend, readable on light and on dark. One element a line and
 * rounded numbers, so that two runs differ only where their figures do.
 */

export type Scale = 'linear' | 'log';

export interface Axis {
  readonly label: string;
  readonly scale: Scale;
  /** Where the lines go; chosen by the figures where it is missing. */
  readonly ticks?: readonly number[];
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface Series {
  readonly name: string;
  readonly points: readonly Point[];
}

export interface Chart {
  readonly title: string;
  /** Where and how it was measured, in small letters below. */
  readonly note: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly Series[];
}

const WIDTH = 760;
const HEIGHT = 440;
const PLOT = { left: 76, right: WIDTH - 24, top: 72, bottom: HEIGHT - 76 } as const;
const FONT = 'font-family="system-ui, sans-serif"';

/** Told apart by brightness and shape as well as by colour. */
const STYLES = [
  { light: '#0b5cad', dark: '#6cb6ff', shape: 'circle' },
  { light: '#b8420f', dark: '#ffa657', shape: 'square' },
  { light: '#2b7a3d', dark: '#7ee787', shape: 'triangle' },
  { light: '#6f3fb5', dark: '#d2a8ff', shape: 'diamond' },
] as const;

/** @throws Error for a chart that can't be drawn: nothing to show, too many lines, or zero on a logarithmic axis. */
export function renderChart(chart: Chart): string {
  const { title, note, x, y, series } = chart;
  const points = series.flatMap((each) => each.points);
  if (points.length === 0) throw new Error('there is nothing to draw');
  if (series.length > STYLES.length) throw new Error(`${series.length} series, expected at most ${STYLES.length}`);
  const xScale = scaleOf(x, points.map((point) => point.x), PLOT.left, PLOT.right);
  const yScale = scaleOf(y, points.map((point) => point.y), PLOT.bottom, PLOT.top);
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" ${FONT}>`,
    `<title>${escaped(title)}</title>`,
    ...styleLines(series.length),
    `<rect class="back" width="${WIDTH}" height="${HEIGHT}"/>`,
    text(PLOT.left, 28, title, 'start', 'font-size="17" font-weight="600"'),
    ...legendLines(series),
    ...yScale.ticks.flatMap((tick) => [line('grid', PLOT.left, yScale.at(tick), PLOT.right, yScale.at(tick)), text(PLOT.left - 8, yScale.at(tick) + 4, shown(tick), 'end', 'class="soft"')]),
    ...xScale.ticks.flatMap((tick) => [line('grid', xScale.at(tick), PLOT.top, xScale.at(tick), PLOT.bottom), text(xScale.at(tick), PLOT.bottom + 18, shown(tick), 'middle', 'class="soft"')]),
    line('axis', PLOT.left, PLOT.bottom, PLOT.right, PLOT.bottom),
    line('axis', PLOT.left, PLOT.top, PLOT.left, PLOT.bottom),
    text((PLOT.left + PLOT.right) / 2, PLOT.bottom + 40, x.label, 'middle'),
    `<text transform="translate(18 ${number((PLOT.top + PLOT.bottom) / 2)}) rotate(-90)" text-anchor="middle">${escaped(y.label)}</text>`,
    ...series.flatMap((each, index) => seriesLines(each, index, xScale, yScale)),
    text(PLOT.left, HEIGHT - 12, note, 'start', 'class="soft" font-size="11"'),
    '</svg>',
  ];
  return `${lines.join('\n')}\n`;
}

interface PlacedScale {
  readonly ticks: readonly number[];
  at(value: number): number;
}

function scaleOf({ label, scale, ticks: wanted }: Axis, values: readonly number[], from: number, to: number): PlacedScale {
  const wrong = values.find((value) => !Number.isFinite(value) || (scale === 'log' && value <= 0));
  if (wrong !== undefined) throw new Error(`${label}: ${wrong} has no place on a ${scale} axis`);
  const lowest = Math.min(...values);
  const highest = Math.max(...values);
  const ticks = wanted ?? (scale === 'log' ? logTicks(lowest, highest) : linearTicks(highest));
  const place = scale === 'log' ? Math.log : (value: number) => value;
  const first = place(Math.min(ticks[0]!, lowest));
  const span = place(Math.max(ticks.at(-1)!, highest)) - first || 1;
  return { ticks, at: (value) => from + ((place(value) - first) / span) * (to - from) };
}

const STEPS = [1, 2, 5] as const;
const LINEAR_TICKS_MAX = 7;

/** From 0 on, in steps of 1, 2 or 5 times a power of ten. */
export function linearTicks(highest: number): readonly number[] {
  if (highest <= 0) return [0, 1];
  for (let power = 10 ** (Math.floor(Math.log10(highest)) - 1); ; power *= 10) {
    for (const factor of STEPS) {
      const step = factor * power;
      const count = Math.ceil(highest / step);
      if (count < LINEAR_TICKS_MAX) return Array.from({ length: count + 1 }, (_, index) => tidy(index * step));
    }
  }
}

/** 1, 2 and 5 of each power of ten, from the one below the lowest to the one above the highest. */
export function logTicks(lowest: number, highest: number): readonly number[] {
  const ticks: number[] = [];
  for (let exponent = Math.floor(Math.log10(lowest)); ; exponent += 1) {
    for (const factor of STEPS) {
      const tick = tidy(factor * 10 ** exponent);
      // Only the last of those that are too low is kept.
      if (tick <= lowest) ticks.length = 0;
      ticks.push(tick);
      if (tick >= highest && ticks.length > 1) return ticks;
    }
  }
}

function styleLines(count: number): readonly string[] {
  const used = STYLES.slice(0, count);
  const colors = (mode: 'light' | 'dark'): readonly string[] => used.map((style, index) => `.s${index} { color: ${style[mode]}; }`);
  return [
    '<style>',
    'text { fill: #1f2328; font-size: 13px; }',
    'text[font-size="17"] { font-size: 17px; }',
    'text[font-size="11"] { font-size: 11px; }',
    '.soft { fill: #59636e; }',
    '.back { fill: #ffffff; }',
    '.grid { stroke: #d1d9e0; stroke-width: 1; }',
    '.axis { stroke: #59636e; stroke-width: 1; }',
    '.path { fill: none; stroke: currentColor; stroke-width: 2; }',
    '.mark { fill: currentColor; }',
    ...colors('light'),
    '@media (prefers-color-scheme: dark) {',
    'text { fill: #e6edf3; }',
    '.soft { fill: #9198a1; }',
    '.back { fill: #0d1117; }',
    '.grid { stroke: #30363d; }',
    '.axis { stroke: #9198a1; }',
    ...colors('dark'),
    '}',
    '</style>',
  ];
}

const LEGEND_GAP = 24;
/** About what a letter takes. */
const LETTER_WIDTH = 7.2;

function legendLines(series: readonly Series[]): readonly string[] {
  let left: number = PLOT.left;
  return series.flatMap(({ name }, index) => {
    const markX = left + 6;
    left += 18 + name.length * LETTER_WIDTH + LEGEND_GAP;
    return [`<g class="s${index}">${mark(index, markX, 49)}</g>`, text(markX + 12, 53, name, 'start')];
  });
}

function seriesLines({ name, points }: Series, index: number, x: PlacedScale, y: PlacedScale): readonly string[] {
  const path = points.map((point, at) => `${at === 0 ? 'M' : 'L'}${number(x.at(point.x))} ${number(y.at(point.y))}`).join(' ');
  return [
    `<g class="s${index}">`,
    `<path class="path" d="${path}"/>`,
    ...points.map((point) => mark(index, x.at(point.x), y.at(point.y), `${name}, ${shown(point.x)}: ${shown(point.y)}`)),
    '</g>',
  ];
}

function mark(index: number, x: number, y: number, title = ''): string {
  const inside = title === '' ? '' : `<title>${escaped(title)}</title>`;
  switch (STYLES[index]!.shape) {
    case 'circle':
      return `<circle class="mark" cx="${number(x)}" cy="${number(y)}" r="4">${inside}</circle>`;
    case 'square':
      return `<rect class="mark" x="${number(x - 4)}" y="${number(y - 4)}" width="8" height="8">${inside}</rect>`;
    case 'triangle':
      return polygon([[x, y - 5], [x + 5, y + 4], [x - 5, y + 4]], inside);
    case 'diamond':
      return polygon([[x, y - 5], [x + 5, y], [x, y + 5], [x - 5, y]], inside);
  }
}

function polygon(corners: readonly (readonly [number, number])[], inside: string): string {
  return `<polygon class="mark" points="${corners.map(([x, y]) => `${number(x)},${number(y)}`).join(' ')}">${inside}</polygon>`;
}

function line(kind: string, x1: number, y1: number, x2: number, y2: number): string {
  return `<line class="${kind}" x1="${number(x1)}" y1="${number(y1)}" x2="${number(x2)}" y2="${number(y2)}"/>`;
}

function text(x: number, y: number, content: string, anchor: 'start' | 'middle' | 'end', attributes = ''): string {
  return `<text x="${number(x)}" y="${number(y)}" text-anchor="${anchor}"${attributes === '' ? '' : ` ${attributes}`}>${escaped(content)}</text>`;
}

/** A place, to a tenth of a pixel. */
function number(value: number): string {
  return String(Math.round(value * 10) / 10);
}

/** A figure, three digits where it is small. */
function shown(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en-US') : String(Number(value.toPrecision(3)));
}

/** 0.30000000000000004 is 0.3. */
function tidy(value: number): number {
  return Number(value.toPrecision(12));
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
