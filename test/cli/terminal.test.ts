import { expect } from 'chai';
import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import { takeStopSignals } from '../../lib/cli/stop-signals.ts';
import { Terminal, readableBytes, readableDuration } from '../../lib/cli/terminal.ts';
import type { Clock } from '../../lib/env/clock.ts';
import { RealClock } from '../../lib/env/real-clock.ts';

describe('Terminal', () => {
  function terminalOf(isTTY: boolean, variables: Readonly<Record<string, string>> = {}) {
    const said = { stdout: '', stderr: '' };
    const stream = (name: keyof typeof said) => Object.assign(new PassThrough().on('data', (chunk) => (said[name] += String(chunk))), { isTTY });
    const terminal = new Terminal({ stdout: stream('stdout'), stderr: stream('stderr'), environment: variables, clock: new RealClock() });
    return { terminal, said };
  }

  it('draws a table with colours on a terminal', () => {
    const { terminal, said } = terminalOf(true);
    terminal.table(['node'], [['primary']]);
    terminal.success('done');
    expect(said.stdout).to.include('│').and.to.include('\u001b[');
    expect(said.stderr).to.include('\u001b[32m✓');
  });

  for (const variables of [{ NO_COLOR: '1' }, { TERM: 'dumb' }] as Record<string, string>[]) {
    it(`leaves colours out with ${JSON.stringify(variables)}`, () => {
      const { terminal, said } = terminalOf(true, variables);
      terminal.table(['node'], [['primary']]);
      terminal.success('done');
      terminal.fail('not done');
      expect(said.stdout).to.include('primary');
      expect(said.stdout + said.stderr).to.not.include('\u001b');
    });
  }

  it('prints plain lines with tabs and JSON on one line where no terminal is', () => {
    const { terminal, said } = terminalOf(false);
    terminal.table(['node', 'url'], [['a\tb', '\u001b[2J']]);
    terminal.json({ a: [1] });
    expect(said.stdout).to.equal('node\turl\na\\u0009b\t\\u001b[2J\n{"a":[1]}\n');
    expect(said.stderr).to.equal('');
  });

  it('shows a bar with the size that it is told, on a terminal and after a second only', () => {
    let nowMs = 0;
    const said = { terminal: '', pipe: '' };
    const stream = (name: keyof typeof said) => Object.assign(new PassThrough().on('data', (chunk) => (said[name] += String(chunk))), { isTTY: name === 'terminal', columns: 120 });
    for (const name of ['terminal', 'pipe'] as const) {
      const clock = { monotonicMs: () => nowMs } as Clock;
      const bar = new Terminal({ stdout: stream(name), stderr: stream(name), environment: {}, clock }).progress('export', (keys) => `${keys} keys`);
      nowMs = 0;
      bar.show(1, 10);
      expect(said[name]).to.equal('');
      nowMs = 1_000;
      bar.show(5, 10);
      bar.stop();
    }
    expect(said.terminal).to.match(/export .* of 10 keys/);
    expect(said.pipe).to.equal('');
  });

  it('names sizes and durations for people', () => {
    expect([0, 1023, 1024, 1536, 10 * 1024 ** 2, 250 * 1024 ** 3].map(readableBytes)).to.deep.equal(['0 B', '1023 B', '1.0 KiB', '1.5 KiB', '10.0 MiB', '250 GiB']);
    expect([0, 12.4, 999, 1_000, 61_000, 3_600_000, 90_061_000].map(readableDuration)).to.deep.equal(['0 ms', '12 ms', '999 ms', '1s', '1m 1s', '1h 0m', '1d 1h']);
  });
});

describe('stop signals', () => {
  it('take the echo of a signal for the same wish, and a later one for insistence', async () => {
    let nowMs = 0;
    const process = new EventEmitter();
    const signals = takeStopSignals(process, { monotonicMs: () => nowMs } as Clock);
    let insisted = false;
    void signals.stopNow.then(() => (insisted = true));
    process.emit('SIGINT', 'SIGINT');
    expect(await signals.stop).to.equal('SIGINT');
    nowMs = 300;
    process.emit('SIGTERM', 'SIGTERM');
    await new Promise(setImmediate);
    expect(insisted).to.equal(false);
    nowMs = 2_000;
    process.emit('SIGINT', 'SIGINT');
    expect(await signals.stopNow).to.equal('SIGINT');
  });
});
