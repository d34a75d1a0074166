import { expect } from 'chai';
import { EventEmitter, once } from 'node:events';
import { mkdtemp, rename, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConfigInput, loadConfig } from '../../lib/config/load.ts';
import { type ConfigChange, ConfigWatch } from '../../lib/config/watch.ts';
import { RealClock } from '../../lib/env/real-clock.ts';
import { RealDisk } from '../../lib/env/real-disk.ts';

describe('ConfigWatch', () => {
  let directory: string;
  let file: string;
  let events: EventEmitter;
  let log: string[];
  let watch: ConfigWatch;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'shiplog-watch-'));
    file = join(directory, 'node.json');
    events = new EventEmitter();
    log = [];
    await writeFile(file, '{"logLevel": "info"}');
    await startWatch({});
  });
  afterEach(async () => {
    await watch.close();
    await rm(directory, { recursive: true });
  });

  it('takes over what is live and names what needs a restart', async () => {
    const changed = nextChange();
    await writeFile(file, '{"logLevel": "debug", "readyLagMs": "1s", "port": 4456}');
    const { applied, needsRestart, config } = await changed;
    expect(applied).to.have.members(['logLevel', 'readyLagMs']);
    expect(needsRestart).to.deep.equal(['port']);
    expect(config).to.include({ logLevel: 'debug', readyLagMs: 1_000, port: 4455 });
    expect(watch.config).to.equal(config);
  });

  it('sees a file that another one replaces', async () => {
    for (const level of ['debug', 'warn', 'error']) {
      const changed = nextChange();
      await writeFile(`${file}.new`, JSON.stringify({ logLevel: level }));
      await rename(`${file}.new`, file);
      expect((await changed).config.logLevel).to.equal(level);
    }
  });

  it('sees a file that is removed and written anew', async () => {
    const invalid = once(events, 'invalid');
    await unlink(file);
    expect(((await invalid) as [Error])[0].message).to.include(file);
    const changed = nextChange();
    await writeFile(file, '{"logLevel": "warn"}');
    expect((await changed).config.logLevel).to.equal('warn');
  });

  it('reports a wrong file once, and goes on with what it has', async () => {
    const invalid = once(events, 'invalid');
    await writeFile(file, '{"logLevel": "loud"}');
    expect(((await invalid) as [Error])[0].message).to.include('logLevel is "loud"');
    expect(watch.config.logLevel).to.equal('info');
    // The same content again is no news; the change after it is.
    await writeFile(file, '{"logLevel": "loud"}');
    const changed = nextChange();
    await writeFile(file, '{"logLevel": "error"}');
    await changed;
    expect(log).to.deep.equal(['invalid', 'change']);
  });

  it('says nothing when the file says the same in other words', async () => {
    await writeFile(file, '{ "port": 4455, "logLevel": "info" }');
    const changed = nextChange();
    // Long enough for the first content to be read by itself.
    await new Promise((resolve) => setTimeout(resolve, 400));
    await writeFile(file, '{"logLevel": "debug"}');
    await changed;
    expect(log).to.deep.equal(['change']);
  });

  it('leaves flags and environment stronger than the file', async () => {
    await watch.close();
    await startWatch({ flags: { logLevel: 'warn' } });
    const changed = nextChange();
    await writeFile(file, '{"logLevel": "debug", "readyLagMs": "2s"}');
    const { applied, config } = await changed;
    expect(applied).to.deep.equal(['readyLagMs']);
    expect(config.logLevel).to.equal('warn');
  });

  it('finds a change that was made before it began to watch', async () => {
    await watch.close();
    const input = { file, environment: {}, flags: {} };
    const { values: config } = await loadConfig(new RealDisk(), input);
    await writeFile(file, '{"logLevel": "error"}');
    const changed = nextChange();
    await startWatch({}, config);
    expect((await changed).config.logLevel).to.equal('error');
  });

  async function startWatch(more: Partial<ConfigInput>, started?: ConfigChange['config']): Promise<void> {
    const disk = new RealDisk();
    const input = { environment: {}, flags: {}, ...more, file };
    const config = started ?? (await loadConfig(disk, input)).values;
    watch = new ConfigWatch({
      clock: new RealClock(),
      disk,
      input,
      config,
      onChange: (change) => {
        log.push('change');
        events.emit('change', change);
      },
      onInvalid: (error) => {
        log.push('invalid');
        events.emit('invalid', error);
      },
    });
  }

  async function nextChange(): Promise<ConfigChange> {
    const [change] = (await once(events, 'change')) as [ConfigChange];
    return change;
  }
});
