import { spawnSync } from 'node:child_process';
import { accessSync, constants, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { LIMITS } from '../../lib/base/limits.ts';
import { EXIT_CODES, type ExitReason } from '../../lib/cli/exit-codes.ts';
import { requires } from '../support/requires.ts';
import { UNIT_PATH, durationMsOf, settingNamed, settingsNamed } from './unit-file.ts';

const PROJECT = join(import.meta.dirname, '../..');
/** systemd's own scale: 0 = nothing could go wrong, 10 = no protection. */
const EXPOSURE_MAX = 1.5;

describe('config/systemd/shiplog@.service', () => {
  describe('in the eyes of systemd-analyze', () => {
    let directory: string;
    let copy: string;

    before(function () {
      requires(this, 'systemd-analyze');
      directory = mkdtempSync(join(tmpdir(), 'shiplog-unit-'));
      copy = join(directory, 'shiplog@.service');
      // Nothing is installed in /opt here; the program of this tree stands in for it.
      writeFileSync(copy, readFileSync(UNIT_PATH, 'utf8').replaceAll('/opt/shiplog', PROJECT));
    });
    after(() => {
      if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
    });

    it('is a valid unit, as a template and as an instance', () => {
      for (const name of ['shiplog@.service', 'shiplog@primary.service']) {
        const { status, stdout, stderr } = analyze('verify', '--recursive-errors=no', '--man=no', join(directory, name));
        expect({ name, status, said: stdout + stderr }).to.deep.equal({ name, status: 0, said: '' });
      }
    });

    it('would be found out if it named a setting that does not exist', () => {
      const broken = join(directory, 'broken.service');
      writeFileSync(broken, readFileSync(copy, 'utf8').replace('NoNewPrivileges=', 'NoNewPrivilege='));
      expect(analyze('verify', '--recursive-errors=no', '--man=no', broken).stderr).to.contain('NoNewPrivilege');
    });

    it(`leaves an exposure of at most ${EXPOSURE_MAX}`, () => {
      const { status, stdout, stderr } = analyze('security', '--offline=yes', `--threshold=${EXPOSURE_MAX * 10}`, copy);
      const exposure = /Overall exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1];
      console.log(`        exposure ${exposure ?? 'not told'}`);
      expect(status, stdout + stderr).to.equal(0);
      expect(Number(exposure)).to.be.within(0, EXPOSURE_MAX);
    });
  });

  it('starts the launcher, which is there and executable', () => {
    const [program, ...args] = settingNamed('ExecStart').split(' ');
    expect(program).to.match(/^\/opt\/shiplog\//);
    accessSync(program!.replace('/opt/shiplog', PROJECT), constants.X_OK);
    expect(args).to.deep.equal(['serve', '--config', '/etc/shiplog/%i.json']);
  });

  it('does not restart a node that somebody has to look at first, and restarts all others', () => {
    const restart: Readonly<Record<ExitReason, boolean>> = {
      ok: true,
      failed: true,
      usage: false,
      notFound: true,
      unreachable: true,
      notEqual: true,
      outcomeUnknown: true,
      promotionRefused: true,
      positionLost: true,
      logDamaged: false,
      logPoisoned: false,
      dataDirectoryInUse: true,
      portInUse: true,
      dataDirectoryInvalid: false,
      storeFailed: false,
      diskFull: true,
      retryLater: true,
      noPermission: false,
      badConfig: false,
    };
    const reasons = Object.keys(EXIT_CODES) as ExitReason[];
    const expected = reasons.filter((reason) => !restart[reason]).map((reason) => EXIT_CODES[reason].code);
    expect(settingNamed('RestartPreventExitStatus').split(' ').map(Number)).to.deep.equal(expected);
  });

  it('explains each of these codes', () => {
    const comments = readFileSync(UNIT_PATH, 'utf8').replaceAll(/\n# /g, ' ');
    for (const { code, meaning } of Object.values(EXIT_CODES)) {
      const isPrevented = settingNamed('RestartPreventExitStatus').split(' ').includes(String(code));
      if (isPrevented) expect(comments).to.contain(`${code} ${meaning}`);
    }
  });

  it('gives a clean stop the time that it may take, and the watchdog more than that', () => {
    expect(durationMsOf('TimeoutStopSec')).to.equal(15_000).and.to.be.above(LIMITS.cleanStopMs);
    // The watchdog is not fed while a node stops.
    expect(durationMsOf('WatchdogSec') / 2).to.be.above(LIMITS.cleanStopMs);
  });

  it('ends in failure when restarts do not help, instead of going round for ever', () => {
    const burstMs = durationMsOf('RestartSec') * Number(settingNamed('StartLimitBurst'));
    // A node that fails within 10 s of each start still reaches the limit.
    expect(burstMs + 10_000 * Number(settingNamed('StartLimitBurst'))).to.be.below(durationMsOf('StartLimitIntervalSec'));
  });

  it('lets V8 compile', () => {
    expect(settingsNamed('MemoryDenyWriteExecute')).to.deep.equal([]);
  });

  it('runs as the account that shiplog.sysusers.conf creates', () => {
    const sysusers = readFileSync(join(PROJECT, 'config/systemd/shiplog.sysusers.conf'), 'utf8');
    expect(sysusers).to.match(new RegExp(`^u ${settingNamed('User')} `, 'm'));
    expect(settingNamed('Group')).to.equal(settingNamed('User'));
  });
});

function analyze(...args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync('systemd-analyze', ['--no-pager', ...args], { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C.UTF-8', SYSTEMD_COLORS: '0' } });
}
