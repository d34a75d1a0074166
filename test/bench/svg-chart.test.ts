import { expect } from 'chai';
import { withSection } from './markdown.ts';
import { latencyChart, type PlotsResult, renderPlots, throughputChart } from './plots.ts';
import { type Chart, linearTicks, logTicks, renderChart } from './svg-chart.ts';

const CHART: Chart = {
  title: 'A & B <c>',
  note: 'measured "here"',
  x: { label: 'x', scale: 'log', ticks: [1, 2, 4, 8] },
  y: { label: 'per second', scale: 'linear' },
  series: [
    { name: 'first', points: [{ x: 1, y: 0 }, { x: 8, y: 100 }] },
    { name: 'second', points: [{ x: 2, y: 33.3333333 }, { x: 4, y: 50 }] },
  ],
};

describe('the SVG writer', () => {
  it('places points on the scales, to a tenth of a pixel', () => {
    const svg = renderChart(CHART);
    const paths = [...svg.matchAll(/<path class="path" d="([^"]+)"/g)].map((match) => match[1]);
    // The plot reaches from (76, 364) to (736, 72); on a logarithmic axis 2 is a third of the way from 1 to 8.
    expect(paths).to.deep.equal(['M76 364 L736 72', 'M296 266.7 L516 218']);
  });

  it('has a title, labels, a legend, and a mark for each point that says its figure', () => {
    const svg = renderChart(CHART);
    for (const part of ['>per second<', '>x<', '>first<', '>second<', '<title>second, 2: 33.3</title>', '<title>first, 8: 100</title>', '>measured &quot;here&quot;<']) expect(svg).to.contain(part);
    expect(svg).to.contain('<title>A &amp; B &lt;c&gt;</title>');
    expect(svg.match(/<circle/g)).to.have.length(3);
    expect(svg.match(/<rect class="mark"/g)).to.have.length(3);
  });

  it('is well-formed, and readable on light and on dark', () => {
    const svg = renderChart(CHART);
    expect(openElements(svg)).to.deep.equal([]);
    const [light, dark] = svg.split('@media (prefers-color-scheme: dark)') as [string, string];
    for (const rule of ['text {', '.back {', '.grid {', '.s0 {', '.s1 {']) {
      expect(light).to.contain(rule);
      expect(dark).to.contain(rule);
    }
  });

  it('writes the same text for the same figures, and changes few lines for another figure', () => {
    const other = { ...CHART, series: [CHART.series[0]!, { name: 'second', points: [{ x: 2, y: 34 }, { x: 4, y: 50 }] }] };
    const lines = renderChart(CHART).split('\n');
    expect(renderChart(CHART).split('\n')).to.deep.equal(lines);
    const otherLines = renderChart(other).split('\n');
    expect(otherLines).to.have.length(lines.length);
    // The line, and the mark.
    expect(otherLines.filter((line, index) => line !== lines[index])).to.have.length(2);
  });

  it('refuses what has no place', () => {
    expect(() => renderChart({ ...CHART, series: [] })).to.throw('nothing to draw');
    expect(() => renderChart({ ...CHART, y: { label: 'ms', scale: 'log' } })).to.throw('ms: 0 has no place on a log axis');
    expect(() => renderChart({ ...CHART, series: [{ name: 'a', points: [{ x: 1, y: Number.NaN }] }] })).to.throw('NaN has no place');
    expect(() => renderChart({ ...CHART, series: Array.from({ length: 5 }, () => CHART.series[0]!) })).to.throw('5 series');
  });

  it('chooses round numbers for its lines', () => {
    expect(linearTicks(23_456)).to.deep.equal([0, 5_000, 10_000, 15_000, 20_000, 25_000]);
    expect(linearTicks(0.6)).to.deep.equal([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
    expect(linearTicks(0)).to.deep.equal([0, 1]);
    expect(logTicks(0.3, 42)).to.deep.equal([0.2, 0.5, 1, 2, 5, 10, 20, 50]);
    expect(logTicks(1, 10)).to.deep.equal([1, 2, 5, 10]);
    expect(logTicks(3, 3)).to.deep.equal([2, 5]);
  });
});

describe('the plots of the bench', () => {
  const result: PlotsResult = {
    options: { runs: 1, seconds: 1, connections: 64, keys: 10, valueBytes: 32, directory: '', connectionCounts: [1, 2], percents: [10, 90], onStep: () => {} },
    machine: { description: 'a machine', commit: 'abc1234' },
    loadAverageAtEnd: 0,
    throughput: [{ connections: 1, getsPerS: 5_000, setsPerS: 1_000 }, { connections: 2, getsPerS: 9_000, setsPerS: 2_000 }],
    setsPerSMax: 12_345.6,
    latency: [{ percent: 10, latencyMs: { p50: 0.5, p99: 2, p999: 4 } }, { percent: 90, latencyMs: { p50: 1, p99: 30, p999: 80 } }],
  };

  it('show throughput by connections, and percentiles by load', () => {
    const throughput = throughputChart(result);
    for (const part of ['<title>GET, 2: 9,000</title>', '<title>SET, synced, 1: 1,000</title>', 'commit abc1234']) expect(throughput).to.contain(part);
    const latency = latencyChart(result);
    for (const part of ['<title>p50, 10: 0.5</title>', '<title>p99.9, 90: 80</title>', '12,346 per second']) expect(latency).to.contain(part);
  });

  it('say where a run was too short to mean much', () => {
    expect(renderPlots(result)).to.contain('short run').and.to.contain('(throughput.svg)').and.to.contain('(latency.svg)');
    expect(renderPlots({ ...result, options: { ...result.options, runs: 5, seconds: 3 } })).to.not.contain('short run');
  });
});

describe('a section of BENCHMARKS.md', () => {
  const document = '# T\n\n## A\n\nold a\n\n## B\n\nold b\n';
  it('is replaced, and the others stay', () => {
    expect(withSection(document, 'A', 'new a')).to.equal('# T\n\n## A\n\nnew a\n\n## B\n\nold b\n');
    expect(withSection(document, 'B', 'new b\n### inner')).to.equal('# T\n\n## A\n\nold a\n\n## B\n\nnew b\n### inner\n');
  });

  it('comes at the end where there is none yet', () => {
    expect(withSection(document, 'C', 'c')).to.equal(`${document}\n## C\n\nc\n`);
  });
});

/** Elements that were opened and never closed, or closed in the wrong order. */
function openElements(svg: string): readonly string[] {
  const open: string[] = [];
  for (const [, slash, name, selfClosing] of svg.matchAll(/<(\/?)([a-z]+)[^<>]*?(\/?)>/g)) {
    if (slash === '/' && open.at(-1) === name) open.pop();
    else if (slash === '/' || selfClosing !== '/') open.push(`${slash}${name}`);
  }
  return open;
}
